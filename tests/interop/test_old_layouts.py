"""Configs of mmdet 1 and 2 give what the same model's config of mmdet 3 gives."""

import dataclasses

import pytest

from htc_lab.errors import InputError
from htc_lab.interop.mmdet_config import config_from_mmdet
from htc_lab.presets import ONE_X, PRESETS
from tests.interop.configs import child, first, second, tree


@pytest.mark.parametrize(
    ("name", "preset"), [("without", "htc_without_semantic_r50_1x"), ("htc", "htc_r50_1x")]
)
def test_mmdet_2(tmp_path, name, preset):
    found = config_from_mmdet(second(tmp_path) / f"{name}.py")
    assert found.unsupported == ()
    assert (found.model, found.schedule) == (PRESETS[preset], ONE_X)


def test_mmdet_1_counts_the_background_and_pools_two_points_a_side(tmp_path):
    found = config_from_mmdet(first(tmp_path) / "htc.py")
    preset = PRESETS["htc_r50_1x"]
    cascade = dataclasses.replace(preset.cascade, sampling_ratio=2)
    assert found.model == dataclasses.replace(preset, name="htc", cascade=cascade)
    assert found.schedule == ONE_X
    # Its arithmetic of boxes was another one, and nothing says how many GPUs the batch was for.
    assert [u.path for u in found.unsupported] == ["model.bbox_roi_extractor.roi_layer", "data.imgs_per_gpu"]
    assert "a pixel wider" in str(found.unsupported[0])
    assert "batch=N and lr_batch=N" in str(found.unsupported[1])


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("data = dict(samples_per_gpu=1)", {}),
        (
            "optimizer_config = dict(_delete_=True, grad_clip=dict(max_norm=35, norm_type=2))",
            {"clip_norm": 35.0},
        ),
        ("fp16 = dict(loss_scale=512.)", {"amp": True}),
        ("lr_config = dict(step=[9, 10], gamma=0.5)", {"decay_at": (9 / 12, 10 / 12), "decay": 2.0}),
        ("lr_config = dict(step=5)", {"decay_at": (5 / 12, 10 / 12)}),
        ("lr_config = dict(warmup='constant')", {"warmup": "constant"}),
        ("lr_config = dict(warmup='exp', warmup_ratio=0.1)", {"warmup": "exponential", "warmup_from": 0.1}),
        ("lr_config = dict(warmup=None)", {"warmup_steps": 0, "warmup_from": 0.001}),
        ("lr_config = dict(_delete_=True, policy='fixed')", {"warmup_steps": 0, "decay_at": ()}),
        (
            "lr_config = dict(_delete_=True, policy='CosineAnnealing', min_lr_ratio=0.01)",
            {"warmup_steps": 0, "decay_at": (), "curve": "cosine", "curve_end": 0.01, "curve_levels": 12},
        ),
        (
            "lr_config = dict(_delete_=True, policy='poly', power=0.9, min_lr=2e-4, by_epoch=False)\n"
            "runner = dict(_delete_=True, type='IterBasedRunner', max_iters=9000)",
            {
                "warmup_steps": 0,
                "decay_at": (),
                "curve": "polynomial",
                "power": 0.9,
                "curve_end": 0.01,
                "steps": 9000,
            },
        ),
        (
            "optimizer = dict(_delete_=True, type='AdamW', lr=1e-4, paramwise_cfg=dict(norm_decay_mult=0.))",
            {"adaptive": True, "lr": 1e-4, "weight_decay": 0.01, "norm_decay": 0.0},
        ),
        (
            "data = dict(train=dict(_delete_=True, type='RepeatDataset', times=3, "
            "dataset=dict(type='CocoDataset', pipeline=_base_.train_pipeline)))",
            {"epochs": 36},
        ),
    ],
)
def test_the_recipes_of_mmdet_2(tmp_path, text, changes):
    found = config_from_mmdet(child(second(tmp_path), "mine", "without", text))
    assert found.schedule == dataclasses.replace(ONE_X, **changes)


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        (
            "img_scale=[(1600, 400), (1600, 1400)], multiscale_mode='range'",
            {"train_short": tuple(range(400, 1401)), "train_long": 1600},
        ),
        ("img_scale=[(1333, 640), (1333, 800)]", {"train_short": tuple(range(640, 801))}),
        ("img_scale=[(1333, 640), (1333, 800)], multiscale_mode='value'", {"train_short": (640, 800)}),
        ("img_scale=[(500, 400)]", {"train_short": (400,), "train_long": 500}),
    ],
)
def test_the_sizes_of_mmdet_2(tmp_path, step, changes):
    text = (
        f"data = dict(train=dict(pipeline=[dict(type='Resize', {step}, keep_ratio=True)] + "
        "_base_.train_pipeline[3:]))"
    )
    image = config_from_mmdet(child(second(tmp_path), "mine", "without", text)).model.image
    assert image == dataclasses.replace(PRESETS["htc_r50_1x"].image, **changes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lr_config = dict(_delete_=True, policy='OneCycle', max_lr=0.1)", "lr_config={'type': 'OneCycle'"),
        ("lr_config = dict(min_lr=1e-5)", "lr_config.min_lr=1e-05"),
        ("optimizer = dict(nesterov=True)", r"optimizer.nesterov=True"),
        ("optimizer_config = dict(type='MyHook')", "optimizer_config.type='MyHook'"),
        ("custom_hooks = [dict(type='EMAHook')]", "custom_hooks.0={'type': 'EMAHook'}"),
        (
            "data = dict(train=dict(pipeline=_base_.train_pipeline[:3] + [dict(type='Mosaic')] + "
            "_base_.train_pipeline[3:]))",
            r"data\.train\.pipeline\.3={'type': 'Mosaic'}",
        ),
        (
            "data = dict(train=dict(pipeline=_base_.train_pipeline[:4] + _base_.train_pipeline[3:]))",
            r"data\.train\.pipeline\.4=.*one RandomFlip",
        ),
        (
            "data = dict(train=dict(pipeline=_base_.train_pipeline[:5] + [dict(type='Pad', size=(9, 9))]))",
            "data.train.pipeline and data.test.pipeline normalise or pad pictures in different ways",
        ),
        ("model = dict(roi_head=dict(bbox_head=3))", "bbox_head"),
    ],
)
def test_what_cannot_be_is_named_by_its_place_in_the_file(tmp_path, text, says):
    with pytest.raises(InputError, match=says) as error:
        config_from_mmdet(child(second(tmp_path), "mine", "without", text))
    assert "\n" not in str(error.value)


