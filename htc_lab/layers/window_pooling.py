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

from htc_lab.layers.bins import Bins


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


def windows_of(axis: Bins) -> Axis:
    """The windows that the bins of each RoI take from."""
    cells, taken = axis.cells.long(), axis.weights != 0
    last = torch.where(taken, cells, 0).flatten(1).amax(dim=1)
    start = torch.where(taken, cells, last[:, None, None]).flatten(1).amin(dim=1)
    length = last - start + 1
    longest = int(length.max()) if len(length) else 1
    # What weighs nothing may lie outside.
    place = (cells - start[:, None, None]).clamp(0, longest - 1)
    weights = axis.weights.new_zeros(*cells.shape[:2], longest).scatter_add_(2, place, axis.weights)
    return Axis(weights, start, length)


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
    along_y: Bins,
    along_x: Bins,
    grad: Float[Tensor, "n C bins bins"],
) -> Float[Tensor, "B C H W"]:
    """The gradient of a map.

    Args:
        shape: of the map.
        image: each RoI's image.
        along_y, along_x: the RoIs' bins.
        grad: of what was pooled.
    """
    images, channels, height, width = shape
    rows, columns = windows_of(along_y), windows_of(along_x)
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
