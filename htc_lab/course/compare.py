"""Where does an answer first differ from what was expected? In words a student can act on."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

TOLERANCE = 1e-4
"""Two numbers that differ by no more than this, relatively or absolutely, count as equal."""


def first_difference(got: Any, wanted: Any, tolerance: float = TOLERANCE) -> str | None:
    """What is wrong with ``got``, or None if it is as expected.

    Args:
        got: what the student's function returned.
        wanted: what was expected: a tensor, an array, a number, a string, a bool, None, or a tuple or list
            of these.
        tolerance: for floating-point numbers, relative to the expected value where that is above 1.
    """
    if got is None and wanted is not None:
        return "your function returned None, perhaps because the `return` is missing"
    if isinstance(wanted, Tensor):
        if not isinstance(got, Tensor):
            return f"expected a torch.Tensor, but you returned {_kind(got)}"
        if got.dtype != wanted.dtype or got.shape != wanted.shape:
            return _form(tuple(got.shape), tuple(wanted.shape), _short(got.dtype), _short(wanted.dtype))
        return _values(got.detach().cpu().numpy(), wanted.detach().cpu().numpy(), tolerance)
    if isinstance(wanted, np.ndarray):
        if not isinstance(got, np.ndarray):
            return f"expected a numpy array, but you returned {_kind(got)}"
        if got.dtype != wanted.dtype or got.shape != wanted.shape:
            return _form(got.shape, wanted.shape, str(got.dtype), str(wanted.dtype))
        return _values(got, wanted, tolerance)
    if isinstance(wanted, tuple | list):
        return _sequence(got, wanted, tolerance)
    return _scalar(got, wanted, tolerance)


def changed(now: Any, before: Any) -> bool:
    """Whether a call has changed a tensor or an array among its arguments."""
    if isinstance(before, tuple | list):
        return len(now) != len(before) or any(changed(a, b) for a, b in zip(now, before, strict=True))
    if isinstance(before, Tensor | np.ndarray):
        return first_difference(now, before) is not None
    return False


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _form(got: tuple[int, ...], wanted: tuple[int, ...], got_type: str, wanted_type: str) -> str:
    if got != wanted:
        return f"the shape is {tuple(got)}, but should be {tuple(wanted)}"
    return f"the dtype is {got_type}, but should be {wanted_type}"


def _values(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> str | None:
    if wanted.dtype.kind in "fc":
        with np.errstate(invalid="ignore"):
            reach = tolerance * np.maximum(1.0, np.abs(wanted))
            same = (np.abs(got - wanted) <= reach) | (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    else:
        same = got == wanted
    wrong = np.argwhere(~same)
    if not len(wrong):
        return None
    place = tuple(int(i) for i in wrong[0])
    where = f"[{', '.join(map(str, place))}]" if place else ""
    count = f"{len(wrong)} of {got.size} values differ; the first is " if got.size > 1 else "the value is "
    place_words = f"{where}: " if where else ""
    return count + place_words + f"{_number(got[place])}, but should be {_number(wanted[place])}"


def _number(value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value
    return f"{value:.5g}" if isinstance(value, float) else repr(value)


def _sequence(got: Any, wanted: tuple | list, tolerance: float) -> str | None:
    if not isinstance(got, tuple | list):
        return f"expected {_kind(wanted)} of {len(wanted)}, but you returned {_kind(got)}"
    if len(got) != len(wanted):
        return f"expected {len(wanted)} items, but you returned {len(got)}"
    for i, (one, other) in enumerate(zip(got, wanted, strict=True)):
        found = first_difference(one, other, tolerance)
        if found:
            return f"item {i} of the result: {found}"
    return None


def _scalar(got: Any, wanted: Any, tolerance: float) -> str | None:
    if isinstance(got, Tensor | np.ndarray | np.generic) and _is_single(got):
        got = got.item()
    if isinstance(wanted, bool | str) or wanted is None:
        same = type(got) is type(wanted) and got == wanted
    elif isinstance(got, bool) or not isinstance(got, int | float):
        return f"expected a number, but you returned {_kind(got)}"
    elif isinstance(wanted, int):
        same = got == wanted
    else:
        same = abs(got - wanted) <= tolerance * max(1.0, abs(wanted)) or (got != got and wanted != wanted)
    return None if same else f"the result is {_number(got)}, but should be {_number(wanted)}"


def _is_single(value: Any) -> bool:
    return (value.numel() if isinstance(value, Tensor) else value.size) == 1
