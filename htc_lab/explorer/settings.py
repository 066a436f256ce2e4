"""One model under many settings of the switches: what settings share is computed once.

The traces are those of ``model.cascade``. Only ``semantic_box`` changes boxes and detections, and a mask
depends on the boxes it is taken on, on ``semantic_mask`` and on ``mask_flow``; interleaving decides which of
those masks a stage's view shows. Sixteen settings thus take two box cascades instead of sixteen.
"""

import dataclasses
from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor

from htc_lab.config import Toggles
from htc_lab.layers.detection import detect
from htc_lab.model import HybridTaskCascade
from htc_lab.stages.plain_cascade import class_probabilities, run_box_cascade
from htc_lab.structures import Features, Proposals
from htc_lab.trace import StageRecord, StageTrace


def run_settings(
    model: HybridTaskCascade, features: Features, proposals: Proposals, settings: Iterable[Toggles]
) -> dict[Toggles, StageTrace]:
    """A trace for each setting, with the per-stage view.

    Args:
        model: in eval mode.
        features, proposals: of one picture or a batch, from ``encode`` and ``propose``.
        settings: any the weights can serve.

    Raises:
        InputError: the weights can't serve a setting.
    """
    settings = list(settings)
    for toggles in settings:
        model.roi_head.check(toggles)
    traces: dict[Toggles, StageTrace] = {}
    box_settings = {(t.semantic_box, t.stages) for t in settings}
    with torch.inference_mode():
        for semantic_box, stages in sorted(box_settings):
            mine = [t for t in settings if (t.semantic_box, t.stages) == (semantic_box, stages)]
            traces |= _with_these_boxes(model, features, proposals, mine)
    return {toggles: traces[toggles] for toggles in settings}


def _with_these_boxes(
    model: HybridTaskCascade, features: Features, proposals: Proposals, settings: list[Toggles]
) -> dict[Toggles, StageTrace]:
    """Traces of settings that agree in everything the boxes depend on."""
    head, config = model.roi_head, model.config.cascade
    first, stages = settings[0], settings[0].stages
    outputs, boxes = run_box_cascade(
        list(head.bbox_head)[:stages],  # type: ignore[arg-type]
        config.stages[:stages],
        lambda rois: head.box_features(features, rois, first),
        proposals.rois,
        features.sizes,
    )
    detected, labels, scores = detect(boxes[-1], class_probabilities(outputs), len(features.sizes), config)
    at = [each.select(detected) for each in boxes]

    @cache
    def mask_features(place: int, semantic_mask: bool) -> Tensor:
        toggles = dataclasses.replace(first, semantic_mask=semantic_mask)
        return head.mask_features(features, at[place], toggles)

    @cache
    def masks(place: int, semantic_mask: bool, mask_flow: bool) -> list[Tensor]:
        """Logits on r_place of all stages that are ever asked for there."""
        most = min(place + 1, stages)
        toggles = dataclasses.replace(first, semantic_mask=semantic_mask, mask_flow=mask_flow, stages=most)
        return head.all_masks(mask_features(place, semantic_mask), labels, toggles)

    traces = {}
    for toggles in settings:
        with_these = (toggles.semantic_mask, toggles.mask_flow)
        final = masks(stages, *with_these)
        records = []
        for t, output in enumerate(outputs):
            place = t + 1 if toggles.interleaved else t
            records.append(
                StageRecord(
                    output.rois.boxes,
                    output.class_logits,
                    output.deltas,
                    boxes[t + 1].boxes,
                    at[place].boxes,
                    masks(place, *with_these)[t],
                    final[t],
                )
            )
        averaged = final if toggles.average_masks else final[-1:]
        mean = torch.stack([logits.sigmoid() for logits in averaged]).mean(dim=0)
        traces[toggles] = StageTrace(
            toggles,
            features.sizes,
            proposals,
            tuple(records),
            detected,
            labels,
            scores,
            at[-1].boxes,
            mean,
        )
    return traces
