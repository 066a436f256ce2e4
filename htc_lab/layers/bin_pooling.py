"""RoIAlign as one weighted sum a bin, for large maps on a CPU.

A bin is the mean of bilinear samples, hence a weighted sum of the few cells under it, and a cell's weight is
one in y times one in x. To add up rows of C numbers picked from a table is what torch's ``embedding_bag``
does, on all cores: the table is the map with its channels last, a bag is a bin.

The gradient scatters instead of gathering; ``window_pooling`` has the quicker way for that.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.separable_pooling import sample_points
from htc_lab.layers.window_pooling import add_to_windows
from htc_lab.structures import RoIs

# All bins of a call have as many cells, of which some may weigh nothing: RoIs are taken together whose bins
# need more than one of these numbers and at most the next.
_LENGTHS = torch.tensor([2, 3, 4, 5, 6, 8, 11, 16, 24, 40, 80, 160])

# RoIs in a call, so that what is made for them stays in the cache.
_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Bins:
    """Which cells each bin takes from along one axis, and how much.

    Attributes:
        cells: (n, bins, longest) int32, in the map.
        weights: (n, bins, longest) float, 0 where a bin takes from fewer.
        needed: (n,) the cells that the longest bin of a RoI takes from.
    """

    cells: Int[Tensor, "n bins longest"]
    weights: Float[Tensor, "n bins longest"]
    needed: Int[Tensor, " n"]


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
    at, used, share = (x.view(len(low), size // average, -1) for x in (at, used, share))
    end = cells[:, None, None] - 1
    # A sample lies between this cell and the next.
    below = at.floor().minimum((end - 1).clamp(min=0)).long()
    first = torch.where(used, below, end).amin(dim=2, keepdim=True)
    span = torch.where(used, below + 2, 0).amax(dim=2, keepdim=True) - first
    longest = max(int(span.max()), 2)
    place, upper = (below - first).clamp(0, longest - 2), (at - below) * share
    weights = low.new_zeros(*first.shape[:2], longest).scatter_add_(2, place, share - upper)
    weights.scatter_add_(2, place + 1, upper)
    return Bins(
        (first + torch.arange(longest)).minimum(end).int(), weights, span.amax(dim=(1, 2)).clamp(min=1)
    )


def _alike(rows: Bins, columns: Bins, which: Tensor) -> list[tuple[Tensor, int, int]]:
    """RoIs of one map whose bins take from like numbers of cells, with these numbers along y and x."""
    tall, wide = (torch.bucketize(axis.needed, _LENGTHS) for axis in (rows, columns))
    kinds = len(_LENGTHS) + 1
    key, order = ((which * kinds + tall) * kinds + wide).sort(stable=True)
    counts = torch.unique_consecutive(key, return_counts=True)[1]
    groups = []
    for group in order.split(counts.tolist()):
        most = [int(axis.needed[group].max()) for axis in (rows, columns)]
        groups += [(part, *most) for part in group.split(_AT_ONCE)]
    return groups


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rois: RoIs, which: Tensor, edges: Tensor, how: tuple[int, int, int], *levels: Tensor
    ) -> Tensor:
        size, sampling_ratio, average = how
        ctx.rois, ctx.which, ctx.edges, ctx.how = rois, which, edges, how
        ctx.shapes = [level.shape for level in levels]
        bins, channels = size // average, levels[0].shape[1]
        out = levels[0].new_empty(len(which), bins * bins * channels)
        if len(which):
            tables = [level.permute(0, 2, 3, 1).reshape(-1, channels) for level in levels]
            height, width = torch.tensor([level.shape[2:] for level in levels])[which].unbind(dim=1)
            rows = bins_along(edges[:, 1], edges[:, 3], size, height, sampling_ratio, average)
            columns = bins_along(edges[:, 0], edges[:, 2], size, width, sampling_ratio, average)
            first = (rois.image * height).int()[:, None, None]
            starts = (first + rows.cells) * width.int()[:, None, None]
            for part, tall, wide in _alike(rows, columns, which):
                cells = starts[part, :, None, :tall, None] + columns.cells[part, None, :, None, :wide]
                weights = (
                    rows.weights[part, :, None, :tall, None] * columns.weights[part, None, :, None, :wide]
                )
                bag = (len(part) * bins * bins, tall * wide)
                pooled = F.embedding_bag(
                    cells.view(bag), tables[which[part[0]]], per_sample_weights=weights.view(bag), mode="sum"
                )
                out.index_copy_(0, part, pooled.view(len(part), -1))
        return out.view(-1, bins, bins, channels).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        found = []
        for i, shape in enumerate(ctx.shapes):
            place = torch.nonzero(ctx.which == i).squeeze(1)
            found.append(
                add_to_windows(shape, ctx.rois.image[place], ctx.edges[place], grads[0][place], *ctx.how)
            )
        return None, None, None, None, *found


def pool_bins(
    levels: list[Tensor],
    strides: tuple[int, ...],
    rois: RoIs,
    which: Int[Tensor, " N"],
    size: int,
    sampling_ratio: int,
    average: int = 1,
) -> Float[Tensor, "N C bins bins"]:
    """As ``roi_align(..., aligned=True)``, up to rounding; as ``separable_pooling.pool_levels_separably``."""
    edges = (rois.boxes / torch.tensor(strides)[which, None] - 0.5).to(levels[0].dtype)
    out: Tensor = _Pool.apply(rois, which, edges, (size, sampling_ratio, average), *levels)
    return out
