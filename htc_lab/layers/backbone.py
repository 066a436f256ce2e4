"""The backbone: torchvision's residual blocks, with width, groups and deformable layers to choose."""

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from htc_lab.errors import InputError
from htc_lab.layers import folded_norm
from htc_lab.layers.backbone_config import BackboneConfig
from htc_lab.layers.deformable import DeformConv
from htc_lab.light_torchvision import BasicBlock, Bottleneck

_BLOCKS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


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
        if not self.config.trained_norm:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.requires_grad_(False)

    def train(self, mode: bool = True) -> "Backbone":
        """As ``nn.Module.train``, but batch norm keeps its stored statistics where the config says so.

        It keeps them in frozen stages too, whose weights were trained with them.
        """
        super().train(mode)
        if mode:
            keep_statistics([self] if self.config.frozen_norm else self._frozen())
        return self

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """C2..C5."""
        x = self.maxpool(folded_norm.normed(images, self.conv1, self.bn1, relu=True))
        levels = []
        for i in range(1, 5):
            for block in cast(nn.Sequential, self.get_submodule(f"layer{i}")):
                x = _run(block, x)
            levels.append(x)
        return levels


def keep_statistics(parts: list[nn.Module]) -> None:
    """Put the batch norms of some parts of a backbone into the mode of test time."""
    for part in parts:
        for module in part.modules():
            if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                module.eval()


def _run(block: nn.Module, x: Tensor) -> Tensor:
    """``block(x)``, up to rounding; in fewer passes over the maps if the kind of block is known."""
    if folded_norm.knows(block):
        return folded_norm.residual(x, cast(BasicBlock | Bottleneck, block))
    out: Tensor = block(x)
    return out


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
    first = units[0]
    if config.style == "caffe" and isinstance(first, Bottleneck):
        first.conv1.stride, first.conv2.stride = first.conv2.stride, first.conv1.stride
    return nn.Sequential(*units)
