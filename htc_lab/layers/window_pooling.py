"""RoIAlign as two small matrix products a RoI, for large maps on a CPU.

The weights are those of ``separable_pooling``, but each RoI meets only the window of the map under it:

    out[n] = W_y[n] @ window[n] @ W_x[n]^T.

In a map with its channels last, a window is a matrix with long rows that needs no copy: rows of the window,
columns and channels side by side. That costs a few million multiplications a RoI, where gathering bilinear
samples reads four cells for each of them, on one core.

The RoIs are shared out to worker threads whose own products are single-threaded: waking all cores for so
small a product costs more than the product.
"""

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.separable_pooling import sample_points
from htc_lab.structures import RoIs


@dataclass(frozen=True, eq=False)
class Axis:
    """W along one axis, kept to each RoI's window.

    Attributes:
        weights: (n, bins, longest window) float; 0 beyond a RoI's own window.
        start: (n,) int64, the window's first cell.
        length: (n,) int64, the window's cells, 1 or more.
    """

    weights: Float[Tensor, "n bins longest"]
    start: Int[Tensor, " n"]
    length: Int[Tensor, " n"]


def window_weights(
    low: Float[Tensor, " n"],
    high: Float[Tensor, " n"],
    size: int,
    cells: int,
    sampling_ratio: int,
    average: int,
) -> Axis:
    """The weights along one axis; arguments as for ``separable_pooling.sample_points``.

    ``average`` neighbouring bins are merged to their mean.
    """
    at, used, count = sample_points(low, high, size, cells, sampling_ratio)
    below = at.floor().clamp(max=max(cells - 2, 0))
    upper = at - below
    first = torch.where(used, below, cells).flatten(1).amin(dim=1, keepdim=True).long().clamp(max=cells - 1)
    last = torch.where(used, below + 1, 0).flatten(1).amax(dim=1, keepdim=True).long().clamp(max=cells - 1)
    span = (last - first + 1).clamp(min=1)
    longest = int(span.max()) if len(span) else 1
    weights = low.new_zeros(len(low), size // average, longest)
    share = used / (count[:, None, None] * average)
    place = (below.long() - first[..., None]).clamp(0, longest - 1)
    for cell, part in ((place, 1 - upper), ((place + 1).clamp(max=longest - 1), upper)):
        merged = cell.reshape(len(low), size // average, average * at.shape[2])
        weights.scatter_add_(2, merged, (part * share).reshape(merged.shape))
    return Axis(weights, first.squeeze(1), span.squeeze(1))


@functools.cache
def _workers(count: int) -> ThreadPoolExecutor:
    """Threads whose torch operations stay on one core."""
    pool = ThreadPoolExecutor(count, "roi-pooling", initializer=torch.set_num_threads, initargs=(1,))
    # Each of these waits for the others, so that all threads start now.
    together = threading.Barrier(count)
    for started in [pool.submit(together.wait) for _ in range(count)]:
        started.result()
    # The setting is each thread's own, but it is also what threads to come start from.
    torch.set_num_threads(count)
    return pool


def _share_out(work: Callable[[range], Any], items: int) -> list[Any]:
    """``work`` on as many ranges of the items as there are cores, at the same time."""
    threads = torch.get_num_threads()
    if threads == 1:
        return [work(range(items))]
    # Interleaved, since neighbours in a list of RoIs are often of like size.
    return list(_workers(threads).map(work, [range(i, items, threads) for i in range(threads)]))


class _Windows:
    """Where each RoI's window lies in a map with its channels last."""

    def __init__(self, shape: torch.Size, image: Tensor, rows: Axis, columns: Axis) -> None:
        _, self.channels, height, width = shape
        self.row = width * self.channels
        starts = ((image * height + rows.start) * width + columns.start) * self.channels
        self.places = list(zip(starts.tolist(), rows.length.tolist(), columns.length.tolist(), strict=True))

    def of(self, n: int, flat: Tensor) -> tuple[Tensor, int, int]:
        """RoI n's window, (rows, columns * channels), with its rows and columns."""
        start, tall, wide = self.places[n]
        return flat.as_strided((tall, wide * self.channels), (self.row, 1), start), tall, wide


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feature: Tensor, image: Tensor, rows: Axis, columns: Axis) -> Tensor:
        windows = _Windows(feature.shape, image, rows, columns)
        flat = feature.permute(0, 2, 3, 1).contiguous().view(-1)
        bins, channels = rows.weights.shape[1], feature.shape[1]
        out = feature.new_empty(len(image), bins, bins, channels)

        @torch.no_grad()
        def pool(part: range) -> None:
            for n in part:
                window, tall, wide = windows.of(n, flat)
                squeezed = torch.mm(rows.weights[n, :, :tall], window).view(bins, wide, channels)
                torch.matmul(columns.weights[n, :, :wide], squeezed, out=out[n])

        _share_out(pool, len(image))
        ctx.windows, ctx.rows, ctx.columns, ctx.shape = windows, rows, columns, feature.shape
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        windows, rows, columns = ctx.windows, ctx.rows, ctx.columns
        images, channels, height, width = ctx.shape
        given = grads[0].permute(0, 2, 3, 1).contiguous()
        bins = given.shape[1]

        @torch.no_grad()
        def scatter(part: range) -> Tensor:
            # Windows overlap, so each thread adds to a map of its own.
            flat = given.new_zeros(images * height * width * channels)
            for n in part:
                window, tall, wide = windows.of(n, flat)
                spread = torch.matmul(columns.weights[n, :, :wide].T, given[n]).view(bins, wide * channels)
                window.addmm_(rows.weights[n, :, :tall].T, spread)
            return flat

        total = torch.stack(_share_out(scatter, len(given))).sum(dim=0)
        return total.view(images, height, width, channels).permute(0, 3, 1, 2), None, None, None


def pool_windows(
    feature: Float[Tensor, "B C H W"],
    rois: RoIs,
    size: int,
    stride: int,
    sampling_ratio: int,
    average: int = 1,
) -> Float[Tensor, "N C bins bins"]:
    """As ``roi_align(..., aligned=True)``, up to rounding; arguments as for ``roi_pooling.pool``."""
    edges = (rois.boxes / stride - 0.5).to(feature.dtype)
    height, width = feature.shape[-2:]
    rows = window_weights(edges[:, 1], edges[:, 3], size, height, sampling_ratio, average)
    columns = window_weights(edges[:, 0], edges[:, 2], size, width, sampling_ratio, average)
    out: Tensor = _Pool.apply(feature, rois.image, rows, columns)
    return out
