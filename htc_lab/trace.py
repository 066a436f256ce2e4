"""StageTrace: everything the stages saw and said. The only thing widgets, plots and lessons read.

A trace speaks of the image as the network saw it: its boxes are in pixels of the network's input. What it
says of the picture that was given, which may have another size, comes from ``in_pictures`` (the detections)
and ``at_picture_size`` (the whole trace).
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.config import Toggles
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.layers.pasting import paste
from htc_lab.structures import Detections, Proposals, RoIs, Targets
from htc_lab.transfer import fetch, send
from htc_lab.wording import counted, listed


@dataclass(frozen=True)
class Truth:
    """How N boxes of one stage compare with the ground truth of their image.

    Attributes:
        index: (N,) int64, the ground truth each box overlaps most, -1 if it overlaps none.
        iou: (N,) float32, their IoU.
    """

    index: Int[Tensor, " N"]
    iou: Float[Tensor, " N"]


@dataclass(frozen=True, repr=False)
class StageRecord:
    """One stage: N RoIs through the box head, D detections through the mask head.

    Attributes:
        rois: (N, 4) xyxy px, r_{t-1}: the boxes the stage received.
        class_logits: (N, K + 1), background last.
        deltas: (N, 4), in units of the stage's stds; of the likeliest class, if each has its own.
        boxes: (N, 4) xyxy px, r_t: the boxes it passes on, moved by these deltas.
        mask_boxes: (D, 4) xyxy px: the boxes of the per-stage masks, r_t if interleaved, else r_{t-1}.
        mask_logits: (D, 28, 28): the stage's mask on those boxes, the channel of the detection's class.
        final_mask_logits: (D, 28, 28): the stage's mask on the *final* boxes, as used for the result.
        truth: how ``boxes`` compare with the ground truth; None until ``StageTrace.with_truth``.
        box_features: (N, C, 7, 7), what the box head looked at; None unless asked for.
        mask_features: (D, C, 14, 14), what the mask head looked at; None unless asked for.
    """

    rois: Float[Tensor, "N 4"]
    class_logits: Float[Tensor, "N classes"]
    deltas: Float[Tensor, "N 4"]
    boxes: Float[Tensor, "N 4"]
    mask_boxes: Float[Tensor, "D 4"]
    mask_logits: Float[Tensor, "D side side"]
    final_mask_logits: Float[Tensor, "D side side"]
    truth: Truth | None = None
    box_features: Tensor | None = None
    mask_features: Tensor | None = None

    def __repr__(self) -> str:
        """One line instead of all the tensors."""
        count, side = len(self.mask_logits), self.mask_logits.shape[-1]
        parts = [counted(len(self.boxes), "RoI"), f"{counted(count, 'mask')} of {side} × {side}"]
        if self.truth is not None:
            parts.append("compared with the truth")
        if self.box_features is not None:
            parts.append("with the features looked at")
        return f"StageRecord: {', '.join(parts)}"


@dataclass(frozen=True, repr=False)
class StageTrace:
    """The cascade's run over a batch under one set of toggles.

    The N RoIs are the proposals, in the same order at every stage. The D detections are the RoIs that
    survived NMS, each with the class it was found as.

    Attributes:
        toggles: what was on.
        sizes: (height, width) px of each image as the network saw it: what all boxes are in.
        pictures: (height, width) px of each picture as it was given to ``encode``.
        proposals: where the cascade began.
        stages: one record a stage.
        detected: (D,) int64: the RoI of each detection.
        labels: (D,) int64 classes.
        scores: (D,) float32, from the mean of the stages' class logits.
        boxes: (D, 4) xyxy px: the last stage's boxes of the detected RoIs, moved as the class detected.
        mask_probabilities: (D, 28, 28) float32: the mean over the stages, or only the last stage's
            (``toggles.average_masks``).
    """

    toggles: Toggles
    sizes: list[tuple[int, int]]
    pictures: list[tuple[int, int]]
    proposals: Proposals
    stages: tuple[StageRecord, ...]
    detected: Int[Tensor, " D"]
    labels: Int[Tensor, " D"]
    scores: Float[Tensor, " D"]
    boxes: Float[Tensor, "D 4"]
    mask_probabilities: Float[Tensor, "D side side"]

    def __repr__(self) -> str:
        """A few lines instead of all the tensors."""
        sizes = list(dict.fromkeys(f"{height} × {width}" for height, width in self.sizes))
        pixels = f"{listed(sizes[:3])}{', …' if len(sizes) > 3 else ''} px (H × W)" if sizes else "no size"
        on = [name for name, value in dataclasses.asdict(self.toggles).items() if value is True]
        found = [counted(len(self.proposals.scores), "proposal"), counted(len(self.stages), "stage")]
        found.append(counted(len(self.scores), "detection"))
        if len(self.scores):
            found[-1] += f" scoring {float(self.scores.min()):.2f} to {float(self.scores.max()):.2f}"
        head = f"StageTrace: {counted(len(self.sizes), 'image')} of {pixels}"
        return f"{head}\n  on: {', '.join(on) or 'nothing'}\n  {', '.join(found)}"

    @property
    def image(self) -> Int[Tensor, " D"]:
        """(D,) the image each detection is in."""
        return self.proposals.rois.image[self.detected]

    @property
    def scales(self) -> list[tuple[float, float]]:
        """By how much (x, y) each picture was resized for the network."""
        return [
            (width / given_width, height / given_height)
            for (height, width), (given_height, given_width) in zip(self.sizes, self.pictures, strict=True)
        ]

    def _box_scales(self) -> Float[Tensor, "B 4"]:
        """What a box in pixels of the network's input is divided by, for each image."""
        return send(torch.tensor([(x, y, x, y) for x, y in self.scales]), self.boxes.device)

    def stage_scores(self, stage: int) -> Float[Tensor, " D"]:
        """(D,) the softmax score that stage ``stage`` (from 0) alone gives each detection's class."""
        probabilities = self.stages[stage].class_logits.softmax(dim=1)
        return probabilities[self.detected, self.labels]

    def of_image(self, i: int) -> "StageTrace":
        """The trace of one image of the batch."""
        rois = self.proposals.rois
        n, d = rois.image == i, self.image == i
        new_place = torch.cumsum(n, dim=0) - 1
        records = tuple(_select(record, n, d) for record in self.stages)
        one = RoIs(rois.boxes[n], torch.zeros_like(rois.image[n]))
        return StageTrace(
            toggles=self.toggles,
            sizes=[self.sizes[i]],
            pictures=[self.pictures[i]],
            proposals=Proposals(one, self.proposals.scores[n]),
            stages=records,
            detected=new_place[self.detected[d]],
            labels=self.labels[d],
            scores=self.scores[d],
            boxes=self.boxes[d],
            mask_probabilities=self.mask_probabilities[d],
        )

    def at_picture_size(self) -> "StageTrace":
        """The same trace in the pixels of the pictures that were given: boxes scaled, ``sizes`` theirs."""
        if self.sizes == self.pictures:
            return self
        scale = self._box_scales()
        rois = self.proposals.rois
        of_rois, of_detections = scale[rois.image], scale[self.image]
        records = tuple(
            dataclasses.replace(
                record,
                rois=record.rois / of_rois,
                boxes=record.boxes / of_rois,
                mask_boxes=record.mask_boxes / of_detections,
            )
            for record in self.stages
        )
        return dataclasses.replace(
            self,
            sizes=self.pictures,
            proposals=Proposals(rois.with_boxes(rois.boxes / of_rois), self.proposals.scores),
            stages=records,
            boxes=self.boxes / of_detections,
        )

    def with_truth(self, targets: list[Targets]) -> "StageTrace":
        """The same trace with each stage's boxes compared to the ground truth.

        Args:
            targets: one a picture, in the pixels of the picture that was given to ``encode``.
        """
        image = self.proposals.rois.image
        records = []
        for record, placed in zip(self.stages, self.at_picture_size().stages, strict=True):
            index = torch.full_like(image, -1)
            iou = record.boxes.new_zeros(len(image))
            for i, target in enumerate(targets):
                here = torch.nonzero(image == i).squeeze(1)
                if len(target.boxes) and len(here):
                    best, which = pairwise_iou(placed.boxes[here], target.boxes).max(dim=1)
                    iou[here] = best
                    index[here] = torch.where(best > 0, which, -1)
            records.append(dataclasses.replace(record, truth=Truth(index, iou)))
        return dataclasses.replace(self, stages=tuple(records))

    def detections(
        self, i: int = 0, stage: int | None = None, mask_threshold: float = 0.5, final_boxes: bool = True
    ) -> Detections:
        """Pixels of the network's input: the detections of image ``i`` with pasted masks.

        Args:
            i: which image of the batch.
            stage: None: the result (last boxes, averaged masks). 0, 1, 2: that stage's masks.
            mask_threshold: a pixel belongs to the mask from this probability on.
            final_boxes: take a stage's masks on the final boxes (what an AP per stage compares). False: on
                the boxes the stage itself had, with its own scores (the per-stage view).
        """
        here = self.image == i
        boxes, probabilities, scores = self.boxes, self.mask_probabilities, self.scores
        if stage is not None:
            record = self.stages[stage]
            probabilities = (record.final_mask_logits if final_boxes else record.mask_logits).sigmoid()
            if not final_boxes:
                boxes, scores = record.mask_boxes, self.stage_scores(stage)
        height, width = self.sizes[i]
        masks = paste(probabilities[here], boxes[here], height, width, mask_threshold)
        return Detections(boxes[here], scores[here], self.labels[here], masks)

    def said_by(self, stage: int, i: int = 0) -> Detections:
        """What stage ``stage`` (from 0) said of image ``i``: the boxes it hands on, its masks, its scores.

        The masks lie where the stage took them: on those boxes if interleaved, on those it received if not.
        """
        here = self.image == i
        last = stage in (-1, len(self.stages) - 1)
        boxes = self.boxes[here] if last else self.stages[stage].boxes[self.detected[here]]
        return dataclasses.replace(self.detections(i, stage, final_boxes=False), boxes=boxes)

    def in_pictures(self, mask_threshold: float = 0.5, stage: int | None = None) -> Iterator[Detections]:
        """The detections of one image after the other, in the pixels of the picture that was given.

        Args:
            mask_threshold: as for ``detections``.
            stage: None: the result. 0, 1, 2: with that stage's masks on the final boxes.
        """
        boxes = self.boxes / self._box_scales()[self.image]
        # Where masks go, in one wait for the whole batch.
        places = fetch(boxes)
        counts = torch.bincount(fetch(self.image), minlength=len(self.pictures)).tolist()
        soft = self.mask_probabilities if stage is None else self.stages[stage].final_mask_logits
        parts = (each.split(counts) for each in (boxes, self.scores, self.labels, soft, places))
        for (height, width), box, score, label, mask, place in zip(self.pictures, *parts, strict=True):
            probability = mask if stage is None else mask.sigmoid()
            yield Detections(box, score, label, paste(probability, place, height, width, mask_threshold))


def _select(record: StageRecord, n: Tensor, d: Tensor) -> StageRecord:
    truth = record.truth and Truth(record.truth.index[n], record.truth.iou[n])
    return StageRecord(
        rois=record.rois[n],
        class_logits=record.class_logits[n],
        deltas=record.deltas[n],
        boxes=record.boxes[n],
        mask_boxes=record.mask_boxes[d],
        mask_logits=record.mask_logits[d],
        final_mask_logits=record.final_mask_logits[d],
        truth=truth,
        box_features=None if record.box_features is None else record.box_features[n],
        mask_features=None if record.mask_features is None else record.mask_features[d],
    )
