"""Where a config sets nothing, mmdet's default holds, or it is told what does; never silently the lab's."""

import dataclasses
import json

import pytest

from htc_lab.cli import main
from htc_lab.errors import InputError
from htc_lab.interop.mmdet_config import config_from_mmdet
from htc_lab.interop.python_config import read_python_config
from htc_lab.presets import ONE_X, PRESETS
from tests.interop.configs import child, tree
from tests.interop.files import model, write


@pytest.fixture
def models(tmp_path):
    return tree(tmp_path)


def _pipeline(*steps: str) -> str:
    return f"[dict(type='LoadImageFromFile'), {', '.join(steps)}, dict(type='PackDetInputs')]"


def _fed(steps: str) -> str:
    return f"train_pipeline = {steps}\ntrain_dataloader = dict(dataset=dict(pipeline=train_pipeline))\n"


SQUARE = "dict(type='Resize', scale=(640, 640), keep_ratio=True)"


def test_without_a_flip_there_is_none(models):
    found = config_from_mmdet(child(models, "mine", "cascade", _fed(_pipeline(SQUARE))))
    assert found.model.image.flip == 0
    assert (found.model.image.train_short, found.model.image.train_long) == ((640,), 640)


def test_without_a_resize_it_is_named_and_adding_one_is_the_fix(models):
    bare = _pipeline("dict(type='RandomFlip', prob=0.5)")
    text = f"{_fed(bare)}test_dataloader = dict(dataset=dict(pipeline={_pipeline(SQUARE)}))\n"
    path = child(models, "mine", "cascade", text)
    with pytest.raises(InputError, match=r"train_dataloader\.dataset\.pipeline=.*no Resize.*add a Resize"):
        config_from_mmdet(path)
    fixed = text.replace(
        "[dict(type='LoadImageFromFile'), dict(type='RandomFlip'", f"[{SQUARE}, dict(type='RandomFlip'"
    )
    assert config_from_mmdet(child(models, "mine", "cascade", fixed)).model.image.train_long == 640
    text = f"test_dataloader = dict(dataset=dict(pipeline={_pipeline('dict(type=Q)')}))".replace(
        "dict(type=Q), ", ""
    )
    with pytest.raises(InputError, match=r"test_dataloader\.dataset\.pipeline=.*no Resize"):
        config_from_mmdet(child(models, "mine", "cascade", text))


def test_chained_assignments_reach_all_their_targets(models):
    small = _pipeline("dict(type='Resize', scale=(512, 512), keep_ratio=True)")
    text = f"val_dataloader = test_dataloader = dict(dataset=dict(pipeline={small}))"
    image = config_from_mmdet(child(models, "mine", "cascade", text)).model.image
    assert (image.short, image.long) == (512, 512)


def test_the_size_at_test_time_is_that_of_val_where_test_has_none(models):
    small = _pipeline("dict(type='Resize', scale=(512, 400), keep_ratio=True)")
    text = f"test_dataloader = None\nval_dataloader = dict(dataset=dict(pipeline={small}))"
    image = config_from_mmdet(child(models, "mine", "cascade", text)).model.image
    assert (image.short, image.long) == (400, 512)


HEAD = "dict(type='Shared2FCBBoxHead', num_classes=1, reg_class_agnostic=True)"


def test_a_box_head_without_coder_or_losses_has_mmdets(models):
    text = f"model = dict(roi_head=dict(bbox_head=[{HEAD}, {HEAD}, {HEAD}], mask_head=dict(num_classes=1)))"
    found = config_from_mmdet(child(models, "mine", "cascade", text)).model
    assert [s.stds for s in found.cascade.stages] == [(0.1, 0.1, 0.2, 0.2)] * 3
    assert (found.cascade.smooth_l1_beta, found.cascade.box_weight, found.classes) == (1.0, 1.0, 1)
    # A coder that is there, but sets no stds, is of another class with another default.
    text = text.replace("agnostic=True", "agnostic=True, bbox_coder=dict(type='DeltaXYWHBBoxCoder')")
    found = config_from_mmdet(child(models, "mine", "cascade", text)).model
    assert [s.stds for s in found.cascade.stages] == [(1.0, 1.0, 1.0, 1.0)] * 3


