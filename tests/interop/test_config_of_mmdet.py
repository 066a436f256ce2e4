"""mmdet's configs become ours to the last number, and what has no equivalent is named, never dropped."""

import dataclasses

import pytest

import htc_lab
from htc_lab.config import NormConfig, SoftNMSConfig
from htc_lab.errors import InputError
from htc_lab.interop.mmdet_config import config_from_mmdet
from htc_lab.interop.python_config import evaluate_text, read_python_config
from htc_lab.presets import ONE_X, PRESETS, TWENTY_EPOCHS
from tests.interop.configs import RUNTIME, child, tree


@pytest.fixture
def models(tmp_path):
    return tree(tmp_path)


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("without", "htc_without_semantic_r50_1x"),
        ("htc", "htc_r50_1x"),
        ("cascade", "cascade_r50_1x"),
    ],
)
def test_the_families_give_the_presets(models, name, preset):
    found = htc_lab.config_from_mmdet(models / f"{name}.py")
    assert found.model == PRESETS[preset]
    assert found.schedule == ONE_X
    assert found.unsupported == ()


TWENTY = """
max_epochs = 10 * 2
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=[16, 19], gamma=0.1)]
"""
NEXT = """
model = dict(backbone=dict(
    type='ResNeXt', depth=101, groups=64, base_width=4, dcn=dict(type='DCN', deform_groups=1),
    stage_with_dcn=(False, True, True, True), init_cfg=dict(checkpoint='open-mmlab://resnext101_64x4d')))
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, with_seg=True),
    dict(type='RandomResize', scale=[(1600, 400), (1600, 1400)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]))
"""


def test_children_change_what_they_name_and_nothing_else(models):
    child(models, "htc_20e", "htc", TWENTY)
    found = config_from_mmdet(models / "htc_20e.py")
    assert (found.model, found.schedule) == (PRESETS["htc_r50_20e"], TWENTY_EPOCHS)
    found = config_from_mmdet(child(models, "dcn", "htc_20e", NEXT))
    assert (found.model, found.schedule) == (PRESETS["htc_x101_64x4d_dcn_ms_20e"], TWENTY_EPOCHS)


@pytest.mark.parametrize(
    ("text", "part", "changes"),
    [
        ("roi_head=dict(interleaved=False)", "toggles", {"interleaved": False}),
        ("roi_head=dict(semantic_fusion=['mask'])", "toggles", {"semantic_box": False}),
        ("roi_head=dict(semantic_fusion=('bbox', ))", "toggles", {"semantic_mask": False}),
        (
            "backbone=dict(frozen_stages=-1, norm_eval=False)",
            "backbone",
            {"frozen_stages": -1, "frozen_norm": False},
        ),
        ("backbone=dict(init_cfg=None)", "backbone", {"pretrained": False}),
        (
            "backbone=dict(style='caffe', norm_cfg=dict(requires_grad=False), "
            "init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet50_caffe'))",
            "backbone",
            {"style": "caffe", "trained_norm": False},
        ),
        (
            "data_preprocessor=dict(bgr_to_rgb=False, mean=[103.53, 116.28, 123.675], std=[1.0, 2.0, 3.0])",
            "image",
            {"bgr": True, "std": (3.0, 2.0, 1.0)},
        ),
        ("neck=dict(norm_cfg=dict(type='SyncBN', requires_grad=True))", "fpn", {"norm": NormConfig("sync")}),
        ("neck=dict(norm_cfg=dict(type='GN', num_groups=16))", "fpn", {"norm": NormConfig("group", 16)}),
        (
            "roi_head=dict(semantic_head=dict(norm_cfg=dict(type='BN')))",
            "semantic",
            {"norm": NormConfig("batch")},
        ),
        ("data_preprocessor=dict(pad_size_divisor=64)", "image", {"pad": 64}),
        (
            "rpn_head=dict(anchor_generator=dict(scales=[4], center_offset=0.5))",
            "rpn",
            {"anchor_scale": 4.0, "anchor_offset": 0.5},
        ),
        (
            "rpn_head=dict(loss_bbox=dict(beta=0.5, loss_weight=2))",
            "rpn",
            {"smooth_l1_beta": 0.5, "box_weight": 2.0},
        ),
        (
            "train_cfg=dict(rpn=dict(sampler=dict(num=128, neg_pos_ub=3)))",
            "rpn",
            {"samples": 128, "negatives_per_positive": 3.0},
        ),
        ("train_cfg=dict(rpn_proposal=dict(nms_pre=500))", "rpn", {"train_before_nms": 500}),
        (
            "test_cfg=dict(rcnn=dict(score_thr=0.2, max_per_img=7))",
            "cascade",
            {"score_threshold": 0.2, "max_detections": 7},
        ),
        (
            # The threshold of the parent's NMS stays, as mmdet merges the two.
            "test_cfg=dict(rcnn=dict(nms=dict(type='soft_nms')))",
            "cascade",
            {"soft_nms": SoftNMSConfig(iou=0.5)},
        ),
        (
            "test_cfg=dict(rcnn=dict(nms=dict(_delete_=True, type='soft_nms')))",
            "cascade",
            {"soft_nms": SoftNMSConfig()},
        ),
        (
            "test_cfg=dict(rcnn=dict("
            "nms=dict(type='soft_nms', method='gaussian', sigma=0.4, min_score=0.01)))",
            "cascade",
            {"soft_nms": SoftNMSConfig("gaussian", iou=0.5, sigma=0.4, min_score=0.01)},
        ),
        (
            "roi_head=dict(semantic_head=dict(num_classes=20, num_convs=2))",
            "semantic",
            {"classes": 20, "convs": 2},
        ),
        (
            "roi_head=dict(semantic_head=dict(loss_seg=dict(loss_weight=1.0, avg_non_ignore=True)))",
            "semantic",
            {"loss_weight": 1.0, "mean_over_valid": True},
        ),
    ],
)
def test_each_setting_reaches_its_field(models, text, part, changes):
    found = config_from_mmdet(child(models, "mine", "htc", f"model = dict({text})")).model
    base = PRESETS["htc_r50_1x"]
    wanted = dataclasses.replace(getattr(base, part), **changes)
    assert found == dataclasses.replace(base, name="mine", **{part: wanted})


