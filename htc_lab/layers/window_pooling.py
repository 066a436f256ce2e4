"""The gradient of RoIAlign as two small matrix products a RoI, for large maps on a CPU.

RoIAlign is W_y[n] @ window[n] @ W_x[n]^T, window[n] being the part of the map under RoI n
(``separable_pooling``), so the gradient of a window is

    W_y[n]^T @ grad[n] @ W_x[n].

In a map with its channels last, a window is a matrix with long rows that needs no copy: rows of the window,
columns and channels side by side.

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


def add_to_windows(
    shape: torch.Size,
    image: Int[Tensor, " n"],
    edges: Float[Tensor, "n 4"],
    grad: Float[Tensor, "n C bins bins"],
    size: int,
    sampling_ratio: int,
    average: int,
) -> Float[Tensor, "B C H W"]:
    """The gradient of a map.

    Args:
        shape: of the map.
        image: each RoI's image.
        edges: the RoIs, in cells of the map (cell i is centred at i).
        grad: of what was pooled.
        size, sampling_ratio, average: as for ``roi_pooling.pool``.
    """
    images, channels, height, width = shape
    rows = window_weights(edges[:, 1], edges[:, 3], size, height, sampling_ratio, average)
    columns = window_weights(edges[:, 0], edges[:, 2], size, width, sampling_ratio, average)
    row = width * channels
    starts = ((image * height + rows.start) * width + columns.start) * channels
    places = list(zip(starts.tolist(), rows.length.tolist(), columns.length.tolist(), strict=True))
    given = grad.permute(0, 2, 3, 1).contiguous()
    bins = given.shape[1]

    @torch.no_grad()
    def scatter(part: range) -> Tensor:
        # Windows overlap, so each thread adds to a map of its own.
        flat = given.new_zeros(images * height * width * channels)
        for n in part:
            start, tall, wide = places[n]
            window = flat.as_strided((tall, wide * channels), (row, 1), start)
            spread = torch.matmul(columns.weights[n, :, :wide].T, given[n]).view(bins, wide * channels)
            window.addmm_(rows.weights[n, :, :tall].T, spread)
        return flat

    total = torch.stack(_share_out(scatter, len(given))).sum(dim=0)
    return total.view(images, height, width, channels).permute(0, 3, 1, 2)