@pytest.mark.parametrize(
    ("text", "part", "changes"),
    [
        # RPNHead's own losses: sigmoid, and a beta of 1/9 where SmoothL1Loss by itself has 1.
        ("rpn_head=dict(loss_cls=None, loss_bbox=None, bbox_coder=None)", "rpn", {}),
        (
            "rpn_head=dict(loss_bbox=dict(_delete_=True, type='SmoothL1Loss'))",
            "rpn",
            {"smooth_l1_beta": 1.0},
        ),
        (
            "rpn_head=dict(anchor_generator=dict(scales=None, octave_base_scale=4, scales_per_octave=1))",
            "rpn",
            {"anchor_scale": 4.0},
        ),
        ("roi_head=dict(semantic_head=dict(loss_seg=None))", "semantic", {}),
        (
            "roi_head=dict(semantic_head=dict(loss_seg=None, loss_weight=0.5, ignore_label=255))",
            "semantic",
            {"loss_weight": 0.5},
        ),
        (
            "data_preprocessor=dict(mean=None, std=None)",
            "image",
            {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
        ),
        ("data_preprocessor=dict(pad_size_divisor=1)", "image", {"pad": 1}),
        # Written out, but mmdet's defaults.
        ("neck=dict(upsample_cfg=dict(mode='nearest'))", "fpn", {}),
        ("rpn_head=dict(reg_decoded_bbox=False, loss_bbox=dict(reduction='mean'))", "rpn", {}),
        ("train_cfg=dict(rpn=dict(assigner=dict(gpu_assign_thr=50)))", "rpn", {}),
        (
            "test_cfg=dict(rpn=dict(nms=dict(_delete_=True, iou_thr=0.7)), rcnn=dict(nms=dict(split_thr=9)))",
            "rpn",
            {},
        ),
    ],
)
def test_defaults_of_mmdets_classes(models, text, part, changes):
    found = config_from_mmdet(child(models, "mine", "htc", f"model = dict({text})")).model
    base = PRESETS["htc_r50_1x"]
    wanted = dataclasses.replace(getattr(base, part), **changes)
    assert dataclasses.replace(found, name=base.name) == dataclasses.replace(base, **{part: wanted})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rpn_head=dict(anchor_generator=None)", r"anchor_generator\.scales=\[8, 16, 32\] \(one scale\)"),
        ("rpn_head=dict(loss_bbox=dict(reduction='sum'))", "loss_bbox.reduction='sum'"),
        ("neck=dict(upsample_cfg=dict(mode='bilinear'))", "upsample_cfg"),
        ("train_cfg=dict(rpn_proposal=dict(nms_post=100))", "rpn_proposal.nms_post=100"),
        ("train_cfg=dict(rpn=dict(assigner=dict(iou_calculator=dict(type='MyIoU'))))", "iou_calculator"),
    ],
)
def test_what_is_no_default_is_still_named(models, text, says):
    with pytest.raises(InputError, match=says):
        config_from_mmdet(child(models, "mine", "htc", f"model = dict({text})"))


@pytest.mark.parametrize(
    ("optimizer", "changes"),
    [
        ("dict(type='AdamW', lr=1e-4)", {"adaptive": True, "lr": 1e-4, "weight_decay": 0.01}),
        (
            "dict(type='AdamW', lr=1e-4, betas=(0.8, 0.99), weight_decay=0.0)",
            {"adaptive": True, "lr": 1e-4, "weight_decay": 0.0, "betas": (0.8, 0.99)},
        ),
        ("dict(type='SGD', lr=0.01)", {"lr": 0.01, "weight_decay": 0.0, "momentum": 0.0}),
    ],
)
def test_defaults_of_torchs_optimisers(models, optimizer, changes):
    text = f"optim_wrapper = dict(_delete_=True, optimizer={optimizer})"
    found = config_from_mmdet(child(models, "mine", "htc", text))
    assert found.schedule == dataclasses.replace(ONE_X, **changes)


def test_a_constant_rate_where_there_is_no_scheduler(models):
    found = config_from_mmdet(child(models, "mine", "htc", "param_scheduler = None"))
    assert (found.schedule.decay_at, found.schedule.warmup_steps) == ((), 0)


def test_weights_to_start_from_are_told_and_refuse_nothing(models, capsys):
    path = child(models, "mine", "cascade", "load_from = 'https://example.org/a.pth'")
    found = config_from_mmdet(path)
    assert list(map(str, found.unsupported)) == [
        "load_from='https://example.org/a.pth' is not followed; get that file and start the training from it "
        "with htc-lab train --init FILE (in Python: TrainOptions(init=FILE))"
    ]
    assert capsys.readouterr().err == f"note: {path}: {found.notes[0]}\n"
    assert found.model == PRESETS["cascade_r50_1x"]


