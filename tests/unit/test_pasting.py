"""Pasting against a slow loop over pixels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htc_lab.layers.pasting import paste
from tests.unit.boxes import box_lists


def slow_soft_mask(mask, box, height, width):
    """(height, width): the bilinear value of ``mask`` (zeros around it) at every pixel's centre."""
    x1, y1, x2, y2 = box
    rows, columns = mask.shape

    def cell(i, j):
        return mask[i, j] if 0 <= i < rows and 0 <= j < columns else 0.0

    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            v = (y + 0.5 - y1) / (y2 - y1) * rows - 0.5
            u = (x + 0.5 - x1) / (x2 - x1) * columns - 0.5
            i, j = math.floor(v), math.floor(u)
            fy, fx = v - i, u - j
            out[y, x] = (1 - fy) * ((1 - fx) * cell(i, j) + fx * cell(i, j + 1)) + fy * (
                (1 - fx) * cell(i + 1, j) + fx * cell(i + 1, j + 1)
            )
    return out


@settings(deadline=None, max_examples=40)
@given(box_lists(1, 3), st.sampled_from([0.5, 0.7]), st.integers(0, 99))
def test_pasting_is_that_of_a_slow_loop(boxes, threshold, seed):
    # Some boxes hang over the 40 x 56 picture, some lie outside it.
    boxes = boxes - 12
    soft = torch.rand(len(boxes), 5, 6, generator=torch.Generator().manual_seed(seed))
    pasted = paste(soft, boxes, 40, 56, threshold).numpy()
    for mask, box, found in zip(soft.numpy().astype(float), boxes.tolist(), pasted, strict=True):
        value = slow_soft_mask(mask, box, 40, 56)
        sure = abs(value - threshold) > 1e-4
        np.testing.assert_array_equal(found[sure], (value >= threshold)[sure])


def test_a_full_mask_fills_its_box():
    out = paste(torch.ones(2, 28, 28), torch.tensor([[3.0, 4, 10, 9], [0, 0, 20, 12]]), 12, 20)
    assert out[0].sum() == 7 * 5
    assert out[0, 4:9, 3:10].all()
    assert out[1].all()


def test_a_pixel_at_the_threshold_is_in():
    assert paste(torch.full((1, 4, 4), 0.5), torch.tensor([[1.0, 1, 5, 5]]), 6, 6, 0.5)[0, 2:4, 2:4].all()


def test_a_mask_the_size_of_its_box_comes_back_as_it_is():
    mask = torch.randint(0, 2, (1, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    out = paste(mask, torch.tensor([[2.0, 3, 10, 11]]), 16, 16)
    assert torch.equal(out[0, 3:11, 2:10], mask[0].bool())
    assert out.sum() == mask.sum()


@pytest.mark.parametrize(
    "box", [[5.0, 5, 5, 9], [5, 5, 5, 5], [9, 5, 5, 9], [50, 5, 60, 9], [-9, -9, -2, -2]]
)
def test_boxes_without_area_or_outside_give_empty_masks(box):
    assert not paste(torch.ones(1, 28, 28), torch.tensor([box], dtype=torch.float32), 16, 20).any()


def test_a_box_of_one_pixel():
    out = paste(torch.ones(1, 28, 28), torch.tensor([[7.0, 3, 8, 4]]), 10, 10)
    assert torch.nonzero(out[0]).tolist() == [[3, 7]]


def test_nothing_to_paste():
    assert paste(torch.zeros(0, 28, 28), torch.zeros(0, 4), 5, 6).shape == (0, 5, 6)
