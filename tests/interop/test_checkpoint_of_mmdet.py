"""Checkpoints of the reference become our models, entry by entry, and ours become theirs."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from htc_lab.checkpoint.files import load, save_model
from htc_lab.config import HTC, INTERLEAVED, MASK_FLOW, PLAIN_CASCADE, NormConfig, Toggles
from htc_lab.errors import InputError
from htc_lab.interop.coco_names import COCO_CLASSES
from htc_lab.interop.mmdet_checkpoint import save_mmdet
from tests.interop.files import FORMATS, assert_holds, marking, model, runs, strangers, write
from tests.unit.tiny import TINY

BOX_ONLY = dataclasses.replace(HTC, semantic_mask=False)
NO_FLOW = dataclasses.replace(HTC, mask_flow=False)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("layout", ["plain", "v2", "v3", "ddp", "ema v2", "ema v3", "ema alone"])
def test_every_layout_loads_with_nothing_missing_or_left_over(tmp_path, form, layout):
    made = model()
    wanted = made.state_dict()
    other = {name: value + 1 for name, value in wanted.items()}
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": np.float64(0.02)}]}
    with strangers() as foreign:
        content = {
            "plain": wanted,
            "v2": {"meta": {"epoch": 12, "hook_msgs": foreign}, "state_dict": wanted, "optimizer": optimizer},
            "v3": {
                "meta": {"cfg": "not a = config", "dataset_meta": {"classes": ("a", "b", "c")}},
                "state_dict": wanted,
                "message_hub": foreign,
                "optimizer": optimizer,
                "param_schedulers": [{"last_step": 1}],
            },
            "ddp": {"state_dict": {f"module.{name}": value for name, value in wanted.items()}},
            "ema v2": {
                "state_dict": wanted | {f"ema_{n.replace('.', '_')}": v for n, v in other.items()},
            },
            "ema v3": {
                "state_dict": wanted,
                "ema_state_dict": {f"module.{n}": v for n, v in other.items()} | {"steps": torch.tensor(9)},
            },
            "ema alone": {
                "ema_state_dict": {f"module.{n}": v for n, v in wanted.items()} | {"steps": torch.tensor(9)},
            },
        }[layout]
        path = write(tmp_path / "htc_of_mine.pth", content, form)
    loaded = load(path)
    assert_holds(loaded, wanted)
    assert not loaded.training
    assert loaded.config.name == "htc_of_mine"
    assert loaded.config.toggles == HTC
    assert loaded.class_names == (("a", "b", "c") if layout == "v3" else ("class 0", "class 1", "class 2"))


@pytest.mark.parametrize("toggles", [PLAIN_CASCADE, MASK_FLOW, HTC, NO_FLOW])
def test_what_the_shapes_show_is_found(tmp_path, toggles):
    made = model(toggles)
    loaded = load(write(tmp_path / "m.pth", {"state_dict": made.state_dict()}))
    assert_holds(loaded, made.state_dict())
    found = loaded.config
    assert found.toggles == toggles
    assert found.classes == TINY.classes
    for name in ("depth", "width", "groups", "group_width", "deformable"):
        assert getattr(found.backbone, name) == getattr(TINY.backbone, name)
    for name in ("box_size", "mask_size", "fc_channels", "mask_channels", "mask_convs"):
        assert getattr(found.cascade, name) == getattr(TINY.cascade, name)
    assert found.fpn.channels == TINY.fpn.channels
    if toggles.semantic:
        assert found.fpn.levels == TINY.fpn.levels
        for name in ("classes", "channels", "convs"):
            assert getattr(found.semantic, name) == getattr(TINY.semantic, name)
    # The families of the reference test at thresholds of their own.
    assert found.cascade.score_threshold == (0.05 if toggles == PLAIN_CASCADE else 0.001)


@pytest.mark.parametrize("toggles", [INTERLEAVED, BOX_ONLY])
def test_what_they_do_not_show_can_be_said(tmp_path, toggles):
    made = model(toggles)
    path = write(tmp_path / "m.pth", made.state_dict())
    assert load(path).config.toggles != toggles
    assert load(path, toggles=toggles).config.toggles == toggles
    wrong = dataclasses.replace(toggles, mask_flow=not toggles.mask_flow)
    with pytest.raises(InputError, match=r"m\.pth: toggles say mask_flow=.*weights say"):
        load(path, toggles=wrong)
    given = load(path, config=made.config)
    assert given.config == made.config
    assert_holds(given, made.state_dict())


V2_TEXT = """
model = dict(
    type='HybridTaskCascade',
    pretrained='torchvision://resnet50',
    backbone=dict(type='ResNet', style='pytorch'),
    roi_head=dict(type='HybridTaskCascadeRoIHead', interleaved=False, semantic_fusion=('mask', )))
