"""Views: what words ask for, and how their pixels lie in the picture's."""

import pytest
import torch

from htc_lab.config import ImageConfig
from htc_lab.errors import InputError
from htc_lab.views import OWN, Frame, View, parse_views

CONFIG = ImageConfig(short=40, long=90)


@pytest.mark.parametrize(
    ("words", "views"),
    [
        (["600x900"], (View((600, 900)),)),
        (["own", "64x96"], (View(), View((64, 96)))),
        (["flip"], (View(), View(flip=True))),
        (
            ["600x900", "flip", "800x1200"],
            (View((600, 900)), View((600, 900), True), View((800, 1200)), View((800, 1200), True)),
        ),
    ],
)
def test_views_from_words(words, views):
    assert parse_views(words) == views
    assert parse_views(["own"]) == OWN


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--views: no view given; give SHORTxLONG in px"),
        (["0x900"], "view 0x900: sides must be from 1 to 100000 px; give SHORTxLONG"),
        (["600x0"], "view 600x0: sides must be from 1"),
        (["600x999999"], "view 600x999999: sides must be from 1"),
        (["900x600"], "view 900x600: the short side comes first; give 600x900"),
        (["600"], "--views 600: is no view; give SHORTxLONG .* name pictures before the flags"),
        (["-1x5"], "--views -1x5: is no view"),
        (["6e1x90"], "--views 6e1x90: is no view"),
        (["flop"], "--views flop: is no view"),
        (["photo.jpg"], "--views photo.jpg: is no view"),
        (["64x96", "64x96"], "--views 64x96: given twice; leave one out"),
    ],
)
def test_words_that_are_no_views(words, message):
    with pytest.raises(InputError, match=message):
        parse_views(words)


def test_a_view_is_written_as_it_was_asked_for():
    views = parse_views(["own", "600x900", "flip"])
    assert [str(view) for view in views] == ["own", "own flip", "600x900", "600x900 flip"]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("size", "seen"), [(None, (40, 60)), ((60, 100), (60, 90)), ((60, 72), (48, 72)), ((80, 120), (80, 120))]
)
def test_boxes_lie_on_what_they_lay_on(size, seen, flip):
    # A white rectangle on black, away from the middle: where it is in the view, its box must be.
    box = torch.tensor([[30.0, 20.0, 60.0, 60.0]])
    image = torch.zeros((3, 80, 120), dtype=torch.uint8)
    image[:, 20:60, 30:60] = 255
    view, frame = View(size, flip).of(image, CONFIG)
    assert view.shape == (3, *seen)
    assert frame == Frame((80, 120), seen, flip)
    inside = view[0] > 127
    rows, columns = torch.nonzero(inside.any(1)).squeeze(1), torch.nonzero(inside.any(0)).squeeze(1)
    painted = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
    assert (frame.into(box)[0] - painted).abs().max() <= 0.5
    torch.testing.assert_close(frame.back(frame.into(box)), box)


def test_the_own_view_is_the_picture_itself():
    image = torch.zeros((3, 40, 60), dtype=torch.uint8)
    view, frame = View().of(image, CONFIG)
    assert view is image
    box = torch.tensor([[1.5, 2.25, 7.125, 9.0]])
    assert torch.equal(frame.into(box), box)
    assert torch.equal(frame.back(box), box)
    masks = torch.rand(2, 3, 5)
    assert frame.turned_back(masks) is masks


def test_a_mirrored_box_and_mask_by_hand():
    frame = Frame((10, 20), (20, 40), flip=True)
    box = torch.tensor([[1.0, 2.0, 5.0, 4.0]])
    assert frame.into(box).tolist() == [[30.0, 4.0, 38.0, 8.0]]
    assert frame.back(frame.into(box)).tolist() == box.tolist()
    mask = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    assert frame.turned_back(mask).tolist() == [[[3.0, 2.0, 1.0], [6.0, 5.0, 4.0]]]


def test_a_view_leaves_other_numbers_alone():
    config = View((64, 96), flip=True).config(CONFIG)
    assert (config.short, config.long, config.mean) == (64, 96, CONFIG.mean)
    assert View(flip=True).config(CONFIG) is CONFIG
