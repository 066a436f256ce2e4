"""The backbone: torchvision's residual blocks, with width, groups and deformable layers to choose."""

from typing import cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from htc_lab.errors import InputError
from htc_lab.layers.backbone_config import BackboneConfig
from htc_lab.layers.cpu.fused_convolution import convolve
from htc_lab.light_torchvision import BasicBlock, Bottleneck, deform_conv2d

_BLOCKS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class DeformConv(nn.Module):
    """A 3x3 convolution whose sampling points are moved by offsets it predicts (DCN v1)."""

    def __init__(self, plain: nn.Conv2d, deform_groups: int) -> None:
        super().__init__()
        self.stride, self.groups = plain.stride[0], plain.groups
        self.weight = nn.Parameter(plain.weight.detach().clone())
        self.conv_offset = nn.Conv2d(plain.in_channels, 18 * deform_groups, 3, self.stride, 1)
        # Zero offsets: training starts from the plain convolution.
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Same shapes as the convolution it replaces."""
        out: Tensor = deform_conv2d(x, self.conv_offset(x), self.weight, stride=self.stride, padding=1)
        return out


class Backbone(nn.Module):
    """ResNet or ResNeXt; its weights carry torchvision's names.

    ``forward`` takes normalised images (B, 3, H, W) and returns C2..C5, of strides 4, 8, 16, 32 px.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        if config.depth not in _BLOCKS:
            raise InputError(f"backbone.depth {config.depth}: take one of {', '.join(map(str, _BLOCKS))}")
        self.config = config
        block, counts = _BLOCKS[config.depth]
        width = config.width
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        self.out_channels: list[int] = []
        for level, count in enumerate(counts):
            planes = width * 2**level
            layer = _layer(block, channels, planes, count, 1 if level == 0 else 2, config)
            if level + 1 in config.deformable:
                for unit in layer:
                    unit.conv2 = DeformConv(unit.conv2, config.deform_groups)  # type: ignore[arg-type]
            self.add_module(f"layer{level + 1}", layer)
            channels = planes * block.expansion
            self.out_channels.append(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self._freeze()

    def _frozen(self) -> list[nn.Module]:
        stem: list[nn.Module] = [self.conv1, self.bn1] if self.config.frozen_stages >= 0 else []
        return stem + [self.get_submodule(f"layer{i}") for i in range(1, self.config.frozen_stages + 1)]

    def _freeze(self) -> None:
        for module in self._frozen():
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> "Backbone":
        """As ``nn.Module.train``, but batch norm keeps its stored statistics where the config says so.

        It keeps them in frozen stages too, whose weights were trained with them.
        """
        super().train(mode)
        if mode:
            for part in [self] if self.config.frozen_norm else self._frozen():
                for module in part.modules():
                    if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                        module.eval()
        return self

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """C2..C5."""
        x = self.maxpool(_normed(images, self.conv1, self.bn1, relu=True))
        levels = []
        for i in range(1, 5):
            for block in cast(nn.Sequential, self.get_submodule(f"layer{i}")):
                x = _residual(x, cast(BasicBlock | Bottleneck, block))
            levels.append(x)
        return levels


def _normed(
    x: Tensor,
    conv: nn.Conv2d | DeformConv,
    norm: nn.BatchNorm2d | nn.SyncBatchNorm,
    relu: bool = False,
    onto: Tensor | None = None,
) -> Tensor:
    """Convolution, then batch norm, plus ``onto`` (which may be overwritten), then ReLU.

    With stored statistics the norm is one factor and one offset a channel. They go into the convolution's
    weights, which are small, so that the maps, which are large, are not gone through again (and not kept for
    a backward pass). The gradients of the norm's own weights come through the product.
    """
    if norm.training or isinstance(conv, DeformConv):
        out: Tensor = norm(conv(x))
        if onto is not None:
            out = out + onto
        return F.relu(out, inplace=True) if relu else out
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    factor = norm.weight * (variance + norm.eps).rsqrt()
    offset = norm.bias - mean * factor
    weight = conv.weight * factor[:, None, None, None]
    padding = cast(tuple[int, ...], conv.padding)
    return convolve(x, weight, offset, conv.stride, padding, conv.groups, relu, onto)


def _residual(x: Tensor, block: BasicBlock | Bottleneck) -> Tensor:
    """What torchvision's block computes."""
    out = _normed(x, block.conv1, block.bn1, relu=True)
    # A level that is handed out is never written onto: the layer after it begins with a downsampling.
    if block.downsample is not None:
        conv, norm = cast(tuple[nn.Conv2d, nn.BatchNorm2d], block.downsample)
        x = _normed(x, conv, norm)
    if isinstance(block, Bottleneck):
        out = _normed(out, block.conv2, block.bn2, relu=True)
        return _normed(out, block.conv3, block.bn3, relu=True, onto=x)
    return _normed(out, block.conv2, block.bn2, relu=True, onto=x)


def _layer(
    block: type[BasicBlock | Bottleneck],
    channels: int,
    planes: int,
    count: int,
    stride: int,
    config: BackboneConfig,
) -> nn.Sequential:
    out = planes * block.expansion
    downsample = None
    if stride != 1 or channels != out:
        downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
    units = [
        block(
            channels if i == 0 else out,
            planes,
            stride if i == 0 else 1,
            downsample if i == 0 else None,
            config.groups,
            config.group_width,
        )
        for i in range(count)
    ]
    return nn.Sequential(*units)
