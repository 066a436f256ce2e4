"""Deltas of each class, and losses by the overlap of boxes."""

import dataclasses
import math

import pytest
import torch
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

from htc_lab.config import CascadeConfig, StageConfig
from htc_lab.layers.box_moves import moved_as_each_class
from htc_lab.layers.boxes import decode_deltas, encode_deltas
from htc_lab.layers.detection import detect
from htc_lab.layers.iou_loss import iou_loss
from htc_lab.layers.sampling import StageSamples
from htc_lab.merged_predictor import MergedPredictor
from htc_lab.model import build_model, total_loss
from htc_lab.predictors import ModelPredictor
from htc_lab.stages.plain_cascade import BoxOutput, box_losses, refine
from htc_lab.structures import RoIs
from htc_lab.views import View
from tests.unit.tiny import TINY, assert_same, batch, generator, lively, near_truth, picture

KINDS = ("giou", "diou", "ciou")
STAGE = StageConfig(iou=0.5, stds=(0.1, 0.1, 0.2, 0.2), loss_weight=1.0)


def cascade(**changes):
    return dataclasses.replace(TINY, cascade=dataclasses.replace(TINY.cascade, **changes))


def boxes(seed: int, count: int = 60) -> torch.Tensor:
    corner, size = torch.rand(2, count, 2, generator=generator(seed)).unbind()
    return torch.cat([corner * 60, corner * 60 + 1 + size * 50], dim=1)


def by_hand(box: list[float], target: list[float], kind: str) -> float:
    """One loss by the papers' formulas."""
    (x1, y1, x2, y2), (u1, v1, u2, v2) = box, target
    shared = max(min(x2, u2) - max(x1, u1), 0) * max(min(y2, v2) - max(y1, v1), 0)
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared
    iou = shared / union
    width, height = max(x2, u2) - min(x1, u1), max(y2, v2) - min(y1, v1)
    if kind == "giou":
        return 1 - iou + (width * height - union) / (width * height)
    apart = ((x1 + x2 - u1 - u2) / 2) ** 2 + ((y1 + y2 - v1 - v2) / 2) ** 2
    loss = 1 - iou + apart / (width**2 + height**2)
    if kind == "ciou" and iou > 0.5:
        v = 4 / math.pi**2 * (math.atan((u2 - u1) / (v2 - v1)) - math.atan((x2 - x1) / (y2 - y1))) ** 2
        loss += v * v / (1 - iou + v)
    return loss


@pytest.mark.parametrize("kind", KINDS)
def test_the_losses_are_those_of_the_papers(kind):
    ours, theirs = boxes(1), boxes(2)
    # Some near their targets, as most positives are.
    theirs[:30] = ours[:30] + torch.randn(30, 4, generator=generator(3)) * 0.4
    wanted = torch.tensor([by_hand(*pair, kind) for pair in zip(ours.tolist(), theirs.tolist(), strict=True)])
    torch.testing.assert_close(iou_loss(ours, theirs, kind), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("giou", generalized_box_iou_loss),
        ("diou", distance_box_iou_loss),
        ("ciou", complete_box_iou_loss),
    ],
)
def test_values_and_gradients_are_torchvisions(kind, other):
    targets = boxes(1)
    # torchvision's alpha is not cut off below an IoU of 0.5: all are above.
    start = targets + torch.randn(60, 4, generator=generator(3)) * 0.1
    ours, theirs = (start.clone().requires_grad_() for _ in range(2))
    mine, other_loss = iou_loss(ours, targets, kind), other(theirs, targets)
    torch.testing.assert_close(mine, other_loss, rtol=1e-4, atol=1e-5)
    mine.sum().backward()
    other_loss.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


# Box, object, and the GIoU, DIoU and CIoU losses that mmdet 2.28.2 has for them.
RECORDED = (
    ([10.0, 10, 50, 40], [12.0, 9, 48, 44], (0.231677, 0.218188, 0.218383)),
    ([10.0, 10, 50, 40], [60.0, 60, 90, 70], (1.6875, 1.3625, 1.3625)),
    ([0.0, 0, 20, 20], [5.0, 5, 45, 15], (1.047009, 0.862014, 0.862014)),
    ([0.0, 0, 40, 20], [4.0, 2, 36, 34], (0.620814, 0.561684, 0.561684)),
)


