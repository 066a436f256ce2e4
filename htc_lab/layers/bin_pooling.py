"""RoIAlign as one weighted sum a bin, for large maps on a CPU.

A bin is the mean of bilinear samples, hence a weighted sum of the few cells under it, and a cell's weight is
one in y times one in x. To add up rows of C numbers picked from a table is what torch's ``embedding_bag``
does, on all cores: the table is the map with its channels last, a bag is a bin.

The gradient scatters instead of gathering; ``window_pooling`` has the quicker way for that.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.bins import Bins, bins_along
from htc_lab.layers.window_pooling import add_to_windows
from htc_lab.structures import RoIs

# All bins of a call have as many cells, of which some may weigh nothing: RoIs are taken together whose bins
# need more than one of these numbers and at most the next.
_LENGTHS = torch.tensor([2, 3, 4, 5, 6, 8, 11, 16, 24, 40, 80, 160])

# RoIs in a call, so that what is made for them stays in the cache.
_AT_ONCE = 64


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
    def forward(ctx: Any, image: Tensor, which: Tensor, rows: Bins, columns: Bins, *levels: Tensor) -> Tensor:
        ctx.image, ctx.which, ctx.rows, ctx.columns = image, which, rows, columns
        ctx.shapes = [level.shape for level in levels]
        bins, channels = rows.cells.shape[1], levels[0].shape[1]
        out = levels[0].new_empty(len(which), bins * bins * channels)
        tables = [level.permute(0, 2, 3, 1).reshape(-1, channels) for level in levels]
        height, width = torch.tensor([level.shape[2:] for level in levels], dtype=torch.int)[which].T
        starts = ((image * height).int()[:, None, None] + rows.cells) * width[:, None, None]
        for part, tall, wide in _alike(rows, columns, which):
            y, x = (slice(None), None, slice(tall), None), (None, slice(None), None, slice(wide))
            cells = starts[part, *y] + columns.cells[part, *x]
            weights = rows.weights[part, *y] * columns.weights[part, *x]
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
            rows, columns = ctx.rows.of(place), ctx.columns.of(place)
            found.append(add_to_windows(shape, ctx.image[place], rows, columns, grads[0][place]))
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
    height, width = torch.tensor([level.shape[2:] for level in levels])[which].T
    rows = bins_along(edges[:, 1], edges[:, 3], size, height, sampling_ratio, average)
    columns = bins_along(edges[:, 0], edges[:, 2], size, width, sampling_ratio, average)
    out: Tensor = _Pool.apply(rois.image, which, rows, columns, *levels)
    return out
