"""Guided anchoring: its targets, losses and proposals."""

import dataclasses
import math
import random

import pytest
import torch
import torch.nn.functional as F

from htc_lab.config import GUIDED_RPN, GuidedConfig
from htc_lab.config_json import model_config_from_dict, to_dict
from htc_lab.errors import InputError
from htc_lab.interop.shapes import config_from_shapes
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.layers.guided_rpn import GuidedRPN
from htc_lab.layers.guided_targets import bounded_iou_loss, location_targets, match_cells
from htc_lab.layers.matching import BACKGROUND, IGNORED
from htc_lab.model import build_model, total_loss
from tests.unit.tiny import TINY, batch, generator, lively, picture

CPU = torch.device("cpu")
STRIDES = (4, 8, 16, 32, 64)
CONFIG = GuidedConfig()

GUIDED = dataclasses.replace(
    TINY,
    rpn=dataclasses.replace(
        GUIDED_RPN,
        anchor_scale=4.0,
        samples=32,
        train_before_nms=100,
        train_after_nms=40,
        test_before_nms=60,
        test_after_nms=12,
        guided=GuidedConfig(deform_groups=2),
    ),
)


def drawn_boxes(seed: int, count: int, width: int, height: int) -> torch.Tensor:
    """Boxes of many sizes, by Python's generator, whose draws are the same with every torch."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        w, h = (2 ** draw.uniform(3, 8.5) for _ in range(2))
        x, y = draw.uniform(-0.2 * w, width - 0.8 * w), draw.uniform(-0.2 * h, height - 0.8 * h)
        rows.append([max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)])
    return torch.tensor(rows)


def maps(height: int, width: int) -> list[tuple[int, int]]:
    return [(-(-height // s), -(-width // s)) for s in STRIDES]


def test_the_middle_of_an_object_by_hand():
    # A side of 64 px: one octave above the finest square, so the second level, of stride 8.
    box = torch.tensor([[16.0, 32, 80, 96]])
    targets = location_targets([box], maps(128, 128), STRIDES, 8.0, CONFIG)
    centre, weight = targets[1].centre[0], targets[1].weight[0]
    # In cells 2..10 by 4..12; a fifth of 8 around (6, 8): 5.2..6.8 by 7.2..8.8, half of it 4..8 by 6..10.
    wanted = torch.zeros(16, 16)
    wanted[7:10, 5:8] = 1
    assert torch.equal(centre, wanted)
    ring = torch.full((16, 16), 0.1)
    ring[6:11, 4:9] = 0
    ring[7:10, 5:8] = 1
    torch.testing.assert_close(weight, ring)
    for near, rows, columns in ((0, slice(12, 21), slice(8, 17)), (2, slice(3, 6), slice(2, 5))):
        assert float(targets[near].centre.sum()) == 0
        beside = torch.full(maps(128, 128)[near], 0.1)
        beside[rows, columns] = 0
        torch.testing.assert_close(targets[near].weight[0], beside)
    for far in (3, 4):
        assert bool((targets[far].weight == 0.1).all())


def test_images_have_targets_of_their_own():
    one, other = drawn_boxes(1, 4, 256, 192), drawn_boxes(2, 5, 256, 192)
    together = location_targets([one, other, one[:0]], maps(192, 256), STRIDES, 8.0, CONFIG)
    for i, boxes in enumerate((one, other, one[:0])):
        for both, alone in zip(
            together, location_targets([boxes], maps(192, 256), STRIDES, 8.0, CONFIG), strict=True
        ):
            assert torch.equal(both.centre[i], alone.centre[0])
            assert torch.equal(both.weight[i], alone.weight[0])
    assert all(bool((level.weight[2] == 0.1).all()) for level in together)


def rpn_of(scale: float = 8.0, strides=STRIDES) -> GuidedRPN:
    torch.manual_seed(0)
    return GuidedRPN(16, strides, dataclasses.replace(GUIDED_RPN, anchor_scale=scale), CONFIG)


def test_nine_usual_anchors_for_each_cell():
    usual = rpn_of().usual_anchors((2, 3), 16, CPU)
    assert usual.shape == (6, 9, 4)
    size = usual[..., 2:] - usual[..., :2]
    centre = (usual[..., :2] + usual[..., 2:]) / 2
    torch.testing.assert_close(centre[4], torch.tensor([16.0, 16.0]).expand(9, 2), rtol=0, atol=1e-3)
    areas = sorted(size[0].prod(dim=1).sqrt().tolist())
    octave = [128 * 2 ** (i / 3) for i in range(3)]
    assert areas == pytest.approx([octave[i // 3] for i in range(9)], rel=1e-5)
    ratios = (size[0, :, 1] / size[0, :, 0]).tolist()
    assert sorted(ratios) == pytest.approx([0.5] * 3 + [1.0] * 3 + [2.0] * 3, rel=1e-5)


def test_cells_are_matched_by_the_best_of_their_usual_anchors():
    rpn, objects = rpn_of(), drawn_boxes(3, 6, 256, 192)
    usual = torch.cat([rpn.usual_anchors(s, t, CPU) for s, t in zip(maps(192, 256), STRIDES, strict=True)])
    inside = torch.ones(len(usual), dtype=torch.bool)
    inside[::7] = False
    found = match_cells(usual, objects, rpn.config, inside)
    best = pairwise_iou(usual.reshape(-1, 4), objects).reshape(len(usual), 9, 6).amax(dim=1)
    best[~inside] = -1
    for cell in range(len(usual)):
        overlap = best[cell]
        if not inside[cell]:
            wanted = IGNORED
        elif any(o >= 0.3 and o == best[:, k].max() for k, o in enumerate(overlap)):
            wanted = max(k for k, o in enumerate(overlap) if o >= 0.3 and o == best[:, k].max())
        elif overlap.max() >= 0.7:
            wanted = int(overlap.argmax())
        else:
            wanted = BACKGROUND if overlap.max() < 0.3 else IGNORED
        assert int(found[cell]) == wanted
    assert bool((found >= 0).any())
    nothing = match_cells(usual, objects[:0], rpn.config, inside)
    assert torch.equal(nothing, torch.where(inside, BACKGROUND, IGNORED))


# Of mmdet 2.28.2 on ``drawn_boxes(seed, 12, width, height)``: for each level the sums of its location targets
# and weights, plain and with each cell times (its place from 1) mod 97; then how many of its cells take the
# shape of an object, are background and are ignored, and the same two sums of the objects (from 1) and of the
# ignored.
RECORDED = {
    (1, 512, 384): (
        [
            [31.0, 1561.0, 1220.5, 58584.501],
            [31.0, 1351.0, 310.8, 14715.5],
            [14.0, 852.0, 74.5, 3787.3],
            [6.0, 468.0, 21.1, 1165.0],
            [0.0, 0.0, 3.6, 94.2],
        ],
        (38, 15217, 1113),
        [267.0, 10634.0, 1113.0, 52316.0],
    ),
    (2, 333, 500): (
        [
            [14.0, 530.0, 1021.2, 48666.401],
            [39.0, 1917.0, 259.3, 12423.2],
            [30.0, 1400.0, 73.0, 3480.7],
            [13.0, 633.0, 24.9, 1097.5],
            [0.0, 0.0, 3.3, 78.3],
        ],
        (106, 12618, 1318),
        [733.0, 33468.0, 1318.0, 62472.0],
    ),
    (3, 800, 608): (
        [
            [39.0, 1239.0, 3041.7, 145518.602],
            [19.0, 1080.0, 731.3, 35412.501],
            [32.0, 1739.0, 209.2, 10075.7],
            [0.0, 0.0, 43.4, 2037.6],
            [0.0, 0.0, 13.0, 521.7],
        ],
        (116, 39155, 1234),
        [703.0, 39397.0, 1234.0, 58651.0],
    ),
}


def sums(values: torch.Tensor) -> list[float]:
    values = values.flatten().double()
    place = torch.arange(1, len(values) + 1) % 97
    return [float(values.sum()), float((values * place).sum())]


@pytest.mark.parametrize("case", RECORDED)
def test_targets_are_the_references(case):
    seed, width, height = case
    levels, counts, shapes = RECORDED[case]
    boxes, sizes = drawn_boxes(seed, 12, width, height), maps(height, width)
    for found, wanted in zip(location_targets([boxes], sizes, STRIDES, 8.0, CONFIG), levels, strict=True):
        assert [*sums(found.centre), *sums(found.weight)] == pytest.approx(wanted, abs=0.01)
    rpn = rpn_of()
    usual = torch.cat([rpn.usual_anchors(s, t, CPU) for s, t in zip(sizes, STRIDES, strict=True)])
    index = match_cells(usual, boxes, rpn.config, torch.ones(len(usual), dtype=torch.bool))
    ignored = index == IGNORED
    assert (int((index >= 0).sum()), int((index == BACKGROUND).sum()), int(ignored.sum())) == counts
    assert [*sums((index + 1).clamp(min=0)), *sums(ignored)] == shapes


def test_the_bounded_loss_is_the_references():
    """mmdet 2.28.2's four terms of three boxes."""
    boxes = torch.tensor([[10.0, 10, 50, 40], [10, 10, 50, 40], [0, 0, 20, 20]])
    targets = torch.tensor([[12.0, 9, 48, 44], [60, 60, 90, 70], [5, 5, 45, 15]])
    wanted = [
        [0.0, 0.062344, 0.025011, 0.051038],
        [0.9, 0.9, 0.150019, 0.566678],
        [0.757145, 0.0, 0.400013, 0.400025],
    ]
    torch.testing.assert_close(
        bounded_iou_loss(boxes, targets, 0.2), torch.tensor(wanted).sum(dim=1), rtol=0, atol=5e-6
    )


