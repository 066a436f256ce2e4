"""The losses: their definitions, their weights, and a snapshot that a silent change would break."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from htc_lab.config import HTC, PLAIN_CASCADE, CascadeConfig, SemanticConfig, StageConfig
from htc_lab.layers.boxes import encode_deltas
from htc_lab.layers.sampling import StageSamples
from htc_lab.model import total_loss
from htc_lab.stages.plain_cascade import BoxOutput, box_losses, mask_loss
from htc_lab.stages.semantic import semantic_loss
from htc_lab.structures import RoIs, Targets
from tests.unit.tiny import TINY, batch, generator, lively, near_truth

STAGE = StageConfig(iou=0.5, stds=(0.1, 0.1, 0.2, 0.2), loss_weight=1.0)


def _samples():
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 5, 20, 30], [8, 0, 12, 9]])
    wanted = torch.tensor([[1.0, 0, 11, 12], [5, 6, 18, 30], [8, 0, 12, 9]])
    truth = torch.tensor([0, 1, -1])
    rois = RoIs.of([boxes])
    return StageSamples(
        rois, torch.tensor([2, 0, 3]), wanted, truth, torch.zeros(3, dtype=torch.bool), rois.image
    )


@pytest.mark.parametrize("beta", [1.0, 0.25])
def test_box_losses_by_hand(beta):
    samples = _samples()
    logits, deltas = torch.randn(3, 4, generator=generator()), torch.randn(3, 4, generator=generator(6))
    output = BoxOutput(samples.rois, logits, deltas, torch.zeros(3, 1, 7, 7))
    cls_loss, box_loss = box_losses(output, samples, STAGE, CascadeConfig(smooth_l1_beta=beta))
    cls = box = 0.0
    for i in range(3):
        row = logits[i].tolist()
        label = int(samples.labels[i])
        cls += math.log(sum(math.exp(v) for v in row)) - row[label]
        if label < 3:
            wanted = encode_deltas(samples.rois.boxes[i : i + 1], samples.boxes[i : i + 1], STAGE.stds)[0]
            for error in (deltas[i] - wanted).abs().tolist():
                box += 0.5 * error * error / beta if error < beta else error - 0.5 * beta
    # Both by the number of samples, background included.
    assert float(cls_loss) == pytest.approx(cls / 3, rel=1e-5)
    assert float(box_loss) == pytest.approx(box / 3, rel=1e-5)


def test_the_mask_loss_is_the_mean_cross_entropy_of_all_pixels():
    logits = torch.randn(2, 4, 4, generator=generator())
    wanted = (torch.rand(2, 4, 4, generator=generator()) > 0.5).float()
    p = logits.sigmoid()
    by_hand = -(wanted * p.log() + (1 - wanted) * (1 - p).log()).mean()
    torch.testing.assert_close(mask_loss(logits, wanted), by_hand)


def test_no_positives_give_a_mask_loss_of_zero_that_is_attached():
    logits = torch.zeros(0, 4, 4, requires_grad=True)
    loss = mask_loss(logits, torch.zeros(0, 4, 4))
    assert float(loss.detach()) == 0
    loss.backward()
    assert logits.grad is not None


SEMANTIC = SemanticConfig(classes=4, loss_weight=0.5, mean_over_valid=True)


def _map_and_logits():
    maps = torch.randint(0, 4, (2, 16, 24), generator=generator()).to(torch.uint8)
    maps[:, :6] = 255
    return torch.randn(2, 4, 4, 6, generator=generator()), maps


@pytest.mark.parametrize("valid_only", [True, False])
def test_the_semantic_loss_by_hand(valid_only):
    logits, maps = _map_and_logits()
    config = dataclasses.replace(SEMANTIC, mean_over_valid=valid_only)
    total, known = 0.0, 0
    for b in range(2):
        for i in range(4):
            for j in range(6):
                label = int(maps[b, 4 * i, 4 * j])
                if label != 255:
                    known += 1
                    total -= float(logits[b, :, i, j].log_softmax(dim=0)[label])
    count = known if valid_only else 2 * 4 * 6
    assert 0 < known < 2 * 4 * 6
    assert float(semantic_loss(logits, maps, 4, config)) == pytest.approx(0.5 * total / count, rel=1e-5)


def test_ignored_pixels_do_not_matter():
    logits, maps = _map_and_logits()
    changed = logits.clone()
    changed[:, :, :2] = 99 * torch.randn(2, 4, 2, 6, generator=generator())
    assert semantic_loss(logits, maps, 4, SEMANTIC) == semantic_loss(changed, maps, 4, SEMANTIC)
    changed[:, 0, 3] += 1
    assert semantic_loss(logits, maps, 4, SEMANTIC) != semantic_loss(changed, maps, 4, SEMANTIC)


@pytest.mark.parametrize("valid_only", [True, False])
def test_a_map_of_ignored_pixels_gives_zero(valid_only):
    logits, maps = _map_and_logits()
    logits.requires_grad_()
    config = dataclasses.replace(SEMANTIC, mean_over_valid=valid_only)
    loss = semantic_loss(logits, torch.full_like(maps, 255), 4, config)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not logits.grad.any()


def test_the_padding_of_a_batch_is_ignored():
    model = lively()
    images, targets = batch()
    t = targets[1]
    small = Targets(t.boxes, t.labels, t.masks[:, :40, :50], t.semantic[:40, :50])
    features = model.features_of(images)
    padded = F.pad(small.semantic, (0, 14, 0, 24), value=255)
    stacked = torch.stack([targets[0].semantic, padded])
    wanted = semantic_loss(features.semantic_logits, stacked, 4, TINY.semantic)
    assert model._semantic_loss(features, [targets[0], small])[0] == wanted


def test_the_weights_of_the_stages_and_of_the_semantic_loss_enter_linearly():
    images, targets = batch()
    usual = lively().losses(images, targets, generator=generator())
    stages = tuple(
        dataclasses.replace(stage, loss_weight=stage.loss_weight * factor)
        for stage, factor in zip(TINY.cascade.stages, (2.0, 0.0, 8.0), strict=True)
    )
    config = dataclasses.replace(
        TINY,
        cascade=dataclasses.replace(TINY.cascade, stages=stages),
        semantic=dataclasses.replace(TINY.semantic, loss_weight=TINY.semantic.loss_weight * 4),
    )
    heavy = lively(config).losses(images, targets, generator=generator())
    for name, value in usual.items():
        factor = {"s0.loss": 2.0, "s1.loss": 0.0, "s2.loss": 8.0, "loss_se": 4.0}.get(name[:7], 1.0)
        # Powers of two, so the products are exact.
        assert heavy[name] == factor * value, name


def test_the_total_leaves_accuracies_out():
    losses = {
        "loss_rpn_cls": torch.tensor(1.0),
        "s0.loss_mask": torch.tensor(2.0),
        "s0.acc": torch.tensor(50.0),
    }
    assert float(total_loss(losses)) == 3


@pytest.mark.parametrize(("said", "percent"), [(3, 100.0), (0, 0.0)])
def test_accuracies_are_in_percent(said, percent):
    model = lively()
    with torch.no_grad():
        for head in model.roi_head.bbox_head:
            head.fc_cls.bias[said] += 1e4
    images, targets = batch()
    nothing = [Targets(t.boxes[:0], t.labels[:0], t.masks[:0], t.semantic) for t in targets]
    losses = model.losses(images, nothing, generator=generator())
    assert [float(losses[f"s{t}.acc"]) for t in range(3)] == [percent] * 3


SNAPSHOT_HTC = {
    "loss_rpn_cls": 0.728313,
    "loss_rpn_bbox": 0.0375119,
    "loss_semantic_seg": 0.32223,
    "s0.loss_cls": 1.32534,
    "s0.loss_bbox": 0.445021,
    "s0.loss_mask": 0.749581,
    "s0.acc": 58.3333,
    "s1.loss_cls": 0.745991,
    "s1.loss_bbox": 0.334616,
    "s1.loss_mask": 0.358425,
    "s1.acc": 41.6667,
    "s2.loss_cls": 0.408467,
    "s2.loss_bbox": 0.335193,
    "s2.loss_mask": 0.172214,
    "s2.acc": 0.0,
}
SNAPSHOT_PLAIN = {
    "loss_rpn_cls": 0.728313,
    "loss_rpn_bbox": 0.0375119,
    "s0.loss_cls": 1.0764,
    "s0.loss_bbox": 0.446839,
    "s0.loss_mask": 0.730627,
    "s0.acc": 58.3333,
    "s1.loss_cls": 1.01869,
    "s1.loss_bbox": 0.311754,
    "s1.loss_mask": 0.354383,
    "s1.acc": 25.0,
    "s2.loss_cls": 0.415847,
    "s2.loss_bbox": 0.305905,
    "s2.loss_mask": 0.172775,
    "s2.acc": 25.0,
}


def snapshot(model, toggles):
    """All losses; those of the stages on fixed RoIs, so that no near tie in the RPN's ranking decides."""
    images, targets = batch()
    losses = model.losses(images, targets, toggles, generator())
    rois = near_truth(targets)
    losses |= model.roi_head.losses(model.features_of(images), rois, targets, toggles, generator())
    return {name: float(value.detach()) for name, value in losses.items()}


@pytest.mark.parametrize(
    ("toggles", "wanted"), [(HTC, SNAPSHOT_HTC), (PLAIN_CASCADE, SNAPSHOT_PLAIN)], ids=["htc", "plain"]
)
def test_the_losses_are_what_they_were(toggles, wanted):
    """A change of arithmetic that is meant changes these numbers; one that is not is caught."""
    found = snapshot(lively(moves=10.0), toggles)
    assert found == pytest.approx(wanted, rel=1e-4)


def test_the_snapshot_would_notice():
    model = lively(moves=10.0)
    with torch.no_grad():
        model.roi_head.mask_head[1].conv_res.conv.weight.mul_(1.01)
    found = snapshot(model, HTC)
    changed = {name for name in found if found[name] != pytest.approx(SNAPSHOT_HTC[name], rel=1e-4)}
    assert changed == {"s1.loss_mask", "s2.loss_mask"}
