"""The four switches as bits, and which trace answers each of their sixteen settings."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from htc_lab.config import HTC, INTERLEAVED, MASK_FLOW, PLAIN_CASCADE, Toggles
from htc_lab.errors import InputError

IDEAS = ("interleaved", "mask_flow", "semantic_box", "semantic_mask")
"""Names of ``Toggles`` behind the four switches, in the order of the bits."""

ALL_BITS: tuple[str, ...] = tuple("".join(bits) for bits in product("01", repeat=len(IDEAS)))

OffMeans = Literal["trained_without", "switched_off"]

TITLES = {"0000": "Plain cascade", "1000": "+ Interleaved", "1100": "+ Mask flow", "1111": "HTC"}
_WORDS = ("Interleaved", "Mask flow", "Semantic → boxes", "Semantic → masks")


def bits_of(toggles: Toggles) -> str:
    """``"1100"`` for toggles with the first two ideas on."""
    return "".join(str(int(getattr(toggles, name))) for name in IDEAS)


def toggles_of_bits(bits: str, like: Toggles = HTC) -> Toggles:
    """The toggles those bits stand for; stages and averaging are those of ``like``.

    Raises:
        InputError: not four characters 0 or 1.
    """
    if bits not in ALL_BITS:
        raise InputError(
            f"'{bits}' does not say which ideas are on; give four characters 0 or 1, in the order {IDEAS}"
        )
    return dataclasses.replace(like, **{name: bit == "1" for name, bit in zip(IDEAS, bits, strict=True)})


def title_of(bits: str) -> str:
    """In words: the rung of the paper's ladder, or the ideas that are on."""
    if bits in TITLES:
        return TITLES[bits]
    words = " + ".join(word for word, bit in zip(_WORDS, bits, strict=True) if bit == "1")
    return words.replace(" + ".join(_WORDS[2:]), "Semantic")


def can_serve(have: Toggles, bits: str) -> bool:
    """Whether weights trained with ``have`` can run with these ideas on."""
    wanted = toggles_of_bits(bits, have)
    return (have.mask_flow or not wanted.mask_flow) and (have.semantic or not wanted.semantic)


@dataclass(frozen=True)
class Answer:
    """What is shown where a person asks for some ideas.

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
            the model trained so; where there is none, the richest model again, said to be not trained so.
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


RUNG_BITS: tuple[str, ...] = tuple(bits_of(t) for t in (PLAIN_CASCADE, INTERLEAVED, MASK_FLOW, HTC))