def test_the_losses_are_the_references():
    ours = torch.tensor([box for box, _, _ in RECORDED])
    theirs = torch.tensor([target for _, target, _ in RECORDED])
    for i, kind in enumerate(KINDS):
        wanted = torch.tensor([losses[i] for _, _, losses in RECORDED])
        torch.testing.assert_close(iou_loss(ours, theirs, kind), wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_box_on_its_object_costs_nothing_and_has_a_gradient(kind):
    on_it = boxes(4).requires_grad_()
    loss = iou_loss(on_it, on_it.detach(), kind)
    torch.testing.assert_close(loss, torch.zeros(60), rtol=0, atol=1e-5)
    loss.sum().backward()
    assert bool(torch.isfinite(on_it.grad).all())


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_apart_are_pulled_together(kind):
    box = torch.tensor([[0.0, 0, 10, 10]], requires_grad=True)
    loss = iou_loss(box, torch.tensor([[30.0, 0, 40, 10]]), kind)
    loss.sum().backward()
    assert float(loss.detach()) > 1
    # Going down the slope, the box moves or grows to the right.
    assert float(box.grad[0, 2]) < 0
    assert iou_loss(torch.zeros(0, 4), torch.zeros(0, 4), kind).shape == (0,)


def samples() -> StageSamples:
    rois = RoIs.of([torch.tensor([[0.0, 0, 10, 10], [5, 5, 20, 30], [8, 0, 12, 9]])])
    wanted = torch.tensor([[1.0, 0, 11, 12], [5, 6, 18, 30], [8, 0, 12, 9]])
    return StageSamples(
        rois,
        torch.tensor([2, 0, 3]),
        wanted,
        torch.tensor([0, 1, -1]),
        torch.zeros(3, dtype=torch.bool),
        rois.image,
    )


def said(deltas: torch.Tensor, seed: int = 5) -> BoxOutput:
    logits = torch.randn(3, 4, generator=generator(seed))
    return BoxOutput(samples().rois, logits, deltas, torch.zeros(3, 1, 7, 7))


@pytest.mark.parametrize("kind", KINDS)
def test_overlaps_are_those_of_the_decoded_boxes(kind):
    drawn, deltas = samples(), torch.randn(3, 4, generator=generator(6))
    _, loss = box_losses(said(deltas), drawn, STAGE, CascadeConfig(box_loss=kind))
    moved = decode_deltas(drawn.rois.boxes, deltas, STAGE.stds, None)
    # A box is judged where the deltas put it, even out of the picture; background not at all.
    wanted = iou_loss(moved[:2], drawn.boxes[:2], kind).sum() / 3
    torch.testing.assert_close(loss, wanted)


def test_perfect_deltas_cost_nothing_by_any_loss():
    drawn = samples()
    deltas = encode_deltas(drawn.rois.boxes, drawn.boxes, STAGE.stds)
    for kind in ("smooth_l1", *KINDS):
        _, loss = box_losses(said(deltas), drawn, STAGE, CascadeConfig(box_loss=kind))
        assert float(loss) == pytest.approx(0, abs=1e-5)


def test_a_beta_of_zero_is_l1():
    drawn, deltas = samples(), torch.randn(3, 4, generator=generator(6))
    _, loss = box_losses(said(deltas), drawn, STAGE, CascadeConfig(smooth_l1_beta=0.0))
    wanted = encode_deltas(drawn.rois.boxes[:2], drawn.boxes[:2], STAGE.stds)
    torch.testing.assert_close(loss, (deltas[:2] - wanted).abs().sum() / 3)


def test_each_class_has_deltas_of_its_own():
    deltas = torch.randn(3, 3, 4, generator=generator(6))
    output, drawn = said(deltas), samples()
    likeliest = output.class_logits[:, :3].argmax(dim=1)
    rows = torch.arange(3)
    torch.testing.assert_close(output.deltas_as(), deltas[rows, likeliest])
    # What is background moves as what it looks like most.
    told = torch.tensor([2, 0, int(likeliest[2])])
    torch.testing.assert_close(output.deltas_as(drawn.labels), deltas[rows, told])
    single = said(deltas[rows, told])
    for kind in ("smooth_l1", "giou"):
        config = CascadeConfig(box_loss=kind, class_agnostic=False)
        assert_same(box_losses(output, drawn, STAGE, config), box_losses(single, drawn, STAGE, config))
    sizes = [(40, 40)]
    assert_same(refine(output, STAGE, sizes, drawn.labels), refine(single, STAGE, sizes))
    every = moved_as_each_class(output.rois, output.deltas, STAGE, sizes)
    for k in range(3):
        assert torch.equal(every[:, k], refine(said(deltas[:, k]), STAGE, sizes).boxes)
    assert moved_as_each_class(single.rois, single.deltas, STAGE, sizes) is None


def test_nms_looks_at_the_boxes_of_the_class():
    rois = RoIs.of([torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])])
    probabilities = torch.tensor([[0.9, 0.8], [0.7, 0.6]])
    config = CascadeConfig(score_threshold=0.2, nms_iou=0.5)
    same, apart = [0.0, 0, 10, 10], [20.0, 0, 30, 10]
    of_classes = torch.tensor([[same, same], [apart, same]])
    roi, label, _ = detect(rois, probabilities, 1, config, of_classes)
    assert list(zip(roi.tolist(), label.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0)]


