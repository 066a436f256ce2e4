"""Looks: what one model makes of one view of a picture, and how the looks at a picture are merged.

:func:`shared`: the proposals of all looks become one list, every look's whole cascade runs on that list, and
boxes and scores are averaged RoI by RoI. Version 2 of the reference does so; the looks have to agree on where
an object is.

:func:`joined`: every look's cascade runs on its own proposals, and what all of them detect competes in one
NMS. Boxes aren't averaged, so one good look at an object is enough.

Either way the masks are averaged: :func:`mean_masks` takes those of every look on the final boxes.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.box_moves import moved_as_each_class
from htc_lab.layers.detection import detect
from htc_lab.merging import mean, merged_proposals, one_hot
from htc_lab.predictors import ModelPredictor
from htc_lab.stages import plain_cascade
from htc_lab.structures import Features, Proposals, RoIs
from htc_lab.views import Frame, View


@dataclass(frozen=True)
class Look:
    """One model's look at one view of a picture.

    Attributes:
        member: the model, its toggles and its precision.
        features: of the view, computed once.
        proposals: of the view, in its pixels.
        frame: how the view lies in the picture.
    """

    member: ModelPredictor
    features: Features
    proposals: Proposals
    frame: Frame

    @classmethod
    def at(cls, image: Tensor, view: View, member: ModelPredictor) -> "Look":
        """Backbone, FPN, semantic branch and RPN on a view of ``image`` (3, H, W)."""
        model = member.model
        seen, frame = view.of(image, model.config.image)
        with model.at_test_time(member.bf16):
            features = model.features_of([seen])
            proposals = model.propose(features)
        # The cascade has no use for the semantic classes, and the maps of all views are kept.
        kept = dataclasses.replace(features.for_pooling(), semantic_logits=None)
        return cls(member, kept, proposals, frame)

    def refined(self, proposals: RoIs) -> tuple[list[plain_cascade.BoxOutput], list[RoIs]]:
        """The box half of the cascade, from boxes in the view's pixels."""
        model, toggles = self.member.model, self.member.running
        with model.at_test_time(self.member.bf16):
            return model.roi_head.refine(self.features, proposals, toggles.stages, toggles.semantic_box)

    def of_classes(self, outputs: Sequence[plain_cascade.BoxOutput]) -> Float[Tensor, "N K 4"] | None:
        """The last stage's boxes as each class has them, in the view's pixels; None where they are one."""
        stage = self.member.model.config.cascade.stages[len(outputs) - 1]
        return moved_as_each_class(outputs[-1].rois, outputs[-1].deltas, stage, self.features.sizes)

    def masks(
        self, boxes: Float[Tensor, "D 4"], labels: Int[Tensor, " D"]
    ) -> list[Float[Tensor, "D side side"]]:
        """Mask probabilities on boxes of the picture: the result's, then those of each stage."""
        model, toggles = self.member.model, self.member.running
        rois = RoIs.of([self.frame.into(boxes)])
        with model.at_test_time(self.member.bf16):
            _, logits = model.roi_head.final_masks(self.features, rois, labels, toggles)
        logits = [each.float() for each in logits]
        result = plain_cascade.mask_probabilities(logits, toggles.average_masks)
        return [self.frame.turned_back(each) for each in (result, *(each.sigmoid() for each in logits))]


@dataclass(frozen=True)
class Candidates:
    """N RoIs on their way through the cascade, in the picture's pixels.

    Attributes:
        objectness: (N,) of the proposals, best first.
        boxes: r_0, r_1, ..., r_T, each (N, 4) xyxy.
        by_stage: (N, K + 1) class probabilities of each stage, background last.
        scores: (N, K) of the result; 0 where a RoI is no candidate for a class.
    """

    objectness: Float[Tensor, " N"]
    boxes: tuple[Float[Tensor, "N 4"], ...]
    by_stage: tuple[Float[Tensor, "N classes"], ...]
    scores: Float[Tensor, "N K"]


