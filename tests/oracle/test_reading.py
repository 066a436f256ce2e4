"""How a recording's name, overrides and shapes become our config: every spelling, and no guess."""

from pathlib import Path

import pytest

from htc_lab.checkpoint.filling import empty_model
from htc_lab.errors import InputError
from htc_lab.presets import PRESETS
from tests.oracle.reading import recorded_config

CASE = Path("case.npz")
HTC = "htc/htc_r50_fpn_1x_coco.py"


def _read(preset="htc_r50_1x", name=HTC, padded=False, **overrides):
    shapes = {entry: list(value.shape) for entry, value in empty_model(PRESETS[preset]).state_dict().items()}
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    return recorded_config({"config": name, "shapes": shapes, "overrides": given}, CASE, padded)


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("htc/htc_r50_fpn_1x_coco.py", "htc_r50_1x"),
        ("configs/htc/htc_r101_fpn_20e_coco.py", "htc_r101_20e"),
        ("htc/htc-without-semantic_r50_fpn_1x_coco.py", "htc_without_semantic_r50_1x"),
        ("htc/htc_x101-32x4d_fpn_16xb1-20e_coco.py", "htc_x101_32x4d_20e"),
        ("htc_x101-64x4d_fpn_16xb1-20e_coco", "htc_x101_64x4d_20e"),
        (
            "htc/htc_x101-64x4d-dconv-c3-c5_fpn_ms-400-1400-16xb1-20e_coco.py",
            "htc_x101_64x4d_dcn_ms_20e",
        ),
        ("cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py", "cascade_r50_1x"),
        ("cascade_rcnn/cascade-mask-rcnn_x101-64x4d_fpn_20e_coco.py", "cascade_x101_64x4d_20e"),
    ],
)
def test_each_config_is_its_preset(name, preset):
    config, built = _read(preset, name, padded=True)
    wanted = PRESETS[preset]
    for part in ("classes", "toggles", "backbone", "fpn", "rpn", "cascade", "semantic"):
        assert getattr(config, part) == getattr(wanted, part), part
    assert built.backbone == wanted.backbone
    assert config.image.pad == 32


def test_a_picture_that_was_not_padded_is_not_padded():
    assert [config.image.pad for config in _read()] == [1, 1]


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        ({"model__roi_head__interleaved": False}, {"interleaved": False}),
        ({"roi_head__interleaved": False}, {"interleaved": False}),
        ({"interleaved": False, "mask_info_flow": False}, {"interleaved": False, "mask_flow": False}),
        ({"model": {"roi_head": {"mask_info_flow": False}}}, {"mask_flow": False}),
        ({"model__roi_head": {"semantic_fusion": ["bbox"]}}, {"semantic_mask": False}),
        ({"model__roi_head__semantic_fusion": ("mask",)}, {"semantic_box": False}),
        ({"model__roi_head__semantic_fusion": "bbox"}, {"semantic_mask": False}),
        ({"model__roi_head__semantic_fusion": []}, {"semantic_box": False, "semantic_mask": False}),
        ({"model__roi_head__semantic_fusion": None}, {"semantic_box": False, "semantic_mask": False}),
        ({"model__backbone__init_cfg": None}, {}),
    ],
)
def test_toggles_in_every_spelling(overrides, wanted):
    config, built = _read(**overrides)
    for toggle in ("interleaved", "mask_flow", "semantic_box", "semantic_mask"):
        assert getattr(config.toggles, toggle) == wanted.get(toggle, True), toggle
    # The weights keep what was switched off.
    assert built.toggles == PRESETS["htc_r50_1x"].toggles


def test_a_branch_that_was_taken_out_is_not_built():
    out = {"model__roi_head__semantic_head": None, "model__roi_head__semantic_roi_extractor": None}
    config, built = _read("htc_without_semantic_r50_1x", HTC, **out)
    assert not config.toggles.semantic
    assert not built.toggles.semantic
    assert config.toggles.mask_flow


def test_a_backbone_by_overrides():
    dcn = {"type": "DCN", "deform_groups": 1, "fallback_on_stride": False}
    config, _ = _read(
        "htc_x101_64x4d_dcn_ms_20e",
        HTC,
        model__backbone={"type": "ResNeXt", "depth": 101, "groups": 64, "base_width": 4, "dcn": dcn},
        model__backbone__stage_with_dcn=[False, True, True, True],
    )
    assert config.backbone == PRESETS["htc_x101_64x4d_dcn_ms_20e"].backbone


@pytest.mark.parametrize(
    ("override", "value", "field"),
    [
        ("model__test_cfg__rcnn__score_thr", 0.2, ("cascade", "score_threshold")),
        ("model__test_cfg__rcnn__nms__iou_threshold", 0.6, ("cascade", "nms_iou")),
        ("model__test_cfg__rpn__max_per_img", 77, ("rpn", "test_after_nms")),
        ("model__train_cfg__rpn__allowed_border", -1, ("rpn", "allowed_border")),
        ("model__roi_head__semantic_head__loss_seg__loss_weight", 1.0, ("semantic", "loss_weight")),
    ],
)
def test_numbers_by_overrides(override, value, field):
    for config in _read(**{override: value}):
        part, name = field
        assert getattr(getattr(config, part), name) == value


def test_weights_of_the_stages():
    config, _ = _read(model__roi_head__stage_loss_weights=[1, 1, 1])
    assert [stage.loss_weight for stage in config.cascade.stages] == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", {}, "is not one this program knows"),
        ("cascade_rcnn/cascade-mask-rcnn_r50-caffe_fpn_1x_coco.py", {}, "of the pytorch style"),
        (HTC, {"model__roi_head__colour": 1}, r"'roi_head.colour' = 1 is not one"),
        (HTC, {"model__backbone__depth": 101}, r"'backbone.depth' is 101, but the shapes show 50"),
        (HTC, {"model__backbone__dcn": {"type": "DCNv2"}}, r"'backbone.dcn.type' = 'DCNv2' is not one"),
        (HTC, {"model__roi_head__semantic_fusion": ["sky"]}, r"this program knows bbox and mask"),
        (HTC, {"model__roi_head__semantic_head": None}, r"'roi_head.semantic_head' = None is not one"),
        (HTC, {"model__roi_head__stage_loss_weights": [1, 1]}, "is not one this program knows"),
    ],
)
def test_what_is_not_understood_is_refused(name, overrides, words):
    with pytest.raises(InputError, match=rf"case\.npz: .*{words}"):
        _read(name=name, **overrides)
