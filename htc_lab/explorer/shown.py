"""What the explorer shows for a state, looked up in a pack as the browser does it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from htc_lab.explorer.bits import LADDER_RUNGS, title_of
from htc_lab.explorer.blob import OpenPack
from htc_lab.explorer.state import ExplorerState
from htc_lab.layers.pasting import paste

PLAIN = LADDER_RUNGS[0].bits
_EDGE = 1e-6


@dataclass(frozen=True)
class ShownObject:
    """One object on the picture.

    Attributes:
        thing: its number, which its colour follows.
        label: its class.
        score: at the state's stage.
        box: (4,) float32, xyxy px: the proposal's at stage 0.
        mask: (H, W) bool: its pixels; None at stage 0.
        error: 0 where it found an object or nothing is known of the truth; else what is wrong with it.
    """

    thing: int
    label: int
    score: float
    box: np.ndarray
    mask: np.ndarray | None
    error: int


@dataclass(frozen=True)
class ShownSide:
    """One side of the picture: one setting of the switches.

    Attributes:
        bits: the ideas that are on.
        title: in words, and which of the two meanings of "off" it is.
        run: the entry of the pack's index that answers.
        objects: best first.
        ap: mask AP on this picture of stage 1 to T and of the mean; None where it isn't known.
        missed: the true objects that none of the shown ones found; none at the proposals.
    """

    bits: str
    title: str
    run: dict[str, Any]
    objects: list[ShownObject]
    ap: list[float | None] | None
    missed: list[int]


def last_view(pack: OpenPack) -> int:
    """The number of the mean's view: one more than the last stage."""
    return int(pack.index["stages"]) + 1


def answer(pack: OpenPack, state: ExplorerState, bits: str) -> tuple[dict[str, Any], bool]:
    """The run that answers a setting, and whether its model was trained so; where none does, the base's."""
    answers = pack.index["answers"]
    base = pack.index["models"][pack.index["base"]]["bits"]
    means = state.off_means if len(pack.index["models"]) > 1 else "switched_off"
    found = answers[means].get(bits) or answers["switched_off"].get(bits) or answers["switched_off"][base]
    return pack.index["runs"][found[0]], bool(found[1])


def side_of(pack: OpenPack, state: ExplorerState, bits: str) -> ShownSide:
    """Everything one side of the picture shows."""
    index, blocks = pack.index, pack.blocks
    run, trained = answer(pack, state, bits)
    stage = min(state.stage, last_view(pack))
    model = index["models"][run["model"]]
    title = f"{title_of(bits)}, " + ("trained so" if trained else f"switched off in {model['title']}")
    scores = blocks[run["scores"][stage]]
    gate = blocks[run["scores"][stage or last_view(pack)]]
    rows = [row for row in range(run["count"]) if gate[row] >= state.threshold - _EDGE]
    boxes = blocks[run["boxes"][min(stage, last_view(pack) - 1)]]
    masks: list[np.ndarray | None] = [None] * len(rows)
    if stage and rows:
        height, width = index["size"]
        soft = torch.from_numpy(blocks[run["masks"][stage - 1]][rows].astype(np.float32) / 255)
        where = torch.from_numpy(blocks[run["mask_boxes"][stage - 1]][rows].astype(np.float32))
        masks = list(paste(soft, where, height, width).numpy())
    errors = blocks[run["truth"]["error"]][stage - 1] if run["truth"] is not None and stage else None
    things, labels = blocks[run["things"]], blocks[run["labels"]]
    objects = [
        ShownObject(
            int(things[row]),
            int(labels[row]),
            float(scores[row]),
            boxes[row],
            mask,
            0 if errors is None else int(errors[row]),
        )
        for row, mask in zip(rows, masks, strict=True)
    ]
    ap = None if run["truth"] is None else run["truth"]["ap"]
    missed = []
    if run["truth"] is not None and stage:
        found = set(blocks[run["truth"]["match"]][stage - 1][rows].tolist())
        missed = [k for k in range(index["things"]["true"]) if k not in found]
    return ShownSide(bits, title, run, objects, ap, missed)


@dataclass(frozen=True)
class Difference:
    """What the objects of the picture gained and lost against another setting or stage.

    Attributes:
        against: the other one, in words.
        gained: (H, W) bool: pixels of an object that its mask there does not have.
        lost: (H, W) bool: the reverse.
        gained_pixels, lost_pixels: how many; one that several objects gained counts for each.
    """

    against: str
    gained: np.ndarray
    lost: np.ndarray
    gained_pixels: int
    lost_pixels: int


def difference_of(pack: OpenPack, state: ExplorerState) -> Difference | None:
    """Object by object, as the browser shows it: against A, the stage before, or plain cascade.

    Returns:
        None for the proposals, which have no masks.
    """
    stage = min(state.stage, last_view(pack))
    if not stage:
        return None
    other, bits, words = stage, PLAIN, title_of(PLAIN).lower()
    if state.compare is not None:
        bits, words = state.compare, f"A, {title_of(state.compare)}"
    elif state.against == "prev" and stage > 1:
        other, bits, words = stage - 1, state.bits, f"stage {stage - 1}"
    height, width = pack.index["size"]
    empty = np.zeros((height, width), dtype=bool)
    mine, theirs = (
        {each.thing: each.mask for each in side_of(pack, at, bits).objects if each.mask is not None}
        for at, bits in ((state, state.bits), (replace(state, stage=other), bits))
    )
    gained = [mask & ~theirs.get(thing, empty) for thing, mask in mine.items()]
    lost = [mask & ~mine.get(thing, empty) for thing, mask in theirs.items()]
    return Difference(
        words,
        np.logical_or.reduce([empty, *gained]),
        np.logical_or.reduce([empty, *lost]),
        sum(int(each.sum()) for each in gained),
        sum(int(each.sum()) for each in lost),
    )


def sides_of(pack: OpenPack, state: ExplorerState) -> list[ShownSide]:
    """A before B where two are compared, else the one."""
    return [side_of(pack, state, bits) for bits in (state.compare, state.bits) if bits is not None]


def true_masks(pack: OpenPack) -> np.ndarray:
    """(n, H, W) bool: the truth's masks; n = 0 where there is none."""
    height, width = pack.index["size"]
    truth = pack.index["truth"]
    if truth is None:
        return np.zeros((0, height, width), dtype=bool)
    count = len(pack.blocks[truth["labels"]])
    flat = np.unpackbits(pack.blocks[truth["masks"]], count=count * height * width)
    return flat.reshape(count, height, width).astype(bool)