img_norm_cfg = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6], to_rgb=True)
"""


def test_the_config_text_in_the_file_says_the_rest(tmp_path):
    path = write(tmp_path / "m.pth", {"meta": {"config": V2_TEXT}, "state_dict": model().state_dict()})
    config = load(path).config
    assert config.toggles == dataclasses.replace(HTC, interleaved=False, semantic_box=False)
    assert (config.image.mean, config.image.std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))


CAFFE_TEXT = """
model = dict(backbone=dict(style='caffe', norm_cfg=dict(type='BN', requires_grad=False)))
img_norm_cfg = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 2.0, 3.0], to_rgb=False)
"""


@pytest.mark.parametrize(
    ("text", "name", "style", "bgr", "std"),
    [
        (CAFFE_TEXT, "m.pth", "caffe", True, (3.0, 2.0, 1.0)),
        (
            "model = dict(data_preprocessor=dict(bgr_to_rgb=False))",
            "m.pth",
            "pytorch",
            True,
            (58.395, 57.12, 57.375),
        ),
        ("", "cascade_mask_rcnn_r50_caffe_fpn_1x_coco.pth", "caffe", True, (1.0, 1.0, 1.0)),
        ("not a = config", "r50_caffe.pth", "caffe", True, (1.0, 1.0, 1.0)),
        # What the file says of itself counts for more than its name.
        (V2_TEXT, "not_caffe.pth", "pytorch", False, (4.0, 5.0, 6.0)),
        ("", "m.pth", "pytorch", False, (58.395, 57.12, 57.375)),
    ],
)
def test_caffes_style_is_found_in_the_text_or_the_name(tmp_path, text, name, style, bgr, std):
    path = write(tmp_path / name, {"meta": {"cfg": text}, "state_dict": model().state_dict()})
    config = load(path).config
    assert (config.backbone.style, config.image.bgr, config.image.std) == (style, bgr, std)
    if text != V2_TEXT:
        # Ours are of R, G, B, whatever the network takes first.
        assert config.image.mean == (123.675, 116.28, 103.53)


def headed(norm):
    """The tiny model with everything its heads may have."""
    return dataclasses.replace(
        TINY,
        fpn=dataclasses.replace(TINY.fpn, norm=norm),
        cascade=dataclasses.replace(
            TINY.cascade,
            box_convs=3,
            box_channels=20,
            fcs=1,
            box_norm=norm,
            mask_norm=norm,
            class_agnostic=False,
        ),
        semantic=dataclasses.replace(TINY.semantic, norm=norm),
    )


GROUPS_TEXT = """
norm_cfg = dict(type='GN', num_groups=2, requires_grad=True)
model = dict(
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(
        type='HybridTaskCascadeRoIHead', bbox_head=[dict(norm_cfg=norm_cfg)],
        mask_head=dict(norm_cfg=norm_cfg), semantic_head=dict(norm_cfg=norm_cfg)))
