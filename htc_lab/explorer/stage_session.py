"""What a stage view shows, without its widgets: pictures, cached traces and the drawing."""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from htc_lab.config import Toggles
from htc_lab.data.dataset import CocoDataset, Sample, read_image
from htc_lab.data.transforms import resize_image, resize_sample
from htc_lab.errors import InputError
from htc_lab.ideas import IDEAS
from htc_lab.model import HybridTaskCascade
from htc_lab.plots.drawing import draw_boxes, draw_detections
from htc_lab.plots.objects import ObjectNumbers, compare_with_truth, select, stage_view
from htc_lab.structures import Detections, Features, Proposals, Targets
from htc_lab.toggles import EVERY_IDEA
from htc_lab.trace import StageTrace

PROPOSALS, RESULT = 0, 4
"""Values of ``ViewState.stage`` besides 1, 2 and 3."""

_KEPT_FEATURES, _KEPT_TRACES = 4, 32
_JPEG_QUALITY = 90

SWITCH_WORDS: dict[str, str] = {idea.field: idea.name for idea in IDEAS} | {"average_masks": "Average masks"}

Picture = Sample | Tensor | Path | str
Pictures = Picture | Sequence[Picture] | CocoDataset
T = TypeVar("T")


@dataclass(frozen=True)
class ViewState:
    """All that a person has set.

    Attributes:
        model: name of the model.
        picture: place in the list of pictures, from 0.
        toggles: what is on.
        stage: 0 the proposals, 1 to 3 a stage, 4 the result.
        threshold: detections scoring below are not shown.
        truth, masks, boxes, labels: what is drawn.
    """

    model: str
    toggles: Toggles
    picture: int = 0
    stage: int = RESULT
    threshold: float = 0.3
    truth: bool = False
    masks: bool = True
    boxes: bool = True
    labels: bool = True


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


