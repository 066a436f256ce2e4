"""Weights in 8 bits: for the models shipped with the lab, a little over half the size of 16 bits.

A large floating-point weight becomes int8 with one float per group of :data:`GROUP` consecutive values (or,
if that doesn't divide its size, per slice of its first dimension): value = scale * integer. Small ones, such
as the last layers of the heads, biases and batch norm, stay at 16 bits: they take little space and matter a
lot.

Why not a format that safetensors or torch knows? Measured on the large weights of a fresh classroom model
(root mean square error, relative, mean over weights): 0.55 % as here, 0.70 % with torch's int8 and one scale
a channel, 2.8 % as 8-bit floats (e4m3), 2.6 % as those with a scale a channel. The file takes 4.7 MB, in
16 bits 8.1 MB.
"""

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from htc_lab.errors import InputError

SCALE = ".int8_scale"
GROUP = 64
# Weights with fewer values stay at 16 bits.
SMALL = 2**15
_LARGEST = 127
# Fractions of the largest weight that the largest integer may stand for: clipping an outlier gives the others
# finer steps.
_CUTS = tuple(1 - 0.02 * i for i in range(16))


def pack(weights: dict[str, Tensor], small: int = SMALL) -> dict[str, Tensor]:
    """The weights of a model with the large ones in 8 bits.

    Args:
        weights: by name, on the CPU.
        small: weights with fewer values stay at 16 bits.

    Returns:
        The same names, and for each int8 weight a ``NAME.int8_scale``, float32. A float that would not be
        finite in 16 bits stays as it is.
    """
    packed = {}
    for name, value in weights.items():
        if not value.is_floating_point():
            packed[name] = value
        elif value.ndim < 2 or value.numel() < small:
            half = value.half()
            packed[name] = half if bool(half.isfinite().all()) else value
        else:
            groups = value.numel() // GROUP if value.numel() % GROUP == 0 else len(value)
            integers, packed[name + SCALE] = quantise(value.reshape(groups, -1))
            packed[name] = integers.reshape(value.shape)
    return packed


def quantise(rows: Float[Tensor, "groups n"]) -> tuple[Int8[Tensor, "groups n"], Float[Tensor, " groups"]]:
    """The integers and scales, among all cuts tried, whose products have the least squared error."""
    rows = rows.detach().float()
    largest = rows.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny * 2**10)
    best = torch.full_like(largest, torch.inf)
    scale = largest / _LARGEST
    for cut in _CUTS:
        tried = largest * (cut / _LARGEST)
        error = (rows - _rounded(rows, tried) * tried[:, None]).square().sum(dim=1)
        scale = torch.where(error < best, tried, scale)
        best = torch.minimum(error, best)
    return _rounded(rows, scale).to(torch.int8), scale


def _rounded(rows: Tensor, scale: Tensor) -> Tensor:
    return (rows / scale[:, None]).round().clamp(-_LARGEST, _LARGEST)


def unpack(tensors: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """The inverse of :func:`pack`; weights that are not packed stay as they are.

    Args:
        tensors: as read from a file.
        source: the file's name in messages.

    Raises:
        InputError: an int8 weight and its scale don't belong together.
    """
    weights = {}
    for name, value in tensors.items():
        if name.endswith(SCALE):
            packed = tensors.get(name.removesuffix(SCALE))
            if packed is None or packed.dtype != torch.int8:
                raise InputError(f"{source}: {name} is a scale without an int8 weight; get the file again")
            continue
        if value.dtype != torch.int8:
            weights[name] = value
            continue
        scale = tensors.get(name + SCALE)
        if (
            scale is None
            or scale.dtype != torch.float32
            or scale.ndim != 1
            or not 0 < len(scale) <= value.numel()
            or value.numel() % len(scale)
        ):
            raise InputError(
                f"{source}: {name} is int8 without a scale that fits ({name}{SCALE}); get the file again"
            )
        weights[name] = (value.reshape(len(scale), -1).float() * scale[:, None]).reshape(value.shape)
    return weights
