"""A convolution and what follows it in one go, for inference in float32 on a CPU.

The same numbers as :func:`htc_lab.layers.conv.convolve` gives, but faster, and with nothing kept for a
backward pass:

* 3x3 convolutions of many channels are done with fewer multiplications (:mod:`htc_lab.layers.cpu.winograd`);
* the others add and apply the ReLU while a result is still in the processor's registers; otherwise each of
  the two would read the map from memory and write it back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from htc_lab.layers.cpu import winograd

# The operation that torch.compile makes of a convolution and its neighbours; some builds of torch lack it.
_FUSED: Any = None
_FUSED_ONTO: Any = None
if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise_"):
    _FUSED = torch.ops.mkldnn._convolution_pointwise.default
    _FUSED_ONTO = torch.ops.mkldnn._convolution_pointwise_.binary

_written_out = False


@contextmanager
def written_out() -> Iterator[None]:
    """While inside, convolutions take no shortcut: for counting multiplications, or for comparing."""
    global _written_out
    before, _written_out = _written_out, True
    try:
        yield
    finally:
        _written_out = before


def applies(x: Tensor, weight: Tensor) -> bool:
    """At inference in float32, on a CPU whose torch has these operations of oneDNN."""
    return (
        not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and not _written_out
        and _FUSED is not None
    )


def convolve(
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "D C_of_group kh kw"],
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    groups: int,
    relu: bool,
    onto: Tensor | None,
) -> Float[Tensor, "B D h w"]:
    """As :func:`htc_lab.layers.conv.convolve`, where it :func:`applies`."""
    m = 0
    if (weight.shape[2:], stride, padding, groups) == ((3, 3), (1, 1), (1, 1), 1):
        images, channels, height, width = x.shape
        m = winograd.tile_side(images, height, width, channels, len(weight))
    if m and onto is None:
        return winograd.convolve(x, weight, weight.new_zeros(len(weight)) if bias is None else bias, m, relu)
    how = (bias, padding, stride, (1, 1), groups)
    if onto is not None:
        fused: Tensor = _FUSED_ONTO(onto, x, weight, *how, "add", 1.0, "relu" if relu else None, [], None)
    elif relu:
        fused = _FUSED(x, weight, *how, "relu", [], "")
    else:
        fused = F.conv2d(x, weight, bias, stride, padding, 1, groups)
    return fused
