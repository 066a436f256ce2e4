"""Ground truth in little memory: the same as whole masks, resized, mirrored and cut."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htc_lab.data.compact_targets import CompactTargets
from htc_lab.data.dataset import Sample
from htc_lab.data.mask_patches import MaskPatches
from htc_lab.data.transforms import _mirrored, resize_sample
from htc_lab.structures import Targets
from tests.unit.tiny import assert_same, picture, truth


def compact(targets: Targets) -> CompactTargets:
    masks = MaskPatches.of(targets.masks.numpy(), *targets.masks.shape[1:])
    return CompactTargets.of(targets.boxes, targets.labels, masks, targets.semantic)


def sample(seed: int, height: int, width: int, objects: int = 4) -> Sample:
    return Sample(picture(seed, height, width), truth(seed, objects, height, width), 1, (height, width))


def test_whole_masks_come_back_and_take_little():
    given = truth(0, 5, 200, 300)
    found = compact(given)
    assert_same(found.whole(), given)
    assert sum(patch.size for patch in found.masks.patches) < given.masks.numel() / 20
    assert found.masks.areas().tolist() == given.masks.flatten(1).sum(dim=1).tolist()


@settings(max_examples=30)
@given(st.integers(20, 90), st.integers(20, 90), st.integers(9, 150), st.integers(10, 250), st.integers(0, 9))
def test_resizing_and_mirroring_are_those_of_a_sample(height, width, short, long, seed):
    whole = sample(seed, height, width)
    wanted = resize_sample(whole, short, long)
    found = compact(whole.targets).resized(*wanted.size)
    assert_same(found.whole(), wanted.targets)
    assert_same(found.mirrored().whole(), _mirrored(wanted).targets)


def test_an_object_without_pixels_stays_one():
    masks = MaskPatches.of(np.zeros((2, 6, 8), dtype=np.uint8), 6, 8)
    for changed in (masks, masks.mirrored(), masks.resized(3, 4), masks.cropped((1, 1, 3, 3))):
        assert changed.areas().tolist() == [0, 0]
        assert changed.whole().shape == (2, changed.height, changed.width)


@settings(max_examples=30)
@given(st.integers(0, 40), st.integers(0, 60), st.integers(1, 50), st.integers(1, 50), st.integers(0, 9))
def test_a_window_holds_the_pixels_that_are_in_it(top, left, height, width, seed):
    height, width = min(height, 64 - top), min(width, 96 - left)
    given = truth(seed, 6, 64, 96)
    seen = given.masks[:, top : top + height, left : left + width]
    found = compact(given)
    assert torch.equal(found.masks.cropped((top, left, height, width)).whole(), seen)
    kept = found.cropped((top, left, height, width))
    assert torch.equal(kept.semantic, given.semantic[top : top + height, left : left + width])
    places = [next(i for i, mask in enumerate(seen) if torch.equal(mask, one)) for one in kept.masks]
    assert kept.labels.tolist() == given.labels[places].tolist()
    assert bool((kept.boxes[:, 2:] > kept.boxes[:, :2]).all())
    assert bool((kept.boxes >= 0).all())
    assert bool((kept.boxes <= torch.tensor([width, height, width, height])).all())


def block(x1: int, y1: int, x2: int, y2: int, height: int = 40, width: int = 40) -> CompactTargets:
    masks = np.zeros((1, height, width), dtype=np.uint8)
    masks[0, y1:y2, x1:x2] = 1
    box = torch.tensor([[x1, y1, x2, y2]], dtype=torch.float32)
    return CompactTargets.of(box, torch.tensor([2]), MaskPatches.of(masks, height, width), None)


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        # Wholly inside, however small.
        ((20, 20, 22, 22), (4, 4, 6, 6)),
        # 3 of 10 columns are inside: just enough.
        ((9, 20, 19, 30), (0, 4, 3, 14)),
        # 2 of 10 are not.
        ((8, 20, 18, 30), None),
        # Half of it, but 15 pixels only; and 16.
        ((13, 20, 19, 25), None),
        ((14, 20, 18, 28), (0, 4, 2, 12)),
        # Outside, touching.
        ((6, 20, 16, 30), None),
    ],
)
def test_what_is_cut_stays_if_enough_of_it_is_inside(box, kept):
    targets = block(*box).cropped((16, 16, 16, 16))
    assert targets.semantic is None
    if kept is None:
        assert targets.boxes.shape == (0, 4)
        assert targets.masks.shape == (0, 16, 16)
        assert targets.labels.shape == (0,)
    else:
        assert targets.boxes.tolist() == [list(map(float, kept))]
        x1, y1, x2, y2 = kept
        assert bool(targets.masks[0, y1:y2, x1:x2].all())
        assert int(targets.masks.sum()) == (x2 - x1) * (y2 - y1)
        assert targets.labels.tolist() == [2]


def test_an_annotated_box_wider_than_its_pixels_stays_where_it_is_whole():
    whole = block(20, 20, 26, 26)
    loose = CompactTargets.of(torch.tensor([[18.5, 19.0, 27.0, 28.0]]), whole.labels, whole.masks, None)
    assert loose.cropped((16, 16, 16, 16)).boxes.tolist() == [[2.5, 3.0, 11.0, 12.0]]
    # The window's border cuts the box and none of the pixels: it becomes that of the pixels.
    assert loose.cropped((0, 20, 40, 20)).boxes.tolist() == [[0.0, 20.0, 6.0, 26.0]]
