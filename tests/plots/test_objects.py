import dataclasses
import math

import pytest
import torch

from htc_lab.config import HTC, PLAIN_CASCADE
from htc_lab.plots.objects import ObjectNumbers, compare_with_truth, follow, select, stage_view
from htc_lab.structures import Detections, Targets
from tests.plots.made_trace import made_sample, made_trace


def square(x: int, y: int, side: int = 10) -> torch.Tensor:
    mask = torch.zeros(40, 60, dtype=torch.uint8)
    mask[y : y + side, x : x + side] = 1
    return mask


def targets(*corners: tuple[int, int], labels: list[int] | None = None) -> Targets:
    boxes = torch.tensor([(x, y, x + 10, y + 10) for x, y in corners], dtype=torch.float32).reshape(-1, 4)
    masks = [square(x, y) for x, y in corners]
    stacked = torch.stack(masks) if masks else torch.zeros(0, 40, 60, dtype=torch.uint8)
    return Targets(boxes, torch.tensor(labels or [0] * len(corners), dtype=torch.int64), stacked)


def found_at(*corners: tuple[int, int], scores: list[float], labels: list[int] | None = None) -> Detections:
    made = targets(*corners, labels=labels)
    return Detections(made.boxes, torch.tensor(scores), made.labels, made.masks.bool())


def test_matching_by_class_score_and_mask() -> None:
    truth = targets((0, 0), (30, 0), labels=[0, 1])
    found = found_at((2, 0), (0, 0), (30, 0), scores=[0.9, 0.8, 0.7], labels=[0, 0, 0])
    comparison = compare_with_truth(found, truth)
    # The better score takes the object although the second overlaps it more; the third is of another class.
    assert comparison.truth.tolist() == [0, -1, -1]
    assert comparison.mask_iou.tolist() == pytest.approx([80 / 120, 0, 0])
    assert comparison.box_iou.tolist() == pytest.approx([80 / 120, 0, 0])
    assert comparison.missed == (1,)
    assert (comparison.found, comparison.false) == (1, 2)
    assert comparison.mean(comparison.mask_iou) == pytest.approx(80 / 120 / 2)


def test_below_half_is_not_found() -> None:
    comparison = compare_with_truth(found_at((4, 0), scores=[0.9]), targets((0, 0)))
    assert comparison.truth.tolist() == [-1]


@pytest.mark.parametrize("corners", [[], [(0, 0)]])
def test_no_detections_or_no_truth(corners: list[tuple[int, int]]) -> None:
    comparison = compare_with_truth(found_at(scores=[]), targets(*corners))
    assert comparison.found == 0
    assert comparison.missed == tuple(range(len(corners)))
    assert math.isnan(comparison.mean(comparison.mask_iou)) == (not corners)
    assert compare_with_truth(found_at((0, 0), scores=[0.5]), targets()).false == 1


def test_following_keeps_the_assignment() -> None:
    sample = made_sample()
    trace = made_trace(sample)
    end = compare_with_truth(trace.detections(), sample.targets)
    assert end.found == len(sample.targets.boxes)
    means = []
    for t in range(3):
        there = follow(stage_view(trace, t), sample.targets, end.truth)
        assert torch.equal(there.truth, end.truth)
        means.append(float(there.box_iou.mean()))
    assert means == sorted(means)


def test_stage_view_has_the_stages_own_boxes_whatever_interleaving() -> None:
    sample = made_sample()
    for toggles in (HTC, PLAIN_CASCADE):
        trace = made_trace(sample, toggles)
        for t in range(3):
            assert torch.equal(stage_view(trace, t).boxes, trace.stages[t].boxes[trace.detected])
    plain = stage_view(made_trace(sample, PLAIN_CASCADE), 0)
    interleaved = stage_view(made_trace(sample, HTC), 0)
    assert not torch.equal(plain.masks, interleaved.masks)


def test_true_objects_keep_their_number() -> None:
    truth = targets((0, 0), (30, 0))
    both = found_at((30, 0), (0, 0), scores=[0.9, 0.8])
    first = ObjectNumbers(truth, truth_first=True)
    assert first.of(both) == [1, 0]
    assert first.of(found_at((50, 20), scores=[0.9])) == [2]
    as_seen = ObjectNumbers(truth)
    assert as_seen.of(both) == [0, 1]
    assert as_seen.of(found_at((50, 20), (0, 1), scores=[0.9, 0.8])) == [2, 1]


def test_other_objects_keep_the_number_they_got_first() -> None:
    numbers = ObjectNumbers(targets((0, 0)), truth_first=True)
    assert numbers.of(found_at((30, 0), (30, 20), scores=[0.9, 0.8])) == [1, 2]
    assert numbers.of(found_at((30, 20), scores=[0.9])) == [2]
    assert numbers.of(found_at((1, 20), (31, 1), scores=[0.9, 0.8])) == [3, 1]
    # Another class in the same place is another object.
    assert numbers.of(found_at((30, 0), scores=[0.9], labels=[5])) == [4]


def test_numbers_differ_within_a_picture_even_for_duplicates() -> None:
    numbers = ObjectNumbers()
    assert numbers.of(found_at((0, 0), (0, 0), (0, 0), scores=[0.9, 0.8, 0.7])) == [0, 1, 2]
    assert numbers.of(found_at((0, 0), (0, 0), scores=[0.9, 0.8])) == [0, 1]


def test_select_keeps_fields_together() -> None:
    found = found_at((0, 0), (30, 0), scores=[0.9, 0.2])
    kept = select(found, found.scores > 0.5)
    for field in dataclasses.fields(kept):
        assert torch.equal(getattr(kept, field.name), getattr(found, field.name)[:1])
