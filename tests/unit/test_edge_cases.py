"""Inputs at the edge: nothing to find, nothing proposed, boxes of a pixel or none, mixed sizes."""

import dataclasses

import pytest
import torch

from htc_lab.config import RUNGS, Toggles
from htc_lab.errors import InputError
from htc_lab.model import total_loss
from htc_lab.structures import Proposals, RoIs, Targets
from htc_lab.toggles import EVERY_IDEA
from tests.unit.tiny import TINY, batch, generator, lively, picture, truth, with_toggles

CASES = {**RUNGS, "every idea": EVERY_IDEA}
rungs = pytest.mark.parametrize("toggles", CASES.values(), ids=CASES)


@pytest.fixture(scope="module")
def model():
    return lively(with_toggles(EVERY_IDEA))


def nothing(height=64, width=64):
    return Targets(
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.int64),
        torch.zeros(0, height, width, dtype=torch.uint8),
        torch.full((height, width), 255, dtype=torch.uint8),
    )


def _all_finite(model, losses):
    assert all(value.isfinite() for value in losses.values())
    model.zero_grad(set_to_none=True)
    total_loss(losses).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@rungs
def test_pictures_without_objects(model, toggles):
    losses = model.losses([picture(0), picture(1)], [nothing(), nothing()], toggles, generator())
    _all_finite(model, losses)
    for t in range(3):
        assert float(losses[f"s{t}.loss_bbox"].detach()) == 0
        assert float(losses[f"s{t}.loss_mask"].detach()) == 0
        assert float(losses[f"s{t}.loss_cls"].detach()) > 0
    if toggles.semantic:
        assert float(losses["loss_semantic_seg"].detach()) == 0
    # Distributed training waits for a gradient of every weight that was in use.
    for t, head in enumerate(model.roi_head.mask_head):
        flows = toggles.mask_flow and t > 0
        for name, weight in head.named_parameters():
            assert (weight.grad is not None) == (flows or "conv_res" not in name)
    for weight in model.roi_head.feat_relay_head.parameters():
        assert (weight.grad is not None) == toggles.feature_relay


@rungs
def test_one_picture_of_two_without_objects(model, toggles):
    losses = model.losses([picture(0), picture(1)], [nothing(), truth(1)], toggles, generator())
    _all_finite(model, losses)
    assert float(losses["s0.loss_mask"].detach()) > 0


def _proposals(*boxes):
    rois = RoIs.of([torch.tensor(b, dtype=torch.float32).reshape(-1, 4) for b in boxes])
    return Proposals(rois, torch.ones(len(rois)))


@rungs
@pytest.mark.parametrize("boxes", [[[], []], [[], [[4, 4, 30, 40]]], [[[4, 4, 30, 40]], []]])
def test_no_proposals(model, toggles, boxes):
    features = model.encode([picture(0), picture(1)])
    trace = model.cascade(features, _proposals(*boxes), toggles, keep_features=True)
    count = sum(map(len, boxes))
    assert trace.stages[2].boxes.shape == (count, 4)
    assert trace.stages[2].class_logits.shape == (count, 4)
    for i in range(2):
        found = trace.detections(i)
        assert (len(found) > 0) == bool(boxes[i])
        assert found.masks.shape == (len(found), 64, 64)
        assert len(trace.of_image(i).scores) == len(found)


@rungs
@pytest.mark.parametrize("targets", [truth(0), nothing()], ids=["objects", "none"])
def test_losses_without_proposals(model, toggles, targets):
    features = model.features_of([picture(0)])
    losses = model.roi_head.losses(features, RoIs.of([torch.zeros(0, 4)]), [targets], toggles, generator())
    _all_finite(model, losses)
    # The objects' own boxes are there all the same, in the first stage.
    assert (float(losses["s0.loss_cls"].detach()) > 0) == (len(targets.boxes) > 0)


@rungs
def test_an_object_of_one_pixel(model, toggles):
    masks = torch.zeros(2, 64, 64, dtype=torch.uint8)
    masks[0, 20, 30] = masks[1, 63, 63] = 1
    boxes = torch.tensor([[30.0, 20, 31, 21], [63, 63, 64, 64]])
    target = Targets(boxes, torch.tensor([0, 2]), masks, truth(0).semantic)
    losses = model.losses([picture(0)], [target], toggles, generator())
    _all_finite(model, losses)
    features = model.encode([picture(0)])
    trace = model.cascade(features, Proposals(RoIs.of([boxes]), torch.ones(2)), toggles)
    assert all(record.boxes.isfinite().all() for record in trace.stages)
    assert trace.mask_probabilities.isfinite().all()


@rungs
def test_rois_without_size(model, toggles):
    flat = [[10, 10, 10, 10], [5, 8, 5, 30], [64, 64, 64, 64], [3, 3, 40, 40]]
    features = model.features_of([picture(0)])
    trace = model.cascade(features, _proposals(flat), toggles)
    for record in trace.stages:
        assert record.boxes.isfinite().all()
        assert record.class_logits.isfinite().all()
        assert record.final_mask_logits.isfinite().all()
    found = trace.detections()
    empty = (found.boxes[:, 2:] <= found.boxes[:, :2]).any(dim=1)
    assert bool(empty.any())
    assert not found.masks[empty].any()
    losses = model.roi_head.losses(
        features, RoIs.of([torch.tensor(flat, dtype=torch.float32)]), [truth(0)], toggles, generator()
    )
    _all_finite(model, losses)


