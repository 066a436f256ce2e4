"""04: the AP of each stage's masks, with the flow and with the flow cut."""

import dataclasses

from IPython.display import Markdown

from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import DataFolder
from htc_lab.evaluate.inference import average_precision, predict_split, truth_of
from htc_lab.model import HybridTaskCascade
from htc_lab.predictors import ModelPredictor


def stage_ap_table(model: HybridTaskCascade, data: DataFolder, images: int) -> Markdown:
    """Mask AP by stage on the first test images, on the final boxes: one row with the flow, one without.

    Args:
        model: with mask information flow.
        data: its test split must have at least one object.
        images: how many of the test images.
    """
    test = data.test
    ids = [image["id"] for image in test.coco.images[:images]]
    dataset = CocoDataset(dataclasses.replace(test, coco=test.coco.subset(ids)))
    truth = truth_of(dataset)
    lines = [
        f"| {len(dataset)} test pictures, mask AP | stage 1 | stage 2 | stage 3 | mean |",
        "|---|---|---|---|---|",
    ]
    for words, flow in (("flow on", True), ("flow cut", False)):
        toggles = dataclasses.replace(model.config.toggles, mask_flow=flow)
        results = predict_split(ModelPredictor(model, toggles), dataset, stages=True, progress=False)
        by_stage = average_precision(truth, results)["stage_mask_ap"]
        assert isinstance(by_stage, list)
        lines.append(f"| {words} | " + " | ".join(f"{ap:.1f}" for ap in by_stage) + " |")
    return Markdown("\n".join(lines))