def with_heads(models, *changes):
    """The parents of htc.py with parts of their text changed, in every stage alike."""
    path = models / "without.py"
    text = path.read_text()
    for old, new in changes:
        assert text.count(old) == 3
        text = text.replace(old, new)
    path.write_text(text)
    return models / "htc.py"


SHARED, L1 = "type='Shared2FCBBoxHead'", "type='SmoothL1Loss', beta=1.0, loss_weight=1.0)"
MASK, AGNOSTIC = "type='HTCMaskHead',", "reg_class_agnostic=True"
SYNC = "norm_cfg=dict(type='SyncBN', requires_grad=True)"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            (SHARED, f"type='Shared4Conv1FCBBoxHead', conv_out_channels=128, {SYNC}"),
            {"box_convs": 4, "fcs": 1, "box_channels": 128, "box_norm": NormConfig("sync")},
        ),
        (
            (SHARED, "type='ConvFCBBoxHead', num_shared_convs=2, num_shared_fcs=3"),
            {"box_convs": 2, "fcs": 3},
        ),
        # mmdet gives the norm to convolutions; two linear layers have no place for it.
        ((SHARED, f"{SHARED}, {SYNC}"), {}),
        ((MASK, f"{MASK} norm_cfg=dict(type='GN', num_groups=16),"), {"mask_norm": NormConfig("group", 16)}),
        ((AGNOSTIC, "reg_class_agnostic=False"), {"class_agnostic": False}),
        ((L1, "type='L1Loss', loss_weight=2.0)"), {"smooth_l1_beta": 0.0, "box_weight": 2.0}),
        (
            (L1, "type='GIoULoss', loss_weight=10.0), reg_decoded_bbox=True"),
            {"box_loss": "giou", "box_weight": 10.0},
        ),
        ((L1, "type='DIoULoss'), reg_decoded_bbox=True"), {"box_loss": "diou"}),
        (
            (L1, "type='CIoULoss', loss_weight=12.0), reg_decoded_bbox=True"),
            {"box_loss": "ciou", "box_weight": 12.0},
        ),
    ],
)
def test_each_setting_of_the_heads_reaches_its_field(models, change, wanted):
    found = config_from_mmdet(with_heads(models, change)).model
    base = PRESETS["htc_r50_1x"]
    cascade = dataclasses.replace(base.cascade, **wanted)
    assert found == dataclasses.replace(base, name=found.name, cascade=cascade)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            (L1, "type='GIoULoss', loss_weight=10.0)"),
            r"bbox_head\.0\.reg_decoded_bbox=absent|'absent' \(only True",
        ),
        ((L1, f"{L1}, reg_decoded_bbox=True"), r"bbox_head\.0\.reg_decoded_bbox=True \(only False"),
        ((L1, "type='BalancedL1Loss')"), "loss_bbox.type='BalancedL1Loss'"),
        ((SHARED, "type='DoubleConvFCBBoxHead'"), "bbox_head.0.type='DoubleConvFCBBoxHead'"),
        (
            (SHARED, "type='ConvFCBBoxHead', num_shared_convs=4"),
            "num_shared_fcs='absent'.*at least one linear",
        ),
        (
            (SHARED, "type='ConvFCBBoxHead', num_shared_fcs=1, num_reg_convs=4"),
            "bbox_head.0.num_reg_convs=4",
        ),
        ((MASK, f"{MASK} norm_cfg=dict(type='IN'),"), "mask_head.0.norm_cfg.type='IN'"),
    ],
)
def test_heads_that_have_no_equivalent_are_named(models, change, says):
    with pytest.raises(InputError, match=says):
        config_from_mmdet(with_heads(models, change))


