"""The ideas of the paper as switches, and the four rungs of its ladder."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from htc_lab.errors import InputError


@dataclass(frozen=True)
class Toggles:
    """The ideas of the paper as switches. Any combination is legal.

    Attributes:
        interleaved: masks of stage t are taken on the boxes stage t has just refined (eq. 2). It is an
            idea about training: at test time final masks always come from the final boxes, and the
            switch decides only which boxes the per-stage view uses.
        mask_flow: the mask head of stage t also sees the mask feature of stage t - 1 (eqs. 3-5).
        semantic_box: the semantic feature is added to the box features (eq. 6).
        semantic_mask: the semantic feature is added to the mask features (eq. 6).
        average_masks: at test time, the mean of the stages' mask probabilities; off: the last stage's alone.
        stages: how many stages of the cascade run, 1 to 3.
    """

    interleaved: bool = True
    mask_flow: bool = True
    semantic_box: bool = True
    semantic_mask: bool = True
    average_masks: bool = True
    stages: int = 3

    def __post_init__(self) -> None:
        for name in SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"Toggles.{name} is {getattr(self, name)!r}; give True or False")
        if type(self.stages) is not int or self.stages not in (1, 2, 3):
            raise InputError(f"Toggles.stages is {self.stages!r}; give 1, 2 or 3")

    @property
    def semantic(self) -> bool:
        """Whether the semantic branch is needed at all."""
        return self.semantic_box or self.semantic_mask


SWITCHES = ("interleaved", "mask_flow", "semantic_box", "semantic_mask", "average_masks")

PLAIN_CASCADE = Toggles(interleaved=False, mask_flow=False, semantic_box=False, semantic_mask=False)
INTERLEAVED = dataclasses.replace(PLAIN_CASCADE, interleaved=True)
MASK_FLOW = dataclasses.replace(INTERLEAVED, mask_flow=True)
HTC = Toggles()

# The ladder of the paper's table 2, from the bottom up.
RUNGS: dict[str, Toggles] = {
    "plain_cascade": PLAIN_CASCADE,
    "interleaved": INTERLEAVED,
    "mask_flow": MASK_FLOW,
    "htc": HTC,
}

# The combinations of the three ideas that no rung has: with them each idea can be seen in every company.
BESIDE_THE_LADDER: dict[str, Toggles] = {
    "flow_alone": dataclasses.replace(PLAIN_CASCADE, mask_flow=True),
    "semantic_alone": dataclasses.replace(HTC, interleaved=False, mask_flow=False),
    "interleaved_semantic": dataclasses.replace(HTC, mask_flow=False),
    "flow_semantic": dataclasses.replace(HTC, interleaved=False),
}


def parse_toggles(text: str) -> Toggles:
    """Toggles from words: a rung's name, or switches joined by "+" ("none" for no switch).

    ``htc``, ``plain_cascade``, ``interleaved+mask_flow``, ``mask_flow+semantic_mask+stages=2``. A sum of
    switches averages the stages' masks, as the rungs do; add ``last_mask`` for the last stage's alone.

    Raises:
        InputError: a word that is none of these; the message lists them.
    """
    if text in RUNGS:
        return RUNGS[text]
    values: dict[str, Any] = dict.fromkeys(SWITCHES, False) | {"average_masks": True}
    for word in text.split("+"):
        if word in SWITCHES:
            values[word] = True
        elif word.startswith("stages=") and word[7:].isascii() and word[7:].isdigit() and len(word) < 10:
            values["stages"] = int(word[7:])
        elif word == "last_mask":
            values["average_masks"] = False
        elif word != "none":
            raise InputError(
                f"--toggles {text:.80}: '{word:.40}' is not a toggle; take one of {', '.join(RUNGS)}, or "
                f"join {', '.join(SWITCHES)}, stages=N, last_mask with '+'"
            )
    return Toggles(**values)
