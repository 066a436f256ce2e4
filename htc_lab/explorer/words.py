"""The words of the still figure and of the stage view, which are the browser's too: titles and captions."""

from htc_lab.config import Toggles
from htc_lab.explorer.bits import title_of
from htc_lab.explorer.side import Difference, Side
from htc_lab.wording import counted


def side_title(bits: str, trained: bool, base: str) -> str:
    """The ideas that are on, and which of the two meanings of "off" it is.

    Args:
        bits: of the ideas.
        trained: whether the model was trained with exactly these.
        base: bits the model was trained with.
    """
    return f"{title_of(bits)}, " + ("trained so" if trained else f"switched off in {title_of(base)}")


def stage_words(stage: int, last: int, averaged: bool = True) -> str:
    """What is looked at: 0 the proposals, 1 to T a stage, T + 1 (``last``) the result."""
    if stage == 0:
        return "proposals"
    if stage < last:
        return f"stage {stage}"
    return "mean of the stages' masks" if averaged else "the last stage's masks alone"


def counts(side: Side) -> str:
    """How many objects are shown, and how many of them are right."""
    shown = len(side.objects)
    if side.stage == 0:
        return f"the RoIs of {counted(shown, 'shown object')}; no class yet, no masks"
    if side.true is None:
        return f"{counted(shown, 'object')} shown; no truth for this picture"
    found = side.true - len(side.missed)
    return f"{found} of {counted(side.true, 'object')} found, {side.false} false, {len(side.missed)} missed"


def difference_words(difference: Difference) -> str:
    """The key of the difference's two colours."""
    return (
        f"blue: gained {difference.gained_pixels:,} px, orange: lost {difference.lost_pixels:,} px, "
        f"against {difference.against}"
    )


def remark(stage: int, last: int, on: Toggles, trained: Toggles) -> str:
    """What to keep in mind about a model that runs with other ideas than it was trained with, or nothing.

    Args:
        stage, last: as for :func:`stage_words`.
        on: the ideas it runs with.
        trained: those it was trained with.
    """
    if stage and on.interleaved != trained.interleaved:
        if stage == last:
            return (
                "Interleaving is an idea about training: at test time the final masks always come from the "
                f"final boxes, so this switch changes only the view of stages 1 to {last - 1}."
            )
        boxes = "it has just refined" if on.interleaved else "it received"
        return f"Stage {stage} now takes its masks on the boxes {boxes}; the result stays the same."
    off = [idea.name for idea in trained.ideas if idea not in on.ideas and not idea.cut]
    if not off:
        return ""
    it = "it" if len(off) == 1 else "them"
    return (
        f"{', '.join(off)}: switched off in a model trained with {it}. "
        f"A model trained without {it} can do better than this."
    )
