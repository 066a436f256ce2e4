"""Between the CPU and the device: what costs a wait, and what does not.

A GPU works through a queue of operations while the CPU is already putting in later ones. The CPU has to wait
for the end of the queue whenever it needs a number from the GPU: in :func:`fetch`, but also in every
operation whose result has a size that only the values tell (``nonzero``, a boolean mask as an index,
``unique``, NMS). While it waits nothing is put in, and afterwards the GPU is idle. So the lab fetches once
for a whole batch, decides on the CPU, and sends the decision back.
"""

import torch
from torch import Tensor


def send(values: Tensor, device: torch.device | str) -> Tensor:
    """``values`` on ``device``: from the CPU to a GPU without a wait, as one more operation in the queue."""
    if values.device.type == "cpu" and torch.device(device).type == "cuda":
        # From pinned memory the GPU copies by itself, and torch keeps the memory until it has done so.
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def fetch(values: Tensor) -> Tensor:
    """``values`` on the CPU, once the device has come to them: a wait for everything before."""
    return values.cpu()
