"""Which loss reaches which weights. Each "not" stands beside the case where it does."""

import dataclasses
import inspect

import pytest
import torch
from torch import nn

from htc_lab import cascade as cascade_module
from htc_lab.config import HTC, INTERLEAVED, MASK_FLOW, PLAIN_CASCADE, Toggles
from htc_lab.stages import plain_cascade
from htc_lab.toggles import EVERY_IDEA
from tests.unit.tiny import batch, generator, lively, near_truth, with_toggles

BOX_CONTEXT = Toggles(semantic_mask=False)
MASK_CONTEXT = Toggles(semantic_box=False)
RELAY = dataclasses.replace(PLAIN_CASCADE, feature_relay=True)


@pytest.fixture(scope="module")
def model():
    return lively(with_toggles(EVERY_IDEA), moves=10.0)


_LOSSES = {}


def losses_of(model, toggles):
    """The losses under some toggles, computed once: their graph is kept."""
    if toggles not in _LOSSES:
        _LOSSES[toggles] = compute(model, toggles)
    return _LOSSES[toggles]


def compute(model, toggles):
    """All losses; those of the stages on RoIs of which enough are positives in each stage."""
    images, targets = batch()
    losses = model.losses(images, targets, toggles, generator())
    rois = near_truth(targets)
    return losses | model.roi_head.losses(model.features_of(images), rois, targets, toggles, generator())


@pytest.fixture(scope="module", autouse=True)
def _forget():
    yield
    _LOSSES.clear()


def reached(module: nn.Module, *losses) -> bool:
    """Whether some weight of ``module`` gets a gradient other than zero from the sum of the losses."""
    weights = list(module.parameters())
    found = torch.autograd.grad(sum(losses), weights, retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.abs().max() > 0) for g in found)


@pytest.mark.parametrize(
    ("toggles", "flows"), [(MASK_FLOW, True), (HTC, True), (INTERLEAVED, False), (PLAIN_CASCADE, False)]
)
def test_a_later_mask_loss_reaches_earlier_trunks_only_with_the_flow(model, toggles, flows):
    losses, heads = losses_of(model, toggles), model.roi_head.mask_head
    assert reached(heads[2].convs, losses["s2.loss_mask"])
    for later, earlier in ((2, 0), (2, 1), (1, 0)):
        assert reached(heads[earlier].convs, losses[f"s{later}.loss_mask"]) == flows
    # An earlier loss never reaches a later head.
    assert not reached(heads[1], losses["s0.loss_mask"])
    assert not reached(heads[2], losses["s0.loss_mask"], losses["s1.loss_mask"])


def test_the_flow_goes_through_its_own_convolutions(model):
    losses, heads = losses_of(model, MASK_FLOW), model.roi_head.mask_head
    assert reached(heads[1].conv_res, losses["s1.loss_mask"])
    assert reached(heads[1].conv_res, losses["s2.loss_mask"])
    assert reached(heads[2].conv_res, losses["s2.loss_mask"])
    assert not reached(heads[2].conv_res, losses["s1.loss_mask"])


@pytest.mark.parametrize("part", ["upsample", "conv_logits"])
def test_the_flow_passes_by_the_earlier_masks(model, part):
    """What flows is the feature before the deconvolution; the masks themselves don't."""
    losses = losses_of(model, MASK_FLOW)
    for t in range(3):
        exit_of_stage = getattr(model.roi_head.mask_head[t], part)
        assert reached(exit_of_stage, losses[f"s{t}.loss_mask"])
        assert not reached(exit_of_stage, *(losses[f"s{s}.loss_mask"] for s in range(3) if s != t))


@pytest.mark.parametrize("toggles", [PLAIN_CASCADE, HTC], ids=["plain", "htc"])
def test_boxes_between_stages_carry_no_gradient(model, toggles):
    losses, heads = losses_of(model, toggles), model.roi_head.bbox_head
    for t in range(3):
        own = [losses[f"s{t}.loss_cls"], losses[f"s{t}.loss_bbox"]]
        assert reached(heads[t].fc_reg, losses[f"s{t}.loss_bbox"])
        assert reached(heads[t].fc_cls, losses[f"s{t}.loss_cls"])
        for other in {0, 1, 2} - {t}:
            assert not reached(heads[other], *own, losses[f"s{t}.loss_mask"])
        # Not even within the stage: the mask is taken on a box that is given.
        assert not reached(heads[t], losses[f"s{t}.loss_mask"])