class StageSession:
    """Models and pictures, and what was computed of them so far.

    ``encode`` and ``propose`` run once for a model and a picture, ``cascade`` once for a set of toggles.
    """

    def __init__(self, models: Mapping[str, HybridTaskCascade], pictures: Pictures) -> None:
        """See the class. The models are put into evaluation mode.

        Raises:
            InputError: no model or no picture.
        """
        if not models:
            raise InputError("models: is empty; give a model, or a dict of models by name")
        if isinstance(pictures, Sample | Tensor | Path | str):
            pictures = [pictures]
        if len(pictures) == 0:
            raise InputError("pictures: is empty; give at least one picture")
        self.models = {name: model.eval() for name, model in models.items()}
        self.pictures: Sequence[Picture] | CocoDataset = pictures
        self._samples = _Kept(_KEPT_FEATURES)
        self._features = _Kept(_KEPT_FEATURES)
        self._traces = _Kept(_KEPT_TRACES)
        self._pasted = _Kept(_KEPT_TRACES)
        self._numbers: dict[int, ObjectNumbers] = {}

    def picture(self, model: str, i: int) -> tuple[Tensor, Targets | None]:
        """Picture ``i`` at the test size of the model, (3, H, W) uint8, and its truth where it has one."""
        size = self.models[model].config.image
        return self._samples.get(
            (i, size.short, size.long), lambda: _fitted(self.pictures[i], size.short, size.long)
        )

    def trace(self, state: ViewState) -> StageTrace:
        """The cascade's run for this state.

        Raises:
            InputError: the weights can't serve the toggles.
        """
        model, key = self.models[state.model], (state.model, state.picture)

        def encode() -> tuple[Features, Proposals]:
            with torch.inference_mode():
                features = model.encode([self.picture(*key)[0]])
                return features, model.propose(features)

        # The per-stage view costs as much again as the result: it is computed where a stage is looked at.
        per_stage_view = state.stage not in (PROPOSALS, RESULT)

        def cascade() -> StageTrace:
            with torch.inference_mode():
                return model.cascade(*self._features.get(key, encode), state.toggles, per_stage_view)

        return self._traces.get((*key, state.toggles, per_stage_view), cascade)

    def refusals(self, model: str) -> dict[str, str]:
        """The switches this model's weights can't serve, with the reason."""
        lacking = EVERY_IDEA.lacking(self.models[model].config.toggles)
        return {
            idea.field: f"this model was trained without {part.name} and has no weights for it"
            for idea, part in lacking.items()
        }

    def _chosen(self, state: ViewState) -> Int[Tensor, " n"]:
        """Places in the trace of the detections this state shows, best first."""
        trace = self.trace(state)
        scores = trace.scores if state.stage in (PROPOSALS, RESULT) else trace.stage_scores(state.stage - 1)
        order = torch.argsort(scores, descending=True, stable=True)
        return order[scores[order] >= state.threshold]

    def _everything(self, state: ViewState) -> Detections:
        """All detections at this stage, with pasted masks."""
        key = (state.model, state.picture, state.toggles, state.stage)

        def paste() -> Detections:
            trace = self.trace(state)
            if state.stage in (PROPOSALS, RESULT):
                return trace.detections()
            return stage_view(trace, state.stage - 1)

        return self._pasted.get(key, paste)

    def shown(self, state: ViewState) -> Detections:
        """The detections this state shows, best first; at the proposals, with the boxes they started from."""
        found = self._everything(state)
        if state.stage == PROPOSALS:
            trace = self.trace(state)
            found = dataclasses.replace(found, boxes=trace.proposals.rois.boxes[trace.detected])
        return select(found, self._chosen(state))

    def numbers(self, state: ViewState) -> list[int]:
        """The number of each object of ``shown``: an object keeps its number under every model and toggle."""
        _, targets = self.picture(state.model, state.picture)
        known = self._numbers.setdefault(state.picture, ObjectNumbers(targets))
        numbers = known.of(self._everything(dataclasses.replace(state, stage=RESULT)))
        return [numbers[i] for i in self._chosen(state).tolist()]

    def draw(self, state: ViewState, side: int = 512) -> np.ndarray:
        """The picture of this state: (h, w, 3) uint8 RGB."""
        image, targets = self.picture(state.model, state.picture)
        found, numbers = self.shown(state), self.numbers(state)
        model = self.models[state.model]
        truth = targets if state.truth else None
        if state.stage == PROPOSALS:
            proposals = self.trace(state).proposals.rois.boxes
            return draw_boxes(image, proposals, found.boxes, numbers=numbers, truth=truth, side=side)
        false: list[bool] | None = None
        missed: tuple[int, ...] = ()
        if truth is not None:
            comparison = compare_with_truth(found, truth)
            false, missed = (comparison.truth < 0).tolist(), comparison.missed
        return draw_detections(
            image,
            found,
            model.class_names,
            numbers=numbers,
            false=false,
            truth=truth,
            missed=missed,
            masks=state.masks,
            boxes=state.boxes,
            labels=state.labels,
            side=side,
        )

    def jpeg(self, state: ViewState, side: int = 512) -> bytes:
        """The picture of this state as a JPEG file."""
        ok, data = cv2.imencode(
            ".jpg", self.draw(state, side)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        )
        assert ok, "JPEG holds any picture of at least one pixel"
        return data.tobytes()

    def mean_iou(self, state: ViewState) -> float | None:
        """Mean mask IoU over the true objects, a missed one counting 0; None without truth or objects."""
        _, targets = self.picture(state.model, state.picture)
        if targets is None or len(targets.boxes) == 0:
            return None
        comparison = compare_with_truth(self.shown(state), targets)
        return comparison.mean(comparison.mask_iou)


def _fitted(picture: Picture, short: int, long: int) -> tuple[Tensor, Targets | None]:
    if isinstance(picture, str | Path):
        picture = read_image(Path(picture))
    if isinstance(picture, Tensor):
        return resize_image(picture, short, long)[0], None
    sample = resize_sample(picture, short, long)
    return sample.image, sample.targets
