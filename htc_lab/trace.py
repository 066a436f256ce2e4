"""StageTrace: everything the stages saw and said. The only thing widgets, plots and lessons read."""

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
        index: (N,) int64, the ground truth each overlaps most, -1 where it overlaps none.
        iou: (N,) float32, by how much.
    """

    index: Int[Tensor, " N"]
    iou: Float[Tensor, " N"]


@dataclass(frozen=True, repr=False)
class StageRecord:
    """One stage: N RoIs through the box head, D detections through the mask head.

    Attributes:
        rois: (N, 4) xyxy px, r_{t-1}: the boxes the stage received.
        class_logits: (N, K + 1), background last.
        deltas: (N, 4), in units of the stage's stds.
        boxes: (N, 4) xyxy px, r_t: the boxes it hands on.
        mask_boxes: (D, 4) xyxy px: where the per-stage masks were taken, r_t if interleaved, else r_{t-1}.
        mask_logits: (D, 28, 28): the stage's mask there, the channel of the detection's class.
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

    N RoIs are the proposals, the same objects in the same order at every stage. D detections are
    RoIs that survived NMS, each with the class it was found as.

    Attributes:
        toggles: what was on.
        sizes: (height, width) px of each image.
        proposals: where the cascade began.
        stages: one record a stage.
        detected: (D,) int64: the RoI each detection is.
        labels: (D,) int64 classes.
        scores: (D,) float32, from the mean of the stages' class logits.
        boxes: (D, 4) xyxy px: the last stage's boxes of the detected RoIs.
        mask_probabilities: (D, 28, 28) float32: mean over the stages, or the last stage's alone
            (``toggles.average_masks``).
    """

    toggles: Toggles
    sizes: list[tuple[int, int]]
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

    def stage_scores(self, stage: int) -> Float[Tensor, " D"]:
        """(D,) what stage ``stage`` (from 0) alone gives each detection's class, softmax."""
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
            self.toggles,
            [self.sizes[i]],
            Proposals(one, self.proposals.scores[n]),
            records,
            new_place[self.detected[d]],
            self.labels[d],
            self.scores[d],
            self.boxes[d],
            self.mask_probabilities[d],
        )

    def with_truth(self, targets: list[Targets]) -> "StageTrace":
        """The same trace with each stage's boxes compared to the ground truth, one target an image."""
        image = self.proposals.rois.image
        records = []
        for record in self.stages:
            index = torch.full_like(image, -1)
            iou = record.boxes.new_zeros(len(image))
            for i, target in enumerate(targets):
                here = torch.nonzero(image == i).squeeze(1)
                if len(target.boxes) and len(here):
                    best, which = pairwise_iou(record.boxes[here], target.boxes).max(dim=1)
                    iou[here] = best
                    index[here] = torch.where(best > 0, which, -1)
            records.append(dataclasses.replace(record, truth=Truth(index, iou)))
        return dataclasses.replace(self, stages=tuple(records))

    def detections(
        self, i: int = 0, stage: int | None = None, mask_threshold: float = 0.5, final_boxes: bool = True
    ) -> Detections:
        """Pixels: the detections of image ``i`` with pasted masks.

        Args:
            i: which image of the batch.
            stage: None: the result (last boxes, averaged masks). 0, 1, 2: that stage's masks.
            mask_threshold: probability from which a pixel belongs to the mask.
            final_boxes: a stage's masks on the final boxes (what an AP per stage compares). False: on
                the boxes the stage itself had, with the score it gave (the per-stage view).
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
        boxes = self.stages[stage].boxes[self.detected[self.image == i]]
        return dataclasses.replace(self.detections(i, stage, final_boxes=False), boxes=boxes)

    def in_pictures(
        self,
        sizes: list[tuple[int, int]],
        scales: list[tuple[float, float]],
        mask_threshold: float = 0.5,
        stage: int | None = None,
    ) -> Iterator[Detections]:
        """The detections of one image after the other, in the pixels of the picture it was resized from.

        Args:
            sizes: (height, width) px of the pictures.
            scales: by how much (x, y) each was resized for the network.
            mask_threshold: as for ``detections``.
            stage: None: the result. 0, 1, 2: with that stage's masks on the final boxes.
        """
        scale = send(torch.tensor([(x, y, x, y) for x, y in scales]), self.boxes.device)
        boxes = self.boxes / scale[self.image]
        # Where masks go, in one wait for the whole batch.
        places, counts = fetch(boxes), torch.bincount(fetch(self.image), minlength=len(sizes)).tolist()
        soft = self.mask_probabilities if stage is None else self.stages[stage].final_mask_logits
        parts = (each.split(counts) for each in (boxes, self.scores, self.labels, soft, places))
        for (height, width), box, score, label, mask, place in zip(sizes, *parts, strict=True):
            probability = mask if stage is None else mask.sigmoid()
            yield Detections(box, score, label, paste(probability, place, height, width, mask_threshold))


def _select(record: StageRecord, n: Tensor, d: Tensor) -> StageRecord:
    truth = record.truth and Truth(record.truth.index[n], record.truth.iou[n])
    return StageRecord(
        record.rois[n],
        record.class_logits[n],
        record.deltas[n],
        record.boxes[n],
        record.mask_boxes[d],
        record.mask_logits[d],
        record.final_mask_logits[d],
        truth,
        None if record.box_features is None else record.box_features[n],
        None if record.mask_features is None else record.mask_features[d],
    )
