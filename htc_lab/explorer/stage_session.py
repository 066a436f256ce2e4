"""What a stage view shows, without its widgets: pictures, cached traces and the drawing."""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from htc_lab.config import Toggles
from htc_lab.data.dataset import CocoDataset, Sample, read_image
from htc_lab.data.transforms import resize_image, resize_sample
from htc_lab.errors import InputError
from htc_lab.evaluate.identity import Identities
from htc_lab.evaluate.matching import compare_with_truth, mask_ious, match_classes
from htc_lab.explorer.bits import bits_of, toggles_of_bits
from htc_lab.explorer.judge import FOUND, errors_of, view
from htc_lab.explorer.side import EDGE, ShownObject, Side, missed_by
from htc_lab.explorer.state import MOST_STAGES, ExplorerState
from htc_lab.explorer.words import side_title
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.model import HybridTaskCascade
from htc_lab.plots.drawing import draw_boxes, draw_detections
from htc_lab.plots.palette import colour_number
from htc_lab.predictors import EncodedImage, ModelPredictor
from htc_lab.stages import mask_flow, plain_cascade, semantic
from htc_lab.structures import Detections, Targets
from htc_lab.toggles import EVERY_IDEA
from htc_lab.trace import StageTrace

_KEPT_FEATURES, _KEPT_TRACES = 4, 32
_JPEG_QUALITY = 90

Picture = Sample | Tensor | Path | str
Pictures = Picture | Sequence[Picture] | CocoDataset
T = TypeVar("T")


@dataclass(frozen=True)
class LiveState:
    """All that a person has set.

    Attributes:
        model: name of the model.
        picture: place in the list of pictures, from 0.
        average_masks: whether the result is the mean of the stages' masks.
        stages: how many stages run.
        shown: the ideas that are on and what is drawn, as in the explorer; a stage beyond those that run is
            the result.
    """

    model: str
    picture: int = 0
    average_masks: bool = True
    stages: int = MOST_STAGES
    shown: ExplorerState = field(default_factory=ExplorerState)

    @property
    def toggles(self) -> Toggles:
        """What is on."""
        like = Toggles(average_masks=self.average_masks, stages=self.stages)
        return toggles_of_bits(self.shown.bits, like)

    @property
    def last(self) -> int:
        """The number of the result's view: one more than the last stage."""
        return self.stages + 1

    @property
    def stage(self) -> int:
        """What is looked at: 0 the proposals, 1 to ``stages`` a stage, ``last`` the result."""
        return min(self.shown.stage, self.last)

    def with_toggles(self, toggles: Toggles) -> "LiveState":
        """The same under other toggles."""
        return dataclasses.replace(
            self,
            average_masks=toggles.average_masks,
            stages=toggles.stages,
            shown=dataclasses.replace(self.shown, bits=bits_of(toggles)),
        )


@dataclass(frozen=True)
class LiveSide(Side):
    """What is on the picture, from a trace.

    Attributes:
        detections: the shown objects, in their order; at the proposals with the boxes they started from.
        mean_iou: mean mask IoU over the true objects, a missed one counting 0; None without truth or objects.
    """

    detections: Detections
    mean_iou: float | None


