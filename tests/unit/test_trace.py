"""StageTrace: what it holds, one image of it, and the pixels made from it."""

import dataclasses

import pytest
import torch

from htc_lab.config import HTC, PLAIN_CASCADE, RUNGS, Toggles
from htc_lab.layers.pasting import paste
from tests.unit.boxes import plain_iou
from tests.unit.tiny import assert_same, batch, lively, truth


@pytest.fixture(scope="module")
def seen():
    model = lively()
    images, _ = batch(3)
    with torch.no_grad():
        features = model.encode(images)
        return model, images, features, model.propose(features)


@pytest.fixture(scope="module")
def trace(seen):
    model, _, features, proposals = seen
    return model.cascade(features, proposals, HTC, keep_features=True)


@pytest.mark.parametrize("toggles", RUNGS.values(), ids=RUNGS)
@torch.no_grad()
def test_one_image_of_a_batch_is_that_image_alone(seen, toggles):
    model, images, features, proposals = seen
    together = model.cascade(features, proposals, toggles, keep_features=True)
    for i, image in enumerate(images):
        one = model.encode([image])
        alone = model.cascade(one, model.propose(one), toggles, keep_features=True)
        part = together.of_image(i)
        assert part.sizes == alone.sizes == [(64, 64)]
        assert part.toggles == toggles
        assert torch.equal(part.image, alone.image)
        assert torch.equal(part.detected, alone.detected)
        assert torch.equal(part.labels, alone.labels)
        _close(
            part, alone, "proposals.rois.boxes", "proposals.scores", "scores", "boxes", "mask_probabilities"
        )
        for ours, theirs in zip(part.stages, alone.stages, strict=True):
            _close(ours, theirs, "rois", "class_logits", "deltas", "boxes", "mask_boxes")
            _close(ours, theirs, "mask_logits", "final_mask_logits", "box_features", "mask_features")


def _close(ours, theirs, *names):
    for name in names:
        a, b = ours, theirs
        for step in name.split("."):
            a, b = getattr(a, step), getattr(b, step)
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-3, msg=lambda text, name=name: f"{name}: {text}")


def test_one_image_gives_the_same_pixels(trace):
    for i in range(3):
        assert_same(trace.of_image(i).detections(), trace.detections(i))
        for stage in range(3):
            for final in (True, False):
                assert_same(
                    trace.of_image(i).detections(0, stage, final_boxes=final),
                    trace.detections(i, stage, final_boxes=final),
                )


def test_the_stages_hand_on_their_boxes(trace):
    assert torch.equal(trace.stages[0].rois, trace.proposals.rois.boxes)
    for before, after in zip(trace.stages, trace.stages[1:], strict=False):
        assert torch.equal(after.rois, before.boxes)
        assert not torch.equal(after.rois, before.rois)
    assert torch.equal(trace.boxes, trace.stages[-1].boxes[trace.detected])


def test_the_per_stage_view_shows_the_boxes_the_masks_were_taken_on(seen, trace):
    model, _, features, proposals = seen
    plain = model.cascade(features, proposals, Toggles(interleaved=False))
    for before, after in zip(plain.stages, trace.stages, strict=True):
        assert torch.equal(after.mask_boxes, after.boxes[trace.detected])
        assert torch.equal(before.mask_boxes, before.rois[plain.detected])
        assert not torch.equal(before.mask_boxes, after.mask_boxes)
    # Interleaved, the last view is the result; in parallel it is not.
    assert torch.equal(trace.stages[2].mask_logits, trace.stages[2].final_mask_logits)
    assert not torch.equal(plain.stages[2].mask_logits, plain.stages[2].final_mask_logits)


def test_without_the_view_the_final_boxes_stand_in(seen, trace):
    model, _, features, proposals = seen
    short = model.cascade(features, proposals, HTC, per_stage_view=False)
    for record in short.stages:
        assert torch.equal(record.mask_boxes, short.boxes)
        assert torch.equal(record.mask_logits, record.final_mask_logits)
        assert record.box_features is None
        assert record.mask_features is None
    assert torch.equal(short.mask_probabilities, trace.mask_probabilities)


