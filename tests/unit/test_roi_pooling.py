"""RoIAlign against a slow loop, and the choice of the pyramid level."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htc_lab.layers.roi_pooling import level_of, pool, pool_pyramid
from htc_lab.structures import RoIs
from tests.unit.boxes import box_lists


def _bilinear(plane, y, x):
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    fy, fx = y - top, x - left
    upper = plane[top, left] * (1 - fx) + plane[top, right] * fx
    lower = plane[bottom, left] * (1 - fx) + plane[bottom, right] * fx
    return upper * (1 - fy) + lower * fy


def slow_roi_align(feature, box, size, stride, sampling_ratio):
    """(C, size, size): mean of bilinear samples in each bin; cell (0, 0) has its centre at half a stride."""
    x1, y1, x2, y2 = (v / stride - 0.5 for v in box)
    bin_w, bin_h = (x2 - x1) / size, (y2 - y1) / size
    columns, rows = (sampling_ratio or max(math.ceil(side), 0) for side in (bin_w, bin_h))
    out = np.zeros((len(feature), size, size))
    for c, plane in enumerate(feature):
        for i in range(size):
            for j in range(size):
                points = [
                    _bilinear(
                        plane, y1 + (i + (a + 0.5) / rows) * bin_h, x1 + (j + (b + 0.5) / columns) * bin_w
                    )
                    for a in range(rows)
                    for b in range(columns)
                ]
                out[c, i, j] = sum(points) / max(len(points), 1)
    return out


@settings(deadline=None, max_examples=40)
@given(box_lists(1, 3), st.sampled_from([0, 1, 2]), st.sampled_from([4, 8]), st.integers(0, 9))
def test_pooling_is_that_of_a_slow_loop(boxes, sampling_ratio, stride, seed):
    feature = torch.randn(2, 2, 9, 7, generator=torch.Generator().manual_seed(seed))
    image = torch.arange(len(boxes)) // 2
    pooled = pool(feature, RoIs(boxes, image), 3, stride, sampling_ratio)
    for i, box in enumerate(boxes.tolist()):
        wanted = slow_roi_align(feature[image[i]].numpy().astype(float), box, 3, stride, sampling_ratio)
        np.testing.assert_allclose(pooled[i].numpy(), wanted, atol=2e-4)


@settings(deadline=None, max_examples=40)
@given(box_lists(1, 4), st.floats(-3, 3, width=32), st.integers(0, 9))
def test_pooling_is_linear(boxes, factor, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 1, 3, 12, 12, generator=generator)
    rois = RoIs.of([boxes])
    torch.testing.assert_close(
        pool(factor * a + b, rois, 7, 8),
        factor * pool(a, rois, 7, 8) + pool(b, rois, 7, 8),
        rtol=1e-4,
        atol=1e-4,
    )


@settings(deadline=None, max_examples=40)
@given(box_lists(1, 4), st.sampled_from([0, 2]), st.sampled_from([7, 14]))
def test_a_constant_map_pools_to_its_constant(boxes, sampling_ratio, size):
    pooled = pool(torch.full((1, 2, 24, 24), 2.5), RoIs.of([boxes]), size, 4, sampling_ratio)
    torch.testing.assert_close(pooled, torch.full_like(pooled, 2.5))


def test_a_ramp_pools_to_the_centres_of_its_bins():
    # Cell j has its centre at x = 8 j + 4 px, so a map that says where it is pools to the bins' centres.
    ramp = (torch.arange(16.0) * 8 + 4).expand(1, 1, 16, 16)
    pooled = pool(ramp, RoIs.of([torch.tensor([[24.0, 24.0, 52.0, 80.0]])]), 7, 8, 2)
    torch.testing.assert_close(pooled[0, 0, 0], 24 + 4 * (torch.arange(7.0) + 0.5))


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_a_box_without_size_is_no_trouble(sampling_ratio):
    pooled = pool(
        torch.randn(1, 3, 8, 8), RoIs.of([torch.tensor([[9.0, 9.0, 9.0, 9.0]])]), 7, 4, sampling_ratio
    )
    assert pooled.shape == (1, 3, 7, 7)
    assert pooled.isfinite().all()


def _square(side):
    return torch.tensor([[10.0, 10.0, 10.0 + side, 10.0 + side]])


@pytest.mark.parametrize(
    ("side", "level"),
    [(0, 0), (1, 0), (56, 0), (111.5, 0), (112, 1), (223, 1), (224, 2), (447, 2), (448, 3), (4000, 3)],
)
def test_levels_change_at_the_octaves(side, level):
    assert level_of(_square(side), 4, 56).tolist() == [level]


def test_the_level_goes_by_the_area():
    assert level_of(torch.tensor([[0.0, 0.0, 28.0, 448.0]]), 4, 56).tolist() == [1]
    assert level_of(_square(4000), 2, 56).tolist() == [1]


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(3)), st.permutations(range(3, 6)), st.integers(0, 9))
def test_the_pyramid_does_not_care_for_the_order_of_rois(first, second, seed):
    generator = torch.Generator().manual_seed(seed)
    levels = [torch.randn(2, 3, side, side, generator=generator) for side in (32, 16, 8)]
    sides = [8.0, 200.0, 60.0, 20.0, 120.0, 57.0]
    boxes = torch.cat([_square(side) for side in sides])
    rois = RoIs(boxes, torch.tensor([0, 0, 0, 1, 1, 1]))
    assert set(level_of(boxes, 3, 28).tolist()) == {0, 1, 2}
    pooled = pool_pyramid(levels, (4, 8, 16), rois, 7, 28, 2)
    # Boxes of one image stand together, whatever their order.
    which = torch.tensor(first + second)
    assert torch.equal(pool_pyramid(levels, (4, 8, 16), rois.select(which), 7, 28, 2), pooled[which])
    for i, level in enumerate(level_of(boxes, 3, 28).tolist()):
        alone = pool(levels[level], rois.select(torch.tensor([i])), 7, 4 * 2**level, 2)
        assert torch.equal(pooled[i], alone[0])


def test_no_rois_pool_to_nothing():
    levels = [torch.randn(1, 3, 8, 8), torch.randn(1, 3, 4, 4)]
    assert pool_pyramid(levels, (4, 8), RoIs.of([torch.zeros(0, 4)]), 7, 28).shape == (0, 3, 7, 7)
