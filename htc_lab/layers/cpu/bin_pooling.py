"""RoIAlign as a sparse matrix, for large maps on a CPU.

A bin is the mean of bilinear samples, hence a weighted sum of the few cells under it, and a cell's weight is
one in y times one in x. With the channels of a cell as a row, RoIAlign and its gradient are

    out = P @ map,    grad of map = P^T @ grad of out,

where P has a row for each bin of each RoI and a column for each cell of the map. torch's ``embedding_bag``
adds up weighted rows of a table on all cores: a bag is a row of P or, for the gradient, after P's numbers are
sorted by their cells, a column.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.cpu.axis_weights import Bins, bins_along
from htc_lab.structures import RoIs

# How many of P's numbers are processed at a time, so that the work on them stays in the cache.
_AT_ONCE = 200_000


class Numbers(NamedTuple):
    """The e numbers of some rows of P that may differ from 0, row by row."""

    counts: Int[Tensor, " bins"]
    cell: Int[Tensor, " e"]
    weight: Float[Tensor, " e"]


def _numbers(rows: Bins, columns: Bins, start: Int[Tensor, " n"], width: int) -> Numbers:
    """The numbers for some RoIs on a map; ``start`` is the first cell of each RoI's image."""
    n, bins, tallest = rows.weights.shape
    widest = columns.weights.shape[2]
    line = torch.arange(n * bins, dtype=torch.int).view(n, bins)
    of_bins = (n, bins, bins)

    def along_y(of_line: Tensor) -> Tensor:
        return of_line[:, :, None].expand(of_bins).flatten()

    def along_x(of_line: Tensor) -> Tensor:
        return of_line[:, None, :].expand(of_bins).flatten()

    wide = along_x(columns.count)
    counts = along_y(rows.count) * wide
    # Of each number: the bin it belongs to, and its place among the bin's own, row by row.
    bin = torch.repeat_interleave(counts)
    of_number = partial(torch.index_select, dim=0, index=bin)
    nth = torch.arange(len(bin), dtype=torch.int) - of_number(counts.cumsum(0, dtype=torch.int) - counts)
    wide = of_number(wide)
    y = nth // wide
    x = nth - y * wide
    corner = along_y(start.int()[:, None] + rows.first * width) + along_x(columns.first)
    weight_y = rows.weights.flatten().index_select(0, of_number(along_y(line * tallest)) + y)
    weight_x = columns.weights.flatten().index_select(0, of_number(along_x(line * widest)) + x)
    return Numbers(counts, of_number(corner) + y * width + x, weight_y * weight_x)


def _add_up(
    table: Float[Tensor, "t C"],
    counts: Int[Tensor, " bags"],
    rows: Int[Tensor, " e"],
    weight: Float[Tensor, " e"],
) -> Float[Tensor, "bags C"]:
    """For each bag the weighted sum of its rows of the table, which are contiguous in ``rows``."""
    starts = F.pad(counts.cumsum(0, dtype=torch.int), (1, 0))
    return F.embedding_bag(
        rows, table, starts, mode="sum", per_sample_weights=weight, include_last_offset=True
    )


def _parts(place: Int[Tensor, " m"], rows: Bins, columns: Bins) -> tuple[Tensor, ...]:
    """RoIs in groups of about ``_AT_ONCE`` numbers each; at least one group, which may be empty."""
    numbers = rows.count[place].sum(dim=1) * columns.count[place].sum(dim=1)
    return place.split(torch.bincount(numbers.cumsum(0) // _AT_ONCE, minlength=1).tolist())


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, which: Tensor, rows: Bins, columns: Bins, *levels: Tensor) -> Tensor:
        bins, channels = rows.count.shape[1], levels[0].shape[1]
        out = levels[0].new_empty(len(which), bins * bins, channels)
        ctx.shapes, ctx.parts = [level.shape for level in levels], []
        for i, level in enumerate(levels):
            height, width = level.shape[2:]
            table = level.permute(0, 2, 3, 1).reshape(-1, channels)
            for part in _parts(torch.nonzero(which == i).squeeze(1), rows, columns):
                numbers = _numbers(rows.of(part), columns.of(part), image[part] * height * width, width)
                out.index_copy_(0, part, _add_up(table, *numbers).view(len(part), bins * bins, channels))
                ctx.parts.append((i, part, numbers))
        return out.view(-1, bins, bins, channels).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        given = grads[0].permute(0, 2, 3, 1).flatten(1, 2)
        every = torch.arange(given.shape[0] * given.shape[1], dtype=torch.int).view(given.shape[:2])
        found = []
        for i, (images, channels, height, width) in enumerate(ctx.shapes):
            here = [(part, numbers) for level, part, numbers in ctx.parts if level == i]
            bin = torch.cat([torch.repeat_interleave(every[part].flatten(), n.counts) for part, n in here])
            cell, order = torch.cat([n.cell for _, n in here]).sort(stable=True)
            weight = torch.cat([n.weight for _, n in here]).index_select(0, order)
            counts = torch.bincount(cell, minlength=images * height * width)
            grad = _add_up(given.flatten(0, 1), counts, bin.index_select(0, order), weight)
            found.append(grad.view(images, height, width, channels).permute(0, 3, 1, 2))
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
