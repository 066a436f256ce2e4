"""RoIAlign along one axis of a map: which cells each bin is made of, and with which weights."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.cpu.separable_pooling import sample_points


@dataclass(frozen=True, eq=False)
class Bins:
    """The bins of n RoIs along one axis.

    Attributes:
        first: (n, bins) int32, the first cell of a bin.
        count: (n, bins) int32, how many cells it has, side by side.
        weights: (n, bins, longest) float, the weight of each.
    """

    first: Int[Tensor, "n bins"]
    count: Int[Tensor, "n bins"]
    weights: Float[Tensor, "n bins longest"]

    def of(self, places: Int[Tensor, " m"]) -> "Bins":
        """The same for some of the RoIs."""
        return Bins(self.first[places], self.count[places], self.weights[places])


def bins_along(
    low: Float[Tensor, " n"],
    high: Float[Tensor, " n"],
    size: int,
    cells: Int[Tensor, " n"],
    sampling_ratio: int,
    average: int,
) -> Bins:
    """The bins along one axis; arguments as for ``separable_pooling.sample_points``.

    ``average`` neighbouring bins are merged to their mean.
    """
    at, used, count = sample_points(low, high, size, cells, sampling_ratio)
    share = used / (count[:, None, None] * average)
    merged = (len(low), size // average, average * at.shape[2])
    at, used, share = (x.view(merged) for x in (at, used, share))
    end = cells[:, None, None] - 1
    # A sample lies between this cell and the next.
    below = at.floor().minimum((end - 1).clamp(min=0)).long()
    first = torch.where(used, below, end).amin(dim=2, keepdim=True)
    span = (torch.where(used, below + 2, 0).minimum(end + 1).amax(dim=2, keepdim=True) - first).clamp(min=0)
    longest = max(int(span.max()), 2) if len(span) else 2
    place, upper = (below - first).clamp(0, longest - 2), (at - below) * share
    weights = low.new_zeros(*first.shape[:2], longest).scatter_add_(2, place, share - upper)
    weights.scatter_add_(2, place + 1, upper)
    return Bins(first.squeeze(2).int(), span.squeeze(2).int(), weights)