def test_the_bounded_loss_by_hand():
    boxes = torch.tensor([[0.0, 0, 40, 20], [10.0, 10, 20, 30]], requires_grad=True)
    targets = torch.tensor([[4.0, 2, 36, 34], [10.0, 10, 20, 30]])
    loss = bounded_iou_loss(boxes, targets, 0.2)
    # Off by (0, 8) px from an object of 32 by 32: 1 - 16/48 in y, 1 - 32/40 in w, 1 - 20/32 in h.
    short = [0.0, 1 - 16 / 48, 1 - 32 / 40, 1 - 20 / 32]
    wanted = sum(s - 0.1 if s >= 0.2 else s * s / 0.4 for s in short)
    assert float(loss[0].detach()) == pytest.approx(wanted, abs=2e-3)
    assert float(loss[1].detach()) == pytest.approx(0, abs=1e-5)
    loss[0].backward()
    # Narrower and higher; where it stands is not its affair.
    assert float(boxes.grad[0, 2]) > 0 > float(boxes.grad[0, 3])
    assert float(boxes.grad[0, 0] + boxes.grad[0, 2]) == pytest.approx(0, abs=1e-7)


def test_anchors_are_the_squares_in_the_shapes_that_are_predicted():
    rpn = rpn_of(strides=(8,))
    with torch.no_grad():
        rpn.conv_shape.bias.copy_(torch.tensor([math.log(2) / 0.14, -math.log(4) / 0.14]))
        rpn.conv_shape.weight.zero_()
        (level,) = rpn([torch.randn(2, 16, 4, 5)])
    assert level.anchors.shape == (2, 20, 4)
    size = level.anchors[..., 2:] - level.anchors[..., :2]
    torch.testing.assert_close(size, torch.tensor([128.0, 16.0]).expand(2, 20, 2), rtol=1e-4, atol=1e-3)
    centre = (level.anchors[1, 7, :2] + level.anchors[1, 7, 2:]) / 2
    torch.testing.assert_close(centre, torch.tensor([16.0, 8.0]), rtol=0, atol=1e-3)


