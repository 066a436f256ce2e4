"""The sentences under a stage view: what is seen, in words."""

import dataclasses

from htc_lab.explorer.stage_session import PROPOSALS, RESULT, StageSession, ViewState
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.plots.objects import compare_with_truth
from htc_lab.structures import Targets


def describe(session: StageSession, state: ViewState) -> str:
    """What is seen: objects found, mean IoU with the truth, and both against the model as trained."""
    _, targets = session.picture(state.model, state.picture)
    if state.stage == PROPOSALS:
        return _proposals(session, state, targets)
    found = session.shown(state)
    where = "Mean of the stages" if state.toggles.average_masks else "Last stage alone"
    where = where if state.stage == RESULT else f"Stage {state.stage}"
    if targets is None:
        return f"{where}: {len(found)} objects scoring at least {state.threshold:.2f}."
    comparison = compare_with_truth(found, targets)
    words = f"{where}: {comparison.found} of {len(targets.boxes)} objects found, {comparison.false} false"
    iou = session.mean_iou(state)
    if iou is None:
        return words + "."
    words += f"; mean mask IoU with the truth {iou:.2f} in this picture"
    trained = session.models[state.model].config.toggles
    if state.toggles != trained:
        before = session.mean_iou(dataclasses.replace(state, toggles=trained))
        if before is not None:
            change = f"{iou - before:+.2f}".replace("-", "\N{MINUS SIGN}")
            words += f", {change} against the model as it was trained"
    return words + ". A missed object counts 0."


def _proposals(session: StageSession, state: ViewState, targets: Targets | None) -> str:
    boxes = session.trace(state).proposals.rois.boxes
    words = f"{len(boxes)} proposals, without class or mask; those that end as objects are in colour"
    if targets is None or len(targets.boxes) == 0 or len(boxes) == 0:
        return words + "."
    best = pairwise_iou(targets.boxes, boxes).max(dim=1).values
    return words + f". Mean box IoU of each true object with its nearest proposal: {float(best.mean()):.2f}."


def remark(session: StageSession, state: ViewState) -> str:
    """What to keep in mind when reading this state, or nothing."""
    trained = session.models[state.model].config.toggles
    if state.toggles.interleaved != trained.interleaved:
        if state.stage == RESULT:
            return (
                "Interleaving is an idea about training: at test time the final masks always come from the "
                "final boxes, so this switch changes only the view of stages 1 to 3."
            )
        if state.stage != PROPOSALS:
            boxes = "it has just refined" if state.toggles.interleaved else "it received"
            return f"Stage {state.stage} now takes its masks on the boxes {boxes}; the result stays the same."
    on = state.toggles.ideas
    off = [idea.name for idea in trained.ideas if idea not in on and not idea.cut]
    if not off:
        return ""
    it = "it" if len(off) == 1 else "them"
    return (
        f"{', '.join(off)}: switched off in a model trained with {it}. "
        f"A model trained without {it} can do better than this."
    )
