"""Whatever a trainer wraps around the weights: the same model, and one line about what was chosen."""

from typing import Any

import pytest
import torch
from torch import Tensor

from htc_lab.checkpoint.files import load
from htc_lab.config import HTC, PLAIN_CASCADE
from htc_lab.errors import InputError
from htc_lab.interop.mmdet_checkpoint import read_mmdet_weights
from tests.interop.files import FORMATS, assert_holds, model, write

Weights = dict[str, Tensor]


def under(prefix: str, weights: Weights) -> Weights:
    return {f"{prefix}{name}": value for name, value in weights.items()}


def moved(weights: Weights) -> Weights:
    """Weights of another training, which must not be taken."""
    return {name: value + 1 for name, value in weights.items()}


WRAPPED: dict[str, tuple[Any, str]] = {
    "model": (lambda w: {"model": w, "epoch": 2}, ""),
    "model_state_dict": (lambda w: {"model_state_dict": w, "optimizer_state_dict": {"state": {}}}, ""),
    "deep": (lambda w: {"checkpoint": {"model": {"state_dict": under("module.", w)}}}, ""),
    "lightning": (
        lambda w: {
            "pytorch-lightning_version": "2.4.0",
            "hyper_parameters": {"lr": 0.1},
            "state_dict": under("model.", w) | {"loss_fn.weight": torch.ones(3)},
        },
        r"1 entry outside 'model\.\*' left aside \(loss_fn\.weight\)",
    ),
    "lightning with a longer name": (lambda w: {"state_dict": under("detector.net.module.", w)}, ""),
    "teacher and student": (
        lambda w: {"state_dict": under("student.", moved(w)) | under("teacher.", w)},
        r"holds the model as 'teacher\.\*' and 'student\.\*'; 'teacher\.\*' is taken \(averaged weights\)",
    ),
    "teacher inside": (
        lambda w: {"state_dict": under("model.student.", moved(w)) | under("model.teacher.", w)},
        r"'model\.teacher\.\*' is taken",
    ),
    "average beside the model": (
        lambda w: {"state_dict": under("model.", moved(w)) | under("ema_model.module.", w)},
        r"'ema_model\.module\.\*' is taken \(averaged weights\)",
    ),
    "average beside the names": (
        lambda w: {"state_dict": moved(w) | under("ema_", w)},
        r"'ema_\*' is taken \(averaged weights\)",
    ),
    "average of mmdet 2": (
        lambda w: {"state_dict": w | {f"ema_{n.replace('.', '_')}": v for n, v in moved(w).items()}},
        "holds the model twice; the averaged weights are taken, which have the plain names",
    ),
    "average of mmengine": (
        lambda w: {"state_dict": w, "ema_state_dict": under("module.", moved(w)) | {"steps": torch.ones(1)}},
        r"'state_dict' \(averaged weights\) is taken, ema_state_dict left aside",
    ),
    "average of others": (
        lambda w: {"model": moved(w), "model_ema": w},
        r"'model_ema' \(averaged weights\) is taken, model left aside",
    ),
    "stochastic average": (
        lambda w: {"state_dict": under("module.", w) | {"n_averaged": torch.tensor(3)}},
        "",
    ),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", WRAPPED)
def test_the_model_is_found_and_what_was_chosen_is_said(tmp_path, capsys, name, form):
    wrap, says = WRAPPED[name]
    wanted = model().state_dict()
    path = write(tmp_path / "m.pth", wrap(wanted), form)
    assert_holds(load(path), wanted)
    notes = read_mmdet_weights(path).notes
    assert capsys.readouterr().err.splitlines() == [f"note: {path}: {note}" for note in notes]
    if not says:
        assert notes == ()
    else:
        with pytest.raises(AssertionError, match=says):
            raise AssertionError("; ".join(notes))


def as_of_mmdet_1(weights: Weights, classes: int) -> Weights:
    """The file that mmdet 1 would have written: the background first, and no roi_head."""
    old = {}
    for name, value in weights.items():
        if ".fc_cls." in name:
            value = torch.cat((value[-1:], value[:-1]))
        if ".mask_head." in name and ".conv_logits." in name:
            assert len(value) == classes
            value = torch.cat((torch.full_like(value[:1], 9.0), value))
        old[name.removeprefix("roi_head.").replace(".conv2.conv_offset.", ".conv2_offset.")] = value
    old["mask_head.0.conv_res.conv.weight"] = torch.ones(16, 12, 1, 1)
    return old


@pytest.mark.parametrize("toggles", [PLAIN_CASCADE, HTC])
def test_a_file_of_mmdet_1_has_its_classes_in_the_same_order(tmp_path, capsys, toggles):
    made = model(toggles)
    content = {
        "state_dict": as_of_mmdet_1(made.state_dict(), made.config.classes),
        "meta": {"CLASSES": ["cup", "fork", "knife"]},
    }
    loaded = load(write(tmp_path / "m.pth", content))
    assert_holds(loaded, made.state_dict())
    assert loaded.class_names == ("cup", "fork", "knife")
    assert "m.pth: is of mmdet 1: names and the order of classes are converted" in capsys.readouterr().err


def test_a_class_layer_that_is_no_layer_is_refused(tmp_path):
    old = as_of_mmdet_1(model().state_dict(), 3) | {"bbox_head.0.fc_cls.weight": torch.tensor(1.0)}
    with pytest.raises(InputError, match=r"fc_cls\.weight has the shape \(\)"):
        load(write(tmp_path / "m.pth", old))


def test_a_file_that_holds_itself_is_read_once(tmp_path):
    content: dict[str, Any] = {"state_dict": model().state_dict()}
    content["again"] = content
    content["state"] = {"again": content, "model": content["state_dict"]}
    assert_holds(load(write(tmp_path / "m.pth", content)), content["state_dict"])
