"""RoIAlign on a CPU, as dense and as sparse products, against torchvision's: values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import roi_align

from htc_lab.layers.cpu import bin_pooling
from htc_lab.layers.cpu.bin_pooling import pool_bins
from htc_lab.layers.cpu.separable_pooling import pool_levels_separably
from htc_lab.structures import RoIs


def some_rois(count: int, images: int, side: float, seed: int) -> RoIs:
    """Boxes inside, across and beyond the picture's border, some without area, in no order."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(count, 2, generator=generator) * side * 1.2 - side * 0.1
    size = torch.rand(count, 2, generator=generator) * side * 0.8
    size[::7] = 0
    image = torch.randint(0, images, (count,), generator=generator).sort().values
    return RoIs(torch.cat([start, start + size], dim=1), image)


def on_one_map(pool, feature, rois, size, stride, ratio, average=1):
    every = torch.zeros(len(rois), dtype=torch.long)
    return pool([feature], (stride,), rois, every, size, ratio, average)


@pytest.mark.parametrize("pool", [pool_levels_separably, pool_bins])
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    stride=st.sampled_from([4, 8, 16]),
    ratio=st.integers(0, 3),
    average=st.sampled_from([1, 2]),
    count=st.integers(0, 12),
)
def test_values_and_gradients_are_those_of_roi_align(
    pool, seed, height, width, stride, ratio, average, count
):
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64, requires_grad=True)
    rois = some_rois(count, 2, stride * max(height, width), seed)
    rois = rois.with_boxes(rois.boxes.double())
    ours = on_one_map(pool, feature, rois, 14, stride, ratio, average)
    numbered = torch.cat([rois.image[:, None].double(), rois.boxes], dim=1)
    theirs = roi_align(feature, numbered, (14, 14), 1 / stride, ratio, aligned=True)
    theirs = F.avg_pool2d(theirs, average)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
    weight = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    (a,) = torch.autograd.grad((ours * weight).sum(), feature)
    (b,) = torch.autograd.grad((theirs * weight).sum(), feature)
    torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("pool", [pool_levels_separably, pool_bins])
def test_the_comparison_can_fail(pool):
    feature = torch.randn(1, 1, 9, 9)
    rois = RoIs.of([torch.tensor([[4.0, 4.0, 30.0, 28.0]])])
    moved = rois.with_boxes(rois.boxes + 0.5)
    a = on_one_map(pool, feature, rois, 7, 4, 2)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(a, on_one_map(pool, feature, moved, 7, 4, 2), rtol=0, atol=1e-4)


@pytest.mark.parametrize("at_once", [1, 100, 3000])
def test_turns_change_nothing(monkeypatch, at_once):
    """Also where a single RoI has more numbers than a turn should."""
    levels = [torch.randn(2, 5, 30, 40, requires_grad=True), torch.randn(2, 5, 15, 20, requires_grad=True)]
    rois = some_rois(17, 2, 160.0, 3)
    which = torch.arange(17) % 2

    def values_and_gradients():
        pooled = pool_bins(levels, (4, 8), rois, which, 7, 0)
        return pooled, *torch.autograd.grad(pooled.square().sum(), levels)

    whole = values_and_gradients()
    monkeypatch.setattr(bin_pooling, "_AT_ONCE", at_once)
    for a, b in zip(whole, values_and_gradients(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(threads):
    feature = torch.randn(2, 5, 30, 40, generator=torch.Generator().manual_seed(1), requires_grad=True)
    rois = some_rois(300, 2, 160.0, 3)
    before = torch.get_num_threads()

    def values_and_gradient():
        pooled = on_one_map(pool_bins, feature, rois, 7, 4, 0)
        return pooled, *torch.autograd.grad(pooled.square().sum(), feature)

    expected = values_and_gradient()
    try:
        torch.set_num_threads(threads)
        found = values_and_gradient()
    finally:
        torch.set_num_threads(before)
    for a, b in zip(expected, found, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("pool", [pool_levels_separably, pool_bins])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 40))
def test_each_roi_is_pooled_from_its_level_whatever_stands_beside_it(pool, seed, count):
    generator = torch.Generator().manual_seed(seed)
    sides = [(100 // s, 160 // s) for s in (1, 2, 4)]
    levels = [torch.randn(2, 3, *side, generator=generator, dtype=torch.float64) for side in sides]
    strides = (4, 8, 16)
    rois = some_rois(count, 2, 640, seed)
    rois = rois.with_boxes(rois.boxes.double())
    which = torch.randint(0, 3, (count,), generator=generator)
    pooled = pool(levels, strides, rois, which, 7, 0)
    assert pooled.shape == (count, 3, 7, 7)
    for n in range(count):
        level, stride = levels[which[n]], strides[which[n]]
        one = rois.select(torch.tensor([n]))
        numbered = torch.cat([one.image[:, None].double(), one.boxes], dim=1)
        expected = roi_align(level, numbered, (7, 7), 1 / stride, 0, aligned=True)
        torch.testing.assert_close(pooled[n : n + 1], expected, rtol=0, atol=1e-9)


def test_company_does_not_change_a_bit():
    levels = [torch.randn(1, 8, 100, 160), torch.randn(1, 8, 50, 80)]
    rois = some_rois(200, 1, 640, 5)
    which = torch.arange(200) % 2
    whole = pool_bins(levels, (4, 8), rois, which, 7, 0)
    some = torch.arange(3, 200, 7)
    assert torch.equal(pool_bins(levels, (4, 8), rois.select(some), which[some], 7, 0), whole[some])
