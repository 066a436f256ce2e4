"""The ideas of the paper as switches, and the four rungs of its ladder."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from htc_lab.errors import InputError
from htc_lab.ideas import IDEAS, SEMANTIC_BRANCH, Idea, Part


@dataclass(frozen=True)
class Toggles:
    """The ideas of the paper as switches. Any combination is legal.

    An idea beyond the paper's is off unless it is asked for; its field goes to the end.

    Attributes:
        interleaved: masks of stage t are taken on the boxes stage t has just refined (eq. 2). It is an
            idea about training: at test time final masks always come from the final boxes, and the
            switch decides only which boxes the per-stage view uses.
        mask_flow: the mask head of stage t also sees the mask feature of stage t - 1 (eqs. 3-5).
        semantic_box: the semantic feature is added to the box features (eq. 6).
        semantic_mask: the semantic feature is added to the mask features (eq. 6).
        average_masks: at test time, the mean of the stages' mask probabilities; off: the last stage's alone.
        stages: how many stages of the cascade run, 1 to 3.
        feature_relay: the mask head also sees the hidden feature of the box head (SCNet, beyond the paper).
    """

    interleaved: bool = True
    mask_flow: bool = True
    semantic_box: bool = True
    semantic_mask: bool = True
    average_masks: bool = True
    stages: int = 3
    feature_relay: bool = False

    def __post_init__(self) -> None:
        for name in SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"Toggles.{name} is {getattr(self, name)!r}; give True or False")
        if type(self.stages) is not int or self.stages not in (1, 2, 3):
            raise InputError(f"Toggles.stages is {self.stages!r}; give 1, 2 or 3")

    @property
    def ideas(self) -> tuple[Idea, ...]:
        """The ideas that are on."""
        return tuple(idea for idea in IDEAS if getattr(self, idea.field))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the network these ideas need, each once."""
        return tuple(dict.fromkeys(idea.needs for idea in self.ideas if idea.needs is not None))

    @property
    def semantic(self) -> bool:
        """Whether the semantic branch is needed at all."""
        return SEMANTIC_BRANCH in self.parts

    def lacking(self, have: "Toggles") -> dict[Idea, Part]:
        """The ideas that are on here but can't be served by weights built for ``have``.

        Returns:
            By idea, the part those weights lack; empty where they can serve all.
        """
        there = have.parts
        return {idea: idea.needs for idea in self.ideas if idea.needs is not None and idea.needs not in there}


SWITCHES = (*(idea.field for idea in IDEAS), "average_masks")

PLAIN_CASCADE = Toggles(interleaved=False, mask_flow=False, semantic_box=False, semantic_mask=False)
INTERLEAVED = dataclasses.replace(PLAIN_CASCADE, interleaved=True)
MASK_FLOW = dataclasses.replace(INTERLEAVED, mask_flow=True)
HTC = Toggles()

EVERY_IDEA = dataclasses.replace(HTC, **{idea.field: True for idea in IDEAS})
"""What a model is built with that can serve all toggles: HTC, and any idea beyond the paper's."""


def built_first(toggles: Toggles) -> Toggles:
    """What has to be built so that ``toggles`` get the weights that a seed gives to every model.

    The parts of the paper's ideas are made between others. The part of a later idea is made after all others,
    so a model without it needn't wait for it.
    """
    last = max(IDEAS.index(idea) for idea in (*HTC.ideas, *toggles.ideas))
    return dataclasses.replace(HTC, **{idea.field: True for idea in IDEAS[: last + 1]})


# The ladder of the paper's table 2, from the bottom up.
RUNGS: dict[str, Toggles] = {
    "plain_cascade": PLAIN_CASCADE,
    "interleaved": INTERLEAVED,
    "mask_flow": MASK_FLOW,
    "htc": HTC,
}

# The combinations of the three ideas that no rung has: with them, each idea's effect is known in all of them.
BESIDE_THE_LADDER: dict[str, Toggles] = {
    "flow_alone": dataclasses.replace(PLAIN_CASCADE, mask_flow=True),
    "semantic_alone": dataclasses.replace(HTC, interleaved=False, mask_flow=False),
    "interleaved_semantic": dataclasses.replace(HTC, mask_flow=False),
    "flow_semantic": dataclasses.replace(HTC, interleaved=False),
}


def written_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of toggles that a file gives, and ideas it has never heard of as off.

    A file older than an idea was written by a model without it, whatever that idea's default is today.
    """
    return {idea.field: False for idea in IDEAS} | dict(values)


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


def words_of(toggles: Toggles) -> str:
    """The inverse of :func:`parse_toggles`: switches joined by "+"."""
    words = [idea.field for idea in toggles.ideas] or ["none"]
    if toggles.stages != HTC.stages:
        words.append(f"stages={toggles.stages}")
    return "+".join([*words, *([] if toggles.average_masks else ["last_mask"])])
