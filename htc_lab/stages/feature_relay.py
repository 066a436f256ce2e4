r"""Feature relay: what the box head knows of an object is handed to the mask head (SCNet, arXiv 2012.10150).

.. math::
    x^{mask}_t &= P(x, r_t) + R(h_t(P(x, r_t)))

h_t are the fully connected layers of the box head of stage t, everything up to its class logits and deltas.
R is one more such layer, reshaped to a 7x7 map and enlarged to 14x14. In HTC the branches of a stage share
their boxes and nothing else. Yet the box head has looked at the whole object to say what it is and where it
ends, and the mask head has to find that out again. The relay tells it; through R, the mask loss also trains
the box head.

SCNet hands on the feature of its last stage, which is the only one with a mask head there. Here each stage
relays its own; masks on the final boxes get the feature of the last box head that ran.
"""

from typing import cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from htc_lab.layers.box_head import BoxHead


class FeatureRelay(nn.Module):
    """R: a fully connected layer, a map of it, and twice the map's size (SCNet's names of weights)."""

    def __init__(self, hidden: int, channels: int, size: int) -> None:
        super().__init__()
        self.channels, self.size = channels, size
        self.fc = nn.Linear(hidden, channels * size * size)
        nn.init.kaiming_normal_(self.fc.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, hidden: Float[Tensor, "N hidden"], size: int) -> Float[Tensor, "N C size size"]:
        """The relayed map of each RoI, ``size`` cells a side."""
        cells = self.fc(hidden).reshape(-1, self.channels, self.size, self.size)
        if len(cells) == 0:
            return cast(Tensor, cells.new_zeros((0, self.channels, size, size)) + cells.sum())
        return F.interpolate(cells, size=(size, size), mode="bilinear", align_corners=True)


def fuse(
    relay: FeatureRelay,
    head: BoxHead,
    mask_features: Float[Tensor, "N C h w"],
    box_features: Float[Tensor, "N C hh ww"],
) -> Float[Tensor, "N C h w"]:
    """P(x, r) + R(h(P(x, r))).

    Args:
        relay: R.
        head: the box head whose hidden feature is handed on.
        mask_features: what is pooled for the masks of N RoIs.
        box_features: what is pooled for the box head of the same RoIs.
    """
    relayed: Tensor = relay(head.hidden(box_features), mask_features.shape[-1])
    return mask_features + relayed
