"""Soft-NMS, by hand and against a loop over a list that takes the best and lowers the rest."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from htc_lab.config import CascadeConfig, SoftNMSConfig
from htc_lab.layers.detection import detect
from htc_lab.layers.soft_nms import soft_nms
from htc_lab.structures import RoIs
from tests.unit.boxes import box_lists, plain_iou

LINEAR, GAUSSIAN = SoftNMSConfig(), SoftNMSConfig("gaussian")
DECAYS = pytest.mark.parametrize("config", [LINEAR, GAUSSIAN], ids=["linear", "gaussian"])

# Two boxes with an IoU of 3/4, a third whose IoU with the first is 1/7, and one far off.
FOUR = torch.tensor([[0.0, 0, 10, 8], [0.0, 0, 10, 6], [0.0, 6, 10, 14], [50.0, 50, 60, 60]])


def slow_soft_nms(boxes, scores, groups, config, most):
    """(place, score) of the boxes of one image that stay, best first."""
    left = [[score, i] for i, score in enumerate(scores)]
    kept = []
    while left and len(kept) < most:
        best = max(left)
        left.remove(best)
        kept.append((best[1], best[0]))
        for entry in left:
            if groups[entry[1]] == groups[best[1]]:
                iou = plain_iou(boxes[entry[1]], boxes[best[1]])
                if config.decay == "gaussian":
                    entry[0] *= math.exp(-(iou**2) / config.sigma)
                elif iou >= config.iou:
                    entry[0] *= 1 - iou
        left = [entry for entry in left if entry[0] >= config.min_score]
    return kept


def run(boxes, scores, groups=None, config=LINEAR, most=10):
    """Place and score of what stays of one image."""
    groups = torch.zeros(len(boxes), dtype=torch.long) if groups is None else groups
    kept, ended = soft_nms(RoIs.of([boxes]), torch.as_tensor(scores), groups, 1, config, most)
    return kept.tolist(), ended.tolist()


def test_linear_by_hand():
    kept, ended = run(FOUR, [0.9, 0.8, 0.7, 0.1])
    # 0 and 1 share 60 of 80: 0.8 falls to 0.8 / 4. 0 and 2 share 20 of 140, below the limit of 0.3.
    assert kept == [0, 2, 1, 3]
    assert ended == pytest.approx([0.9, 0.7, 0.2, 0.1])


def test_gaussian_by_hand():
    kept, ended = run(FOUR, [0.9, 0.8, 0.7, 0.1], config=GAUSSIAN)
    of_2 = 0.7 * math.exp(-((1 / 7) ** 2) / 0.5)
    of_1 = 0.8 * math.exp(-(0.75**2) / 0.5)
    assert kept == [0, 2, 1, 3]
    assert ended == pytest.approx([0.9, of_2, of_1, 0.1])


def test_what_falls_below_the_least_score_goes_and_the_best_stays():
    strict = dataclasses.replace(LINEAR, min_score=0.5)
    assert run(FOUR, [0.9, 0.8, 0.7, 0.1], config=strict)[0] == [0, 2]
    assert run(FOUR, [0.1, 0.4, 0.2, 0.3], config=strict)[0] == [1]


def test_no_least_score_keeps_a_twin_at_zero_once():
    twins = torch.tensor([[0.0, 0, 10, 10]]).repeat(3, 1)
    kept, ended = run(twins, [0.5, 0.9, 0.7], config=dataclasses.replace(LINEAR, min_score=0.0))
    assert sorted(kept) == [0, 1, 2]
    assert kept[0] == 1
    assert ended == pytest.approx([0.9, 0.0, 0.0])


def test_groups_do_not_lower_each_other():
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(2, 1)
    kept, ended = run(boxes, [0.9, 0.8], torch.tensor([0, 1]))
    assert kept == [0, 1]
    assert ended == pytest.approx([0.9, 0.8])


@DECAYS
@given(boxes=box_lists(1, 14), seed=st.integers(0, 999), most=st.integers(1, 14))
def test_soft_nms_is_that_of_a_slow_loop(config, boxes, seed, most):
    draws = torch.Generator().manual_seed(seed)
    scores = torch.rand(len(boxes), generator=draws, dtype=torch.float64)
    groups = torch.randint(2, (len(boxes),), generator=draws)
    wanted = slow_soft_nms(boxes.tolist(), scores.tolist(), groups.tolist(), config, most)
    kept, ended = soft_nms(RoIs.of([boxes.double()]), scores, groups, 1, config, most)
    assert kept.tolist() == [place for place, _ in wanted]
    assert ended.tolist() == pytest.approx([score for _, score in wanted])


@DECAYS
def test_an_image_keeps_in_company_what_it_keeps_alone(config):
    draws = torch.Generator().manual_seed(3)
    images = [torch.rand((n, 4), generator=draws).cumsum(dim=1) * 20 for n in (30, 0, 12)]
    scores = [torch.rand(len(boxes), generator=draws) for boxes in images]
    groups = [torch.randint(3, (len(boxes),), generator=draws) for boxes in images]
    kept, ended = soft_nms(RoIs.of(images), torch.cat(scores), torch.cat(groups), 3, config, 9)
    alone = [
        soft_nms(RoIs.of([b]), s, g, 1, config, 9) for b, s, g in zip(images, scores, groups, strict=True)
    ]
    starts = (0, 30, 30)
    assert torch.equal(kept, torch.cat([start + k for start, (k, _) in zip(starts, alone, strict=True)]))
    assert torch.equal(ended, torch.cat([e for _, e in alone]))
    assert len(kept) > 9


@DECAYS
def test_detections_have_the_scores_they_fell_to(config):
    rois = RoIs.of([FOUR])
    probabilities = torch.tensor([[0.9, 0.3], [0.8, 0.0005], [0.7, 0.0], [0.1, 0.0]])
    settings = CascadeConfig(score_threshold=0.001, max_detections=4, soft_nms=config)
    roi, label, score = detect(rois, probabilities, 1, settings)
    assert list(zip(roi.tolist(), label.tolist(), strict=True)) == [(0, 0), (2, 0), (0, 1), (1, 0)]
    assert score.tolist() == sorted(score.tolist(), reverse=True)
    assert float(score[3]) < 0.3
    assert [len(part) for part in detect(rois, torch.zeros(4, 2), 1, settings)] == [0] * 3
