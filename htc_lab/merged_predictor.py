"""One result from several views of a picture or several models, or both: multi-scale test, ensembles."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from htc_lab.errors import InputError
from htc_lab.layers.boxes import encode_deltas
from htc_lab.layers.cascade_config import CascadeConfig
from htc_lab.layers.detection import detect
from htc_lab.looks import Look, joined, mean_masks, shared
from htc_lab.model import HybridTaskCascade
from htc_lab.padded_batch import sizes_of
from htc_lab.predictors import ModelPredictor, Predictor
from htc_lab.same_weights import with_config
from htc_lab.stages import interleaved
from htc_lab.structures import Detections, Proposals, RoIs
from htc_lab.toggles import Toggles, words_of
from htc_lab.trace import StageRecord, StageTrace
from htc_lab.views import OWN, View
from htc_lab.wording import listed

Merge = Literal["roi", "detections"]

_MERGES = {"roi": shared, "detections": joined}

_FOR_ALL = "give all the same by htc_lab.same_weights.with_cascade"
_AGREE = {
    "mask_size": "masks on different grids can't be averaged; merge models that have the same",
    "score_threshold": "give one for all with --score-threshold",
    "max_detections": "give one for all with --max-detections",
    "soft_nms": "give one for all with --soft-nms",
    "nms_iou": _FOR_ALL,
    "mask_threshold": _FOR_ALL,
}
"""Fields of the cascade's config that must be equal, and what to do about it where they aren't."""


def require_alike(members: Sequence[ModelPredictor], names: Sequence[str]) -> None:
    """Check that what several models say can be merged: classes, stages, mask grid, detection settings.

    Args:
        members: in order.
        names: what the message calls them.

    Raises:
        InputError: names two models, what differs and what to do.
    """
    first = members[0]
    for name, member in zip(names[1:], members[1:], strict=True):
        who = f"{name} and {names[0]}"
        if member.class_names != first.class_names:
            others = sorted(set(member.class_names) ^ set(first.class_names))
            what = f"not in both: {', '.join(others[:3])}" if others else "in another order"
            raise InputError(f"{who}: have other classes ({what}); merge models trained on the same classes")
        if member.stages != first.stages:
            fewer = member if member.stages < first.stages else first
            raise InputError(
                f"{who}: run {member.stages} and {first.stages} stages; give both the same toggles, such as "
                f"--toggles {words_of(fewer.running)}"
            )
        for field, fix in _AGREE.items():
            ours, theirs = (getattr(each.model.config.cascade, field) for each in (member, first))
            if ours != theirs:
                raise InputError(f"{who}: cascade.{field} is {ours} and {theirs}; {fix}")
        if member.device != first.device:
            raise InputError(f"{who}: are on {member.device} and {first.device}; load both on one device")


@dataclass(frozen=True)
class MergedPredictor:
    """Several views, several models, or both (:mod:`htc_lab.looks`).

    Each model keeps its own picture size (of the view ``own``), normalisation, toggles and precision. For the
    union of proposals the largest of the RPNs' numbers count; the settings of detections must agree.

    Attributes:
        members: the models.
        views: what each of them looks at.
        merge: "roi": the looks share their proposals and are averaged RoI by RoI. "detections": each has its
            own, and what they detect competes in one NMS.

    Raises:
        InputError: there is nothing to merge, or the models can't be merged.
    """

    members: tuple[ModelPredictor, ...]
    views: tuple[View, ...] = OWN
    merge: Merge = "roi"

    def __post_init__(self) -> None:
        if len(self.members) * len(self.views) < 2:
            raise InputError(
                f"merge {self.merge!r:.40}: needs several views or several models; give more (such as "
                "--views own flip, or a second --checkpoint), or leave the merge out"
            )
        if self.merge not in _MERGES:
            raise InputError(f"merge {self.merge!r:.40}: is not known; give {listed(list(_MERGES), 'or')}")
        names = [f"models[{i}] '{member.model.config.name}'" for i, member in enumerate(self.members)]
        require_alike(self.members, names)

    @property
    def _cascade(self) -> CascadeConfig:
        """What all have in common is read from the first."""
        return self.members[0].model.config.cascade

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the labels 0..K-1."""
        return self.members[0].class_names

    @property
    def stages(self) -> int:
        """How many stages' masks there are beside the result's."""
        return self.members[0].stages

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.members[0].device

    def description(self) -> dict[str, Any]:
        """The merge, the views, and what decides the detections of each model."""
        return {
            "merge": self.merge,
            "views": [str(view) for view in self.views],
            "models": [member.description() for member in self.members],
        }

    def predict(self, images: list[Tensor]) -> list[Detections]:
        """The detections of each image, in its own pixels.

        Raises:
            InputError: no image, or one that is no RGB image.
        """
        return [found for (found,) in self.detect(images)]

    def detect(self, images: list[Tensor], by_stage: bool = False) -> Iterator[tuple[Detections, ...]]:
        """See :meth:`~htc_lab.predictors.Predictor.detect`; images are looked at one after the other.

        A stage's masks are its mean over all looks.

        Raises:
            InputError: no image, or one that is no RGB image.
        """
        sizes_of(images)
        shown: list[int | None] = [None, *range(self.stages)] if by_stage else [None]
        threshold = self._cascade.mask_threshold
        traces = (self._trace(image, per_stage_view=False) for image in images)
        return (tuple(next(trace.in_pictures(threshold, stage)) for stage in shown) for trace in traces)

    def trace(self, image: Tensor) -> StageTrace:
        """What all looks said of one image, merged, in the image's own pixels.

        Class and mask probabilities are means over the looks, as are boxes; where detections are joined, a
        RoI and its classes are those of the look that had it. The logits and deltas are those that give these
        probabilities and boxes. The toggles are the first model's.

        Raises:
            InputError: it is no RGB image.
        """
        sizes_of([image])
        return self._trace(image, per_stage_view=True)

    @torch.no_grad()
    def by_look(self, image: Tensor) -> tuple[StageTrace, dict[str, Float[Tensor, "D side side"]]]:
        """:meth:`trace`, and what its masks are the mean of.

        Returns:
            The trace, and by the name of each look its mask probabilities on the detections' boxes.

        Raises:
            InputError: it is no RGB image.
        """
        sizes_of([image])
        looks = self._looks(image)
        trace = self._merged(looks, image, per_stage_view=True)
        names = [str(view) for view in self.views]
        if len(self.members) > 1:
            names = [f"model {i + 1}, {name}" for i in range(len(self.members)) for name in names]
        masks = [look.masks(trace.boxes, trace.labels)[0] for look in looks]
        return trace, dict(zip(names, masks, strict=True))

    def _looks(self, image: Tensor) -> list[Look]:
        return [Look.at(image, view, member) for member in self.members for view in self.views]

    @torch.no_grad()
    def _trace(self, image: Tensor, per_stage_view: bool) -> StageTrace:
        return self._merged(self._looks(image), image, per_stage_view)

    def _merged(self, looks: list[Look], image: Tensor, per_stage_view: bool) -> StageTrace:
        candidates = _MERGES[self.merge](looks)
        path = [RoIs.of([boxes]) for boxes in candidates.boxes]
        detected, labels, scores = detect(path[-1], candidates.scores, 1, self._cascade)
        boxes = path[-1].boxes[detected]
        result, *final_masks = mean_masks(looks, boxes, labels)
        toggles, records = self.members[0].running, []
        for t, probabilities in enumerate(candidates.by_stage):
            before, after, stage = path[t], path[t + 1], self._cascade.stages[t]
            seen_on, view_boxes, view_masks = path[-1], boxes, final_masks[t]
            if per_stage_view:
                seen_on = interleaved.mask_rois(before, after, toggles.interleaved)
            if seen_on is not path[-1]:
                view_boxes = seen_on.boxes[detected]
                view_masks = mean_masks(looks, view_boxes, labels)[1 + t]
            records.append(
                StageRecord(
                    rois=before.boxes,
                    class_logits=probabilities.log(),
                    deltas=encode_deltas(before.boxes, after.boxes, stage.stds, stage.means),
                    boxes=after.boxes,
                    mask_boxes=view_boxes,
                    mask_logits=view_masks.logit(),
                    final_mask_logits=final_masks[t].logit(),
                )
            )
        size = sizes_of([image])
        return StageTrace(
            toggles=toggles,
            sizes=size,
            pictures=size,
            proposals=Proposals(path[0], candidates.objectness),
            stages=tuple(records),
            detected=detected,
            labels=labels,
            scores=scores,
            boxes=boxes,
            mask_probabilities=result,
        )


def predictor_of(
    models: Sequence[HybridTaskCascade],
    views: tuple[View, ...] = OWN,
    merge: Merge | None = None,
    toggles: Toggles | None = None,
    bf16: bool = False,
) -> Predictor:
    """The predictor for these models and views: a :class:`ModelPredictor` where there is nothing to merge.

    Args:
        models: at least one.
        views: what each of them looks at.
        merge: how; None: "roi", if there is something to merge.
        toggles: what is on in all of them; None: what each was trained with.
        bf16: convolutions and linear layers in bfloat16.

    Raises:
        InputError: a merge of one view of one model, models that can't be merged, or toggles that the weights
            can't serve.
    """
    members = tuple(ModelPredictor(model, toggles, bf16) for model in models)
    if merge is not None or len(members) * len(views) != 1 or views[0].flip:
        return MergedPredictor(members, views, merge or "roi")
    config = models[0].config
    sized = dataclasses.replace(config, image=views[0].config(config.image))
    return ModelPredictor(with_config(models[0], sized), toggles, bf16)
