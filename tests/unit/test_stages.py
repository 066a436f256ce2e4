"""The stages against the papers' equations written out by hand."""

import dataclasses

import pytest
import torch

from htc_lab.config import HTC, INTERLEAVED, MASK_FLOW, PLAIN_CASCADE, Toggles
from htc_lab.layers.box_head import BoxHead
from htc_lab.layers.sampling import sample_rois
from htc_lab.stages import feature_relay, mask_flow, plain_cascade
from htc_lab.stages.interleaved import mask_rois, refined_samples, samples_for_masks
from htc_lab.structures import RoIs
from htc_lab.toggles import EVERY_IDEA
from tests.unit import by_hand
from tests.unit.tiny import TINY, generator, lively, picture, truth, with_toggles

# The paper's ladder, and the fusion into one branch alone.
CASES = {
    "plain": PLAIN_CASCADE,
    "interleaved": INTERLEAVED,
    "flow": MASK_FLOW,
    "htc": HTC,
    "context for boxes": Toggles(mask_flow=False, semantic_mask=False),
    "context for masks": Toggles(mask_flow=False, semantic_box=False),
    "parallel, all else": Toggles(interleaved=False),
    "relay": dataclasses.replace(PLAIN_CASCADE, feature_relay=True),
    "every idea": EVERY_IDEA,
}


@pytest.fixture(scope="module")
def seen():
    """A model and what it encodes and proposes for one picture."""
    model = lively(with_toggles(EVERY_IDEA))
    with torch.no_grad():
        features = model.encode([picture(3)])
        return model, features, model.propose(features)


def _close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_the_cascade_is_that_of_the_equations(seen, name):
    model, features, proposals = seen
    toggles = CASES[name]
    trace = model.cascade(features, proposals, toggles)
    assert len(trace.detected) > 0

    def x_box(r):
        return by_hand.pooled(model, features, r, 7, toggles.semantic_box)

    def x_mask(r, t):
        x = by_hand.pooled(model, features, r, 14, toggles.semantic_mask)
        return x + by_hand.relay(model, t, x_box(r)) if toggles.feature_relay else x

    r0 = proposals.rois.boxes
    cls1, reg1 = by_hand.box_head(model, 0, x_box(r0))
    r1 = by_hand.moved(model, 0, r0, reg1, (64, 64))
    cls2, reg2 = by_hand.box_head(model, 1, x_box(r1))
    r2 = by_hand.moved(model, 1, r1, reg2, (64, 64))
    cls3, reg3 = by_hand.box_head(model, 2, x_box(r2))
    r3 = by_hand.moved(model, 2, r2, reg3, (64, 64))
    for record, rois, cls, reg, boxes in zip(
        trace.stages, (r0, r1, r2), (cls1, cls2, cls3), (reg1, reg2, reg3), (r1, r2, r3), strict=True
    ):
        _close(record.rois, rois)
        _close(record.class_logits, cls)
        _close(record.deltas, reg)
        _close(record.boxes, boxes)
    found, which = trace.detected, torch.arange(len(trace.detected))
    _close(trace.boxes, r3[found])
    _close(trace.scores, ((cls1 + cls2 + cls3) / 3).softmax(dim=1)[found, trace.labels])

    def masks(x):
        m1 = by_hand.trunk(model, 0, x)
        m2 = by_hand.trunk(model, 1, x + by_hand.flow(model, 1, m1) if toggles.mask_flow else x)
        m3 = by_hand.trunk(model, 2, x + by_hand.flow(model, 2, m2) if toggles.mask_flow else x)
        return [by_hand.mask_logits(model, t, m)[which, trace.labels] for t, m in enumerate((m1, m2, m3))]

    final = masks(x_mask(r3[found], 2))
    for t, (record, at_the_end) in enumerate(zip(trace.stages, final, strict=True)):
        _close(record.final_mask_logits, at_the_end)
        own = ((r1, r2, r3) if toggles.interleaved else (r0, r1, r2))[t][found]
        _close(record.mask_boxes, own)
        _close(record.mask_logits, masks(x_mask(own, t))[t])
    _close(trace.mask_probabilities, (final[0].sigmoid() + final[1].sigmoid() + final[2].sigmoid()) / 3)


@torch.no_grad()
def test_the_ideas_make_a_difference(seen):
    """Or the comparison above would prove little."""
    model, features, proposals = seen
    traces = {name: model.cascade(features, proposals, toggles) for name, toggles in CASES.items()}
    plain, flowing = traces["plain"], traces["flow"]
    assert (plain.stages[0].boxes - plain.stages[0].rois).abs().max() > 1
    assert (plain.stages[2].boxes - plain.stages[2].rois).abs().max() > 0.1
    assert (plain.stages[1].final_mask_logits - flowing.stages[1].final_mask_logits).abs().max() > 1e-2
    assert torch.equal(plain.stages[0].final_mask_logits, flowing.stages[0].final_mask_logits)
    context = traces["context for boxes"]
    assert (context.stages[0].class_logits - plain.stages[0].class_logits).abs().max() > 1e-2
    assert torch.equal(traces["context for masks"].stages[2].boxes, plain.stages[2].boxes)
    relayed = traces["relay"]
    assert torch.equal(relayed.boxes, plain.boxes)
    for t in range(3):
        assert (relayed.stages[t].mask_logits - plain.stages[t].mask_logits).abs().max() > 1e-2
        assert (relayed.stages[t].final_mask_logits - plain.stages[t].final_mask_logits).abs().max() > 1e-2