def with_and_without_classes():
    """Two models that compute the same, one of them by deltas for each class, which are equal."""
    agnostic = lively(cascade())
    specific = build_model(cascade(class_agnostic=False), 1).eval()
    weights = agnostic.state_dict()
    for name in [name for name in weights if "fc_reg" in name]:
        weights[name] = weights[name].repeat(3, *(1 for _ in weights[name].shape[1:]))
    specific.load_state_dict(weights)
    return agnostic, specific


@pytest.mark.parametrize("merge", ["roi", "detections"])
def test_views_are_merged_class_by_class(merge):
    both = with_and_without_classes()
    found = [
        MergedPredictor((ModelPredictor(model),), (View(), View(flip=True)), merge).predict([picture(3)])[0]
        for model in both
    ]
    mixed = MergedPredictor(tuple(ModelPredictor(model) for model in both), merge=merge)
    found.append(mixed.predict([picture(3)])[0])
    assert len(found[0]) > 0
    torch.testing.assert_close(found[0].boxes, found[1].boxes)
    torch.testing.assert_close(found[0].scores, found[1].scores)
    assert len(found[2]) > 0


def test_classes_with_equal_deltas_are_a_class_agnostic_head():
    agnostic, specific = with_and_without_classes()
    one, other = (model.trace([picture(3)]) for model in (agnostic, specific))
    assert len(one.scores) > 0
    torch.testing.assert_close(one.boxes, other.boxes)
    torch.testing.assert_close(one.mask_probabilities, other.mask_probabilities)
    for ours, theirs in zip(one.stages, other.stages, strict=True):
        torch.testing.assert_close(ours.boxes, theirs.boxes)
        torch.testing.assert_close(ours.deltas, theirs.deltas)
    images, targets = batch()
    losses = [model.losses(images, targets, generator=generator()) for model in (agnostic, specific)]
    for name in losses[0]:
        torch.testing.assert_close(losses[0][name], losses[1][name], rtol=1e-4, atol=1e-5)


def test_detections_have_the_box_of_their_class():
    model = lively(cascade(class_agnostic=False, score_threshold=0.0, max_detections=50))
    trace = model.trace([picture(3)])
    last = trace.stages[-1]
    named = last.boxes[trace.detected]
    likeliest = last.class_logits[trace.detected, :-1].argmax(dim=1) == trace.labels
    assert 0 < int(likeliest.sum()) < len(likeliest)
    assert torch.equal(trace.boxes[likeliest], named[likeliest])
    assert not torch.equal(trace.boxes[~likeliest], named[~likeliest])
    # What is shown of the last stage lies where the result does.
    assert torch.equal(trace.said_by(2).boxes, trace.boxes)
    assert torch.equal(last.mask_boxes, trace.boxes)


@pytest.mark.parametrize("kind", KINDS)
def test_every_stage_learns_from_overlaps(kind):
    model = lively(cascade(box_loss=kind, class_agnostic=False, box_weight=10.0), moves=10.0)
    images, targets = batch()
    features, rois = model.features_of(images), near_truth(targets)
    losses = model.roi_head.losses(features, rois, targets, model.config.toggles, generator())
    total_loss(losses).backward()
    for t in range(3):
        assert float(losses[f"s{t}.loss_bbox"].detach()) > 0
        assert float(model.roi_head.bbox_head[t].fc_reg.weight.grad.abs().max()) > 0
