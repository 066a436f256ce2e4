"""Backbones by timm: their maps, what is frozen, what is refused, and the way to a file and back."""

import dataclasses
import json

import pytest
import timm
import torch
from torch import nn

from htc_lab.checkpoint.files import empty_model, fill
from htc_lab.config import ModelConfig, TimmBackboneConfig
from htc_lab.config_json import model_config_from_dict, to_dict
from htc_lab.errors import InputError
from htc_lab.layers.timm_backbone import TimmBackbone, built
from htc_lab.model import build_model, total_loss
from tests.unit.tiny import TINY, assert_same, generator, picture, truth

LITE0 = TimmBackboneConfig("tf_efficientnet_lite0", pretrained=False)
SMALL = TimmBackboneConfig("mobilenetv3_small_050", pretrained=False)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("tf_efficientnet_lite0", [24, 40, 112, 320]),
        ("resnet18", [64, 128, 256, 512]),
        ("convnext_atto", [40, 80, 160, 320]),
        ("regnetx_002", [24, 56, 152, 368]),
    ],
)
def test_the_maps_have_the_strides_and_channels(name, channels):
    backbone = TimmBackbone(TimmBackboneConfig(name, pretrained=False)).eval()
    assert backbone.out_channels == channels
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 64, 96))
    assert [tuple(x.shape) for x in maps] == [
        (1, c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]


def test_maps_are_timms_own():
    backbone = TimmBackbone(LITE0).eval()
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    whole.load_state_dict(backbone.body.state_dict(), strict=False)
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        theirs = whole.forward_intermediates(x, indices=[1, 2, 3, 4], intermediates_only=True)
        for ours, other in zip(backbone(x), theirs, strict=True):
            assert torch.equal(ours, other)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tf_efficientnet_lite9", r"backbone\.name: timm .* has no 'tf_efficientnet_lite9'; is it .*_lite"),
        ("hf-hub:someone/something", r"backbone\.name: timm .* has no 'hf-hub:someone/something'"),
        ("qqqqqqqqqqqq", r"has no 'qqqqqqqqqqqq'; timm\.list_models\(\) lists them"),
        ("vit_tiny_patch16_224", r"backbone\.name: vit_tiny_patch16_224 .*; take one that has maps of all"),
        ("swin_tiny_patch4_window7_224", r"takes pictures of one size only; take one that has maps"),
    ],
)
def test_a_name_that_will_not_do_is_refused_in_one_line(name, message):
    with pytest.raises(InputError, match=message) as error:
        TimmBackbone(TimmBackboneConfig(name))
    assert len(str(error.value).splitlines()) == 1


STAGES = {
    "tf_efficientnet_lite0": ("conv_stem", "blocks.0", "blocks.1", "blocks.2"),
    "resnet18": ("conv1", "layer1", "layer2", "layer3"),
    "convnext_atto": ("stem_0", "stages_0", "stages_1", "stages_2"),
}


@pytest.mark.parametrize(
    ("name", "frozen"), [*((name, 3) for name in STAGES), ("resnet18", 0), ("resnet18", 1)]
)
def test_frozen_stages_get_no_gradient_and_the_others_do(name, frozen):
    backbone = TimmBackbone(TimmBackboneConfig(name, frozen_stages=frozen, pretrained=False)).train()
    for i, part in enumerate(STAGES[name]):
        for parameter in backbone.body.get_submodule(part).parameters():
            assert parameter.requires_grad == (i >= frozen), part


def test_frozen_wholly():
    backbone = TimmBackbone(dataclasses.replace(LITE0, frozen_stages=None, frozen_norm=False)).train()
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not any(module.training for module in backbone.body.modules())


def test_more_stages_than_there_are():
    with pytest.raises(
        InputError, match=r"frozen_stages: is 9, but .*lite0 has 8 stages with its stem; give"
    ):
        TimmBackbone(dataclasses.replace(LITE0, frozen_stages=9))
    TimmBackbone(dataclasses.replace(LITE0, frozen_stages=8))


