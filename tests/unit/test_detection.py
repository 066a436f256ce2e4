"""From scores to detections, against a slow greedy NMS."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htc_lab.config import CascadeConfig
from htc_lab.layers.detection import detect
from htc_lab.structures import RoIs
from tests.unit.boxes import box_lists, plain_iou

CONFIG = CascadeConfig(score_threshold=0.2, nms_iou=0.5, max_detections=5)


def slow_detect(boxes, probabilities, config):
    """(roi, class) of the detections of one image, best first."""
    found = sorted(
        (
            (-p, i, k)
            for i, row in enumerate(probabilities)
            for k, p in enumerate(row)
            if p > config.score_threshold
        ),
    )
    kept = []
    for _, i, k in found:
        if all(k != other or plain_iou(boxes[i], boxes[j]) <= config.nms_iou for j, other in kept):
            kept.append((i, k))
    return kept[: config.max_detections]


@settings(deadline=None, max_examples=80)
@given(box_lists(1, 10), st.integers(0, 999), st.integers(1, 4))
def test_detection_is_that_of_a_slow_loop(boxes, seed, most):
    # A shuffled ladder of scores: no two are equal, so the order is certain.
    scores = torch.randperm(len(boxes) * 3, generator=torch.Generator().manual_seed(seed))
    probabilities = (scores / (len(boxes) * 3)).reshape(-1, 3)
    config = dataclasses.replace(CONFIG, max_detections=most)
    roi, label, score = detect(RoIs.of([boxes]), probabilities, 1, config)
    found = list(zip(roi.tolist(), label.tolist(), strict=True))
    assert found == slow_detect(boxes.tolist(), probabilities.tolist(), config)
    assert torch.equal(score, probabilities[roi, label])


def test_images_do_not_suppress_each_other():
    box = torch.tensor([[0.0, 0, 10, 10]])
    rois = RoIs.of([box, box, torch.zeros(0, 4), box])
    roi, label, score = detect(rois, torch.tensor([[0.5, 0.1], [0.9, 0.3], [0.1, 0.1]]), 4, CONFIG)
    assert roi.tolist() == [0, 1, 1]
    assert label.tolist() == [0, 0, 1]
    assert score.tolist() == pytest.approx([0.5, 0.9, 0.3])


def test_a_roi_can_be_two_things_but_not_twice_one():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0.0, 0, 10, 9]])
    roi, label, _ = detect(RoIs.of([boxes]), torch.tensor([[0.9, 0.8], [0.7, 0.1]]), 1, CONFIG)
    assert list(zip(roi.tolist(), label.tolist(), strict=True)) == [(0, 0), (0, 1)]


def test_nothing_above_the_threshold():
    found = detect(RoIs.of([torch.rand(3, 4)]), torch.full((3, 2), 0.2), 1, CONFIG)
    assert [len(part) for part in found] == [0, 0, 0]