def test_heads_of_one_stage_alone_are_named(models):
    path = models / "without.py"
    text = path.read_text()
    for part in (SHARED, MASK):
        one = f"{part.rstrip(',')}, norm_cfg=dict(type='GN', num_groups=8),".removesuffix(
            "," * (part == SHARED)
        )
        new = text.replace(part, one.replace("Shared2FC", "Shared4Conv1FC"), 1)
        path.write_text(new)
        with pytest.raises(
            InputError, match=r"(bbox|mask)_head\.1.*\((the same layers and losses|the same norm) in all"
        ):
            config_from_mmdet(models / "htc.py")


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))", {"clip_norm": 35.0}),
        ("optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')", {"amp": True}),
        ("optim_wrapper = dict(accumulative_counts=4)", {"accumulate": 4}),
        (
            "optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05))",
            {"adaptive": True, "lr": 1e-4, "weight_decay": 0.05},
        ),
        ("auto_scale_lr = dict(base_batch_size=32)", {"batch": 32, "lr_batch": 32}),
        ("train_dataloader = dict(batch_sampler=None)", {"group_by_shape": False}),
        ("model = dict(backbone=dict(norm_cfg=dict(type='SyncBN'), norm_eval=False))", {"sync_norm": True}),
        (
            "train_dataloader = dict(dataset=dict(_delete_=True, type='RepeatDataset', times=3, "
            "dataset=_base_.train_dataloader.dataset))",
            {"epochs": 36},
        ),
    ],
)
def test_each_setting_of_the_training_reaches_the_schedule(models, text, changes):
    found = config_from_mmdet(child(models, "mine", "htc", text)).schedule
    assert found == dataclasses.replace(ONE_X, **changes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("backbone=dict(_delete_=True, type='HRNet', extra=dict())", "model.backbone.type='HRNet'"),
        (
            "backbone=dict(style='tensorflow')",
            r"model.backbone.style='tensorflow' \(only 'pytorch' or 'caffe'",
        ),
        (
            "backbone=dict(plugins=[dict(cfg=1)])",
            r"model.backbone.plugins=\[{'cfg': 1}\] \(this lab has no such setting",
        ),
        (
            "backbone=dict(dcn=dict(type='DCNv2'), stage_with_dcn=(False, True, True, True))",
            "dcn.type='DCNv2'",
        ),
        (
            "backbone=dict(norm_cfg=dict(type='GN', num_groups=32))",
            "norm_cfg.type='GN'.*norm_cfg.num_groups=32",
        ),
        ("neck=dict(type='PAFPN')", "model.neck.type='PAFPN'"),
        ("neck=dict(norm_cfg=dict(type='LN'))", "model.neck.norm_cfg.type='LN'"),
        ("neck=dict(norm_cfg=dict(type='BN', momentum=0.01))", "model.neck.norm_cfg.momentum=0.01"),
        ("rpn_head=dict(loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=10.0))", "'GIoULoss'"),
        ("rpn_head=dict(anchor_generator=dict(scales=[4, 8]))", r"scales=\[4, 8\] \(one scale\)"),
        ("roi_head=dict(mask_iou_head=dict(type='MaskIoUHead'))", "model.roi_head.mask_iou_head"),
        ("roi_head=dict(mask_roi_extractor=dict(roi_layer=dict(sampling_ratio=2)))", "as for boxes"),
        ("roi_head=dict(semantic_head=dict(seg_scale_factor=0.25))", "seg_scale_factor=0.25"),
        ("test_cfg=dict(rcnn=dict(nms=dict(type='soft_nms', method='naive')))", "nms.method='naive'"),
        ("test_cfg=dict(rcnn=dict(nms=dict(type='nms_match')))", "nms.type='nms_match'"),
        ("train_cfg=dict(rpn_proposal=dict(nms=dict(iou_threshold=0.8)))", "iou_threshold=0.8"),
        ("train_cfg=dict(rpn=dict(sampler=dict(type='OHEMSampler')))", "'OHEMSampler'"),
    ],
)
def test_what_has_no_equivalent_in_the_model_is_named(models, text, says):
    path = child(models, "mine", "htc", f"model = dict({text})")
    with pytest.raises(InputError, match=says) as error:
        config_from_mmdet(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("custom_hooks = [dict(type='EMAHook')]", "custom_hooks.0={'type': 'EMAHook'}"),
        ("optim_wrapper = dict(optimizer=dict(type='Lion'))", "optimizer.type='Lion'"),
        ("optim_wrapper = dict(optimizer=dict(nesterov=True))", "optimizer.nesterov=True"),
        (
            "param_scheduler = [dict(type='CosineRestartLR', periods=[12])]",
            "param_scheduler.0=.*CosineRestart",
        ),
        ("train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=90000)", "IterBasedTrainLoop"),
        ("train_dataloader = dict(dataset=dict(pipeline=[dict(type='Mosaic')]))", "pipeline.0=.*Mosaic"),
        (
            "train_dataloader = dict(dataset=dict(pipeline=["
            "dict(type='Resize', scale=(9, 9), backend='pillow', keep_ratio=True)]))",
            "pipeline.0.backend='pillow'",
        ),
    ],
)
def test_what_has_no_equivalent_in_the_training_is_named(models, text, says):
    with pytest.raises(InputError, match=says):
        config_from_mmdet(child(models, "mine", "htc", text))


