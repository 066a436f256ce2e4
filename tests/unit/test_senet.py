"""SENet-154 against timm's, and as a backbone of this lab."""

import dataclasses

import pytest
import torch
from torch import nn

from htc_lab.config import SENetConfig
from htc_lab.errors import InputError
from htc_lab.layers.deformable import DeformConv
from htc_lab.layers.senet import SENet

SMALL = SENetConfig(blocks=(1, 2, 1, 1), width=8, groups=4, reduction=4, pretrained=False)


def with_statistics(model: nn.Module) -> nn.Module:
    """The same, its norms with statistics that keep 50 blocks from growing."""
    draw = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.rand(module.num_features, generator=draw) * 0.2 - 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=draw) + 1)
            module.weight.data.copy_(torch.rand(module.num_features, generator=draw) * 0.5 + 0.3)
            module.bias.data.copy_(torch.rand(module.num_features, generator=draw) * 0.2 - 0.1)
    return model.eval()


@torch.no_grad()
def test_features_are_those_of_timms():
    """Of a shallower network than SENet-154, of which it has been tried too: that takes half a minute."""
    from timm.models.senet import SEBottleneck
    from timm.models.senet import SENet as TimmSENet

    torch.manual_seed(0)
    theirs = with_statistics(
        TimmSENet(
            SEBottleneck,
            (1, 2, 2, 1),
            groups=64,
            reduction=16,
            inplanes=128,
            input_3x3=True,
            downsample_kernel_size=3,
            downsample_padding=1,
            num_classes=1,
        )
    )
    ours = SENet(SENetConfig(blocks=(1, 2, 2, 1))).eval()
    # Strictly: every name is there, none is left over.
    ours.load_state_dict(
        {name: v for name, v in theirs.state_dict().items() if not name.startswith("last_linear.")}
    )
    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    wanted = theirs.forward_intermediates(x, indices=[1, 2, 3, 4], intermediates_only=True)
    for mine, other, stride in zip(ours(x), wanted, (4, 8, 16, 32), strict=True):
        assert mine.shape[-2:] == (64 // stride, 96 // stride)
        scale = float(other.abs().max())
        assert scale > 0
        torch.testing.assert_close(mine / scale, other / scale, rtol=0, atol=1e-5)


def test_it_has_113_million_numbers():
    with torch.device("meta"):
        model = SENet(SENetConfig())
    assert sum(p.numel() for p in model.parameters()) == 113_039_984
    assert model.out_channels == [256, 512, 1024, 2048]


def small(**changes) -> SENet:
    torch.manual_seed(0)
    return with_statistics(SENet(dataclasses.replace(SMALL, **changes)))


def test_the_folded_way_and_training_compute_the_same():
    model, x = small(frozen_stages=-1, frozen_norm=False), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        short = model(x)
    for ours, written in zip(short, model(x), strict=True):
        torch.testing.assert_close(ours, written, rtol=1e-4, atol=1e-4)
    model.train()
    sum(level.square().mean() for level in model(x)).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_excitation_weighs_channels():
    model, x = small(), torch.randn(1, 3, 64, 64)
    before = [level.detach().clone() for level in model(x)]
    with torch.no_grad():
        model.layer2[1].se_module.fc2.bias.fill_(-100.0)
    after = model(x)
    assert torch.equal(before[0], after[0])
    # Shut, a block hands on its input alone.
    assert not torch.equal(before[1], after[1])
    torch.testing.assert_close(after[1], model.layer2[0](after[0]), rtol=1e-5, atol=1e-5)


def test_deformable_layers_start_as_the_plain_ones():
    plain, deformed = small(), small(deformable=(4,))
    assert isinstance(deformed.layer4[0].conv2, DeformConv)
    assert not isinstance(deformed.layer3[0].conv2, DeformConv)
    deformed.load_state_dict(
        plain.state_dict()
        | {
            name: torch.zeros_like(value)
            for name, value in deformed.state_dict().items()
            if "conv_offset" in name
        }
    )
    x = torch.randn(1, 3, 64, 64)
    for one, other in zip(plain(x), deformed(x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("stages", "frozen"), [(-1, ()), (0, ("layer0",)), (2, ("layer0", "layer1", "layer2"))]
)
def test_frozen_stages_get_no_gradient_and_keep_their_statistics(stages, frozen):
    model = small(frozen_stages=stages, frozen_norm=False).train()
    for name, weight in model.named_parameters():
        assert weight.requires_grad != name.startswith(frozen) if frozen else weight.requires_grad
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.training != (bool(frozen) and name.startswith(frozen))
    assert not any(m.training for m in small().train().modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"groups": 3}, r"backbone\.groups: 3 doesn't divide 16 channels"),
        ({"reduction": 5}, r"backbone\.reduction: 5 doesn't divide 32 channels"),
    ],
)
def test_widths_that_do_not_fit_are_refused(changes, says):
    with pytest.raises(InputError, match=says):
        SENet(dataclasses.replace(SMALL, **changes))
