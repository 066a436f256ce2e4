r"""The semantic branch: what the scene is made of, for boxes and for masks (eq. 6).

.. math::
    x^{box}_t &= P(x, r_{t-1}) + P(S(x), r_{t-1}), & r_t &= B_t(x^{box}_t) \\
    x^{mask}_t &= P(x, r_t) + P(S(x), r_t),        & m_t &= M_t(F(x^{mask}_t, m^-_{t-1}))

S is a small fully convolutional network on the merged pyramid, trained to predict the class of every pixel,
stuff included. What tells a boat from a look-alike is often the water around it, but a RoI feature ends at
the RoI; S(x) has seen the whole picture, pixel by pixel. The RoI heads get the branch's *feature*, never its
class logits: those only serve the branch's own loss, beta L_seg in eq. 7.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from htc_lab.layers.conv import conv_relu
from htc_lab.stages.semantic_config import SemanticConfig

IGNORED_PIXEL = 255


class SemanticBranch(nn.Module):
    """S: all FPN levels brought to one size and summed, then convolutions and two outputs."""

    def __init__(self, channels: int, levels: int, config: SemanticConfig) -> None:
        super().__init__()
        self.level = config.level
        self.lateral_convs = nn.ModuleList(
            conv_relu(channels, channels, 1, config.norm) for _ in range(levels)
        )
        self.convs = nn.ModuleList(
            conv_relu(channels if i == 0 else config.channels, config.channels, 3, config.norm)
            for i in range(config.convs)
        )
        self.conv_embedding = conv_relu(config.channels, channels, 1, config.norm)
        # A fresh S(x) is louder than the pretrained features it is added to.
        with torch.no_grad():
            for part in self.conv_embedding.modules():
                if isinstance(part, nn.Conv2d):
                    part.weight.mul_(config.embedding_scale)
        self.conv_logits = nn.Conv2d(config.channels, config.classes, 1)
        nn.init.normal_(self.conv_logits.weight, std=0.01)
        nn.init.zeros_(self.conv_logits.bias)  # type: ignore[arg-type]

    def forward(self, levels: list[Tensor]) -> tuple[Float[Tensor, "B S h w"], Float[Tensor, "B C h w"]]:
        """From the FPN maps to the semantic logits and S(x), both at the stride of ``config.level``."""
        size = levels[self.level].shape[-2:]
        # The level that already has this size comes first, and each of the others is resized before its 1x1
        # convolution. This is the reference's order; in another, floating-point sums would round differently.
        merged = self.lateral_convs[self.level](levels[self.level])
        for i, level in enumerate(levels):
            if i != self.level:
                resized = F.interpolate(level, size=size, mode="bilinear", align_corners=True)
                merged = merged + self.lateral_convs[i](resized)
        for layer in self.convs:
            merged = layer(merged)
        return self.conv_logits(merged), self.conv_embedding(merged)


def fuse(features: Float[Tensor, "N C h w"], context: Float[Tensor, "N C hh ww"]) -> Float[Tensor, "N C h w"]:
    """P(x, r) + P(S(x), r).

    Args:
        features: the RoI feature, 7x7 for boxes and 14x14 for masks.
        context: the semantic feature of the same RoIs, pooled at 14x14 for both and averaged down for boxes.
    """
    ratio = context.shape[-1] // features.shape[-1]
    return features + (context if ratio == 1 else F.avg_pool2d(context, ratio))


def semantic_loss(
    logits: Float[Tensor, "B S h w"], maps: UInt8[Tensor, "B H W"], stride: int, config: SemanticConfig
) -> Tensor:
    """beta L_seg of eq. 7: cross-entropy over the pixels whose class is known.

    Args:
        logits: at ``stride``.
        maps: class indices of the padded batch at full size; 255 is unknown, as is the padding.
        stride: px per cell; the map is read at every ``stride``-th pixel.
        config: the weight beta, and whether unknown pixels count in the mean (in the reference they do).
    """
    target = maps[:, ::stride, ::stride].long()
    total = F.cross_entropy(logits, target, ignore_index=IGNORED_PIXEL, reduction="sum")
    return config.loss_weight * total / counted_pixels(maps, stride, config).clamp(min=1)


def counted_pixels(maps: UInt8[Tensor, "B H W"], stride: int, config: SemanticConfig) -> Int[Tensor, ""]:
    """The number of pixels over which the semantic loss is averaged: the known ones, or all."""
    target = maps[:, ::stride, ::stride]
    return (target != IGNORED_PIXEL).sum() if config.mean_over_valid else torch.tensor(target.numel())
