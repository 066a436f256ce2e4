"""What the explorer shows for a state, looked up in a pack as the browser does it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from htc_lab.explorer.bits import LADDER_RUNGS, title_of
from htc_lab.explorer.pack_format import OpenPack
from htc_lab.explorer.side import EDGE, Difference, ShownObject, Side, difference, missed_by
from htc_lab.explorer.state import ExplorerState
from htc_lab.explorer.words import side_title
from htc_lab.layers.pasting import paste

PLAIN = LADDER_RUNGS[0].bits


@dataclass(frozen=True)
class PackSide(Side):
    """One side of the picture, from a pack.

    Attributes:
        bits: the ideas that are on.
        run: the entry of the pack's index that answers.
        ap: mask AP on this picture of stage 1 to T and of the mean; None where it isn't known.
    """

    bits: str
    run: dict[str, Any]
    ap: list[float | None] | None


def last_view(pack: OpenPack) -> int:
    """The number of the mean's view: one more than the last stage."""
    return int(pack.index["stages"]) + 1


def answer(pack: OpenPack, state: ExplorerState, bits: str) -> tuple[dict[str, Any], bool]:
    """The run that answers a setting, and whether its model was trained so; if none does, the base's."""
    answers = pack.index["answers"]
    base = pack.index["models"][pack.index["base"]]["bits"]
    means = state.off_means if len(pack.index["models"]) > 1 else "switched_off"
    found = answers[means].get(bits) or answers["switched_off"].get(bits) or answers["switched_off"][base]
    return pack.index["runs"][found[0]], bool(found[1])


def side_of(pack: OpenPack, state: ExplorerState, bits: str) -> PackSide:
    """Everything one side of the picture shows."""
    index, blocks = pack.index, pack.blocks
    run, trained = answer(pack, state, bits)
    stage = min(state.stage, last_view(pack))
    scores = blocks[run["scores"][stage]]
    gate = blocks[run["scores"][stage or last_view(pack)]]
    rows = [row for row in range(run["count"]) if gate[row] >= state.threshold - EDGE]
    boxes = blocks[run["boxes"][min(stage, last_view(pack) - 1)]]
    masks: list[np.ndarray | None] = [None] * len(rows)
    if stage and rows:
        height, width = index["size"]
        soft = torch.from_numpy(blocks[run["masks"][stage - 1]][rows].astype(np.float32) / 255)
        where = torch.from_numpy(blocks[run["mask_boxes"][stage - 1]][rows].astype(np.float32))
        masks = list(paste(soft, where, height, width).numpy())
    truth = run["truth"]
    errors = blocks[truth["error"]][stage - 1] if truth is not None and stage else None
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
    true = None if truth is None else int(index["things"]["true"])
    missed = []
    if true is not None and stage:
        missed = missed_by(blocks[truth["match"]][stage - 1][rows].tolist(), true)
    title = side_title(bits, trained, index["models"][run["model"]]["bits"])
    return PackSide(title, stage, objects, true, missed, bits, run, None if truth is None else truth["ap"])


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
    mine, theirs = side_of(pack, state, state.bits), side_of(pack, replace(state, stage=other), bits)
    return difference(mine, theirs, (height, width), words)


def sides_of(pack: OpenPack, state: ExplorerState) -> list[PackSide]:
    """A before B if two are compared, else the one."""
    return [side_of(pack, state, bits) for bits in (state.compare, state.bits) if bits is not None]


def true_masks(pack: OpenPack) -> np.ndarray:
    """(n, H, W) bool: the truth's masks; n = 0 without a truth."""
    height, width = pack.index["size"]
    truth = pack.index["truth"]
    if truth is None:
        return np.zeros((0, height, width), dtype=bool)
    count = len(pack.blocks[truth["labels"]])
    flat = np.unpackbits(pack.blocks[truth["masks"]], count=count * height * width)
    return flat.reshape(count, height, width).astype(bool)
