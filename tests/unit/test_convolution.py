"""The shorter ways of a convolution at inference: the same numbers, and only where there is no gradient."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from htc_lab.config import BackboneConfig
from htc_lab.layers.backbone import Backbone
from htc_lab.layers.conv import convolve
from htc_lab.layers.cpu import winograd
from htc_lab.layers.cpu.fused_convolution import written_out


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def worst(ours: Tensor, exact: Tensor) -> float:
    """The largest error, of the largest value."""
    return float((ours.double() - exact).abs().max() / exact.abs().max())


@settings(max_examples=40)
@given(
    m=st.sampled_from([4, 5]),
    images=st.integers(1, 20),
    height=st.integers(1, 23),
    width=st.integers(1, 23),
    channels=st.integers(1, 5),
    last=st.booleans(),
    seed=st.integers(0, 10**6),
)
@example(m=4, images=1, height=150, width=90, channels=2, last=True, seed=0)
def test_winograd_convolves(m, images, height, width, channels, last, seed):
    layout = torch.channels_last if last else torch.contiguous_format
    x = some(images, channels, height, width, seed=seed).contiguous(memory_format=layout)
    weight, bias = some(3, channels, 3, 3, seed=seed + 1), some(3, seed=seed + 2)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    for relu, wanted in ((False, exact), (True, exact.relu())):
        ours = winograd.convolve(x, weight, bias, m, relu)
        assert ours.shape == wanted.shape
        # Of the largest value before the ReLU, which may leave little.
        assert float((ours.double() - wanted).abs().max() / exact.abs().max()) < 1e-5


@pytest.mark.parametrize("m", [4, 5])
def test_winograd_of_many_channels_keeps_its_digits(m):
    """The oracle asks for 1e-4 after a score of layers."""
    x, weight = some(16, 256, 14, 14).relu(), some(256, 256, 3, 3, seed=1) / 48
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    assert worst(winograd.convolve(x, weight, torch.zeros(256), m, False), exact) < 1e-5


def test_winograd_is_taken_where_it_pays():
    assert winograd.tile_side(1, 200, 336, 256, 256) == 4
    assert winograd.tile_side(100, 14, 14, 256, 256) == 5
    assert winograd.tile_side(1, 200, 336, 64, 64) == 0
    assert winograd.tile_side(1, 200, 336, 256, 3) == 0
    assert winograd.tile_side(3, 14, 14, 256, 256) == 0


CASES = {
    "1x1": ((2, 8, 9, 7), (6, 8, 1, 1), {}),
    "3x3, strided": ((2, 8, 9, 7), (6, 8, 3, 3), {"stride": (2, 2), "padding": (1, 1)}),
    "grouped": ((2, 8, 9, 7), (6, 4, 3, 3), {"padding": (1, 1), "groups": 2}),
    "Winograd's": ((16, 192, 14, 14), (192, 192, 3, 3), {"padding": (1, 1)}),
    "nothing": ((0, 8, 9, 7), (6, 8, 1, 1), {}),
}


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_each_shorter_way_gives_what_is_written_out(name, added, relu, layout):
    shape, weights, how = CASES[name]
    x, weight, bias = some(*shape), some(*weights, seed=1), some(weights[0], seed=2)
    x = x.contiguous(memory_format=layout)
    plain = F.conv2d(x, weight, bias, **how)
    onto = some(*plain.shape, seed=3).contiguous(memory_format=layout) if added else None
    wanted = plain + onto if onto is not None else plain
    with torch.no_grad():
        ours = convolve(x, weight, bias, **how, relu=relu, onto=onto)
    # Of sums of 1700 products, some 200 at most.
    allowed = 2e-3 if name == "Winograd's" else 1e-5
    torch.testing.assert_close(ours, wanted.relu() if relu else wanted, rtol=1e-5, atol=allowed)


def test_weights_are_used_as_they_are():
    """Even a change that autograd is not told of."""
    x, weight, bias = some(16, 192, 14, 14), some(192, 192, 3, 3, seed=1), torch.zeros(192)
    with torch.no_grad():
        before = convolve(x, weight, bias, padding=(1, 1))
        weight.data.mul_(2)
        torch.testing.assert_close(convolve(x, weight, bias, padding=(1, 1)), 2 * before)


@pytest.mark.parametrize("way", ["with gradients", "written out", "bfloat16"])
def test_otherwise_it_is_torch_own_convolution_bit_for_bit(way):
    x = some(16, 192, 14, 14)
    weight, bias = some(192, 192, 3, 3, seed=1).requires_grad_(way == "with gradients"), torch.zeros(192)
    half = torch.autocast("cpu", torch.bfloat16, enabled=way == "bfloat16")
    with torch.set_grad_enabled(way == "with gradients"), half:
        wanted = F.relu(F.conv2d(x, weight, bias, padding=1))
        if way == "written out":
            with written_out():
                ours = convolve(x, weight, bias, padding=(1, 1), relu=True)
        else:
            ours = convolve(x, weight, bias, padding=(1, 1), relu=True)
    assert torch.equal(ours, wanted)
    assert ours.requires_grad == (way == "with gradients")


def test_but_without_gradients_it_is_not():
    """Or the test above would show nothing."""
    x, weight, bias = some(16, 192, 14, 14), some(192, 192, 3, 3, seed=1), torch.zeros(192)
    with torch.no_grad():
        assert not torch.equal(
            convolve(x, weight, bias, padding=(1, 1)), F.conv2d(x, weight, bias, padding=1)
        )


@pytest.mark.parametrize(("depth", "groups"), [(18, 1), (50, 1), (50, 2)])
@torch.no_grad()
def test_no_level_of_the_backbone_is_written_onto(depth, groups):
    torch.manual_seed(0)
    backbone = Backbone(BackboneConfig(depth=depth, width=16, groups=groups)).eval()
    picture = some(1, 3, 64, 96).contiguous(memory_format=torch.channels_last)
    with written_out():
        wanted = backbone(picture)
    for ours, theirs in zip(backbone(picture), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
