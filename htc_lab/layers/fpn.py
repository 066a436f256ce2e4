"""Feature pyramid network: every level gets the resolution of its stride and the meaning of the top."""

import torch.nn.functional as F
from torch import Tensor, nn

from htc_lab.config import FPNConfig
from htc_lab.layers.conv import conv


class FPN(nn.Module):
    """C2..C5 (strides 4..32) in, P2.. (strides 4, 8, ...) out, all of ``config.channels``."""

    def __init__(self, in_channels: list[int], config: FPNConfig) -> None:
        super().__init__()
        self.levels = config.levels
        self.lateral_convs = nn.ModuleList(conv(c, config.channels, 1) for c in in_channels)
        self.fpn_convs = nn.ModuleList(conv(config.channels, config.channels, 3) for _ in in_channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """FPN maps (B, C, H/s, W/s), finest first."""
        merged = [lateral(x) for lateral, x in zip(self.lateral_convs, features, strict=True)]
        for i in range(len(merged) - 1, 0, -1):
            size = merged[i - 1].shape[-2:]
            merged[i - 1] = merged[i - 1] + F.interpolate(merged[i], size=size, mode="nearest")
        out = [smooth(x) for smooth, x in zip(self.fpn_convs, merged, strict=True)]
        while len(out) < self.levels:
            # The coarsest level only has to give large anchors a place: every second cell will do.
            out.append(F.max_pool2d(out[-1], 1, stride=2))
        return out
