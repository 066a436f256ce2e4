r"""SENet-154: residual blocks that weigh their channels before they add (arXiv 1709.01507).

.. math::
    y = ReLU(x + s \cdot F(x)), \quad s = \sigma(W_2 ReLU(W_1 mean(F(x)))

The mean is over the picture, so s, one factor a channel, depends on what is on all of it. Unlike a ResNeXt
of 152 layers, it also has three 3x3 convolutions as its stem, is twice as wide inside a block, and has 3x3
convolutions in the shortcuts that halve a map.
"""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from htc_lab.errors import InputError
from htc_lab.layers.backbone import keep_statistics
from htc_lab.layers.deformable import DeformConv
from htc_lab.layers.folded_norm import normed
from htc_lab.layers.senet_config import SENetConfig


class SENet(nn.Module):
    """SENet-154 without its classifier; its weights carry the names of timm's ``legacy_senet154``.

    ``forward`` takes normalised images (B, 3, H, W) and returns C2..C5, of strides 4, 8, 16, 32 px.

    Attributes:
        out_channels: of C2..C5.
    """

    def __init__(self, config: SENetConfig) -> None:
        """See the class.

        Raises:
            InputError: widths that groups or the squeeze don't divide.
        """
        super().__init__()
        width = config.width
        for field, parts, whole in (
            ("groups", config.groups, 2 * width),
            ("reduction", config.reduction, 4 * width),
        ):
            if whole % parts:
                raise InputError(f"backbone.{field}: {parts} doesn't divide {whole} channels; give a divisor")
        self.config = config
        self.layer0 = _Stem(width)
        self.pool0 = nn.MaxPool2d(3, 2, ceil_mode=True)
        channels = 2 * width
        self.out_channels: list[int] = []
        for level, count in enumerate(config.blocks):
            planes = width * 2**level
            blocks = [
                _Block(channels if i == 0 else 4 * planes, planes, 2 if i == 0 < level else 1, config)
                for i in range(count)
            ]
            if level + 1 in config.deformable:
                for block in blocks:
                    block.conv2 = DeformConv(cast(nn.Conv2d, block.conv2), config.deform_groups)
            self.add_module(f"layer{level + 1}", nn.Sequential(*blocks))
            channels = 4 * planes
            self.out_channels.append(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for part in self._frozen():
            part.requires_grad_(False)

    def _frozen(self) -> list[nn.Module]:
        return [self.get_submodule(f"layer{i}") for i in range(self.config.frozen_stages + 1)]

    def train(self, mode: bool = True) -> "SENet":
        """As ``nn.Module.train``, but batch norm keeps its stored statistics where the config says so.

        It keeps them in frozen stages too, whose weights were trained with them.
        """
        super().train(mode)
        if mode:
            keep_statistics([self] if self.config.frozen_norm else self._frozen())
        return self

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """C2..C5."""
        x = self.pool0(self.layer0(images))
        levels = []
        for i in range(1, 5):
            x = self.get_submodule(f"layer{i}")(x)
            levels.append(x)
        return levels


class _Stem(nn.Module):
    """Three 3x3 convolutions, the first of which halves the picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 2 * width, 3, 1, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(2 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = normed(x, self.conv1, self.bn1, relu=True)
        x = normed(x, self.conv2, self.bn2, relu=True)
        return normed(x, self.conv3, self.bn3, relu=True)


class _Block(nn.Module):
    """A bottleneck with squeeze and excitation."""

    def __init__(self, channels: int, planes: int, stride: int, config: SENetConfig) -> None:
        super().__init__()
        out = 4 * planes
        self.conv1 = nn.Conv2d(channels, 2 * planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(2 * planes)
        self.conv2: nn.Conv2d | DeformConv = nn.Conv2d(
            2 * planes, out, 3, stride, 1, groups=config.groups, bias=False
        )
        self.bn2 = nn.BatchNorm2d(out)
        self.conv3 = nn.Conv2d(out, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.se_module = _Excitation(out, config.reduction)
        self.downsample = None
        if stride != 1 or channels != out:
            kernel = 3 if stride != 1 else 1
            shortcut = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        out = normed(x, self.conv1, self.bn1, relu=True)
        out = normed(out, self.conv2, self.bn2, relu=True)
        out = normed(out, self.conv3, self.bn3)
        if self.downsample is not None:
            conv, norm = cast(tuple[nn.Conv2d, nn.BatchNorm2d], self.downsample)
            x = normed(x, conv, norm)
        return F.relu(torch.addcmul(x, out, self.se_module(out)), inplace=True)


class _Excitation(nn.Module):
    """s: a factor from 0 to 1 for each channel of each picture."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C 1 1"]:
        squeezed = F.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))
        return self.fc2(squeezed).sigmoid()
