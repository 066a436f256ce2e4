"""The live view of each lesson, opened at what the lesson is about."""

from collections.abc import Mapping, Sequence

from htc_lab.data.dataset import Sample
from htc_lab.explorer.stage_view import StageView
from htc_lab.model import HybridTaskCascade

Models = HybridTaskCascade | Mapping[str, HybridTaskCascade]


def live_boxes(models: Models, samples: Sequence[Sample]) -> StageView:
    """02: boxes only, starting at the proposals, with the truth."""
    view = StageView(models, list(samples))
    view.set(masks=False, truth=True, stage=1)
    return view


def live_interleaving(models: Models, samples: Sequence[Sample]) -> StageView:
    """03: stage 1, where interleaving changes the most."""
    view = StageView(models, list(samples))
    view.set(stage=1)
    return view


def live_flow(models: Models, samples: Sequence[Sample]) -> StageView:
    """04: stage 3, where switching the flow off shows most."""
    view = StageView(models, list(samples))
    view.set(stage=3)
    return view


def live_context(models: Models, samples: Sequence[Sample]) -> StageView:
    """05: the final result with the truth, to watch the decoys when the semantic switches go off."""
    view = StageView(models, list(samples))
    view.set(truth=True)
    return view
