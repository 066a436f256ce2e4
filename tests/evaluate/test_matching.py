import dataclasses
import math

import pytest
import torch

from htc_lab.config import HTC, PLAIN_CASCADE
from htc_lab.evaluate.coco_ap import coco_results, encode_masks
from htc_lab.evaluate.error_types import error_types
from htc_lab.evaluate.identity import Identities
from htc_lab.evaluate.matching import compare_with_truth, follow, mask_ious
from htc_lab.explorer.judge import BACKGROUND, DUPLICATE, FOUND, POOR_MASK, WRONG_CLASS, errors_of
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
        there = follow(trace.said_by(t), sample.targets, end.truth)
        assert torch.equal(there.truth, end.truth)
        means.append(float(there.box_iou.mean()))
    assert means == sorted(means)


def test_stage_view_has_the_stages_own_boxes_whatever_interleaving() -> None:
    sample = made_sample()
    for toggles in (HTC, PLAIN_CASCADE):
        trace = made_trace(sample, toggles)
        for t in range(3):
            assert torch.equal(trace.said_by(t).boxes, trace.stages[t].boxes[trace.detected])
    plain = made_trace(sample, PLAIN_CASCADE).said_by(0)
    interleaved = made_trace(sample, HTC).said_by(0)
    assert not torch.equal(plain.masks, interleaved.masks)


def numbers_of(things: Identities, found: Detections, truth: Targets | None = None) -> list[int]:
    """As a figure asks for them that knows no RoIs."""
    match = None if truth is None else compare_with_truth(found, truth).truth.numpy()
    return things.of("", None, found.labels, found.boxes, found.scores, match)


def test_true_objects_keep_their_number() -> None:
    truth = targets((0, 0), (30, 0))
    things = Identities(truth)
    assert things.true == 2
    both = found_at((30, 0), (0, 0), scores=[0.9, 0.8])
    assert numbers_of(things, both, truth) == [1, 0]
    assert numbers_of(things, found_at((50, 20), scores=[0.9]), truth) == [2]
    assert numbers_of(things, found_at((50, 20), (0, 1), scores=[0.9, 0.8]), truth) == [2, 0]


def test_other_objects_keep_the_number_they_got_first() -> None:
    truth = targets((0, 0))
    things = Identities(truth)
    assert numbers_of(things, found_at((30, 0), (30, 20), scores=[0.9, 0.8]), truth) == [1, 2]
    assert numbers_of(things, found_at((30, 20), scores=[0.9]), truth) == [2]
    assert numbers_of(things, found_at((1, 20), (31, 1), scores=[0.9, 0.8]), truth) == [3, 1]
    # Another class in the same place is the same object under another name, unless that is there as well.
    assert numbers_of(things, found_at((30, 0), scores=[0.9], labels=[5]), truth) == [1]
    assert numbers_of(things, found_at((30, 0), (30, 0), scores=[0.9, 0.8], labels=[0, 5]), truth) == [1, 4]


def test_numbers_differ_within_a_picture_even_for_duplicates() -> None:
    things = Identities(None)
    assert numbers_of(things, found_at((0, 0), (0, 0), (0, 0), scores=[0.9, 0.8, 0.7])) == [0, 1, 2]
    assert numbers_of(things, found_at((0, 0), (0, 0), scores=[0.9, 0.8])) == [0, 1]


def test_an_object_is_the_one_that_it_overlaps_most() -> None:
    things = Identities(None)
    assert numbers_of(things, found_at((0, 0), (4, 0), scores=[0.9, 0.8])) == [0, 1]
    assert numbers_of(things, found_at((3, 0), scores=[0.9])) == [1]


def test_equal_overlaps_are_settled_as_coco_does() -> None:
    """Of two objects that a mask overlaps alike, the last."""
    comparison = compare_with_truth(found_at((0, 0), scores=[0.9]), targets((0, 1), (1, 0)))
    assert comparison.truth.tolist() == [1]


@pytest.mark.parametrize("seed", range(6))
def test_matching_is_that_of_the_reports(seed: int) -> None:
    """The same detections, as pixels and as COCO entries: hits and error types agree."""
    generator = torch.Generator().manual_seed(seed)

    def scene(count: int) -> Targets:
        corners = (torch.rand(count, 2, generator=generator) * torch.tensor([14.0, 8.0])).int().tolist()
        kinds = torch.randint(2, (count,), generator=generator).tolist()
        return targets(*[(x, y) for x, y in corners], labels=kinds)

    truth, made = scene(5), scene(12)
    scores = torch.rand(12, generator=generator)
    found = Detections(made.boxes, scores, made.labels, made.masks.bool())
    comparison = compare_with_truth(found, truth)
    iou = mask_ious(found.masks, truth.masks, torch.ones(12, 5, dtype=torch.bool))
    errors = errors_of(comparison.truth.numpy(), iou, found.labels.numpy(), truth.labels.numpy())
    coco = {
        "images": [{"id": 1, "height": 40, "width": 60}],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [
            {"id": k + 1, "image_id": 1, "category_id": int(label) + 1, "segmentation": code, "iscrowd": 0}
            for k, (label, code) in enumerate(
                zip(truth.labels, encode_masks(truth.masks.bool()), strict=True)
            )
        ],
    }
    counted = error_types(coco, coco_results(1, found, [1, 2])).count
    names = {DUPLICATE: "duplicate", WRONG_CLASS: "classification", POOR_MASK: "localisation"}
    for code, name in names.items():
        assert int((errors == code).sum()) == counted[name], name
    assert int((errors == BACKGROUND).sum()) == counted["background"] + counted["both"]
    assert int((errors == FOUND).sum()) == comparison.found


def test_select_keeps_fields_together() -> None:
    found = found_at((0, 0), (30, 0), scores=[0.9, 0.2])
    kept = found.select(found.scores > 0.5)
    for field in dataclasses.fields(kept):
        assert torch.equal(getattr(kept, field.name), getattr(found, field.name)[:1])