def test_not_strict_lists_them_and_goes_on(models):
    text = "model = dict(backbone=dict(plugins=[1], avg_down=True))\ncustom_hooks = [dict(type='EMAHook')]"
    found = config_from_mmdet(child(models, "mine", "htc", text), strict=False)
    assert [(u.path, u.value) for u in found.unsupported] == [
        ("model.backbone.avg_down", True),
        ("custom_hooks.0", {"type": "EMAHook"}),
        ("model.backbone.plugins", [1]),
    ]
    assert found.model == dataclasses.replace(PRESETS["htc_r50_1x"], name="mine")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model = dict(type='MaskRCNN')", "model.type is 'MaskRCNN'"),
        (
            "model = dict(backbone=dict(depth='fifty'))",
            "model.backbone.depth is 'fifty', but must be a whole number",
        ),
        ("model = dict(backbone=dict(depth=True))", "must be a whole number"),
        ("model = dict(roi_head=dict(num_stages=4))", "num_stages is 4, but must be 1, 2 or 3"),
        ("model = dict(roi_head=dict(bbox_head=[dict()]))", "bbox_head is .*must be a list for 3 stages"),
        ("model = dict(roi_head=dict(mask_head=None))", "mask_head is missing"),
        ("model = dict(test_cfg=dict(_delete_=True))", r"model.test_cfg.rcnn.score_thr is missing"),
        ("model = dict(data_preprocessor=dict(mean=[1, 2]))", "must be a list of 3 numbers"),
        ("data = dict(samples_per_gpu=2)", "laid out as in mmdet 2"),
        ("model = dict(neck=3)", "is missing|must be"),
    ],
)
def test_malformed_configs_are_told_in_one_line(models, text, says):
    path = child(models, "mine", "htc", text)
    with pytest.raises(InputError, match=says) as error:
        config_from_mmdet(path)
    assert "\n" not in str(error.value)


