"""Each number of the recipe is a field of the config, and each such field has its effect."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from htc_lab.config import (
    HTC,
    PAPER_SEMANTIC,
    REFERENCE_SEMANTIC,
    CascadeConfig,
    RPNConfig,
    StageConfig,
)
from htc_lab.layers.box_head import BoxHead
from htc_lab.layers.boxes import decode_deltas, encode_deltas
from htc_lab.layers.matching import sample
from htc_lab.layers.rpn import anchor_grid
from htc_lab.layers.sampling import sample_rois
from htc_lab.model import build_model
from htc_lab.schedule import Schedule
from htc_lab.stages import mask_flow
from htc_lab.stages.semantic import semantic_loss
from htc_lab.structures import RoIs, Targets
from htc_lab.train.rates import learning_rate
from tests.unit import by_hand
from tests.unit.tiny import TINY, batch, generator, lively, near_truth, picture

STAGE = StageConfig(iou=0.5, stds=(0.1, 0.1, 0.2, 0.2), loss_weight=1.0)


def _truth(*boxes: list[float]) -> Targets:
    count = len(boxes)
    return Targets(
        torch.tensor(boxes), torch.arange(count), torch.ones(count, 64, 64, dtype=torch.uint8), None
    )


def test_a_low_quality_match_hands_an_object_its_best_roi():
    """The RoI overlaps the first object more, but the second has none better: on, it goes to the second."""
    targets = [_truth([0.0, 0, 40, 40], [0.0, 0, 40, 28])]
    rois = RoIs.of([torch.tensor([[0.0, 0, 40, 35]])])
    for low_quality, wanted in ((False, 0), (True, 1)):
        config = CascadeConfig(low_quality_matches=low_quality, add_truth=False)
        samples = sample_rois(rois, targets, STAGE, config, 80)
        assert samples.truth.tolist() == [wanted]


def test_low_quality_matches_make_no_new_positives():
    """The threshold they ask for is the stage's own."""
    targets = [_truth([0.0, 0, 40, 40])]
    rois = RoIs.of([torch.tensor([[0.0, 0, 40, 19]])])
    samples = sample_rois(rois, targets, STAGE, CascadeConfig(add_truth=False), 80)
    assert samples.truth.tolist() == [-1]


@pytest.mark.parametrize("add", [True, False])
def test_ground_truth_joins_the_rois(add):
    targets = [_truth([0.0, 0, 40, 40], [50.0, 50, 60, 60])]
    rois = RoIs.of([torch.tensor([[1.0, 0, 40, 40]])])
    samples = sample_rois(rois, targets, STAGE, CascadeConfig(add_truth=add), 80)
    assert samples.from_truth.sum() == (2 if add else 0)
    assert len(samples.rois) == (3 if add else 1)


@pytest.mark.parametrize(
    ("bound", "positives", "wanted"), [(-1.0, 2, 6), (2.0, 2, 4), (2.0, 0, 2), (0.0, 2, 0), (9.0, 2, 6)]
)
def test_background_is_bounded_by_the_positives(bound, positives, wanted):
    index = torch.tensor([0] * positives + [-1] * 20)
    found = sample(index, 8, 0.5, generator(), bound)
    assert [len(part) for part in found] == [positives, wanted]


def test_anchors_are_centred_where_the_offset_says():
    device = torch.device("cpu")
    for offset, centre in ((0.0, (8.0, 0.0)), (0.5, (12.0, 4.0))):
        second = anchor_grid(1, 2, 8, RPNConfig(anchor_offset=offset, anchor_ratios=(1.0,)), device)[1]
        assert ((second[0] + second[2]) / 2, (second[1] + second[3]) / 2) == centre


def test_deltas_have_a_mean():
    boxes, goals = torch.tensor([[10.0, 10, 30, 50]]), torch.tensor([[12.0, 8, 40, 44]])
    stds, means = (0.1, 0.1, 0.2, 0.2), (0.05, -0.05, 0.3, 0.1)
    plain, shifted = encode_deltas(boxes, goals, stds), encode_deltas(boxes, goals, stds, means)
    torch.testing.assert_close(shifted, plain - torch.tensor(means) / torch.tensor(stds))
    limits = torch.tensor([[100.0, 100.0]])
    torch.testing.assert_close(decode_deltas(boxes, shifted, stds, limits, means), goals)


@pytest.mark.parametrize("ratio", [2.0, 1000 / 16])
def test_a_box_grows_at_most_so_many_times(ratio):
    box, limits = torch.tensor([[500.0, 500, 501, 501]]), torch.tensor([[1000.0, 1000.0]])
    wild = decode_deltas(
        box, torch.full((1, 4), 99.0) * torch.tensor([0.0, 0, 1, 1]), (1.0,) * 4, limits, largest_ratio=ratio
    )
    assert float(wild[0, 2] - wild[0, 0]) == pytest.approx(ratio, rel=1e-4)