class _Kept:
    """The last few results of a computation, by key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, object] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        if key not in self._values:
            self._values[key] = make()
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]  # type: ignore[return-value]


def _at_work() -> tuple[Callable[..., Any], ...]:
    """The functions that a lesson may replace with a student's own.

    A trace that was made with others says nothing about the model as it is now.
    """
    return plain_cascade.decode_deltas, mask_flow.fuse, semantic.fuse


class StageSession:
    """Models and pictures, and what has been computed for them so far.

    A picture is encoded once for each model, and the stages run once for each set of toggles.
    """

    def __init__(self, models: Mapping[str, HybridTaskCascade | ModelPredictor], pictures: Pictures) -> None:
        """See the class.

        Raises:
            InputError: no model or no picture.
        """
        if not models:
            raise InputError("models: is empty; give a model, or a dict of models by name")
        if isinstance(pictures, Sample | Tensor | Path | str):
            pictures = [pictures]
        if len(pictures) == 0:
            raise InputError("pictures: is empty; give at least one picture")
        self._predictors = {
            name: model if isinstance(model, ModelPredictor) else ModelPredictor(model)
            for name, model in models.items()
        }
        self.models = {name: predictor.model for name, predictor in self._predictors.items()}
        self.pictures: Sequence[Picture] | CocoDataset = pictures
        self._samples = _Kept(_KEPT_FEATURES)
        self._encoded = _Kept(_KEPT_FEATURES)
        self._traces = _Kept(_KEPT_TRACES)
        self._pasted = _Kept(_KEPT_TRACES)
        self._numbers = _Kept(_KEPT_TRACES)
        self._sides = _Kept(_KEPT_TRACES)
        self._things: dict[tuple[int, int, int], Identities] = {}

    def picture(self, model: str, i: int) -> tuple[Tensor, Targets | None]:
        """Picture ``i`` at the test size of the model, (3, H, W) uint8, and its truth where it has one."""
        size = self.models[model].config.image
        return self._samples.get(
            (i, size.short, size.long), lambda: _fitted(self.pictures[i], size.short, size.long)
        )

    def trace(self, state: LiveState) -> StageTrace:
        """The cascade's run for this state.

        Raises:
            InputError: the weights can't serve the toggles.
        """
        key = (state.model, state.picture)

        def encode() -> EncodedImage:
            return self._predictors[state.model].encode(self.picture(*key)[0])

        # The per-stage view costs as much again as the result: it is computed where a stage is looked at.
        per_stage_view = 0 < state.stage < state.last

        def cascade() -> StageTrace:
            return self._encoded.get(key, encode).trace(state.toggles, per_stage_view)

        return self._traces.get((*_run(state), per_stage_view), cascade)

    def refusals(self, model: str) -> dict[str, str]:
        """The switches this model's weights can't serve, with the reason."""
        lacking = EVERY_IDEA.lacking(self.models[model].config.toggles)
        return {
            idea.field: f"this model was trained without {part.name} and has no weights for it"
            for idea, part in lacking.items()
        }

    def _everything(self, state: LiveState, stage: int) -> Detections:
        """All detections at a stage or in the result, with pasted masks, on the CPU."""
        return self._pasted.get((*_run(state), stage), lambda: view(self.trace(state), stage).to("cpu"))

    def side(self, state: LiveState) -> LiveSide:
        """What this state shows: the detections that reach the threshold, and what the truth says of them."""
        key = (*_run(state), state.stage, state.shown.threshold)
        return self._sides.get(key, lambda: self._side(state))

    def _side(self, state: LiveState) -> LiveSide:
        stage, trace, (_, targets) = state.stage, self.trace(state), self.picture(state.model, state.picture)
        found = self._everything(state, stage or state.last)
        chosen = torch.nonzero(found.scores >= state.shown.threshold - EDGE).squeeze(1)
        numbers = self._numbers_of(state)
        found = found.select(chosen)
        if stage == 0:
            start = trace.proposals
            boxes, scores = (each[trace.detected].cpu()[chosen] for each in (start.rois.boxes, start.scores))
            found = dataclasses.replace(found, boxes=boxes, scores=scores)
        errors, missed, mean_iou = np.full(len(chosen), FOUND), [], None
        if targets is not None and stage:
            labels, true_labels = found.labels.numpy(), targets.labels.numpy()
            near = pairwise_iou(found.boxes, targets.boxes) > 0
            iou = mask_ious(found.masks, targets.masks, near)
            match = match_classes(iou, found.scores.numpy(), labels, true_labels)
            errors = errors_of(match, iou, labels, true_labels)
            missed = missed_by(match.tolist(), len(true_labels))
            if len(true_labels):
                mean_iou = float(iou[match >= 0, match[match >= 0]].sum()) / len(true_labels)
        objects = [
            ShownObject(
                numbers[place],
                int(found.labels[i]),
                float(found.scores[i]),
                found.boxes[i].numpy(),
                found.masks[i].numpy() if stage else None,
                int(errors[i]),
            )
            for i, place in enumerate(chosen.tolist())
        ]
        trained = self.models[state.model].config.toggles
        title = side_title(state.shown.bits, state.shown.bits == bits_of(trained), bits_of(trained))
        true = None if targets is None else len(targets.boxes)
        return LiveSide(title, stage, objects, true, missed, found, mean_iou)

    def _numbers_of(self, state: LiveState) -> list[int]:
        """The number of each detection: an object keeps its own under every model and toggle."""

        def number() -> list[int]:
            _, targets = self.picture(state.model, state.picture)
            rois, result = self.trace(state).detected.cpu(), self._everything(state, state.last)
            match = None if targets is None else compare_with_truth(result, targets).truth.numpy()
            size = self.models[state.model].config.image
            things = self._things.setdefault((state.picture, size.short, size.long), Identities(targets))
            # The proposals, and so the RoIs, are the same under all toggles.
            return things.of(state.model, rois, result.labels, result.boxes, result.scores, match)

        return self._numbers.get(_run(state), number)

    def draw(self, state: LiveState, side: int = 512) -> np.ndarray:
        """The picture of this state: (h, w, 3) uint8 RGB."""
        image, targets = self.picture(state.model, state.picture)
        shown, layers = self.side(state), state.shown.show
        numbers = [colour_number(each.thing, shown.true or 0) for each in shown.objects]
        truth = targets if "truth" in layers else None
        if shown.stage == 0:
            proposals = self.trace(state).proposals.rois.boxes
            return draw_boxes(
                image, proposals, shown.detections.boxes, numbers=numbers, truth=truth, side=side
            )
        return draw_detections(
            image,
            shown.detections,
            self.models[state.model].class_names,
            numbers=numbers,
            false=[each.error != FOUND for each in shown.objects],
            truth=truth,
            missed=shown.missed,
            masks="masks" in layers,
            boxes="boxes" in layers,
            labels="labels" in layers,
            side=side,
        )

    def jpeg(self, state: LiveState, side: int = 512) -> bytes:
        """The picture of this state as a JPEG file."""
        ok, data = cv2.imencode(
            ".jpg", self.draw(state, side)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        )
        assert ok, "JPEG holds any picture of at least one pixel"
        return data.tobytes()


def _run(state: LiveState) -> tuple[Hashable, ...]:
    """What a trace depends on."""
    return state.model, state.picture, state.toggles, _at_work()


def _fitted(picture: Picture, short: int, long: int) -> tuple[Tensor, Targets | None]:
    if isinstance(picture, str | Path):
        picture = read_image(Path(picture))
    if isinstance(picture, Tensor):
        return resize_image(picture, short, long)[0], None
    sample = resize_sample(picture, short, long)
    return sample.image, sample.targets
