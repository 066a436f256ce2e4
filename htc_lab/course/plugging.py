"""A student's function in the live model, in place of the lab's own, for the length of a ``with`` block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from torch import Tensor

from htc_lab.layers.boxes import Four
from htc_lab.layers.mask_head import MaskHead
from htc_lab.stages import mask_flow, plain_cascade, semantic


@contextmanager
def _replaced(module: ModuleType, name: str, function: Callable[..., Any]) -> Iterator[None]:
    own = getattr(module, name)
    setattr(module, name, function)
    try:
        yield
    finally:
        setattr(module, name, own)


@contextmanager
def decoding_with(decode: Callable[..., Tensor]) -> Iterator[None]:
    """Run the box cascade with ``decode(boxes, deltas, stds, width, height)``; one picture at a time only."""

    def adapted(boxes: Tensor, deltas: Tensor, stds: Four, limits: Tensor, *_: object) -> Tensor:
        width, height = limits[0].tolist()
        return decode(boxes, deltas, stds, width, height)

    with _replaced(plain_cascade, "decode_deltas", adapted):
        yield


@contextmanager
def flowing_with(fuse: Callable[..., Tensor]) -> Iterator[None]:
    """Run the mask heads with ``fuse(x, previous, flow)`` as F of eq. 4."""

    def adapted(head: MaskHead, features: Tensor, previous: Tensor | None) -> Tensor:
        return fuse(features, previous, head.conv_res)

    with _replaced(mask_flow, "fuse", adapted):
        yield


@contextmanager
def fusing_with(fuse: Callable[..., Tensor]) -> Iterator[None]:
    """Run boxes and masks with ``fuse(features, context)`` as the sum of eq. 6."""
    with _replaced(semantic, "fuse", fuse):
        yield