def test_bgr_pictures_of_mmdet_2_are_named(tmp_path):
    text = (second(tmp_path) / "without.py").read_text().replace("to_rgb=True", "to_rgb=False")
    (tmp_path / "bgr.py").write_text(text)
    with pytest.raises(InputError, match=r"data\.train\.pipeline\.4\.to_rgb=False"):
        config_from_mmdet(tmp_path / "bgr.py")


def test_semantic_maps_that_are_not_shrunk_are_named(tmp_path):
    models = second(tmp_path)
    text = (models / "htc.py").read_text().replace("scale_factor=1 / 8", "scale_factor=1 / 4")
    (models / "quarter.py").write_text(text)
    with pytest.raises(InputError, match=r"data\.train\.pipeline\.6\.scale_factor=0\.25"):
        config_from_mmdet(models / "quarter.py")


def test_two_lengths_of_the_training_are_refused(tmp_path):
    path = child(second(tmp_path), "mine", "without", "total_epochs = 50")
    with pytest.raises(InputError, match="total_epochs is 50 and runner says 12; keep one of the two"):
        config_from_mmdet(path)
    path.write_text(path.read_text() + "\nrunner = None")
    assert config_from_mmdet(path).schedule.epochs == 50


@pytest.mark.parametrize(("modulated", "says"), [(False, None), (True, "dcn.type='DCNv2'")])
def test_deformable_convolutions_of_mmdet_1(tmp_path, modulated, says):
    text = (first(tmp_path) / "htc.py").read_text()
    dcn = f"dcn=dict(modulated={modulated}, deformable_groups=1, fallback_on_stride=False)"
    text = text.replace("type='ResNet',", f"type='ResNet', {dcn}, stage_with_dcn=(False, True, True, True),")
    (tmp_path / "dcn.py").write_text(text)
    if says is not None:
        with pytest.raises(InputError, match=says):
            config_from_mmdet(tmp_path / "dcn.py")
        return
    assert config_from_mmdet(tmp_path / "dcn.py").model.backbone.deformable == (2, 3, 4)


def test_two_layouts_in_one_config_are_refused(tmp_path):
    text = "data = dict(samples_per_gpu=2)"
    path = child(tree(tmp_path), "mine", "htc", text)
    with pytest.raises(
        InputError, match="'data' is laid out as in mmdet 2 and 'train_dataloader' as in mmdet 3"
    ):
        config_from_mmdet(path)
    path.write_text(path.read_text().replace(text, ""))
    config_from_mmdet(path)


def test_mmdet_0_6_had_no_pipelines(tmp_path):
    text = (first(tmp_path) / "htc.py").read_text()
    model, _, after = text.partition("img_norm_cfg")
    schedule = after[after.index("optimizer = ") :]
    data = """
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
usual = dict(type='CocoDataset', img_norm_cfg=img_norm_cfg, size_divisor=32, with_mask=True)
data = dict(
    imgs_per_gpu=2,
    train=dict(img_scale=[(1333, 640), (1333, 800)], flip_ratio=0.5, seg_scale_factor=1 / 8, **usual),
    test=dict(img_scale=(1333, 700), flip_ratio=0, test_mode=True, **usual))
"""
    (tmp_path / "old.py").write_text(model + data + schedule)
    found = config_from_mmdet(tmp_path / "old.py")
    assert found.model.image == dataclasses.replace(
        PRESETS["htc_r50_1x"].image, train_short=(640, 800), short=700
    )
    assert found.schedule == ONE_X
    (tmp_path / "old.py").write_text(model + data.replace("flip_ratio=0.5", "extra_aug=dict(a=1)") + schedule)
    with pytest.raises(InputError, match=r"data\.train\.pipeline\..*extra_aug"):
        config_from_mmdet(tmp_path / "old.py")