@pytest.mark.parametrize("stages", [1, 2, 3])
@pytest.mark.parametrize("average", [True, False])
def test_mask_probabilities_are_the_mean_or_the_last(seen, stages, average):
    model, _, features, proposals = seen
    trace = model.cascade(features, proposals, Toggles(average_masks=average, stages=stages))
    each = [record.final_mask_logits.sigmoid() for record in trace.stages]
    wanted = sum(each) / len(each) if average else each[-1]
    torch.testing.assert_close(trace.mask_probabilities, wanted, rtol=1e-5, atol=1e-6)
    if stages > 1:
        assert (sum(each) / len(each) - each[-1]).abs().max() > 1e-2


def test_scores_come_from_the_mean_of_the_logits(trace):
    mean = sum(record.class_logits for record in trace.stages) / 3
    wanted = mean.softmax(dim=1)[trace.detected, trace.labels]
    torch.testing.assert_close(trace.scores, wanted, rtol=1e-5, atol=1e-6)
    for stage in range(3):
        own = trace.stages[stage].class_logits.softmax(dim=1)[trace.detected, trace.labels]
        assert torch.equal(trace.stage_scores(stage), own)
    for i in range(3):
        scores = trace.scores[trace.image == i]
        assert torch.equal(scores, scores.sort(descending=True).values)


@pytest.mark.parametrize("toggles", [HTC, PLAIN_CASCADE], ids=["htc", "plain"])
def test_the_detections_of_a_stage(seen, toggles):
    model, _, features, proposals = seen
    trace = model.cascade(features, proposals, toggles)
    here = trace.image == 1
    result = trace.detections(1)
    assert torch.equal(result.boxes, trace.boxes[here])
    assert torch.equal(result.masks, paste(trace.mask_probabilities[here], trace.boxes[here], 64, 64))
    for stage, record in enumerate(trace.stages):
        final, own = trace.detections(1, stage), trace.detections(1, stage, final_boxes=False)
        assert torch.equal(final.boxes, result.boxes)
        assert torch.equal(final.scores, result.scores)
        soft = record.final_mask_logits.sigmoid()[here]
        assert torch.equal(final.masks, paste(soft, trace.boxes[here], 64, 64))
        assert torch.equal(own.boxes, record.mask_boxes[here])
        assert torch.equal(own.scores, trace.stage_scores(stage)[here])
        assert torch.equal(own.labels, result.labels)
        soft = record.mask_logits.sigmoid()[here]
        assert torch.equal(own.masks, paste(soft, record.mask_boxes[here], 64, 64))


