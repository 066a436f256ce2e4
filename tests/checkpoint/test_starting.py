"""A model of other classes, stages or ideas starts from a checkpoint: what fits is kept, the rest named."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from htc_lab.checkpoint.files import save_model
from htc_lab.checkpoint.starting import Start, start_from
from htc_lab.config import HTC, PLAIN_CASCADE, ModelConfig
from htc_lab.errors import InputError
from htc_lab.model import HybridTaskCascade, build_model
from tests.interop.files import model, write
from tests.unit.tiny import TINY, with_toggles

HEADS = {
    "roi_head.bbox_head.{0,1,2}.fc_cls": "(4, 24) in the checkpoint, (6, 24) here",
    "roi_head.mask_head.{0,1,2}.conv_logits": "(3, 12, 1, 1) in the checkpoint, (5, 12, 1, 1) here",
}


def begun(tmp_path, config: ModelConfig, *names: str, given: HybridTaskCascade | None = None):
    """A model of that config started from an HTC of three classes, and what is said about it."""
    path = tmp_path / "given.safetensors"
    given = given or model()
    given.class_names = ("cup", "fork", "knife")
    save_model(given, path)
    made = build_model(config, 1)
    start = start_from(made, path, names)
    assert_kept(made, given.state_dict(), build_model(config, 1).state_dict(), start)
    return start


def assert_kept(made: HybridTaskCascade, given: dict[str, Tensor], fresh: dict[str, Tensor], start: Start):
    """Every entry is the checkpoint's where one of its shape is there, and a fresh model's elsewhere."""
    kept = 0
    for name, value in made.state_dict().items():
        fits = name in given and given[name].shape == value.shape
        assert torch.equal(value, (given if fits else fresh)[name]), name
        kept += fits and not name.endswith("num_batches_tracked")
    assert start.kept == kept


def test_the_same_model_keeps_everything(tmp_path):
    start = begun(tmp_path, with_toggles(HTC))
    assert start.kept == start.entries
    assert (start.reshaped, start.absent, start.left_aside, start.notes) == ({}, (), (), ())
    assert start.describe().endswith(f"{start.entries} of the model's {start.entries} weights kept")


def test_other_classes_start_only_their_own_layers_fresh(tmp_path):
    start = begun(tmp_path, dataclasses.replace(TINY, classes=5))
    assert start.reshaped == HEADS
    assert (start.absent, start.left_aside, start.notes) == ((), (), ())
    first, *layers = start.describe().splitlines()
    assert first.endswith("weights kept; these layers start fresh:")
    assert layers == [f"  {layer}: {shapes}" for layer, shapes in HEADS.items()]


def test_other_semantic_classes_too(tmp_path):
    semantic = dataclasses.replace(TINY.semantic, classes=9)
    start = begun(tmp_path, dataclasses.replace(TINY, semantic=semantic))
    assert list(start.reshaped) == ["roi_head.semantic_head.conv_logits"]


def test_a_stage_more_starts_fresh_as_a_whole(tmp_path):
    two = dataclasses.replace(TINY, toggles=dataclasses.replace(HTC, stages=2))
    start = begun(tmp_path, TINY, given=build_model(two, 0))
    assert start.absent == ("roi_head.bbox_head.2", "roi_head.mask_head.2")
    back = begun(tmp_path, two)
    assert back.kept == back.entries
    assert [layer.split(" ")[0] for layer in back.left_aside] == [*start.absent]


def test_ideas_come_and_go(tmp_path):
    plain = begun(tmp_path, with_toggles(PLAIN_CASCADE))
    assert plain.kept == plain.entries
    assert [layer.split(" ")[0] for layer in plain.left_aside] == [
        "roi_head.mask_head.1.conv_res",
        "roi_head.mask_head.2.conv_res",
        "roi_head.semantic_head",
    ]
    assert "not used of the checkpoint: roi_head.mask_head.1.conv_res (2 entries)" in plain.describe()
    whole = begun(tmp_path, TINY, given=model(PLAIN_CASCADE))
    assert whole.absent == ("roi_head.mask_head.{1,2}.conv_res", "roi_head.semantic_head")
    assert "  roi_head.semantic_head: the checkpoint has none" in whole.describe().splitlines()


def test_layers_kept_for_classes_of_other_names_are_told(tmp_path):
    assert begun(tmp_path, TINY, "cup", "fork", "knife").notes == ()
    (note,) = begun(tmp_path, TINY, "cat", "dog", "fox").notes
    assert "the checkpoint's classes are cup, fork, knife and the data's cat, dog, fox" in note
    assert begun(tmp_path, dataclasses.replace(TINY, classes=2), "cat", "dog").notes == ()


def test_a_file_of_mmdet_or_of_a_trainer_around_it(tmp_path):
    weights = model().state_dict()
    text = "model = dict(data_preprocessor=dict(mean=[1.0, 2.0, 3.0], std=[58.395, 57.12, 57.375]))"
    path = write(
        tmp_path / "t.pth",
        {
            "state_dict": {f"{who}.{n}": v for who in ("student", "teacher") for n, v in weights.items()},
            "meta": {"cfg": text, "CLASSES": ["a", "b", "c"]},
        },
    )
    made = build_model(dataclasses.replace(TINY, classes=5), 1)
    start = start_from(made, path)
    assert start.reshaped == HEADS
    assert ["'teacher.*' is taken" in note for note in start.notes] == [True, False]
    assert start.notes[1].startswith("the checkpoint was trained with image.mean=(1.0, 2.0, 3.0)")


def test_weights_of_another_family_of_detectors_give_what_fits(tmp_path):
    weights = {n.replace(".0.", ".") if "roi_head" in n else n: v for n, v in model().state_dict().items()}
    start = start_from(build_model(TINY, 1), write(tmp_path / "mask_rcnn.pth", {"model": weights}))
    assert {"roi_head.bbox_head.0", "roi_head.mask_head.0"} <= set(start.absent)
    assert 0 < start.kept < start.entries


def with_nan(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {"rpn_head.rpn_cls.bias": torch.full((3,), torch.nan)}


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("m.pth", with_nan, "values that are not finite"),
        (
            "r50_caffe.pth",
            lambda w: w,
            "has a backbone of the caffe style, this model one of the pytorch style",
        ),
        (
            "m.pth",
            lambda w: {"conv.weight": torch.ones(2, 2)},
            r"0 of \d+ convolutions fit depth 18, width 8",
        ),
        ("m.pth", lambda w: {"state_dict": {}}, "holds no weights by name"),
    ],
)
def test_what_cannot_be_started_from_is_told(tmp_path, name, change: Callable, says):
    path = write(tmp_path / name, change(dict(model().state_dict())))
    with pytest.raises(InputError, match=says):
        start_from(build_model(TINY, 1), path)


def test_another_backbone_is_told_with_the_fix(tmp_path):
    wider = dataclasses.replace(TINY, backbone=dataclasses.replace(TINY.backbone, width=16))
    path = write(tmp_path / "m.pth", model().state_dict())
    with pytest.raises(InputError, match=r"another backbone: .*choose the --preset with its backbone"):
        start_from(build_model(wider, 1), path)
