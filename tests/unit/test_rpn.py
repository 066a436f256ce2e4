"""Anchors, proposals and the RPN's losses."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from htc_lab.config import RPNConfig
from htc_lab.layers.boxes import encode_deltas, pairwise_iou
from htc_lab.layers.matching import match
from htc_lab.layers.rpn import RPN, anchor_grid
from tests.unit.tiny import TINY, generator, truth

CPU = torch.device("cpu")


def test_anchors_by_hand():
    config = RPNConfig(anchor_scale=8.0, anchor_ratios=(0.5, 1.0, 2.0))
    anchors = anchor_grid(2, 3, 16, config, CPU)
    assert anchors.shape == (2 * 3 * 3, 4)
    size = anchors[:, 2:] - anchors[:, :2]
    torch.testing.assert_close(size.prod(dim=1), torch.full((18,), 128.0**2), rtol=1e-5, atol=0)
    assert (size[:3, 1] / size[:3, 0]).tolist() == pytest.approx([0.5, 1.0, 2.0])
    assert anchors[1].tolist() == [-64, -64, 64, 64]
    centre = (anchors[1::3, :2] + anchors[1::3, 2:]) / 2
    assert centre.tolist() == [[0, 0], [16, 0], [32, 0], [0, 16], [16, 16], [32, 16]]


def _rpn(config=TINY.rpn, strides=(8,)):
    torch.manual_seed(0)
    rpn = RPN(16, strides, config)
    with torch.no_grad():
        for layer in (rpn.rpn_conv, rpn.rpn_cls, rpn.rpn_reg):
            layer.weight.mul_(30)
    return rpn


def test_the_outputs_stand_in_the_order_of_the_anchors():
    rpn = _rpn()
    x = torch.randn(2, 16, 4, 5)
    logits, deltas, anchors = (part[0] for part in rpn([x]))
    hidden = F.relu(F.conv2d(x, rpn.rpn_conv.weight, rpn.rpn_conv.bias, padding=1))
    score = F.conv2d(hidden, rpn.rpn_cls.weight, rpn.rpn_cls.bias)
    move = F.conv2d(hidden, rpn.rpn_reg.weight, rpn.rpn_reg.bias)
    for row, column, a in [(0, 0, 0), (0, 4, 2), (3, 1, 1)]:
        place = (row * 5 + column) * 3 + a
        assert anchors[place, :2].add(anchors[place, 2:]).div(2).tolist() == pytest.approx(
            [column * 8, row * 8], abs=1e-4
        )
        torch.testing.assert_close(logits[1, place], score[1, a, row, column])
        torch.testing.assert_close(deltas[1, place], move[1, 4 * a : 4 * a + 4, row, column])


@pytest.mark.parametrize("training", [False, True])
def test_proposals_are_few_sorted_solid_and_inside(training):
    rpn = _rpn(strides=(8, 16))
    sizes = [(32, 40), (20, 33)]
    outputs = rpn([torch.randn(2, 16, 4, 5), torch.randn(2, 16, 2, 3)])
    proposals = rpn.propose(outputs, sizes, training)
    most = rpn.config.train_after_nms if training else rpn.config.test_after_nms
    for i, (height, width) in enumerate(sizes):
        boxes, scores = proposals.rois.of_image(i), proposals.scores[proposals.rois.image == i]
        assert 0 < len(boxes) <= most
        assert torch.equal(scores, scores.sort(descending=True).values)
        assert (boxes >= 0).all()
        assert (boxes[:, 0::2] <= width).all()
        assert (boxes[:, 1::2] <= height).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert not proposals.rois.boxes.requires_grad


def test_proposals_of_a_level_overlap_less_than_the_threshold():
    rpn = _rpn()
    proposals = rpn.propose(rpn([torch.randn(1, 16, 6, 6)]), [(48, 48)])
    iou = pairwise_iou(proposals.rois.boxes, proposals.rois.boxes).fill_diagonal_(0)
    assert float(iou.max()) <= rpn.config.nms_iou
    loose = dataclasses.replace(rpn.config, nms_iou=1.0)
    rpn.config = loose
    assert len(rpn.propose(rpn([torch.randn(1, 16, 6, 6)]), [(48, 48)]).scores) == loose.test_after_nms


@pytest.mark.parametrize("border", [0, -1, 5])
def test_the_losses_by_a_slow_loop(border):
    config = dataclasses.replace(TINY.rpn, samples=10**6, positive_fraction=1.0, allowed_border=border)
    rpn = _rpn(config, (4, 8))
    sizes = [(64, 64), (50, 40)]
    targets = [truth(0), truth(1, 2, 50, 40)]
    outputs = rpn([torch.randn(2, 16, 16, 16), torch.randn(2, 16, 8, 8)])
    losses = rpn.losses(outputs, sizes, targets, generator())
    cls, box, count = 0.0, 0.0, 0
    for i, (height, width) in enumerate(sizes):
        logits = torch.cat([level[i] for level in outputs[0]]).tolist()
        deltas = torch.cat([level[i] for level in outputs[1]])
        anchors = torch.cat(outputs[2])
        x1, y1, x2, y2 = anchors.T
        inside = (x1 >= -border) & (y1 >= -border) & (x2 < width + border) & (y2 < height + border)
        usable = list(range(len(anchors))) if border < 0 else torch.nonzero(inside).flatten().tolist()
        verdicts = match(anchors[usable], targets[i].boxes, 0.7, 0.3, 0.3).index.tolist()
        for place, verdict in zip(usable, verdicts, strict=True):
            if verdict == -2:
                continue
            count += 1
            p = 1 / (1 + math.exp(-logits[place]))
            cls -= math.log(p if verdict >= 0 else 1 - p)
            if verdict >= 0:
                anchor, wanted = anchors[place : place + 1], targets[i].boxes[verdict : verdict + 1]
                for error in (deltas[place] - encode_deltas(anchor, wanted, config.stds)[0]).abs().tolist():
                    beta = config.smooth_l1_beta
                    box += 0.5 * error * error / beta if error < beta else error - 0.5 * beta
    assert float(losses["loss_rpn_cls"].detach()) == pytest.approx(cls / count, rel=1e-4)
    assert box > 0
    assert float(losses["loss_rpn_bbox"].detach()) == pytest.approx(box / count, rel=1e-4)


def test_an_image_without_objects_gives_background_only():
    rpn = _rpn()
    losses = rpn.losses(rpn([torch.randn(1, 16, 8, 8)]), [(64, 64)], [truth(0, 0)], generator())
    assert float(losses["loss_rpn_bbox"].detach()) == 0
    assert float(losses["loss_rpn_cls"].detach()) > 0