"""


@pytest.mark.parametrize(
    ("norm", "text"),
    [
        (NormConfig("sync"), ""),
        (NormConfig("batch"), GROUPS_TEXT.replace("'GN', num_groups=2", "'BN'")),
        (NormConfig("group", 2), GROUPS_TEXT),
    ],
)
def test_heads_are_found_with_their_layers_and_norms(tmp_path, norm, text):
    made = htc(headed(norm))
    path = write(tmp_path / "m.pth", {"meta": {"cfg": text}, "state_dict": made.state_dict()})
    loaded = load(path)
    assert_holds(loaded, made.state_dict())
    found = loaded.config
    for name in ("box_convs", "box_channels", "fcs", "box_size", "box_norm", "mask_norm", "class_agnostic"):
        assert getattr(found.cascade, name) == getattr(made.config.cascade, name)
    assert found.fpn.norm == found.semantic.norm == norm
    save_mmdet(made, tmp_path / "theirs.pth")
    assert load(tmp_path / "theirs.pth").config == made.config


def test_groups_that_neither_file_nor_usage_tell_are_asked_for(tmp_path):
    made = htc(headed(NormConfig("group", 2)))
    path = write(tmp_path / "m.pth", made.state_dict())
    with pytest.raises(InputError, match=r"32 groups can't share 16 channels"):
        load(path)
    assert_holds(load(path, config=made.config), made.state_dict())


def test_entries_that_older_files_have_or_lack(tmp_path):
    wanted = model().state_dict()
    found = {name: value for name, value in wanted.items() if not name.endswith("num_batches_tracked")}
    found["roi_head.mask_head.0.conv_res.conv.weight"] = torch.ones(16, 12, 1, 1)
    found["roi_head.mask_head.0.conv_res.conv.bias"] = torch.ones(16)
    assert_holds(load(write(tmp_path / "m.pth", found, "legacy")), wanted)


def test_deformable_layers_are_found_under_both_names(tmp_path):
    backbone = dataclasses.replace(TINY.backbone, deformable=(3, 4))
    made = htc(dataclasses.replace(TINY, backbone=backbone))
    found = {name.replace("conv2.conv_offset", "conv2_offset"): v for name, v in made.state_dict().items()}
    assert any("conv2_offset" in name for name in found)
    for content in (made.state_dict(), found):
        loaded = load(write(tmp_path / "m.pth", content))
        assert loaded.config.backbone.deformable == (3, 4)
        assert_holds(loaded, made.state_dict())


def htc(config):
    from htc_lab.model import build_model

    return build_model(config, 0)


def test_half_precision_becomes_float32(tmp_path):
    wanted = model().state_dict()
    found = {name: v.half() if v.is_floating_point() else v for name, v in wanted.items()}
    assert_holds(
        load(write(tmp_path / "m.pth", found)),
        {name: v.half().float() if v.is_floating_point() else v for name, v in wanted.items()},
    )


def test_coco_names_are_given_to_80_classes(tmp_path):
    made = htc(dataclasses.replace(TINY, classes=80))
    assert load(write(tmp_path / "m.pth", made.state_dict())).class_names == COCO_CLASSES
    assert len(set(COCO_CLASSES)) == 80


@pytest.mark.parametrize("toggles", [PLAIN_CASCADE, HTC])
def test_there_and_back_is_bitwise(tmp_path, toggles: Toggles):
    made = model(toggles)
    made.class_names = ("cup", "fork", "knife")
    theirs = tmp_path / "theirs.pth"
    save_mmdet(made, theirs)
    # torch's own strict reader takes it, so the reference does.
    content = torch.load(theirs, weights_only=True)
    assert content["state_dict"].keys() == made.state_dict().keys()
    assert content["meta"]["dataset_meta"]["classes"] == list(made.class_names)
    back = load(theirs)
    assert back.config == made.config
    assert back.class_names == made.class_names
    assert_holds(back, made.state_dict())
    save_model(back, tmp_path / "ours.safetensors")
    again = load(tmp_path / "ours.safetensors")
    assert again.config == made.config
    assert_holds(again, made.state_dict())


def without(weights, *parts):
    return {name: v for name, v in weights.items() if not any(part in name for part in parts)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda w: without(w, "mask_head.1.convs.0"),
            r"2 missing \(roi_head.mask_head.1.convs.0.conv.bias, ",
        ),
        (lambda w: w | {"backbone.extra": torch.ones(1)}, r"1 left over \(backbone.extra\)"),
        (
            lambda w: w | {"roi_head.bbox_head.1.fc_cls.weight": torch.ones(9, 24)},
            r"1 of another shape \(roi_head.bbox_head.1.fc_cls.weight \(9, 24\) for \(4, 24\)\)",
        ),
        (lambda w: without(w, "backbone.layer4.1"), "its backbone has 2, 2, 2, 1 blocks"),
        (lambda w: without(w, "backbone.conv1"), "entry backbone.conv1.weight is missing"),
        (lambda w: without(w, "neck"), "entry neck.lateral_convs.0.conv.weight is missing"),
        (lambda w: without(w, "mask_head"), "Cascade R-CNN without masks"),
        (lambda w: {n.replace("bbox_head.0", "bbox_head"): v for n, v in w.items()}, "has one stage"),
        (
            lambda w: {n: v for n, v in w.items() if "backbone" in n},
            "neither a Cascade Mask R-CNN nor an HTC",
        ),
        (lambda w: {}, "holds no weights by name"),
        (lambda w: [w], "holds no weights by name"),
        (lambda w: {"state_dict": list(w.values())}, "holds no weights by name"),
        (lambda w: w | {"epoch": 12}, "'epoch' among the weights is not a named tensor"),
        (lambda w: w | {"two\nlines": torch.ones(1)}, "among the weights is not a named tensor"),
        (lambda w: {"meta": {"htc_lab": "{"}, "state_dict": w}, r"meta\.htc_lab is not JSON"),
        (
            lambda w: {"meta": {"htc_lab": json.dumps({"name": "m", "colour": 1})}, "state_dict": w},
            r"meta\.htc_lab\.colour: no such field",
        ),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path, change, says):
    path = write(tmp_path / "m.pth", change(dict(model().state_dict())))
    with pytest.raises(InputError, match=says) as error:
        load(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", FORMATS)
def test_a_hostile_checkpoint_loads_and_nothing_runs(tmp_path, form):
    made, marker = model(), tmp_path / "marker"
    evil = marking(marker)
    assert all(runs(one, marker) for one in evil)
    content = {
        "meta": {"CLASSES": evil[0], "cfg": evil[1]},
        "optimizer": evil,
        "state_dict": made.state_dict(),
    }
    assert_holds(load(write(tmp_path / "m.pth", content, form)), made.state_dict())
    # In place of the weights there is nothing to load, but nothing runs either.
    for bad in ({"state_dict": evil[0]}, evil[1], made.state_dict() | {"w": evil[2]}):
        with pytest.raises(InputError, match="weights"):
            load(write(tmp_path / "bad.pth", bad, form))
    assert not marker.exists()


@pytest.mark.parametrize("form", FORMATS)
def test_a_checkpoint_cut_short_is_refused(tmp_path, form):
    path = write(tmp_path / "m.pth", {"state_dict": model().state_dict()}, form)
    whole = path.read_bytes()
    for part in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(InputError, match="get the file again"):
            load(path)


def test_our_own_files_say_themselves_what_they_are(tmp_path):
    save_model(model(), tmp_path / "m.safetensors")
    with pytest.raises(InputError, match="leave out toggles and config"):
        load(tmp_path / "m.safetensors", toggles=HTC)
