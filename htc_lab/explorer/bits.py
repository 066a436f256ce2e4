"""The ideas as bits, and which trace answers each setting of their switches."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from htc_lab.config import HTC, MASK_FLOW, RUNGS, Toggles
from htc_lab.errors import InputError
from htc_lab.ideas import IDEAS, LADDER, PLAIN, in_short

ALL_BITS: tuple[str, ...] = tuple("".join(bits) for bits in product("01", repeat=len(IDEAS)))

OffMeans = Literal["trained_without", "switched_off"]


def bits_of(toggles: Toggles) -> str:
    """``"1100"`` for toggles with the first two ideas on."""
    return "".join(str(int(getattr(toggles, idea.field))) for idea in IDEAS)


def whole_bits(text: str, where: str = "bits") -> str:
    """One bit for each idea, from a string that may be older than some ideas: those are off.

    Args:
        text: the bits, in the order of ``IDEAS``.
        where: what the message calls them.

    Raises:
        InputError: not characters 0 and 1, or more of them than there are ideas.
    """
    fields = [idea.field for idea in IDEAS]
    count = len(fields)
    if not re.fullmatch("[01]+", text):
        raise InputError(
            f"{where} is '{text:.60}'; give {count} characters 0 or 1, e.g. {bits_of(MASK_FLOW)}, for "
            f"{', '.join(fields)}"
        )
    if len(text) > count:
        raise InputError(
            f"{where} is '{text:.60}', of {len(text)} ideas where this lab knows {count}; update the lab, or "
            f"keep the first {count} characters"
        )
    return text.ljust(count, "0")


def toggles_of_bits(bits: str, like: Toggles = HTC) -> Toggles:
    """The toggles those bits stand for; stages and averaging are those of ``like``.

    Raises:
        InputError: as :func:`whole_bits`.
    """
    on = zip(IDEAS, whole_bits(bits), strict=True)
    return dataclasses.replace(like, **{idea.field: bit == "1" for idea, bit in on})


@dataclass(frozen=True)
class Rung:
    """A rung of the paper's ladder, as the explorer shows it.

    Attributes:
        bits: the ideas that are on.
        title: in words.
        constant: its name in Python, ``htc_lab.CONSTANT``.
    """

    bits: str
    title: str
    constant: str


_RUNG_TITLES = (PLAIN, *(f"+ {step.short}" for step in LADDER[:-1]), "HTC")
LADDER_RUNGS: tuple[Rung, ...] = tuple(
    Rung(bits_of(toggles), title, name.upper())
    for (name, toggles), title in zip(RUNGS.items(), _RUNG_TITLES, strict=True)
)
_TITLES = {rung.bits: rung.title for rung in LADDER_RUNGS}


def title_of(bits: str) -> str:
    """In words: the rung of the paper's ladder, or the ideas that are on."""
    return _TITLES.get(bits) or in_short(toggles_of_bits(bits).ideas)


def can_serve(have: Toggles, bits: str) -> bool:
    """Whether weights trained with ``have`` can run with these ideas on."""
    return not toggles_of_bits(bits, have).lacking(have)


@dataclass(frozen=True)
class Answer:
    """What is shown if a person asks for some ideas.

    Attributes:
        model: index of the model that runs.
        trained: whether the model was trained with exactly these ideas.
    """

    model: int
    trained: bool


def richest(trained: Sequence[Toggles]) -> int:
    """Index of the model in which ideas are switched off: the one with most of them."""
    return max(range(len(trained)), key=lambda i: (bits_of(trained[i]).count("1"), -i))


def answers(trained: Sequence[Toggles], off_means: OffMeans) -> dict[str, Answer]:
    """For each setting of the switches the model that answers it; settings no weights can serve are left out.

    Args:
        trained: what each model was trained with; of two models with the same ideas the first counts.
        off_means: "switched_off": always the richest model, run with these ideas alone. "trained_without":
            the model trained with exactly these; without one, the richest model again, marked accordingly.
    """
    base = richest(trained)
    exact: dict[str, int] = {}
    if off_means == "trained_without":
        for i, toggles in enumerate(trained):
            exact.setdefault(bits_of(toggles), i)
    found = {}
    for bits in ALL_BITS:
        if bits in exact:
            found[bits] = Answer(exact[bits], True)
        elif can_serve(trained[base], bits):
            found[bits] = Answer(base, bits == bits_of(trained[base]))
    return found