@torch.no_grad()
def test_the_last_mask_of_the_training_form_is_that_of_the_test_form(seen):
    model, features, proposals = seen
    head = model.roi_head
    x = head.mask_features(features, proposals.rois, HTC)
    for t in range(3):
        heads = list(head.mask_head)[: t + 1]
        labels = torch.arange(len(x)) % model.config.classes
        last = mask_flow.last_mask_with_flow(heads, x, labels)
        assert torch.equal(last, mask_flow.masks_with_flow(heads, x, labels)[-1])


@torch.no_grad()
def test_the_channel_of_a_class_is_that_of_all_classes(seen):
    model, features, proposals = seen
    x = model.roi_head.mask_features(features, proposals.rois, HTC)
    labels = torch.arange(len(x)) % model.config.classes
    for head in model.roi_head.mask_head:
        trunk = head.trunk(x)
        _close(head.class_logits(trunk, labels), head.logits(trunk)[torch.arange(len(x)), labels])


def test_flow_needs_a_head_that_takes_it():
    model = lively()
    with pytest.raises(AssertionError, match="G_t"):
        mask_flow.fuse(model.roi_head.mask_head[0], torch.zeros(1, 16, 14, 14), torch.zeros(1, 12, 14, 14))


def relay_of_two_numbers():
    """A box head of two hidden numbers on 2x2 cells of one channel, and a relay of them onto 2x2 cells."""
    head = BoxHead(channels=1, size=2, hidden=2, fcs=1, classes=3)
    relay = feature_relay.FeatureRelay(hidden=2, channels=1, size=2)
    with torch.no_grad():
        # The sum of the cells, and less than nothing where the first is positive.
        head.shared_fcs[0].weight.copy_(torch.tensor([[1.0, 1, 1, 1], [-1, 0, 0, 0]]))
        relay.fc.weight.copy_(torch.tensor([[0.0, 9], [1, 9], [2, 9], [3, 9]]))
        relay.fc.bias.copy_(torch.tensor([4.0, 0, 0, 0]))
    return relay, head


def test_the_relay_of_two_rois_computed_by_hand():
    relay, head = relay_of_two_numbers()
    x_box = torch.tensor([[[[1.0, 2], [3, 4]]], [[[-1.0, 0], [0, 0]]]])
    x_mask = torch.arange(9.0).reshape(1, 1, 3, 3).repeat(2, 1, 1, 1)
    # Hidden: (10, 0) and (0, 1). Cells: 4 10 20 30 and 13 9 9 9; between two cells lies their mean.
    relayed = torch.tensor(
        [
            [[[4.0, 7, 10], [12, 16, 20], [20, 25, 30]]],
            [[[13.0, 11, 9], [11, 10, 9], [9, 9, 9]]],
        ]
    )
    torch.testing.assert_close(feature_relay.fuse(relay, head, x_mask, x_box), x_mask + relayed)


def test_the_relay_of_no_roi_hands_a_gradient_of_zero_to_its_weights():
    relay, head = relay_of_two_numbers()
    fused = feature_relay.fuse(relay, head, torch.zeros(0, 1, 3, 3), torch.zeros(0, 1, 2, 2))
    assert fused.shape == (0, 1, 3, 3)
    fused.sum().backward()
    for weight in (*relay.parameters(), *head.shared_fcs.parameters()):
        assert weight.grad is not None
        assert not weight.grad.any()


def test_which_boxes_the_masks_are_taken_on():
    received, refined = RoIs.of([torch.zeros(1, 4)]), RoIs.of([torch.ones(1, 4)])
    assert mask_rois(received, refined, interleaved=True) is refined
    assert mask_rois(received, refined, interleaved=False) is received


@pytest.mark.parametrize("t", [0, 1, 2])
@torch.no_grad()
def test_the_boxes_masks_are_trained_on(seen, t):
    model, features, _ = seen
    stage, c = TINY.cascade.stages[t], TINY.cascade
    target = truth(3)
    jitter = torch.randn(24, 4, generator=generator()) * 3
    boxes = (target.boxes.repeat(8, 1) + jitter).clamp(0, 64)
    samples = sample_rois(RoIs.of([boxes]), [target], stage, c, 3, generator())
    output = plain_cascade.look_at_boxes(
        model.roi_head.bbox_head[t], lambda r: model.roi_head.box_features(features, r, HTC), samples.rois
    )
    refined = refined_samples(samples, plain_cascade.refine(output, stage, features.sizes))
    assert len(refined) == int((~samples.from_truth).sum())
    allowed = {tuple(b) for b in (*refined.boxes.tolist(), *target.boxes.tolist())}
    args = (samples, refined, [target], stage, c, 3)
    new = samples_for_masks(*args, interleaved=True, generator=generator())
    old = samples_for_masks(*args, interleaved=False)
    assert {tuple(b) for b in new.rois.boxes.tolist()} <= allowed
    assert {tuple(b) for b in new.rois.boxes[~new.from_truth].tolist()} <= {
        tuple(b) for b in refined.boxes.tolist()
    }
    assert torch.equal(old.rois.boxes, samples.rois.boxes[samples.positive])
    assert not {tuple(b) for b in old.rois.boxes.tolist()} <= allowed
    assert bool(new.positive.all())
    assert bool(old.positive.all())
    assert len(new.rois) > 0
