"""How often a GPU would be waited for: as often for a batch of four as for one image.

There need be no GPU here. The model runs on the CPU along the paths a GPU takes, what ``send`` and ``fetch``
move is marked as being on the one side or the other, and every operation on the device's side whose result
the CPU would have to wait for is counted.
"""

import sys
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from htc_lab import transfer
from htc_lab.config import HTC, PLAIN_CASCADE
from htc_lab.layers import nms
from htc_lab.layers.cpu import pooling
from htc_lab.structures import Targets
from tests.unit.tiny import batch, generator, lively, picture

aten = torch.ops.aten

# Their result has a size that only the values tell, or is a number for Python.
_WAITS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.bincount.default,
    aten.repeat_interleave.Tensor,
    aten.equal.default,
    torch.ops.torchvision.nms.default,
}
_BY_INDEX = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
# They read or make a tensor outside of torch's operations; the latter copies and waits for the copy.
_OUTSIDE = {Tensor.tolist, Tensor.numpy, Tensor.new_tensor}


class OnCPU(Tensor):
    """A tensor that a run on a GPU would have on the CPU; what is computed from it is there too."""


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for part in value for t in _tensors(part)] if isinstance(value, (list, tuple)) else []


def _is_masked(index: Any) -> bool:
    return any(t.dtype in (torch.bool, torch.uint8) for t in _tensors(index))


class Waits(TorchDispatchMode):
    """Counts by operation what a GPU would be waited for; operations on the CPU's side are free."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        on_cpu = any(isinstance(t, OnCPU) for t in _tensors(args))
        waits = func in _WAITS or (func in _BY_INDEX and _is_masked(args[1]))
        if waits and not on_cpu:
            self.seen[str(func)] += 1
        return func(*args, **(kwargs or {}))


class _Readings(TorchFunctionMode):
    """Adds to ``Waits`` what never becomes one of torch's operations."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made_there = func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None
        if made_there or (func in _OUTSIDE and not isinstance(args[0], OnCPU)):
            self.waits.seen[func.__name__] += 1
        return func(*args, **kwargs)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The paths of a GPU, on the CPU."""

    monkeypatch.setattr(pooling, "applies", lambda feature: False)
    monkeypatch.setattr(nms, "_image_by_image", nms._all_at_once)


@pytest.fixture
def counted(monkeypatch, as_on_a_gpu):
    """A function that runs another and says what would be waited for."""
    waits = Waits()

    def fetch(values):
        waits.seen["fetch"] += not isinstance(values, OnCPU)
        return values.as_subclass(OnCPU)

    def send(values, device):
        return values.as_subclass(Tensor)

    moves = ((transfer.fetch, fetch), (transfer.send, send))
    for module in [m for name, m in sys.modules.items() if name.startswith("htc_lab.")]:
        for real, marking in moves:
            if getattr(module, real.__name__, None) is real:
                monkeypatch.setattr(module, real.__name__, marking)

    def count(run) -> dict[str, int]:
        waits.seen.clear()
        with _Readings(waits), waits:
            run()
        return dict(waits.seen)

    return count


def _given(targets: Targets) -> Targets:
    """Targets as the loader gives them."""
    parts = (targets.boxes, targets.labels, targets.masks, targets.semantic)
    return Targets(*(part.as_subclass(OnCPU) for part in parts))


# Boxes that are worth an NMS, the NMS, and the best of what it leaves.
_NMS = {"aten.nonzero.default": 1, "torchvision.nms.default": 1, "aten.index.Tensor": 1}


@pytest.mark.parametrize("toggles", [HTC, PLAIN_CASCADE], ids=["htc", "plain"])
def test_a_training_step_waits_as_often_whatever_the_batch(counted, toggles):
    model = lively()

    def waits(images: int) -> dict[str, int]:
        pictures, targets = batch(images)
        targets = [_given(t) for t in targets]
        return counted(lambda: model.losses(pictures, targets, toggles, generator()))

    # Anchors once; per stage what is drawn for boxes (and interleaved for masks again), and the levels both
    # are pooled from.
    asked = 1 + 3 * (4 if toggles.interleaved else 3)
    # The semantic loss tells of how many pixels it is the mean.
    assert waits(1) == _NMS | {"fetch": asked + toggles.semantic}
    assert waits(1) == waits(2) == waits(4)


@pytest.mark.parametrize("toggles", [HTC, PLAIN_CASCADE], ids=["htc", "plain"])
def test_an_inference_waits_as_often_whatever_the_batch(counted, toggles):
    model = lively()

    def waits(images: int) -> dict[str, int]:
        return counted(lambda: model.predict([picture(i) for i in range(images)], toggles))

    # The levels boxes are pooled from in three stages, and masks once; where masks go, and in which image.
    twice = {name: 2 * count for name, count in _NMS.items()}
    assert waits(1) == twice | {"fetch": 3 + 1 + 2}
    assert waits(1) == waits(2) == waits(4)


def test_what_waits_is_noticed(counted):
    """The counter itself: on the device's side every one of these waits, on the CPU's side none."""
    values = torch.arange(6.0)
    mask = values > 2
    cases = [
        lambda v, m: v[m],
        lambda v, m: torch.nonzero(m),
        lambda v, m: v.masked_select(m),
        lambda v, m: v.unique(),
        lambda v, m: v.clone().index_put_((m,), torch.zeros(3)),
        lambda v, m: float(v[0]),
        lambda v, m: bool(m.any()),
        lambda v, m: v.tolist(),
        lambda v, m: v.new_tensor([1.0]),
        lambda v, m: m.long().bincount(),
    ]
    for case in cases:
        assert sum(counted(lambda case=case: case(values, mask)).values()) == 1
        there = values.as_subclass(OnCPU), mask.as_subclass(OnCPU)
        assert counted(lambda case=case, there=there: case(*there)) == {}
    assert counted(lambda: torch.tensor([1.0], device=values.device)) == {"tensor": 1}
    assert counted(lambda: (values + 1)[torch.tensor([2, 3])].sum()) == {}
