"""Residual blocks in fewer passes over their maps: only those of which all parts are known."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import SqueezeExcitation

from htc_lab.config import BackboneConfig
from htc_lab.layers.backbone import Backbone
from htc_lab.layers.folded_norm import knows, residual

PICTURE = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


class SqueezedBlock(Bottleneck):
    """torchvision's block with squeeze-and-excitation after its last norm."""

    def __init__(self, inplanes: int, planes: int) -> None:
        super().__init__(inplanes, planes)
        self.se = SqueezeExcitation(inplanes, inplanes // 4)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.se(self.bn3(self.conv3(out))) + x)


def backbone(depth: int = 50, deformable: tuple[int, ...] = ()) -> Backbone:
    """One whose norms have learned something."""
    torch.manual_seed(0)
    made = Backbone(BackboneConfig(depth=depth, width=16, deformable=deformable, pretrained=False)).eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return made


def block_by_block(model: Backbone, x: Tensor) -> list[Tensor]:
    """Every module called by itself, as torchvision does."""
    x = model.maxpool(torch.relu(model.bn1(model.conv1(x))))
    levels = []
    for i in range(1, 5):
        x = model.get_submodule(f"layer{i}")(x)
        levels.append(x)
    return levels


def assert_same_levels(model: Backbone) -> None:
    """In float32, where inference on a CPU takes shorter ways, and in float64, where rounding is nothing."""
    exact, picture = copy.deepcopy(model).double(), PICTURE.double()
    with torch.no_grad():
        wanted = block_by_block(exact, picture)
        for ours, theirs in zip(model(PICTURE), wanted, strict=True):
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-3, atol=1e-3)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            for ours, theirs in zip(exact(picture), wanted, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("depth", "deformable"), [(18, ()), (50, ()), (50, (4,))])
def test_every_block_of_a_backbone_is_known_and_computed_as_torchvision_does(depth, deformable):
    model = backbone(depth, deformable)
    blocks = [m for m in model.modules() if isinstance(m, BasicBlock | Bottleneck)]
    assert len(blocks) == {18: 8, 50: 16}[depth]
    assert all(knows(block) for block in blocks)
    assert_same_levels(model)


def test_squeeze_and_excitation_is_not_skipped():
    model = backbone()
    before = [level.clone() for level in model(PICTURE)]
    plain = model.layer2[1]
    squeezed = SqueezedBlock(128, 32).eval()
    squeezed.load_state_dict({**squeezed.state_dict(), **plain.state_dict()})
    model.layer2[1] = squeezed
    assert not knows(squeezed)
    assert_same_levels(model)
    after = model(PICTURE)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1], atol=1e-2)


def changed(block: Bottleneck, what: str) -> nn.Module:
    width = block.conv1.out_channels
    if what == "another norm":
        block.bn2 = nn.GroupNorm(4, width)
    elif what == "another activation":
        block.relu = nn.GELU()
    elif what == "a bias":
        block.conv1 = nn.Conv2d(block.conv1.in_channels, width, 1)
    elif what == "dilated":
        block.conv2 = nn.Conv2d(width, width, 3, padding=2, dilation=2, bias=False)
    elif what == "no statistics":
        block.bn1 = nn.BatchNorm2d(width, track_running_stats=False)
    elif what == "pooled shortcut":
        block.downsample = nn.Sequential(nn.AvgPool2d(1), *block.downsample)
    return block


@pytest.mark.parametrize(
    "what",
    ["another norm", "another activation", "a bias", "dilated", "no statistics", "pooled shortcut"],
)
def test_a_block_with_another_part_runs_its_own_way(what):
    model = backbone()
    block = changed(model.layer1[0], what)
    assert not knows(block)
    assert_same_levels(model)


def test_a_module_added_to_a_block_makes_it_unknown():
    block = copy.deepcopy(backbone().layer3[2])
    x = torch.randn(1, 256, 6, 6, generator=torch.Generator().manual_seed(1))
    assert knows(block)
    torch.testing.assert_close(residual(x.clone(), block), block(x), rtol=1e-4, atol=1e-4)
    block.drop = nn.Dropout()
    assert not knows(block)


def test_in_caffes_style_the_first_convolution_has_the_stride():
    torch.manual_seed(0)
    config = BackboneConfig(depth=50, width=16, style="caffe", deformable=(4,), pretrained=False)
    model = Backbone(config).eval()
    for layer in (model.layer2, model.layer3, model.layer4):
        assert layer[0].conv1.stride == (2, 2)
        assert layer[0].downsample[0].stride == (2, 2)
        assert all(block.conv1.stride == (1, 1) for block in layer[1:])
    assert all(block.conv2.stride in (1, (1, 1)) for layer in (model.layer2, model.layer4) for block in layer)
    assert model.layer1[0].conv1.stride == (1, 1)
    assert_same_levels(model)
    # The same weights under the same names: nothing but the name of the file tells the two apart.
    plain = Backbone(dataclasses.replace(config, style="pytorch")).eval()
    plain.load_state_dict(model.state_dict())
    ours, theirs = model(PICTURE), plain(PICTURE)
    assert [x.shape for x in ours] == [x.shape for x in theirs]
    assert torch.equal(ours[0], theirs[0])
    assert not torch.allclose(ours[1], theirs[1], atol=1e-2)


def test_a_block_without_a_bottleneck_is_the_same_in_both_styles():
    torch.manual_seed(0)
    one = Backbone(BackboneConfig(depth=18, width=16, style="caffe")).eval()
    other = Backbone(BackboneConfig(depth=18, width=16)).eval()
    other.load_state_dict(one.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(one(PICTURE), other(PICTURE), strict=True))


def test_a_norm_that_is_not_trained_gets_no_gradient():
    model = Backbone(BackboneConfig(depth=18, width=8, frozen_stages=0, trained_norm=False))
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    norms = {f"{name}." for name, part in model.named_modules() if isinstance(part, nn.BatchNorm2d)}
    assert trained
    assert not any(name.startswith(tuple(norms)) for name in trained)
    assert "layer1.0.conv1.weight" in trained