def test_fully_connected_layers_are_counted():
    assert [len(BoxHead(4, 2, 8, fcs, 3).shared_fcs) for fcs in (1, 2, 3)] == [1, 2, 3]
    logits, deltas = BoxHead(4, 2, 8, 3, 3)(torch.zeros(5, 4, 2, 2))
    assert logits.shape == (5, 4)
    assert deltas.shape == (5, 4)


@torch.no_grad()
def test_the_flow_with_and_without_its_relu():
    bare = dataclasses.replace(TINY, cascade=dataclasses.replace(TINY.cascade, flow_relu=False))
    usual, linear = lively(), lively(bare)
    linear.load_state_dict(usual.state_dict())
    x = torch.randn(2, 16, 14, 14, generator=generator())
    previous = torch.randn(2, 12, 14, 14, generator=generator(6))
    head = usual.roi_head.mask_head[1]
    layer = head.conv_res.conv
    flow = F.conv2d(previous, layer.weight, layer.bias)
    assert flow.min() < 0
    torch.testing.assert_close(mask_flow.fuse(head, x, previous), x + flow.clamp(min=0))
    torch.testing.assert_close(by_hand.flow(usual, 1, previous), flow.clamp(min=0))
    torch.testing.assert_close(mask_flow.fuse(linear.roi_head.mask_head[1], x, previous), x + flow)


def test_groups_of_offsets():
    backbone = dataclasses.replace(TINY.backbone, depth=50, deformable=(4,), deform_groups=2)
    model = build_model(dataclasses.replace(TINY, backbone=backbone), 0).eval()
    assert model.backbone.get_parameter("layer4.0.conv2.conv_offset.weight").shape[0] == 36
    with torch.no_grad():
        levels = model.encode([picture(0)]).levels
    assert all(level.isfinite().all() for level in levels)


def _with(part: str, **values: float) -> dict[str, float]:
    images, targets = batch()
    config = dataclasses.replace(TINY, **{part: dataclasses.replace(getattr(TINY, part), **values)})
    model = lively(config, moves=10.0)
    losses = model.losses(images, targets, HTC, generator())
    losses |= model.roi_head.losses(model.features_of(images), near_truth(targets), targets, HTC, generator())
    return {name: float(value.detach()) for name, value in losses.items()}


@pytest.mark.parametrize(
    ("part", "field", "names"),
    [
        ("rpn", "cls_weight", {"loss_rpn_cls"}),
        ("rpn", "box_weight", {"loss_rpn_bbox"}),
        ("cascade", "cls_weight", {f"s{t}.loss_cls" for t in range(3)}),
        ("cascade", "box_weight", {f"s{t}.loss_bbox" for t in range(3)}),
        ("cascade", "mask_weight", {f"s{t}.loss_mask" for t in range(3)}),
    ],
)
def test_each_loss_has_its_weight(part, field, names):
    usual, heavy = _with(part), _with(part, **{field: 4.0})
    changed = {name for name in usual if heavy[name] != usual[name]}
    assert changed == names
    for name in names:
        assert heavy[name] == 4 * usual[name] > 0


def test_small_proposals_are_dropped():
    model = lively()
    features = model.encode([picture(0)])
    side = lambda p: (p.rois.boxes[:, 2:] - p.rois.boxes[:, :2]).amin(dim=1)  # noqa: E731
    least = float(side(model.propose(features)).median())
    model.rpn_head.config = dataclasses.replace(TINY.rpn, min_size=least)
    assert bool((side(model.propose(features)) > least).all())


def test_anchors_may_go_without_low_quality_matches():
    usual = _with("rpn")
    strict = _with("rpn", low_quality_matches=False, positive_iou=0.99)
    assert usual["loss_rpn_bbox"] > 0
    assert strict["loss_rpn_bbox"] == 0


def test_the_papers_semantic_loss_and_the_references():
    """Weight 1 over the labelled pixels, or 0.2 over all."""
    maps = torch.zeros(1, 16, 32, dtype=torch.uint8)
    maps[:, :4] = 255
    logits = torch.randn(1, 183, 4, 8, generator=generator())
    paper = semantic_loss(logits, maps, 4, PAPER_SEMANTIC)
    reference = semantic_loss(logits, maps, 4, REFERENCE_SEMANTIC)
    # A quarter of the map is unlabelled.
    assert float(paper / reference) == pytest.approx(5 / 0.75, rel=1e-5)
    assert math.isfinite(float(paper))


def test_the_learning_rate_rises_and_falls_as_the_schedule_says():
    usual = Schedule(steps=1200, warmup_steps=100)
    assert learning_rate(usual, 0, 1200) == pytest.approx(0.02 * 0.001)
    assert learning_rate(usual, 900, 1200) == pytest.approx(0.002)
    other = dataclasses.replace(usual, warmup_from=0.5, decay=2.0)
    assert learning_rate(other, 0, 1200) == pytest.approx(0.01)
    assert learning_rate(other, 900, 1200) == pytest.approx(0.01)
    assert learning_rate(other, 500, 1200) == learning_rate(usual, 500, 1200) == 0.02
