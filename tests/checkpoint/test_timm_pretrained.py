"""ImageNet weights of timm's backbones: those that come with the lab, and what is said without any."""

import dataclasses
import shutil

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from htc_lab.checkpoint import timm_pretrained
from htc_lab.checkpoint.files import shipped_models
from htc_lab.checkpoint.pretrained import pretrained_weights
from htc_lab.checkpoint.timm_pretrained import BACKBONES, NAME
from htc_lab.config import ImageConfig, TimmBackboneConfig
from htc_lab.errors import InputError
from htc_lab.model import build_model
from htc_lab.presets import PHOTOS

LITE0 = "tf_efficientnet_lite0"


def test_the_photo_backbone_comes_with_the_lab_and_fits():
    weights = pretrained_weights(PHOTOS)
    model = build_model(PHOTOS, seed=0)
    own = {name: value for name, value in model.state_dict().items() if name.startswith("backbone.")}
    assert weights.keys() == own.keys()
    for name, value in weights.items():
        assert (value.shape, value.dtype) == (own[name].shape, own[name].dtype), name
    model.load_state_dict(weights, strict=False)
    # Trained weights: their norms' statistics are not those of fresh ones, and stripes excite other channels
    # than dots.
    assert float(weights["backbone.body.bn1.running_var"].std()) > 0.01
    assert (BACKBONES / f"{LITE0}.safetensors").stat().st_size < 8e6
    assert all((BACKBONES / name).is_file() for name in ("LICENSE", "NOTICE.md"))


def test_a_backbone_is_no_model():
    assert not [name for name in shipped_models() if "backbones" in name]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the folder of weights, for damage."""
    shutil.copy(BACKBONES / f"{LITE0}.safetensors", tmp_path)
    monkeypatch.setattr(timm_pretrained, "BACKBONES", tmp_path)
    return tmp_path


@pytest.mark.parametrize("how", ["name", "shape", "entry"])
def test_weights_of_another_network_are_refused(folder, how):
    path = folder / f"{LITE0}.safetensors"
    weights = load_file(path)
    if how == "shape":
        weights["conv_stem.weight"] = torch.zeros(3, 3, 3, 3)
    if how == "entry":
        del weights["conv_stem.weight"]
    save_file(weights, path, {NAME: "tf_efficientnet_lite2" if how == "name" else LITE0})
    with pytest.raises(
        InputError, match=r"lite0\.safetensors: holds weights of .*, not of .*; install the lab"
    ):
        pretrained_weights(PHOTOS)


def test_a_file_cut_short_is_refused(folder):
    path = folder / f"{LITE0}.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"lite0\.safetensors: cannot be read \(.*\); install the lab again"):
        pretrained_weights(PHOTOS)


def test_without_a_network_one_line_says_what_to_do(monkeypatch):
    made = timm.create_model

    def no_network(name, pretrained=False, **options):
        if pretrained:
            raise OSError("no\nnetwork")
        return made(name, **options)

    monkeypatch.setattr(timm, "create_model", no_network)
    config = dataclasses.replace(PHOTOS, backbone=TimmBackboneConfig("resnet18"), image=ImageConfig())
    with pytest.raises(
        InputError, match=rf"resnet18 can't be fetched \(no network\); connect .*--init, or take {LITE0}"
    ) as error:
        pretrained_weights(config)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("field", ["mean", "std"])
def test_weights_want_their_own_normalisation(field):
    image = dataclasses.replace(PHOTOS.image, **{field: getattr(ImageConfig(), field)})
    with pytest.raises(
        InputError, match=rf"image\.{field}: is \[.*\], but .* of {LITE0} want \[127\.5, .*set that"
    ):
        pretrained_weights(dataclasses.replace(PHOTOS, image=image))
