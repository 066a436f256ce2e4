"""Saving and loading: nothing lost, wrong files refused in one line."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

from htc_lab import HTC, PLAIN_CASCADE, InputError
from htc_lab.checkpoint.files import load, read_run, save_model, save_run, shipped_models
from htc_lab.checkpoint.filling import fill
from htc_lab.model import build_model
from htc_lab.toggles import EVERY_IDEA


def test_a_saved_model_comes_back_the_same(tmp_path, config):
    model = build_model(config, seed=3).eval()
    model.class_names = tuple("abcdef")
    save_model(model, tmp_path / "m.safetensors", about={"seed": 3})
    back = load(tmp_path / "m.safetensors")
    assert back.config == config
    assert back.class_names == model.class_names
    assert not back.training
    for name, value in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name
    card = json.loads((tmp_path / "m.json").read_text())
    assert card["seed"] == 3
    assert card["config"]["name"] == config.name


@pytest.mark.parametrize("ways", [{}, {"half": True}, {"packed": True}], ids=["whole", "half", "packed"])
def test_a_model_of_every_idea_keeps_them(tmp_path, config, ways):
    model = build_model(dataclasses.replace(config, toggles=EVERY_IDEA), seed=3)
    save_model(model, tmp_path / "m.safetensors", **ways)
    back = load(tmp_path / "m.safetensors")
    assert back.config.toggles == EVERY_IDEA
    assert back.state_dict().keys() == model.state_dict().keys()
    for name in ("roi_head.feat_relay_head.fc.weight", "roi_head.feat_relay_head.fc.bias"):
        ours, theirs = (each.state_dict()[name] for each in (model, back))
        assert float((ours - theirs).norm()) <= 0.01 * float(ours.norm())


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_has_no_idea_beyond_the_paper(name):
    assert set(load(name).config.toggles.ideas) <= set(HTC.ideas)


def test_half_precision_is_loaded_as_float32(tmp_path, config):
    model = build_model(config, seed=3)
    save_model(model, tmp_path / "m.safetensors", half=True)
    back = load(tmp_path / "m.safetensors").state_dict()
    for name, value in model.state_dict().items():
        assert back[name].dtype == value.dtype
        if value.is_floating_point():
            assert torch.equal(back[name], value.half().float()), name


def test_a_loaded_model_can_be_trained(tmp_path, config):
    save_model(build_model(config, seed=0), tmp_path / "m.safetensors")
    back = load(tmp_path / "m.safetensors")
    assert all(p.requires_grad for p in back.parameters())
    assert all(not p.is_meta for p in back.parameters())


def test_a_run_holds_weights_optimiser_and_step_in_one_file(tmp_path, config):
    model = build_model(config, seed=1)
    momentum = {"neck.fpn_convs.0.conv.weight": torch.ones(2)}
    save_run(tmp_path / "checkpoint.safetensors", model, momentum, 17)
    weights, found, step = read_run(tmp_path / "checkpoint.safetensors")
    assert step == 17
    assert torch.equal(found["neck.fpn_convs.0.conv.weight"], torch.ones(2))
    assert weights.keys() == model.state_dict().keys()
    assert load(tmp_path).config == config


def test_weights_of_another_config_are_named(config):
    model = build_model(dataclasses.replace(config, toggles=HTC))
    plain = build_model(dataclasses.replace(config, toggles=PLAIN_CASCADE))
    with pytest.raises(
        InputError, match=r"somefile: entries \d+ missing \(.*conv_res.*belongs to another config"
    ):
        fill(model, plain.state_dict(), "somefile")
    with pytest.raises(InputError, match="left over"):
        fill(plain, model.state_dict(), "somefile")
    wider = build_model(dataclasses.replace(config, classes=config.classes + 1))
    with pytest.raises(InputError, match="of another shape"):
        fill(model, wider.state_dict(), "somefile")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "no such checkpoint"),
        (lambda p: p.write_bytes(b"not a checkpoint at all"), "not a readable safetensors file"),
        (lambda p: save_file({"x": torch.zeros(1)}, p), "metadata has no 'config'"),
        (lambda p: save_file({"x": torch.zeros(1)}, p, metadata={"config": "{"}), "'config' is not JSON"),
        (
            lambda p: save_file({"x": torch.zeros(1)}, p, metadata={"config": '{"name": "m", "colour": 1}'}),
            "config.colour: no such field",
        ),
    ],
)
def test_a_wrong_file_gives_one_line(tmp_path, make, says):
    path = tmp_path / "m.safetensors"
    make(path)
    with pytest.raises(InputError, match=says) as error:
        load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_truncated_file_is_refused(tmp_path, config):
    path = tmp_path / "m.safetensors"
    save_model(build_model(config), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, config, monkeypatch):
    path = tmp_path / "m.safetensors"
    model = build_model(config, seed=0)
    save_model(model, path)
    before = path.read_bytes()

    def full_disk(tensors, target, metadata):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("htc_lab.checkpoint.files.save_file", full_disk)
    with pytest.raises(InputError, match="No space left"):
        save_model(model, path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.json", "m.safetensors"]
