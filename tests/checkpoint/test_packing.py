"""Weights in 8 bits: how near they come, how small they are, and what is refused."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from htc_lab import InputError
from htc_lab.checkpoint import files as checkpoint
from htc_lab.checkpoint.files import load, save_model, shipped_models
from htc_lab.checkpoint.packing import SCALE, pack, quantise, unpack
from htc_lab.model import build_model
from tests.unit.tiny import lively, picture


def all_in_8_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's model has small weights only."""
    monkeypatch.setattr(checkpoint, "pack", lambda weights: pack(weights, small=1))


@given(st.integers(1, 5), st.integers(1, 40), st.floats(1e-6, 1e6), st.integers(0, 1000))
@example(channels=1, width=2, size=38215.0, seed=574)
def test_no_weight_is_further_off_than_half_a_step_unless_that_serves_the_others(channels, width, size, seed):
    weight = size * torch.randn(channels, width, generator=torch.Generator().manual_seed(seed))
    integers, scale = quantise(weight)
    error = (weight - integers.float() * scale[:, None]).norm(dim=1)
    plain = weight.abs().amax(1, keepdim=True) / 127
    nearest = (weight - (weight / plain).round() * plain).norm(dim=1)
    # Scale and product round in float32, relative to the weight and not to the error.
    assert bool((error <= nearest + 1e-6 * weight.norm(dim=1)).all())
    assert int(integers.min()) >= -127


def test_zeros_stay_zeros():
    integers, scale = quantise(torch.zeros(2, 9))
    assert not bool((integers.float() * scale[:, None]).any())


@pytest.mark.parametrize("shape", [(4, 16, 3, 3), (64, 64), (3, 5, 3, 3)])
def test_large_weights_come_back_near_and_small_ones_in_16_bits(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    packed = pack({"w": weight}, small=1)
    assert packed["w"].dtype == torch.int8
    back = unpack(packed, "f")["w"]
    assert back.shape == weight.shape
    assert float((back - weight).norm()) < 0.012 * float(weight.norm())
    assert torch.equal(unpack(pack({"w": weight}), "f")["w"], weight.half())


def test_a_packed_model_predicts_what_the_whole_one_does_in_less_than_16_bits(tmp_path, monkeypatch):
    all_in_8_bits(monkeypatch)
    model = lively()
    save_model(model, tmp_path / "half.safetensors", half=True)
    save_model(model, tmp_path / "packed.safetensors", packed=True, about={"seed": 7})
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "packed")]
    assert sizes[1] < 0.75 * sizes[0]
    back = load(tmp_path / "packed.safetensors")
    assert back.config == model.config
    whole = model.state_dict()
    for name, value in back.state_dict().items():
        assert value.dtype == whole[name].dtype
        if value.is_floating_point():
            assert float((value - whole[name]).norm()) <= 0.01 * float(whole[name].norm()) + 1e-6, name
        else:
            assert torch.equal(value, whole[name]), name
    ours, theirs = (m.predict([picture(3)])[0] for m in (model, back))
    assert abs(len(ours.scores) - len(theirs.scores)) <= 1
    assert float(ours.scores[0]) == pytest.approx(float(theirs.scores[0]), abs=0.05)


def test_what_is_not_packed_passes_as_it_is():
    weights = {"a": torch.randn(3, 4).half(), "b": torch.arange(3)}
    assert unpack(weights, "f") == weights
    large = {"bias": torch.tensor([1e9])}
    assert torch.equal(pack(large)["bias"], large["bias"])


@pytest.mark.parametrize("damage", ["no scale", "short scale", "scale alone", "half scale"])
def test_a_weight_and_a_scale_that_dont_belong_together_are_refused(tmp_path, config, damage, monkeypatch):
    all_in_8_bits(monkeypatch)
    path = tmp_path / "m.safetensors"
    model = build_model(config, seed=0)
    save_model(model, path, packed=True)
    tensors, name = load_file(path), "neck.fpn_convs.0.conv.weight"
    if damage == "no scale":
        del tensors[name + SCALE]
    elif damage == "short scale":
        tensors[name + SCALE] = tensors[name + SCALE][:-1]
    elif damage == "half scale":
        tensors[name + SCALE] = tensors[name + SCALE].half()
    else:
        del tensors[name]
    save_file(tensors, path)
    with pytest.raises(
        InputError, match=r"m\.safetensors: neck\.fpn_convs\.0\.conv\.weight.*get the file again"
    ):
        load(path)


def test_a_scale_that_is_no_number_is_refused(tmp_path, config, monkeypatch):
    all_in_8_bits(monkeypatch)
    path = tmp_path / "m.safetensors"
    save_model(build_model(config, seed=0), path, packed=True)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        header = file.metadata()
    tensors = load_file(path)
    tensors["neck.fpn_convs.0.conv.weight" + SCALE][0] = torch.nan
    save_file(tensors, path, metadata=header)
    with pytest.raises(InputError, match="not finite"):
        load(path)


def test_the_names_of_shipped_models_are_listed_and_the_base_is_none():
    assert "classroom/htc" in shipped_models()
    for name in ("classroom/resnext", "classroom/base"):
        with pytest.raises(
            InputError, match=rf"{name}: no such checkpoint.*one of: .*classroom/htc"
        ) as error:
            load(name)
        assert "\n" not in str(error.value)
