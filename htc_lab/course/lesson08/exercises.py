"""08: the learning rate of a full training."""

from collections.abc import Sequence
from typing import Any

from htc_lab.course.exercise import Case, Exercise, Mistake
from htc_lab.course.shared_draws import generator_of, whole
from htc_lab.schedule import Schedule
from htc_lab.train.rates import learning_rate

_WARMUP = 500


def rate_factor(step: int, steps: int, batch: int, decay_at: Sequence[float]) -> float:
    """The factor on the paper's learning rate of 0.02 at a step, counted from 0."""
    schedule = Schedule(lr=1.0, batch=batch, lr_batch=16, decay_at=tuple(decay_at), warmup_steps=_WARMUP)
    return learning_rate(schedule, step, steps)


def _rate_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    cases = []
    for words, decay_at in (("1x", (8 / 12, 11 / 12)), ("20e", (16 / 20, 19 / 20))):
        steps, batch = 1000 * whole(g, 20, 60), (2, 4, 8, 32)[whole(g, 0, 3)]
        first, second = (round(fraction * steps) for fraction in decay_at)
        places = (0, whole(g, 100, 400), _WARMUP, first - 1, first, second)
        cases += [
            Case(f"step {step} of {steps}, batch {batch}, {words}", (step, steps, batch, decay_at))
            for step in places
        ]
    return cases


def _no_batch(step: int, steps: int, batch: int, decay_at: Sequence[float]) -> Any:
    return rate_factor(step, steps, 16, decay_at)


def _no_warmup(step: int, steps: int, batch: int, decay_at: Sequence[float]) -> Any:
    return rate_factor(max(step, _WARMUP), steps, batch, decay_at)


def _one_decay(step: int, steps: int, batch: int, decay_at: Sequence[float]) -> Any:
    return rate_factor(step, steps, batch, decay_at[:1])


def _late(step: int, steps: int, batch: int, decay_at: Sequence[float]) -> Any:
    return rate_factor(step if step <= _WARMUP else step - 1, steps, batch, decay_at)


def _from_zero(step: int, steps: int, batch: int, decay_at: Sequence[float]) -> Any:
    return rate_factor(step, steps, batch, decay_at) if step >= _WARMUP else batch / 16 * step / _WARMUP


RATE = Exercise(
    "08.1",
    "rate_factor",
    "The learning rate of a full training",
    rate_factor,
    _rate_cases,
    "Multiply three factors: batch / 16; a tenth for each fraction of decay_at with step >= fraction * "
    "steps; and, in the first 500 steps, 0.001 + 0.999 * step / 500.",
    (
        Mistake(_no_batch, "The batch makes no difference in your answer. Half the batch, half the rate."),
        Mistake(_no_warmup, "The warm-up is missing: the rate rises over the first 500 steps."),
        Mistake(_from_zero, "The warm-up starts at 0.001 of the rate, not at 0."),
        Mistake(_one_decay, "The second decay is missing. After both, the rate is a hundredth."),
        Mistake(_late, "One step too late: at step = fraction * steps the rate is already a tenth."),
    ),
)

EXERCISES = (RATE,)
