"""The ideas of the paper, one record each. Whatever lists ideas reads it here.

A record gives an idea its switch, its words, its bit in a shared link and its wires in the diagram. What the
idea computes is written in ``stages/`` and called in ``cascade.py``. Nothing here needs torch.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal


@dataclass(frozen=True)
class Part:
    """A part of the network that ideas need; a model without these ideas is built without it.

    Attributes:
        key: one word, for messages.
        name: in words, with the article.
        weights: the names of its weights, ``*`` standing for the stage and for what follows.
    """

    key: str
    name: str
    weights: str

    def is_in(self, names: Iterable[str]) -> bool:
        """Whether some of these weights, by name, are its own."""
        return any(fnmatchcase(name, self.weights) for name in names)


@dataclass(frozen=True)
class Wire:
    """A line of the wiring diagram: what enters a stage's box or mask head.

    Attributes:
        source: the stage's own "box" head, its "input" (the boxes it was given), the mask head of the stage
            before ("mask_before"), or the "semantic" branch.
        target: the head it enters.
        on: whether it is drawn while the idea is on, or while it is off.
        first_stage: the first stage that has it, from 1.
        words: the same as a clause, for those who can't see the diagram.
    """

    source: Literal["box", "input", "mask_before", "semantic"]
    target: Literal["box", "mask"]
    on: bool
    first_stage: int = 1
    words: str = ""


@dataclass(frozen=True)
class Idea:
    """One idea, which can be switched on and off.

    Attributes:
        field: its field of :class:`htc_lab.toggles.Toggles`.
        key: the letter that flips it in the explorer.
        knob: the names that hide its switch, separated by spaces.
        name: in full.
        short: for where there is little room.
        equation: of the paper; the other paper's name for an idea of another one.
        says: what it does, beside its switch.
        training: what it changes in training.
        test: what it changes at test time.
        wires: how the diagram shows it.
        cut: what switching it off in a trained model changes, where that is less than one would think.
        needs: the part of the network without which it can't be on; None: it needs no weights of its own.
        mmdet: its name in the reference's configs: an argument of the ``roi_head``, or for the semantic ideas
            an entry of ``semantic_fusion``; "" where the reference doesn't have it.
    """

    field: str
    key: str
    knob: str
    name: str
    short: str
    equation: str
    says: str
    training: str
    test: str
    wires: tuple[Wire, ...]
    cut: str = ""
    needs: Part | None = None
    mmdet: str = ""

    @property
    def hint(self) -> str:
        """What it does and where the paper says so; the equation's number stays on its line."""
        return f"{self.says} ({self.equation.replace(' ', chr(0xA0))})"


FLOW_CONVOLUTIONS = Part("mask_flow", "the mask information flow", "roi_head.mask_head.*.conv_res.*")
SEMANTIC_BRANCH = Part("semantic", "the semantic branch", "roi_head.semantic_head.*")
RELAY_LAYER = Part("feature_relay", "the feature relay", "roi_head.feat_relay_head.*")

# In the order of the bits in shared links: a new idea goes to the end.
IDEAS: tuple[Idea, ...] = (
    Idea(
        field="interleaved",
        key="I",
        knob="interleaved",
        name="Interleaved",
        short="Interleaved",
        equation="eq. 2",
        says="Masks use this stage’s refined boxes",
        training="Each mask head learns on the boxes its stage has just refined, matched to the truth again.",
        test="Only the view of a single stage changes: masks of the result always lie on the final boxes.",
        cut="Per-stage view only: final masks always use the final boxes",
        mmdet="interleaved",
        wires=(
            Wire("box", "mask", True, words="masks of a stage use the boxes it has just refined"),
            Wire("input", "mask", False, words="masks of a stage use the boxes it was given"),
        ),
    ),
    Idea(
        field="mask_flow",
        key="F",
        knob="mask_flow",
        name="Mask information flow",
        short="Mask flow",
        equation="eqs. 3–5",
        says="Each mask head also sees the one before",
        training="The mask loss of a stage also trains the mask heads before it, through their features.",
        test="From stage 2 on, a mask head adds the mask feature of the stage before to its input.",
        needs=FLOW_CONVOLUTIONS,
        mmdet="mask_info_flow",
        wires=(
            Wire("mask_before", "mask", True, first_stage=2, words="each mask head also sees the one before"),
        ),
    ),
    Idea(
        field="semantic_box",
        key="B",
        knob="semantic semantic_box",
        name="Semantic → boxes",
        short="Semantic → boxes",
        equation="eq. 6",
        says="Scene context feeds the box heads",
        training="The branch learns the class of every pixel; the box heads learn with its feature added.",
        test="The semantic feature of a box is added to its box feature: classes, scores and boxes change.",
        needs=SEMANTIC_BRANCH,
        mmdet="bbox",
        wires=(Wire("semantic", "box", True, words="semantic features enter the box heads"),),
    ),
    Idea(
        field="semantic_mask",
        key="M",
        knob="semantic semantic_mask",
        name="Semantic → masks",
        short="Semantic → masks",
        equation="eq. 6",
        says="Scene context feeds the mask heads",
        training="The branch learns the class of every pixel; the mask heads learn with its feature added.",
        test="The semantic feature of a box is added to its mask feature: only masks change.",
        needs=SEMANTIC_BRANCH,
        mmdet="mask",
        wires=(Wire("semantic", "mask", True, words="semantic features enter the mask heads"),),
    ),
    Idea(
        field="feature_relay",
        key="R",
        knob="feature_relay",
        name="Feature relay",
        short="Feature relay",
        equation="SCNet",
        says="The box head hands its feature to the mask head",
        training="Mask heads learn with the box heads’ features; the mask loss also trains the box heads.",
        test="A mask head adds what the box head of its stage knows of the object to its input.",
        needs=RELAY_LAYER,
        wires=(Wire("box", "mask", True, words="each mask head is handed the feature of its box head"),),
    ),
)

PARTS: tuple[Part, ...] = tuple(dict.fromkeys(idea.needs for idea in IDEAS if idea.needs is not None))
"""What models are built with or without, each once."""


@dataclass(frozen=True)
class Step:
    """A step of the paper's ladder: the ideas that are switched on together.

    Attributes:
        key: its name in results.
        name, short: in words, as of an idea.
        ideas: that it adds.
    """

    key: str
    name: str
    short: str
    ideas: tuple[Idea, ...]

    def is_on(self, on: Collection[Idea]) -> bool:
        """Whether some of its ideas are among those that are on."""
        return any(idea in on for idea in self.ideas)


def _alone(idea: Idea) -> Step:
    return Step(idea.field, idea.name, idea.short, (idea,))


# The paper's three ideas, from the bottom up; its semantic branch feeds boxes and masks at once.
LADDER: tuple[Step, ...] = (
    _alone(IDEAS[0]),
    _alone(IDEAS[1]),
    Step("semantic", "Semantic branch", "Semantic", IDEAS[2:4]),
)
BEYOND_THE_PAPER: tuple[Idea, ...] = tuple(
    idea for idea in IDEAS if not any(idea in step.ideas for step in LADDER)
)
"""Ideas of other papers: off unless they are asked for."""

PLAIN = "Plain cascade"
"""What a model without any idea is called."""


def in_short(on: Collection[Idea]) -> str:
    """The ideas that are on, in few words; those of a step that is on as a whole share its name."""
    if not on:
        return PLAIN
    words = []
    for idea in on:
        step = next((step for step in LADDER if idea in step.ideas and set(step.ideas) <= set(on)), None)
        words.append(idea.short if step is None else step.short)
    return " + ".join(dict.fromkeys(words))