def test_a_base_file_alone_is_no_model(tmp_path):
    (tmp_path / "runtime.py").write_text(RUNTIME)
    with pytest.raises(InputError, match="sets no 'model'"):
        config_from_mmdet(tmp_path / "runtime.py")


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "x = __import__('os')",
        "x = open('MARKER', 'w')",
        "x = dict.fromkeys('ab')",
        "x = ''.__class__",
        "x = [c for c in 'ab']",
        "x = lambda: 0",
        "x = f'{1:>99999999}'",
        "x = '%99999999d' % 1",
        "x = 'a' * 1000000",
        "x = [0] * 1000000",
        "x = 2 ** 99999999",
        "x = 2.0\nx.y = 1",
        "x = y = 1\nprint(x)",
        "for i in 'ab': x = i",
        "if True: x = 1",
        "from . import base",
        "with read_base(): pass",
        "x: int = print()",
        "del _base_",
    ],
)
def test_what_would_have_to_be_run_is_refused_with_its_line(tmp_path, line):
    path = tmp_path / "config.py"
    marker = tmp_path / "marker"
    path.write_text("a = 1\n" + line.replace("MARKER", str(marker)))
    with pytest.raises(InputError, match=rf"{path}: line [23]: .*would have to be run"):
        read_python_config(path)
    assert not marker.exists()


def test_numbers_stay_small():
    text = "x = 3037000500\n" + "x = x * x\n" * 40
    with pytest.raises(InputError, match="would have to be run"):
        evaluate_text(text, "text")
    with pytest.raises(InputError, match="has no value"):
        evaluate_text("x = 1 / 0", "text")
    with pytest.raises(InputError, match="not Python"):
        evaluate_text("x = " + "(" * 5000, "text")


def test_values_and_inheritance_follow_mmengine(tmp_path):
    (tmp_path / "a.py").write_text("n = 3\nd = dict(x=1, y=dict(z=[1, 2]), w=dict(p=1))\nname = 'a'\n")
    (tmp_path / "b.py").write_text("other = {'k': (1, 2.5, None, True)}\n")
    (tmp_path / "c.py").write_text(
        "'''A text first.'''\n_base_ = ['./a.py', './b.py']\n"
        "d = dict(y=dict(_delete_=True, q=-1), x=dict(), w=dict(p={{_base_.n}} + 1, r=_base_.d.y.z[1]))\n"
        "more = [dict(a=1)] * 2 + list((3,))\n"
        "word = f'{_base_.name}-{2 * 3}.pth'\ntail = _base_.other['k'][1:]\n"
    )
    with pytest.raises(InputError, match="'x' is a dict here but not in its base"):
        read_python_config(tmp_path / "c.py")
    (tmp_path / "c.py").write_text((tmp_path / "c.py").read_text().replace("x=dict(), ", ""))
    assert read_python_config(tmp_path / "c.py") == {
        "n": 3,
        "d": {"x": 1, "y": {"q": -1}, "w": {"p": 4, "r": 2}},
        "name": "a",
        "other": {"k": (1, 2.5, None, True)},
        "more": [{"a": 1}, {"a": 1}, 3],
        "word": "a-6.pth",
        "tail": (2.5, None, True),
    }


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a": "_base_ = './a.py'"}, "is its own base"),
        ({"a": "_base_ = './b.py'", "b": "_base_ = ['a.py']"}, "is its own base"),
        ({"a": "_base_ = './b.py'"}, r"b\.py: cannot be read, the base of .*a\.py"),
        ({"a": "_base_ = 'htc/x.yaml'"}, "only .py files are followed"),
        ({"a": "_base_ = ['b.py', 'c.py']", "b": "x = 1", "c": "x = 2"}, "two files of _base_ set 'x'"),
        ({"a": "_base_ = [1]"}, "not a list of file names"),
        ({"a": "x ="}, "line 1: not Python"),
        ({"a": "x = 1\ny = z"}, "line 2: 'z' would have to be run"),
        ({}, r"a\.py: cannot be read"),
    ],
)
def test_broken_trees_are_named(tmp_path, files, says):
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    with pytest.raises(InputError, match=says):
        read_python_config(tmp_path / "a.py")
