import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htc_lab.plots import draw_boxes, draw_detections, draw_semantic, draw_truth
from htc_lab.plots.canvas import Canvas
from htc_lab.plots.palette import OBJECT_COLOURS, colour_of, is_dashed, text_on
from htc_lab.structures import Detections
from tests.plots.made_trace import CLASS_NAMES, made_sample, made_trace

GREY = torch.full((3, 40, 60), 120, dtype=torch.uint8)


def detections(*boxes: tuple[int, int, int, int]) -> Detections:
    """Rectangles as objects of class 0, 1, ..."""
    masks = torch.zeros(len(boxes), 40, 60, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.linspace(0.9, 0.5, len(boxes)),
        torch.arange(len(boxes)),
        masks,
    )


def test_only_the_masks_pixels_change_and_they_take_the_objects_colour() -> None:
    found = detections((10, 10, 30, 30))
    drawn = draw_detections(GREY, found, CLASS_NAMES, boxes=False, labels=False, side=1)
    assert drawn.shape == (40, 60, 3)
    inside = drawn[15:25, 15:25].reshape(-1, 3)
    expected = 120 * 0.64 + 0.36 * np.asarray(OBJECT_COLOURS[0])
    assert np.abs(inside - expected).max() <= 1
    far = np.ones((40, 60), bool)
    far[6:34, 6:34] = False
    assert (drawn[far] == 120).all()


def test_the_picture_handed_in_is_left_alone() -> None:
    image = GREY.clone()
    array = image.permute(1, 2, 0).numpy().copy()
    draw_detections(image, detections((10, 10, 30, 30)), CLASS_NAMES)
    draw_detections(array, detections((10, 10, 30, 30)), CLASS_NAMES, side=1)
    assert torch.equal(image, GREY)
    assert (array == 120).all()


def test_tensor_and_array_give_the_same_picture() -> None:
    sample = made_sample()
    result = made_trace(sample).detections()
    array = sample.image.permute(1, 2, 0).numpy()
    assert (
        draw_detections(sample.image, result, CLASS_NAMES) == draw_detections(array, result, CLASS_NAMES)
    ).all()


def test_the_number_decides_the_colour_not_the_place() -> None:
    left, right = (5, 5, 20, 35), (35, 5, 55, 35)
    options = {"boxes": False, "labels": False, "side": 1}
    one = draw_detections(GREY, detections(left, right), CLASS_NAMES, numbers=[4, 2], **options)
    other = draw_detections(GREY, detections(right, left), CLASS_NAMES, numbers=[2, 4], **options)
    assert (one == other).all()


@pytest.mark.parametrize("side", [1, 640])
def test_nothing_found_gives_the_bare_picture(side: int) -> None:
    drawn = draw_detections(GREY, detections(), CLASS_NAMES, side=side)
    assert (drawn == 120).all()
    assert drawn.shape[0] % 40 == 0


def test_masks_without_pixels_and_boxes_without_area_do_no_harm() -> None:
    found = detections((10, 10, 10, 10), (0, 0, 60, 40))
    assert draw_detections(GREY, found, CLASS_NAMES).shape == (40 * 11, 60 * 11, 3)


def test_false_ones_are_hatched() -> None:
    found = detections((10, 10, 50, 30))
    options = {"boxes": False, "labels": False, "side": 600}
    plain = draw_detections(GREY, found, CLASS_NAMES, **options)
    hatched = draw_detections(GREY, found, CLASS_NAMES, false=[True], **options)
    share = (hatched[150:250, 200:400] == 120).all(axis=2).mean()
    assert 0.3 < share < 0.7
    assert not (plain[150:250, 200:400] == 120).all(axis=2).any()


