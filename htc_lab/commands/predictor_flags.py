"""Flags of the commands that predict: checkpoints, what each model looks at, what becomes a detection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from htc_lab.commands.numbers import in_range
from htc_lab.config import SoftNMSConfig, Toggles
from htc_lab.layers.soft_nms_config import Decay

if TYPE_CHECKING:
    from htc_lab.model import HybridTaskCascade
    from htc_lab.predictors import Predictor

    Tuning = Callable[[HybridTaskCascade], HybridTaskCascade]

Checkpoints = tyro.conf.UseAppendAction[tuple[str, ...]]
"""``--checkpoint A --checkpoint B``: so a picture's name after a checkpoint isn't taken for another one."""


@dataclass(frozen=True)
class ViewFlags:
    """Several looks at a picture instead of one, merged to one result."""

    views: tuple[str, ...] = ()
    """What each model looks at: SHORTxLONG in px, such as 600x900, or own for its test size; with flip, at
    the mirror image of each too."""
    merge: Literal["roi", "detections"] | None = None
    """How views and models are merged: RoI by RoI on shared proposals (if not given), or the detections of
    all in one NMS. Masks are averaged either way."""


Views = Annotated[ViewFlags, tyro.conf.arg(name="")]
ONE_VIEW = ViewFlags()


@dataclass(frozen=True)
class DetectionFlags:
    """What becomes a detection, instead of what the model's config says."""

    score_threshold: float | None = None
    """Detections score more than this, 0 to 1."""
    max_detections: int | None = None
    """At most so many in a picture, the best ones."""
    soft_nms: Decay | None = None
    """Lower the scores of boxes that overlap a better one instead of dropping them, by mmcv's numbers."""

    def tuning(self) -> "Tuning":
        """Gives a model these settings.

        Raises:
            InputError: a number out of range.
        """
        numbers: dict[str, Any] = {}
        if self.score_threshold is not None:
            in_range("score-threshold", self.score_threshold, 0, 1)
            numbers["score_threshold"] = self.score_threshold
        if self.max_detections is not None:
            in_range("max-detections", self.max_detections, 1, 1_000_000)
            numbers["max_detections"] = self.max_detections
        if self.soft_nms is not None:
            numbers["soft_nms"] = SoftNMSConfig(self.soft_nms)

        def tuned(model: "HybridTaskCascade") -> "HybridTaskCascade":
            from htc_lab.same_weights import with_cascade

            return with_cascade(model, **numbers)

        return tuned


DetectionsKept = Annotated[DetectionFlags, tyro.conf.arg(name="")]
AS_CONFIGURED = DetectionFlags()


def load_predictor(
    checkpoints: Sequence[str],
    device: str,
    looks: ViewFlags,
    tuned: "Tuning",
    toggles: Toggles | None = None,
    bf16: bool = False,
) -> "Predictor":
    """The predictor that the flags of a command ask for.

    Args:
        checkpoints: as for ``load``, at least one.
        device: where the weights go.
        looks: what each model looks at, and the merge.
        tuned: gives a model the settings it is to be tested with.
        toggles: what is on in all of them; None: what each was trained with.
        bf16: convolutions and linear layers in bfloat16.

    Raises:
        InputError: a file, a view or a setting is wrong, or the models don't go together.
    """
    from htc_lab.checkpoint.files import load
    from htc_lab.merged_predictor import predictor_of, require_alike
    from htc_lab.predictors import ModelPredictor
    from htc_lab.views import OWN, parse_views

    views = parse_views(looks.views) if looks.views else OWN
    models = [tuned(load(checkpoint, device)) for checkpoint in checkpoints]
    require_alike([ModelPredictor(model, toggles, bf16) for model in models], checkpoints)
    return predictor_of(models, views, looks.merge, toggles, bf16)