def test_another_start_of_the_backbone_is_told(models):
    start = "dict(type='Pretrained', prefix='backbone.', checkpoint='https://example.org/r50.pth')"
    found = config_from_mmdet(
        child(models, "mine", "cascade", f"model = dict(backbone=dict(init_cfg={start}))")
    )
    assert found.notes == (
        "model.backbone.init_cfg.checkpoint='https://example.org/r50.pth' is not followed: a training starts "
        "from torchvision's ImageNet weights",
    )
    assert found.unsupported[0].of_training
    assert found.model == PRESETS["cascade_r50_1x"]


OWN_BATCH = """
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05))
"""


def test_a_batch_of_ones_own_is_told_with_what_to_set(models):
    text = f"{OWN_BATCH}auto_scale_lr = dict(enable=False)"
    found = config_from_mmdet(child(models, "mine", "cascade", text))
    (told,) = found.unsupported
    assert (told.path, told.value, told.refused) == ("train_dataloader.batch_size", 4, False)
    assert "for a batch of 16, as auto_scale_lr says" in told.why
    assert "set batch=N and lr_batch=N" in told.why
    # Followed, for one GPU, a step's rate is the config's.
    own = dataclasses.replace(found.schedule, batch=4, lr_batch=4)
    assert own.lr * own.batch / own.lr_batch == 1e-4
    # Where mmdet itself scales the rate, as the lab does, nothing is assumed.
    text = text.replace("enable=False", "enable=True")
    assert config_from_mmdet(child(models, "mine", "cascade", text)).unsupported == ()


def test_without_auto_scale_lr_eight_gpus_are_assumed_and_told(models):
    found = config_from_mmdet(child(models, "mine", "cascade", f"{OWN_BATCH}auto_scale_lr = None"))
    assert (found.schedule.batch, found.schedule.lr_batch) == (32, 32)
    assert [u.path for u in found.unsupported] == ["train_dataloader.batch_size"]


def test_a_model_by_itself_tells_whose_training_it_gets(models):
    values = read_python_config(models / "cascade.py")
    (models / "alone.py").write_text(f"model = {values['model']!r}")
    found = config_from_mmdet(models / "alone.py")
    assert found.model == PRESETS["cascade_r50_1x"]
    assert {u.path for u in found.unsupported} == {
        "train_dataloader",
        "train_dataloader.batch_size",
        "test_dataloader",
        "optim_wrapper",
        "train_cfg",
    }
    assert all("this lab's default" in u.why and u.value == "absent" for u in found.unsupported)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train_dataloader = dict(sampler=dict(shuffle=False))", "sampler.shuffle=False"),
        ("train_dataloader = dict(dataset=dict(filter_cfg=dict(min_area=3)))", "filter_cfg.min_area=3"),
        ("optim_wrapper = dict(clip_grad=dict(type='value', clip_value=1))", "clip_grad.type='value'"),
        (
            "train_dataloader = dict(dataset=[dict(type='CocoDataset')] * 2)",
            "train_dataloader.dataset=.*one data set",
        ),
        (
            "train_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=[1, 2]))",
            "train_dataloader.dataset=.*one data set",
        ),
    ],
)
def test_settings_of_the_training_that_nobody_reads_are_named(models, text, says):
    with pytest.raises(InputError, match=says):
        config_from_mmdet(child(models, "mine", "htc", text))


def test_two_steps_that_resize_are_named(models):
    text = _fed(_pipeline(SQUARE, "dict(type='RandomResize', scale=[(9, 9), (19, 19)], keep_ratio=True)"))
    with pytest.raises(InputError, match=r"pipeline\.2=.*one step that resizes"):
        config_from_mmdet(child(models, "mine", "htc", text))


def test_how_a_model_was_trained_is_no_matter_when_its_weights_are_converted(tmp_path, capsys):
    made = model()
    source = write(tmp_path / "mine.pth", {"state_dict": made.state_dict()})
    models = tree(tmp_path / "configs")
    text = "custom_hooks = [dict(type='EMAHook')]\nload_from = 'a.pth'"
    path = child(models, "mine", "htc", text)
    with pytest.raises(InputError, match="EMAHook"):
        config_from_mmdet(path)
    flags = ["convert", "--checkpoint", str(source), "--config", str(path), "--out", str(tmp_path / "x.pth")]
    with pytest.raises(SystemExit):
        main(flags)
    line = capsys.readouterr().err
    # The config was taken: it is of a larger model than the weights.
    assert "of another shape" in line
    assert "EMAHook" not in line
    assert "load_from" not in line
    path.write_text(path.read_text() + "\nmodel = dict(neck=dict(type='PAFPN'))")
    with pytest.raises(SystemExit):
        main(flags)
    line = capsys.readouterr().err
    assert "neck.type='PAFPN'" in line
    assert "leave the config out" in line
    assert json.dumps(line).count("\\n") == 1