@pytest.mark.parametrize("stage", [None, 0, 2])
def test_all_pictures_are_those_of_one_at_a_time(trace, stage):
    assert trace.pictures == trace.sizes
    for i, found in enumerate(trace.in_pictures(0.4, stage)):
        assert_same(found, trace.detections(i, stage, 0.4))
    # Of pictures that were brought to half their height and twice their width.
    sizes = [(2 * height, width // 2) for height, width in trace.sizes]
    resized = dataclasses.replace(trace, pictures=sizes)
    assert resized.scales == [(2.0, 0.5)] * 3
    for i, found in enumerate(resized.in_pictures(stage=stage)):
        one = trace.detections(i)
        assert torch.equal(found.boxes, one.boxes * torch.tensor([0.5, 2, 0.5, 2]))
        assert torch.equal(found.scores, one.scores)
        assert found.masks.shape == (len(one), *sizes[i])
        # The whole trace in the pictures' pixels gives the same pixels.
        assert_same(found, resized.at_picture_size().detections(i, stage))
        assert_same(found, next(resized.of_image(i).in_pictures(stage=stage)))


def test_a_trace_at_the_size_of_its_pictures(trace):
    """Every box is scaled, nothing else; and the truth is told in the pictures' pixels."""
    assert trace.at_picture_size() is trace
    resized = dataclasses.replace(trace, pictures=[(32, 128), (64, 64), (128, 16)])
    placed = resized.at_picture_size()
    assert placed.sizes == placed.pictures == resized.pictures
    factors = torch.tensor([[2.0, 0.5, 2.0, 0.5], [1.0, 1.0, 1.0, 1.0], [0.25, 2.0, 0.25, 2.0]])
    of_rois, of_found = factors[trace.proposals.rois.image], factors[trace.image]
    assert torch.equal(placed.boxes, trace.boxes * of_found)
    assert torch.equal(placed.proposals.rois.boxes, trace.proposals.rois.boxes * of_rois)
    for ours, theirs in zip(placed.stages, trace.stages, strict=True):
        assert torch.equal(ours.rois, theirs.rois * of_rois)
        assert torch.equal(ours.boxes, theirs.boxes * of_rois)
        assert torch.equal(ours.mask_boxes, theirs.mask_boxes * of_found)
        assert torch.equal(ours.mask_logits, theirs.mask_logits)
        assert torch.equal(ours.deltas, theirs.deltas)
    targets = [truth(i) for i in range(3)]
    told = trace.with_truth(targets)
    given = [
        dataclasses.replace(target, boxes=target.boxes * factor)
        for target, factor in zip(targets, factors, strict=True)
    ]
    for ours, theirs in zip(resized.with_truth(given).stages, told.stages, strict=True):
        torch.testing.assert_close(ours.truth.iou, theirs.truth.iou)
        assert torch.equal(ours.boxes, theirs.boxes)


def test_a_higher_threshold_gives_smaller_masks(trace):
    sizes = [int(trace.detections(0, mask_threshold=t).masks.sum()) for t in (0.5, 0.6, 0.8)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_the_truth_of_every_stage(trace):
    targets = [truth(0), truth(1, 0), truth(2)]
    judged = trace.with_truth(targets)
    assert trace.stages[0].truth is None
    image = trace.proposals.rois.image.tolist()
    for record in judged.stages:
        for box, i, index, iou in zip(
            record.boxes.tolist(), image, record.truth.index.tolist(), record.truth.iou.tolist(), strict=True
        ):
            overlaps = [plain_iou(box, other) for other in targets[i].boxes.tolist()]
            best = max(overlaps, default=0.0)
            assert iou == pytest.approx(best, abs=1e-5)
            assert index == (overlaps.index(best) if best > 0 else -1)
    one = judged.of_image(2).stages[1].truth
    assert torch.equal(one.iou, judged.stages[1].truth.iou[trace.proposals.rois.image == 2])


def test_a_trace_carries_no_gradient(trace):
    assert not trace.mask_probabilities.requires_grad
    assert not any(record.class_logits.requires_grad for record in trace.stages)


def test_printed_it_is_a_few_lines(seen, trace):
    model, _, features, proposals = seen
    lines = str(trace).splitlines()
    assert len(lines) == 3
    assert lines[0] == "StageTrace: 3 images of 64 × 64 px (H × W)"
    assert lines[1] == "  on: interleaved, mask_flow, semantic_box, semantic_mask, average_masks"
    found = f"{len(trace.scores)} detections scoring {float(trace.scores.min()):.2f} to "
    assert lines[2].startswith(f"  {len(proposals.scores)} proposals, 3 stages, {found}")
    nothing = model.cascade(features, proposals, Toggles(False, False, False, False, False, stages=1))
    assert "  on: nothing\n" in f"{nothing}"
    assert "1 stage," in repr(nothing)
    assert "tensor" not in repr([trace, nothing])


def test_a_stage_printed_is_one_line(trace):
    text = repr(trace.stages[0])
    assert (
        text
        == str(trace.stages[0])
        == (
            f"StageRecord: {len(trace.stages[0].boxes)} RoIs, {len(trace.labels)} masks of 28 × 28, "
            "with the features looked at"
        )
    )
    alone = trace.of_image(0).with_truth([truth(0)]).stages[0]
    assert "compared with the truth" in repr(alone)
    assert "\n" not in repr(alone)