@pytest.mark.parametrize(
    ("toggles", "relays"),
    [(RELAY, True), (EVERY_IDEA, True), (PLAIN_CASCADE, False), (HTC, False)],
    ids=["relay", "every idea", "plain", "htc"],
)
def test_the_mask_loss_trains_the_box_head_of_its_stage_only_through_the_relay(model, toggles, relays):
    losses, heads = losses_of(model, toggles), model.roi_head.bbox_head
    for t in range(3):
        mask_loss = losses[f"s{t}.loss_mask"]
        assert reached(model.roi_head.feat_relay_head, mask_loss) == relays
        assert reached(heads[t].shared_fcs, mask_loss) == relays
        # What is handed on is the feature, before classes and deltas.
        for exit_of_head in (heads[t].fc_cls, heads[t].fc_reg):
            assert not reached(exit_of_head, mask_loss)
        for other in {0, 1, 2} - {t}:
            assert not reached(heads[other], mask_loss)
        assert not reached(
            model.roi_head.feat_relay_head, losses[f"s{t}.loss_cls"], losses[f"s{t}.loss_bbox"]
        )


def test_boxes_that_carry_a_gradient_would_be_noticed(model, monkeypatch):
    """The same check on a cascade whose boxes are not cut off."""
    monkeypatch.setattr(plain_cascade, "refine", inspect.unwrap(plain_cascade.refine))
    monkeypatch.setattr(cascade_module, "sample_rois", inspect.unwrap(cascade_module.sample_rois))
    losses = compute(model, PLAIN_CASCADE)
    assert reached(model.roi_head.bbox_head[0], losses["s1.loss_bbox"])
    assert reached(model.roi_head.bbox_head[1], losses["s2.loss_bbox"])


def test_every_roi_loss_reaches_the_backbone_but_none_the_rpn(model):
    losses = losses_of(model, PLAIN_CASCADE)
    for t in range(3):
        for kind in ("cls", "bbox", "mask"):
            assert reached(model.backbone.layer1, losses[f"s{t}.loss_{kind}"])
            assert not reached(model.rpn_head, losses[f"s{t}.loss_{kind}"])
    assert reached(model.rpn_head.rpn_cls, losses["loss_rpn_cls"])
    assert reached(model.rpn_head.rpn_reg, losses["loss_rpn_bbox"])
    assert not reached(model.roi_head, losses["loss_rpn_cls"], losses["loss_rpn_bbox"])


@pytest.mark.parametrize(
    ("toggles", "boxes", "masks"),
    [(HTC, True, True), (BOX_CONTEXT, True, False), (MASK_CONTEXT, False, True)],
    ids=["both", "boxes", "masks"],
)
def test_the_semantic_branch_learns_from_each_fusion(model, toggles, boxes, masks):
    losses, branch = losses_of(model, toggles), model.roi_head.semantic_head
    for t in range(3):
        assert reached(branch.conv_embedding, losses[f"s{t}.loss_cls"]) == boxes
        assert reached(branch.conv_embedding, losses[f"s{t}.loss_bbox"]) == boxes
        assert reached(branch.convs, losses[f"s{t}.loss_cls"]) == boxes
        assert reached(branch.conv_embedding, losses[f"s{t}.loss_mask"]) == masks
        assert reached(branch.lateral_convs[-1], losses[f"s{t}.loss_mask"]) == masks


def test_the_semantic_logits_learn_from_their_own_loss_alone(model):
    losses, branch = losses_of(model, HTC), model.roi_head.semantic_head
    assert reached(branch.conv_logits, losses["loss_semantic_seg"])
    assert not reached(branch.conv_embedding, losses["loss_semantic_seg"])
    others = [v for name, v in losses.items() if "loss" in name and "semantic" not in name]
    assert not reached(branch.conv_logits, *others)


def test_accuracies_carry_no_gradient(model):
    assert not any(losses_of(model, HTC)[f"s{t}.acc"].requires_grad for t in range(3))