@pytest.mark.parametrize("frozen_norm", [True, False])
def test_batch_norm_of_frozen_stages_keeps_its_statistics(frozen_norm):
    backbone = TimmBackbone(dataclasses.replace(LITE0, frozen_stages=4, frozen_norm=frozen_norm)).train()
    before = {name: value.clone() for name, value in backbone.body.state_dict().items()}
    backbone(torch.rand(2, 3, 64, 64))
    moved = {
        name for name, value in backbone.body.state_dict().items() if not torch.equal(value, before[name])
    }
    if frozen_norm:
        assert not moved
    else:
        assert {name.split(".")[1] for name in moved} == {"3", "4", "5", "6"}
    norms = [module for module in backbone.eval().modules() if isinstance(module, nn.BatchNorm2d)]
    assert not any(module.training for module in norms)


def test_a_model_trains_on_one():
    config = dataclasses.replace(TINY, backbone=dataclasses.replace(SMALL, frozen_stages=2))
    model = build_model(config, seed=0).train()
    total_loss(model.losses([picture(0)], [truth(0)], generator=generator())).backward()
    for name, value in model.named_parameters():
        assert (value.grad is not None) == value.requires_grad, name
    assert any(p.requires_grad for p in model.backbone.parameters())


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnetblur18"])
def test_a_model_without_memory_is_filled_from_its_weights(name):
    config = dataclasses.replace(TINY, backbone=TimmBackboneConfig(name, pretrained=False))
    whole = build_model(config, seed=0).eval()
    state = torch.random.get_rng_state()
    again = empty_model(config)
    assert torch.equal(torch.random.get_rng_state(), state)
    fill(again, whole.state_dict(), "here")
    assert_same(again.eval().encode([picture(1)]).levels, whole.encode([picture(1)]).levels)


def test_weights_of_another_backbone_are_refused_in_one_line():
    model = build_model(dataclasses.replace(TINY, backbone=SMALL))
    with pytest.raises(
        InputError, match=r"here: entries .*missing.*backbone\.body.*belongs to another config"
    ):
        fill(empty_model(TINY), model.state_dict(), "here")


@pytest.mark.parametrize("backbone", [LITE0, dataclasses.replace(LITE0, frozen_stages=None)])
def test_it_survives_json(backbone):
    config = ModelConfig("mine", backbone=backbone)
    assert model_config_from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"name": 3}, r"a\.json\.backbone\.name: 3 is not text; correct it \(as timm writes it"),
        (
            {"name": "resnet18", "frozen_stages": -1},
            r"backbone\.frozen_stages: is -1; it must be from 0 to 1000 \(",
        ),
        (
            {"name": "resnet18", "colour": 1},
            r"backbone\.colour: no such field; fields are name, frozen_stages",
        ),
        ({"name": "resnet18", "frozen_norm": 1}, r"backbone\.frozen_norm: 1 is not true or false; correct"),
        (
            {"depth": 50, "width": "wide"},
            r"a\.json\.backbone\.width: 'wide' is not a whole number; correct it",
        ),
        ({"depth": 50, "colour": 1}, r"a\.json\.backbone\.colour: no such field; fields are depth, width"),
        ("resnet18", r"a\.json\.backbone: expected an object, found str"),
        (None, r"a\.json\.backbone: expected an object, found NoneType"),
    ],
)
def test_a_broken_one_names_the_field(backbone, message):
    with pytest.raises(InputError, match=message) as error:
        model_config_from_dict({"name": "mine", "backbone": backbone}, "a.json")
    assert len(str(error.value).splitlines()) == 1


def test_few_fields_are_a_resnet_as_before():
    config = model_config_from_dict({"name": "mine", "backbone": {"frozen_norm": False}})
    assert config.backbone == dataclasses.replace(ModelConfig("").backbone, frozen_norm=False)


def test_the_network_is_made_twice_alike():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        one = built("mobilenetv3_small_050").state_dict()
        torch.manual_seed(3)
        other = built("mobilenetv3_small_050").state_dict()
    assert_same(one, other)
