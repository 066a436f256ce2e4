"""Mask targets: what a RoI sees of its object."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htc_lab.layers.mask_targets import mask_targets


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 3), st.integers(0, 99))
def test_a_box_on_whole_pixels_cuts_out_and_counts(left, top, factor, seed):
    size = 6
    masks = torch.randint(0, 2, (2, 48, 48), generator=torch.Generator().manual_seed(seed)).byte()
    side = size * factor
    box = torch.tensor([[left, top, left + side, top + side]], dtype=torch.float32)
    cut = masks[1, top : top + side, left : left + side].float()
    share = cut.reshape(size, factor, size, factor).mean(dim=(1, 3))
    found = mask_targets(masks, torch.tensor([1]), box, size)[0]
    # At one to three pixels a side the samples are the pixels' centres; exact halves go to the object.
    assert torch.equal(found, (share >= 0.5 - 1e-6).float())


def test_each_box_gets_its_own_object():
    masks = torch.zeros(3, 20, 20, dtype=torch.uint8)
    masks[0, :10], masks[2, :, :10] = 1, 1
    box = torch.tensor([[0.0, 0.0, 20.0, 20.0]]).expand(4, 4)
    found = mask_targets(masks, torch.tensor([2, 0, 1, 2]), box, 4)
    assert torch.equal(found[0], found[3])
    assert found[0].tolist() == [[1, 1, 0, 0]] * 4
    assert found[1].tolist() == [[1] * 4, [1] * 4, [0] * 4, [0] * 4]
    assert not found[2].any()


def test_boxes_are_clipped_to_the_image_first():
    masks = torch.randint(0, 2, (1, 12, 16)).byte()
    over, clipped = torch.tensor([[-5.0, -3, 40, 30]]), torch.tensor([[0.0, 0, 16, 12]])
    index = torch.tensor([0])
    assert torch.equal(mask_targets(masks, index, over, 7), mask_targets(masks, index, clipped, 7))


def test_nothing_asked_nothing_given():
    for objects in (0, 2):
        masks = torch.ones(objects, 8, 8, dtype=torch.uint8)
        found = mask_targets(masks, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), 28)
        assert found.shape == (0, 28, 28)


def test_tiny_and_flat_boxes_are_finite():
    masks = torch.ones(1, 8, 8, dtype=torch.uint8)
    boxes = torch.tensor([[3.0, 3.0, 4.0, 4.0], [3.0, 3.0, 3.0, 6.0]])
    found = mask_targets(masks, torch.tensor([0, 0]), boxes, 28)
    assert found[0].all()
    assert found.isfinite().all()
