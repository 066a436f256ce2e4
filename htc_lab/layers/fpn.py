"""Feature pyramid network: every level gets the resolution of its stride and the meaning of the top."""

import torch.nn.functional as F
from torch import Tensor, nn

from htc_lab.layers.conv import conv
from htc_lab.layers.fpn_config import FPNConfig


class FPN(nn.Module):
    """C2..C5 (strides 4..32) in, P2.. (strides 4, 8, ...) out, all of ``config.channels``."""

    def __init__(self, in_channels: list[int], config: FPNConfig) -> None:
        super().__init__()
        self.levels = config.levels
        self.lateral_convs = nn.ModuleList(conv(c, config.channels, 1, config.norm) for c in in_channels)
        self.fpn_convs = nn.ModuleList(
            conv(config.channels, config.channels, 3, config.norm) for _ in in_channels
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """FPN maps (B, C, H/s, W/s), finest first."""
        merged: list[Tensor] = []
        for lateral, x in zip(reversed(self.lateral_convs), reversed(features), strict=True):
            coarser = F.interpolate(merged[0], size=x.shape[-2:], mode="nearest") if merged else None
            merged.insert(0, lateral(x, onto=coarser))
        out = [smooth(x) for smooth, x in zip(self.fpn_convs, merged, strict=True)]
        while len(out) < self.levels:
            # The coarsest level only has to give large anchors a place: every second cell will do.
            out.append(F.max_pool2d(out[-1], 1, stride=2))
        return out