def test_features_are_read_where_the_anchor_is():
    """Without offsets an ordinary convolution; the shape alone moves it, and gets no gradient for it."""
    rpn = rpn_of(strides=(8,))
    x = torch.randn(1, 16, 6, 7)
    (level,) = rpn([x])
    hidden = F.relu(rpn.rpn_conv(x))
    with torch.no_grad():
        rpn.feature_adaption.conv_offset.weight.zero_()
    (plain,) = rpn([x])
    wanted = rpn.conv_cls(F.relu(rpn.feature_adaption.conv_adaption(hidden)))
    torch.testing.assert_close(plain.logits, wanted.flatten(1), rtol=1e-4, atol=1e-6)
    assert not torch.equal(level.logits, plain.logits)
    (level,) = rpn([x])
    level.logits.sum().backward()
    assert rpn.conv_shape.weight.grad is None
    assert rpn.conv_loc.weight.grad is None
    assert not level.anchors.requires_grad


def test_unlikely_places_give_proposals_in_training_alone():
    rpn = rpn_of(scale=4.0, strides=(8, 16))
    with torch.no_grad():
        for layer in (rpn.conv_loc, rpn.conv_cls):
            layer.weight.mul_(300)
        # About half of the cells, each image its own.
        rpn.conv_loc.bias.fill_(-math.log(99))
    levels = [torch.randn(2, 16, 8, 8), torch.randn(2, 16, 4, 4)]
    outputs, sizes = rpn(levels), [(64, 64), (60, 50)]
    likely = [level.locations.sigmoid() >= 0.01 for level in outputs]
    assert all(0 < int(each.sum()) < each.numel() for each in likely)
    assert not torch.equal(likely[0][0], likely[0][1])
    for training in (True, False):
        found = rpn.propose(outputs, sizes, training)
        for i in range(2):
            # An image's proposals don't depend on its company.
            alone = rpn.propose(rpn([level[i : i + 1] for level in levels]), sizes[i : i + 1], training)
            torch.testing.assert_close(found.rois.of_image(i), alone.rois.boxes, rtol=1e-4, atol=1e-3)
    everywhere = rpn.propose(outputs, sizes, True).scores
    some = rpn.propose(outputs, sizes, False).scores
    assert 0 < len(some) < len(everywhere)
    with torch.no_grad():
        rpn.conv_loc.weight.zero_()
        rpn.conv_loc.bias.fill_(-9)
    assert len(rpn.propose(rpn(levels), sizes).scores) == 0


