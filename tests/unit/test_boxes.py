"""Box coding and IoU."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htc_lab.config import PAPER_STAGES
from htc_lab.layers.boxes import decode_deltas, encode_deltas, pairwise_iou
from tests.unit.boxes import box_lists, plain_iou

STDS = [(1.0, 1.0, 1.0, 1.0), *(stage.stds for stage in PAPER_STAGES)]


def _limits(n, width=500.0, height=500.0):
    return torch.tensor([[width, height]]).expand(n, 2)


@settings(deadline=None, max_examples=80)
@given(box_lists(2, 8), st.sampled_from(STDS))
def test_decoding_undoes_encoding(boxes, stds):
    targets = boxes.flip(0)
    # A side may grow at most 1000/16-fold; those that would are no part of the promise.
    ratio = (targets[:, 2:] - targets[:, :2]) / (boxes[:, 2:] - boxes[:, :2])
    fits = ((ratio < 62) & (ratio > 1 / 62)).all(dim=1)
    boxes, targets = boxes[fits], targets[fits]
    deltas = encode_deltas(boxes, targets, stds)
    torch.testing.assert_close(
        decode_deltas(boxes, deltas, stds, _limits(len(boxes))), targets, rtol=0, atol=2e-3
    )


@settings(deadline=None, max_examples=40)
@given(box_lists(), st.sampled_from(STDS))
def test_no_move_is_no_delta(boxes, stds):
    deltas = encode_deltas(boxes, boxes, stds)
    assert torch.equal(deltas, torch.zeros_like(deltas))
    assert torch.equal(decode_deltas(boxes, deltas, stds, _limits(len(boxes))), boxes)


def test_deltas_by_hand():
    box, target = torch.tensor([[10.0, 20.0, 30.0, 60.0]]), torch.tensor([[14.0, 20.0, 54.0, 40.0]])
    # Centre (20, 40) -> (34, 30); size (20, 40) -> (40, 20).
    wanted = [14 / 20 / 0.1, -10 / 40 / 0.1, math.log(2) / 0.2, math.log(0.5) / 0.2]
    assert encode_deltas(box, target, (0.1, 0.1, 0.2, 0.2))[0].tolist() == pytest.approx(wanted, rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(box_lists(), st.floats(-1e4, 1e4, width=32), st.floats(-1e4, 1e4, width=32))
def test_decoded_boxes_are_finite_and_inside(boxes, shift, growth):
    deltas = torch.tensor([shift, -shift, growth, -growth]).expand(len(boxes), 4)
    limits = torch.tensor([[37.0, 21.0]]).expand(len(boxes), 2)
    decoded = decode_deltas(boxes, deltas, (1.0, 1.0, 1.0, 1.0), limits)
    assert decoded.isfinite().all()
    assert (decoded >= 0).all()
    assert (decoded[:, 0::2] <= 37).all()
    assert (decoded[:, 1::2] <= 21).all()
    assert (decoded[:, 2:] >= decoded[:, :2]).all()


def test_growth_stops_at_its_limit():
    boxes = torch.tensor([[400.0, 400.0, 401.0, 402.0]])
    deltas = torch.tensor([[0.0, 0.0, 50.0, -50.0]])
    decoded = decode_deltas(boxes, deltas, (1.0, 1.0, 1.0, 1.0), _limits(1, 1000.0, 1000.0))[0]
    assert float(decoded[2] - decoded[0]) == pytest.approx(1000 / 16, rel=1e-3)
    assert float(decoded[3] - decoded[1]) == pytest.approx(2 * 16 / 1000, abs=1e-3)


@settings(deadline=None, max_examples=80)
@given(box_lists(), box_lists())
def test_iou_is_that_of_plain_python(a, b):
    iou = pairwise_iou(a, b)
    wanted = torch.tensor([[plain_iou(x, y) for y in b.tolist()] for x in a.tolist()])
    torch.testing.assert_close(iou, wanted, rtol=1e-6, atol=1e-7)


@settings(deadline=None, max_examples=80)
@given(box_lists(), box_lists(), st.integers(-50, 50), st.integers(-50, 50))
def test_iou_is_symmetric_bounded_and_blind_to_place(a, b, dx, dy):
    iou = pairwise_iou(a, b)
    assert torch.equal(iou, pairwise_iou(b, a).T)
    assert (iou >= 0).all()
    assert (iou <= 1).all()
    assert torch.equal(pairwise_iou(a, a).diagonal(), torch.ones(len(a)))
    shift = torch.tensor([dx, dy, dx, dy], dtype=torch.float32)
    assert torch.equal(iou, pairwise_iou(a + shift, b + shift))


def test_boxes_without_area_overlap_nothing():
    flat = torch.tensor([[5.0, 5.0, 5.0, 9.0], [7.0, 7.0, 7.0, 7.0]])
    assert not pairwise_iou(flat, flat).any()
    assert not pairwise_iou(flat, torch.tensor([[0.0, 0.0, 20.0, 20.0]])).any()


def test_iou_of_nothing():
    boxes = torch.ones(3, 4)
    assert pairwise_iou(boxes, torch.zeros(0, 4)).shape == (3, 0)
    assert pairwise_iou(torch.zeros(0, 4), boxes).shape == (0, 3)
