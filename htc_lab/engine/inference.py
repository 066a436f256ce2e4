"""A model over a whole split: COCO results for the final masks and for each stage's, and their AP."""

from dataclasses import dataclass

import torch
from tqdm.auto import tqdm

from htc_lab.config import Toggles
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.transforms import resize_image
from htc_lab.engine.evaluate import coco_results, evaluate
from htc_lab.layers.pasting import paste
from htc_lab.model import HybridTaskCascade
from htc_lab.structures import Detections


@dataclass(frozen=True)
class SplitResults:
    """COCO result entries of a split.

    Attributes:
        final: boxes, scores and the masks of the result.
        by_stage: the same boxes and scores with the masks of stage 1, 2, ... alone.
    """

    final: list[dict]
    by_stage: list[list[dict]]


@torch.no_grad()
def predict_split(
    model: HybridTaskCascade,
    dataset: CocoDataset,
    toggles: Toggles | None = None,
    *,
    stages: bool = False,
    batch: int = 8,
    progress: bool = True,
) -> SplitResults:
    """Detect in every image of a dataset.

    Args:
        model: in eval mode.
        dataset: its class order must be the model's.
        toggles: default: the model's own.
        stages: also take each stage's masks on the final boxes.
        batch: images at a time.
        progress: show a bar.
    """
    config = model.config
    toggles = toggles or config.toggles
    model.roi_head.check(toggles)
    category_ids = dataset.split.coco.category_ids
    final: list[dict] = []
    by_stage: list[list[dict]] = [[] for _ in range(toggles.stages if stages else 0)]
    with tqdm(total=len(dataset), desc="evaluate", disable=not progress, leave=False) as bar:
        for start in range(0, len(dataset), batch):
            samples = [dataset[i] for i in range(start, min(start + batch, len(dataset)))]
            resized = [resize_image(s.image, config.image.short, config.image.long) for s in samples]
            features = model.encode([image for image, _, _ in resized])
            trace = model.cascade(features, model.propose(features), toggles, per_stage_view=False)
            for i, sample in enumerate(samples):
                here = trace.image == i
                _, scale_x, scale_y = resized[i]
                boxes = trace.boxes[here] / trace.boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])
                height, width = sample.original_size
                threshold = config.cascade.mask_threshold
                masks = paste(trace.mask_probabilities[here], boxes, height, width, threshold)
                found = Detections(boxes, trace.scores[here], trace.labels[here], masks)
                final += coco_results(sample.image_id, found, category_ids)
                for entries, record in zip(by_stage, trace.stages, strict=False):
                    soft = record.final_mask_logits[here].sigmoid()
                    alone = paste(soft, boxes, height, width, threshold)
                    entries += coco_results(sample.image_id, found, category_ids, masks=alone)
            bar.update(len(samples))
    return SplitResults(final, by_stage)


def truth_of(dataset: CocoDataset) -> dict:
    """The COCO ground truth of just the dataset's images, crowd annotations included."""
    return dataset.split.coco.subset(dataset.image_ids).as_dict()


def average_precision(truth: dict, results: SplitResults) -> dict[str, dict[str, float] | list[float]]:
    """All 12 statistics of boxes and masks, and the mask AP of stage 1, 2, ... and of the result.

    Returns:
        ``{"bbox": {...}, "segm": {...}, "stage_mask_ap": [stage 1, ..., result]}`` in AP points.
    """
    segm = evaluate(truth, results.final, "segm")
    stages = [evaluate(truth, entries, "segm")["AP"] for entries in results.by_stage]
    return {
        "bbox": evaluate(truth, results.final, "bbox"),
        "segm": segm,
        "stage_mask_ap": [*stages, segm["AP"]] if stages else [],
    }
