"""The learning rate of a step, and what it is multiplied by for each weight."""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from htc_lab.layers.deformable import DeformConv
from htc_lab.schedule import PartRates, Schedule

# Of a parameter group: what the step's learning rate is multiplied by there.
FACTOR = "lr_factor"

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


def learning_rate(schedule: Schedule, step: int, steps: int) -> float:
    """The learning rate at ``step`` (from 0) of ``steps``: a warm-up, then steps down or a curve.

    With p the share of the curve's way that is done and e its end as a share of the rate:
    cosine: e + (1 - e) (1 + cos(pi p)) / 2; polynomial: e + (1 - e) (1 - p) ** power.
    """
    rate = schedule.lr * schedule.batch / schedule.lr_batch
    if schedule.curve == "steps":
        for fraction in schedule.decay_at:
            if step >= round(fraction * steps):
                rate /= schedule.decay
    else:
        rate *= _on_curve(schedule, step, steps)
    # A short run should not spend most of its steps on warming up.
    warmup = min(schedule.warmup_steps, steps // 4)
    if step < warmup:
        rate *= _warming(schedule, step, warmup)
    return rate


def _on_curve(schedule: Schedule, step: int, steps: int) -> float:
    share = step / steps
    if schedule.curve_levels:
        share = step * schedule.curve_levels // steps / schedule.curve_levels
    length = schedule.curve_to - schedule.curve_from
    done = (share - schedule.curve_from) / length if length > 0 else float(share >= schedule.curve_to)
    done = min(max(done, 0.0), 1.0)
    cosine = (1 + math.cos(math.pi * done)) / 2
    left = cosine if schedule.curve == "cosine" else (1 - done) ** schedule.power
    return schedule.curve_end + (1 - schedule.curve_end) * left


def _warming(schedule: Schedule, step: int, steps: int) -> float:
    """The factor at ``step`` (from 0) of a warm-up of ``steps``."""
    begin = schedule.warmup_from
    if schedule.warmup == "constant":
        return begin
    if schedule.warmup == "exponential":
        return begin ** (1 - step / steps)
    return begin + (1 - begin) * step / steps


def parameter_groups(
    model: nn.Module, weights: Mapping[str, nn.Parameter], schedule: Schedule
) -> list[dict[str, Any]]:
    """The weights in groups for an optimiser, one for each pair of factors.

    A weight whose name contains the ``part`` of one of ``schedule.parts`` has that one's factors and no
    others (the longest such text decides); of the others, biases and norms have theirs. The offsets of a
    deformable convolution count as neither.

    Args:
        model: whose weights they are.
        weights: those to train, by name.
        schedule: the factors.

    Returns:
        Dicts with ``params``, ``weight_decay`` and ``lr_factor``.
    """
    parts = sorted(sorted(schedule.parts, key=lambda p: p.part), key=lambda p: len(p.part), reverse=True)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in weights.items():
        groups.setdefault(_factors(model, name, schedule, parts), []).append(weight)
    return [
        {"params": params, "weight_decay": schedule.weight_decay * decay, FACTOR: lr}
        for (lr, decay), params in groups.items()
    ]


def _factors(model: nn.Module, name: str, schedule: Schedule, parts: list[PartRates]) -> tuple[float, float]:
    """Of the learning rate and of the weight decay of the weight of that name."""
    for part in parts:
        if part.part in name:
            return part.lr, part.decay
    path, _, last = name.rpartition(".")
    owner = model.get_submodule(path)
    if isinstance(owner, _NORMS):
        return 1.0, schedule.norm_decay
    above = model.get_submodule(path.rpartition(".")[0])
    if last == "bias" and not isinstance(above, DeformConv):
        return schedule.bias_lr, schedule.bias_decay
    return 1.0, 1.0