def test_truth_and_missed_objects_are_drawn() -> None:
    sample = made_sample()
    nothing = made_trace(sample).detections()
    nothing = Detections(nothing.boxes[:0], nothing.scores[:0], nothing.labels[:0], nothing.masks[:0])
    bare = draw_detections(sample.image, nothing, CLASS_NAMES)
    outlined = draw_detections(sample.image, nothing, CLASS_NAMES, truth=sample.targets)
    labelled = draw_detections(sample.image, nothing, CLASS_NAMES, truth=sample.targets, missed=[0])
    assert (bare != outlined).any()
    assert (labelled != outlined).any()


def test_at_most_twelve_labels() -> None:
    many = detections(*[(x, y, x + 6, y + 6) for y in (2, 18, 32) for x in range(2, 52, 9)])
    many = dataclasses.replace(many, labels=torch.zeros(len(many), dtype=torch.int64))
    assert len(many) > 12
    drawn = draw_detections(GREY, many, CLASS_NAMES, masks=False, boxes=False)
    twelve = Detections(many.boxes[:12], many.scores[:12], many.labels[:12], many.masks[:12])
    assert (drawn == draw_detections(GREY, twelve, CLASS_NAMES, masks=False, boxes=False)).all()


def test_labels_keep_apart_where_there_is_room() -> None:
    canvas = Canvas(GREY, side=600)
    places = []
    for box in [(10.0, 20.0, 40.0, 30.0)] * 3:
        places.append(canvas._free_place(box, 120, 20, places))
    overlaps = [
        min(a[2], b[2]) >= max(a[0], b[0]) and min(a[3], b[3]) >= max(a[1], b[1])
        for i, a in enumerate(places)
        for b in places[:i]
    ]
    assert not any(overlaps)


@settings(max_examples=30, deadline=None)
@given(
    box=st.tuples(*[st.floats(-50, 120) for _ in range(4)]),
    side=st.sampled_from([1, 200]),
    dashed=st.booleans(),
)
def test_any_box_can_be_drawn(box: tuple[float, float, float, float], side: int, dashed: bool) -> None:
    canvas = Canvas(GREY, side=side)
    canvas.box(box, colour_of(1), dashed)
    canvas.labels(["kite 0.50"], [box], [colour_of(1)])
    assert canvas.pixels.shape == (40 * canvas.scale, 60 * canvas.scale, 3)


def test_boxes_alone() -> None:
    boxes = torch.tensor([[5.0, 5.0, 30.0, 30.0]])
    drawn = draw_boxes(GREY, torch.tensor([[20.0, 10.0, 50.0, 35.0]]), boxes, numbers=[1])
    colours = {tuple(int(v) for v in c) for c in drawn.reshape(-1, 3)}
    assert OBJECT_COLOURS[1] in colours
    assert any(min(c) > 170 for c in colours)
    empty = torch.zeros(0, 4)
    assert (draw_boxes(GREY, empty, empty, numbers=[]) == 120).all()


def test_truth_of_a_sample_and_its_semantic_map() -> None:
    sample = made_sample()
    assert (draw_truth(sample.image, sample.targets, CLASS_NAMES) != Canvas(sample.image).pixels).any()
    semantic = torch.tensor([[0, 1, 255], [7, 8, 0]], dtype=torch.uint8)
    drawn = draw_semantic(semantic, side=3)
    assert tuple(drawn[0, 0]) == OBJECT_COLOURS[0]
    assert tuple(drawn[0, 2]) == (0x33, 0x33, 0x33)
    assert len({tuple(c) for c in drawn.reshape(-1, 3)}) == 5


def test_more_than_eight_objects_repeat_the_colours_dashed() -> None:
    assert colour_of(8) == colour_of(0)
    assert is_dashed(8)
    assert not is_dashed(7)
    assert not is_dashed(16)


def test_label_text_is_readable_on_every_colour() -> None:
    def luminance(colour: tuple[int, int, int]) -> float:
        linear = [((v / 255 + 0.055) / 1.055) ** 2.4 if v > 10 else v / 255 / 12.92 for v in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in OBJECT_COLOURS:
        high, low = sorted([luminance(colour), luminance(text_on(colour))], reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, colour
