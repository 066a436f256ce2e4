"""What the paper reports (COCO val2017, R-50), and what the rungs of its ladder are called here.

AP in points, from tables 2 to 5 of arXiv 1901.07518.
"""

from htc_lab.ideas import LADDER, PLAIN
from htc_lab.toggles import BESIDE_THE_LADDER, HTC, RUNGS, Toggles
from htc_lab.wording import uncapitalised


def _title(name: str, toggles: Toggles) -> str:
    """A rung by the step it adds; another combination by all its ideas."""
    steps = [step.name for step in LADDER if step.is_on(toggles.ideas)]
    if not steps:
        return PLAIN
    if name in RUNGS:
        return f"+ {steps[-1]}{' (HTC)' if toggles == HTC else ''}"
    first, *others = steps
    return ", ".join((first, *map(uncapitalised, others))) if others else f"{first} alone"


TITLES = {name: _title(name, toggles) for name, toggles in (RUNGS | BESIDE_THE_LADDER).items()}

# Table 2: the ladder.
PAPER_BOX_AP = {"plain_cascade": 42.5, "interleaved": 42.5, "mask_flow": 42.5, "htc": 43.2}
PAPER_MASK_AP = {"plain_cascade": 36.5, "interleaved": 36.7, "mask_flow": 37.4, "htc": 38.0}

# Table 3: masks of stages 1, 2, 3 alone and their mean, without a semantic branch.
PAPER_STAGE_MASK_AP = {"interleaved": (35.5, 36.3, 35.9, 36.7), "mask_flow": (35.5, 37.0, 36.8, 37.4)}

# Table 4: where the semantic feature goes, on the plain cascade.
PAPER_FUSION = {"nowhere": 36.5, "boxes": 37.3, "masks": 37.4, "boxes and masks": 37.5}

# Table 5: beta, the weight of the semantic loss.
PAPER_SEMANTIC_WEIGHT = {0.5: 37.9, 1.0: 38.0, 2.0: 37.9, 3.0: 37.8}


def title_of(rung: str) -> str:
    """A rung's name in words, without the ladder's "+"."""
    return TITLES[rung].removeprefix("+ ")