def test_the_losses_are_divided_as_in_the_reference():
    model = build_model(GUIDED, 0)
    images, targets = batch()
    features = model.features_of(images)
    outputs = model.rpn_head(features.levels)
    losses = model.rpn_head.losses(outputs, features.sizes, targets, generator())
    assert set(losses) == {"loss_anchor_loc", "loss_anchor_shape", "loss_rpn_cls", "loss_rpn_bbox"}
    wanted = location_targets(
        [t.boxes for t in targets], [o.size for o in outputs], model.rpn_head.strides, 4.0, GUIDED.rpn.guided
    )
    total, cells = 0.0, 0
    for output, target in zip(outputs, wanted, strict=True):
        p = output.locations.sigmoid()
        centre, weight = target.centre.flatten(1), target.weight.flatten(1)
        focal = -0.25 * (1 - p) ** 2 * p.log() * centre - 0.75 * p**2 * (1 - p).log() * (1 - centre)
        total, cells = total + (focal * weight).sum(), cells + p.numel()
    torch.testing.assert_close(losses["loss_anchor_loc"], total * 200 / cells, rtol=1e-4, atol=1e-5)
    assert losses.counts["loss_anchor_loc"] == cells
    assert losses.counts["loss_anchor_shape"] == losses.counts["loss_rpn_cls"] == 64


def test_a_whole_model_trains_and_finds():
    model = build_model(GUIDED, 0).train()
    images, targets = batch()
    losses = model.losses(images, targets, generator=generator())
    total_loss(losses).backward()
    for name, weight in model.rpn_head.named_parameters():
        # Offsets come from shapes that start near zero, and are learned by what looks at the anchors.
        assert weight.grad is not None, name
        assert float(weight.grad.abs().max()) > 0, name
    model = lively(GUIDED)
    with torch.no_grad():
        model.rpn_head.conv_loc.bias.fill_(1.0)
    for bf16 in (False, True):
        trace = model.trace([picture(3), picture(4)], bf16=bf16)
        assert len(trace.proposals.scores) == 24
        assert len(trace.scores) > 0


def test_names_are_those_of_the_reference():
    names = set(build_model(GUIDED, 0).rpn_head.state_dict())
    layers = ("rpn_conv", "conv_loc", "conv_shape", "conv_cls", "conv_reg")
    assert names == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")} | {
        "feature_adaption.conv_offset.weight",
        "feature_adaption.conv_adaption.weight",
    }


def test_it_is_told_by_its_shapes():
    model = build_model(GUIDED, 0)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = config_from_shapes(shapes, "m", "m.pth")
    assert found.rpn == dataclasses.replace(GUIDED_RPN, guided=GUIDED.rpn.guided)
    build_model(found).load_state_dict(model.state_dict())


def test_its_config_survives_json_and_is_checked():
    assert model_config_from_dict(to_dict(GUIDED)) == GUIDED
    values = to_dict(GUIDED)
    values["rpn"]["guided"]["deform_groups"] = 3
    with pytest.raises(InputError, match=r"rpn\.guided\.deform_groups: 3 groups can't share 16 channels"):
        model_config_from_dict(values)