@rungs
def test_objects_that_share_one_box(model, toggles):
    one = truth(0, 1)
    masks = torch.cat([one.masks, 1 - one.masks])
    target = Targets(one.boxes.repeat(2, 1), torch.tensor([0, 1]), masks, one.semantic)
    losses = model.losses([picture(0)], [target], toggles, generator())
    _all_finite(model, losses)
    swapped = Targets(target.boxes, target.labels, masks.flip(0), one.semantic)
    other = model.losses([picture(0)], [swapped], toggles, generator())
    assert losses["s0.loss_cls"] == other["s0.loss_cls"]
    assert losses["s0.loss_mask"] != other["s0.loss_mask"]


def test_a_picture_in_which_nothing_is_found():
    strict = dataclasses.replace(TINY, cascade=dataclasses.replace(TINY.cascade, score_threshold=1.0))
    model = lively(strict)
    for toggles in RUNGS.values():
        (found,) = model.predict([picture(0, 50, 80)], toggles)
        assert len(found) == 0
        assert found.boxes.shape == (0, 4)
        assert found.masks.shape == (0, 50, 80)
    trace = model.cascade((f := model.encode([picture(0)])), model.propose(f), keep_features=True)
    assert trace.mask_probabilities.shape == (0, 28, 28)
    assert trace.with_truth([truth(0)]).stages[0].truth is not None


# All of these are padded to 64 x 64, so the network sees in the batch what it sees alone.
SAME_PADDING = [(64, 64), (50, 61), (64, 40), (33, 64)]


@rungs
@torch.no_grad()
def test_a_batch_of_sizes_gives_what_each_picture_gives_alone(model, toggles):
    images = [picture(i, *size) for i, size in enumerate(SAME_PADDING)]
    features = model.features_of(images)
    assert features.sizes == SAME_PADDING
    trace = model.cascade(features, model.propose(features), toggles)
    for i, image in enumerate(images):
        features = model.features_of([image])
        alone = model.cascade(features, model.propose(features), toggles)
        ours, theirs = trace.detections(i), alone.detections()
        assert ours.labels.tolist() == theirs.labels.tolist()
        torch.testing.assert_close(ours.boxes, theirs.boxes, rtol=1e-3, atol=1e-2)
        torch.testing.assert_close(ours.scores, theirs.scores, rtol=1e-3, atol=1e-4)
        assert (ours.masks != theirs.masks).float().mean() < 1e-3


@rungs
def test_a_batch_of_very_different_sizes(model, toggles):
    """Padding differs, so values may; shapes, sizes and places hold."""
    sizes = [(32, 32), (64, 97), (70, 40), (1, 1)]
    images = [picture(i, *size) for i, size in enumerate(sizes)]
    features = model.features_of(images)
    assert features.levels[0].shape[-2:] == (96 // 4, 128 // 4)
    trace = model.cascade(features, model.propose(features), toggles)
    for i, (height, width) in enumerate(sizes):
        for record in trace.stages:
            boxes = record.boxes[trace.proposals.rois.image == i]
            assert (boxes >= 0).all()
            assert (boxes[:, 0::2] <= width).all()
            assert (boxes[:, 1::2] <= height).all()
        found = trace.detections(i)
        assert found.masks.shape == (len(found), height, width)
    targets = [truth(0, 0, 32, 32), truth(1, 2, 64, 97), truth(2, 2, 70, 40), truth(3, 0, 1, 1)]
    _all_finite(model, model.losses(images, targets, toggles, generator()))


def test_predictions_come_back_in_the_given_pixels(model):
    images = [picture(0, 40, 130), picture(1, 128, 90), picture(2, 64, 64)]
    for image, found in zip(images, model.predict(images), strict=True):
        height, width = image.shape[1:]
        assert found.masks.shape[1:] == (height, width)
        assert (found.boxes[:, 0::2] <= width + 1e-3).all()
        assert (found.boxes[:, 1::2] <= height + 1e-3).all()
        assert torch.equal(found.scores, found.scores.sort(descending=True).values)


def test_predict_leaves_the_mode_and_the_statistics_alone(model):
    model.train()
    before = model.backbone.bn1.running_mean.clone()
    first = model.predict([picture(0)])
    assert model.training
    assert torch.equal(model.backbone.bn1.running_mean, before)
    model.eval()
    assert torch.equal(model.predict([picture(0)])[0].scores, first[0].scores)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "list of images is empty"),
        ([torch.zeros(64, 64)], r"image 0 has shape \(64, 64\)"),
        ([picture(0), torch.zeros(4, 64, 64)], r"image 1 has shape \(4, 64, 64\)"),
        ([torch.zeros(3, 0, 64)], r"image 0 has shape \(3, 0, 64\)"),
    ],
)
def test_what_is_no_picture_is_refused(model, images, message):
    for take in (model.encode, model.features_of, model.predict):
        with pytest.raises(InputError, match=message):
            take(images)


def test_a_missing_semantic_map_is_refused_only_where_it_is_needed(model):
    images, targets = batch()
    targets = [targets[0], dataclasses.replace(targets[1], semantic=None)]
    with pytest.raises(InputError, match=r"targets\[1\]\.semantic is None"):
        model.losses(images, targets)
    model.losses(images, targets, Toggles(semantic_box=False, semantic_mask=False))


def test_bfloat16_finds_what_float32_finds(model):
    images = [picture(3), picture(5)]
    for exact, quick in zip(model.predict(images), model.predict(images, bf16=True), strict=True):
        assert quick.boxes.dtype == quick.scores.dtype == torch.float32
        assert len(quick) > 0
        # The surest object is the same one, at nearly the same place.
        assert quick.labels[0] == exact.labels[0]
        assert (quick.boxes[0] - exact.boxes[0]).abs().max() < 2
        assert 0 < (quick.scores[0] - exact.scores[0]).abs() < 0.05
