"""Transfers between the CPU and the device: which of them cost a wait, and which don't.

A GPU works through a queue of operations while the CPU is already adding later ones. The CPU has to wait for
the end of the queue whenever it needs a number from the GPU: in :func:`fetch`, but also in every operation
whose result has a size that depends on the values (``nonzero``, a boolean mask as an index, ``unique``, NMS).
While it waits, nothing is added, and afterwards the GPU is idle. So the lab fetches once for a whole batch,
decides on the CPU, and sends the decision back.
"""

import torch
from torch import Tensor


def send(values: Tensor, device: torch.device | str) -> Tensor:
    """``values`` on ``device``; from the CPU to a GPU without waiting, as one more operation in the queue."""
    if values.device.type == "cpu" and torch.device(device).type == "cuda":
        # The GPU copies from pinned memory by itself, and torch keeps that memory until the copy is done.
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def fetch(values: Tensor) -> Tensor:
    """``values`` on the CPU; waits until the device has finished everything queued before them."""
    return values.cpu()