def shared(looks: Sequence[Look]) -> Candidates:
    """The union of the proposals, through every look's cascade, averaged RoI by RoI."""
    rpns = [look.member.model.config.rpn for look in looks]
    boxes, objectness = merged_proposals(
        [look.frame.back(look.proposals.rois.boxes) for look in looks],
        [look.proposals.scores for look in looks],
        max(rpn.nms_iou for rpn in rpns),
        max(rpn.test_after_nms for rpn in rpns),
    )
    paths, stages, scores, every = [], [], [], []
    for look in looks:
        outputs, refined = look.refined(RoIs.of([look.frame.into(boxes)]))
        paths.append([look.frame.back(rois.boxes) for rois in refined[1:]])
        every.append((look.of_classes(outputs), look.frame))
        stages.append([output.class_logits.softmax(dim=1) for output in outputs])
        scores.append(plain_cascade.class_probabilities(outputs))
    moved = [mean(each) for each in zip(*paths, strict=True)]
    by_stage = [mean(each) for each in zip(*stages, strict=True)]
    merged = Candidates(objectness, (boxes, *moved), tuple(by_stage), mean(scores))
    if all(own is None for own, _ in every):
        return merged
    classes = merged.scores.shape[1]
    last = [
        path[-1][:, None].expand(-1, classes, -1)
        if own is None
        else frame.back(own.flatten(0, 1)).reshape(own.shape)
        for path, (own, frame) in zip(paths, every, strict=True)
    ]
    return _split(merged, mean(last), looks[0].member.model.config.cascade.score_threshold)


def _split(found: Candidates, of_classes: Float[Tensor, "N K 4"], least: float) -> Candidates:
    """A candidate for each class that a RoI scores more than ``least`` in, with the class's own last box."""
    roi, labels = torch.nonzero(found.scores > least, as_tuple=True)
    return Candidates(
        found.objectness[roi],
        (*(boxes[roi] for boxes in found.boxes[:-1]), of_classes[roi, labels]),
        tuple(probabilities[roi] for probabilities in found.by_stage),
        one_hot(found.scores[roi, labels], labels, found.scores.shape[1]),
    )


def joined(looks: Sequence[Look]) -> Candidates:
    """What every look detects among its own proposals, side by side.

    A detection has the score it had before any soft-NMS: the one NMS over all of them is still to come.
    """
    objectness, boxes, by_stage, scores = [], [], [], []
    for look in looks:
        outputs, path = look.refined(look.proposals.rois)
        config, probabilities = look.member.model.config, plain_cascade.class_probabilities(outputs)
        every = look.of_classes(outputs)
        roi, labels, _ = detect(path[-1], probabilities, 1, config.cascade, every)
        objectness.append(look.proposals.scores[roi])
        last = path[-1].boxes[roi] if every is None else every[roi, labels]
        boxes.append([look.frame.back(each) for each in (*(rois.boxes[roi] for rois in path[:-1]), last)])
        by_stage.append([output.class_logits[roi].softmax(dim=1) for output in outputs])
        scores.append(one_hot(probabilities[roi, labels], labels, config.classes))
    score = torch.cat(objectness)
    order = score.argsort(descending=True, stable=True)
    return Candidates(
        score[order],
        tuple(torch.cat(each)[order] for each in zip(*boxes, strict=True)),
        tuple(torch.cat(each)[order] for each in zip(*by_stage, strict=True)),
        torch.cat(scores)[order],
    )


def mean_masks(
    looks: Sequence[Look], boxes: Float[Tensor, "D 4"], labels: Int[Tensor, " D"]
) -> list[Float[Tensor, "D side side"]]:
    """Mean over the looks of the result's mask and of each stage's, on boxes of the picture."""
    return [mean(each) for each in zip(*(look.masks(boxes, labels) for look in looks), strict=True)]
