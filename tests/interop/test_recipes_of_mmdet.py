"""Training recipes of mmdet 3 configs: rates, factors for parts of the model, sizes, flips and colours."""

import dataclasses

import pytest

from htc_lab.data.image_config import ColourConfig
from htc_lab.errors import InputError
from htc_lab.interop.mmdet_config import config_from_mmdet
from htc_lab.presets import ONE_X, PRESETS
from htc_lab.schedule import PartRates
from tests.interop.configs import child, tree

WARM_UP = "dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500)"


@pytest.fixture
def models(tmp_path):
    return tree(tmp_path)


@pytest.mark.parametrize(
    ("schedulers", "changes"),
    [
        (
            "dict(type='CosineAnnealingLR', T_max=12)",
            {"curve": "cosine", "curve_levels": 12},
        ),
        (
            "dict(type='CosineAnnealingLR', begin=6, T_max=6, eta_min=2e-3, convert_to_iter_based=True)",
            {"curve": "cosine", "curve_from": 0.5, "curve_end": 0.1},
        ),
        (
            "dict(type='CosineAnnealingLR', begin=1, end=12, T_max=12)",
            {"curve": "cosine", "curve_from": 1 / 12, "curve_to": 13 / 12, "curve_levels": 12},
        ),
        (
            "dict(type='CosineAnnealingLR', eta_min_ratio=0.25)",
            {"curve": "cosine", "curve_levels": 12, "curve_end": 0.25},
        ),
        (
            "dict(type='PolyLR', power=0.9, end=12)",
            {"curve": "polynomial", "curve_levels": 12, "curve_to": 11 / 12, "power": 0.9},
        ),
        ("dict(type='StepLR', step_size=4, gamma=0.5)", {"decay_at": (4 / 12, 8 / 12), "decay": 2.0}),
        ("dict(type='MultiStepLR', milestones=[8, 11, 15])", {"decay_at": (8 / 12, 11 / 12)}),
        ("dict(type='MultiStepLR', milestones=[8, 11], end=10)", {"decay_at": (8 / 12,)}),
    ],
)
def test_rates(models, schedulers, changes):
    text = f"param_scheduler = [{WARM_UP}, {schedulers}]"
    found = config_from_mmdet(child(models, "mine", "htc", text)).schedule
    assert found == dataclasses.replace(ONE_X, **{"decay_at": (), **changes})


@pytest.mark.parametrize(
    ("warm_up", "changes"),
    [
        ("dict(type='LinearLR', by_epoch=False, end=100)", {"warmup_steps": 100, "warmup_from": 1 / 3}),
        (
            "dict(type='ConstantLR', factor=0.1, by_epoch=False, end=100)",
            {"warmup_steps": 100, "warmup_from": 0.1, "warmup": "constant"},
        ),
    ],
)
def test_warm_ups(models, warm_up, changes):
    text = f"param_scheduler = [{warm_up}, _base_.param_scheduler[1]]"
    found = config_from_mmdet(child(models, "mine", "htc", text)).schedule
    assert found == dataclasses.replace(ONE_X, **changes)


def test_a_training_counted_in_steps(models):
    text = (
        "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=1000)\n"
        "train_dataloader = dict(sampler=dict(type='InfiniteSampler'))\n"
        f"param_scheduler = [{WARM_UP}, dict(type='MultiStepLR', milestones=[600, 900], by_epoch=False)]"
    )
    found = config_from_mmdet(child(models, "mine", "htc", text)).schedule
    assert found == dataclasses.replace(ONE_X, steps=1000, decay_at=(0.6, 0.9))


def test_factors_of_parts(models):
    text = """
optim_wrapper = dict(paramwise_cfg=dict(
    custom_keys={'backbone': dict(lr_mult=0.1), 'backbone.layer4': dict(lr_mult=0.5, decay_mult=0.0)},
    norm_decay_mult=0.0, bias_lr_mult=2.0, bias_decay_mult=0, bypass_duplicate=True))"""
    found = config_from_mmdet(child(models, "mine", "htc", text)).schedule
    assert found == dataclasses.replace(
        ONE_X,
        parts=(PartRates("backbone", 0.1), PartRates("backbone.layer4", 0.5, 0.0)),
        norm_decay=0.0,
        bias_lr=2.0,
        bias_decay=0.0,
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("param_scheduler = [dict(type='OneCycleLR', eta_max=1)]", "param_scheduler.0=.*OneCycleLR"),
        (
            "param_scheduler = [dict(type='MultiStepLR', milestones=[9], begin=2)]",
            "param_scheduler.0.begin=2",
        ),
        (
            "param_scheduler = [dict(type='MultiStepLR', milestones=[9], by_epoch=False)]",
            r"by_epoch=False \(the training is counted in epochs",
        ),
        ("param_scheduler = [dict(type='CosineAnnealingLR', T_max=5)]", "T_max=5"),
        ("param_scheduler = [dict(type='CosineAnnealingLR', T_max=6, end=6)]", "end=6"),
        ("param_scheduler = [dict(type='PolyLR')]", "at most 1000 times as long"),
        ("param_scheduler = _base_.param_scheduler + [dict(type='PolyLR', end=12)]", "one scheduler besides"),
        ("optim_wrapper = dict(paramwise_cfg=dict(dcn_offset_lr_mult=0.1))", "dcn_offset_lr_mult=0.1"),
        (
            "optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'a': dict(eps=1)}))",
            "custom_keys.*only lr_mult",
        ),
        ("optim_wrapper = dict(paramwise_cfg=dict(num_layers=12))", "paramwise_cfg.num_layers=12"),
        (
            "optim_wrapper = dict(constructor='LearningRateDecayOptimizerConstructor')",
            "constructor='Learning",
        ),
    ],
)
def test_rates_without_an_equivalent_are_named(models, text, says):
    with pytest.raises(InputError, match=says):
        config_from_mmdet(child(models, "mine", "htc", text))


FLIP = "dict(type='RandomFlip', prob=0.5)"


def _image(models, *steps):
    text = f"train_dataloader = dict(dataset=dict(pipeline=[{', '.join(steps)}]))"
    return config_from_mmdet(child(models, "mine", "htc", text)).model.image


@pytest.mark.parametrize(
    ("resize", "changes"),
    [
        (
            "dict(type='RandomResize', scale=[(1333, 640), (1333, 800)], keep_ratio=True)",
            {"train_short": tuple(range(640, 801))},
        ),
        (
            "dict(type='RandomResize', scale=[(20, 20), (22, 22)], keep_ratio=True)",
            {"train_short": (20, 21, 22), "train_longs": (20, 21, 22), "train_long": 22},
        ),
        (
            "dict(type='RandomChoiceResize', scales=[(1333, 640), (1333, 800)], keep_ratio=True)",
            {"train_short": (640, 800)},
        ),
        (
            "dict(type='RandomChoiceResize', scales=[(600, 400), (512, 512), 300], keep_ratio=True)",
            {
                "train_pairs": ((400, 600), (512, 512), (300, 300)),
                "train_short": (400,),
                "train_long": 600,
            },
        ),
        (
            "dict(type='RandomResize', scale=(10, 5), ratio_range=(0.8, 1.2), keep_ratio=True)",
            {
                "train_pairs": ((4, 8), (4, 9), (5, 10), (5, 11), (6, 12)),
                "train_short": (6,),
                "train_long": 12,
            },
        ),
    ],
)
def test_sizes(models, resize, changes):
    assert _image(models, resize, FLIP) == dataclasses.replace(PRESETS["htc_r50_1x"].image, **changes)


RESIZE = "dict(type='Resize', scale=(1333, 800), keep_ratio=True)"


@pytest.mark.parametrize(
    ("flips", "chances"),
    [
        (["prob=0.5, direction='vertical'"], (0, 0.5, 0)),
        (["prob=0.6, direction=['horizontal', 'vertical', 'diagonal']"], (0.2, 0.2, 0.2)),
        (["prob=[0.3, 0.5], direction=['horizontal', 'vertical']"], (0.3, 0.5, 0)),
        # Two draws, each on its own: both happen in a quarter of the cases.
        (["prob=0.5", "prob=0.5, direction='vertical'"], (0.25, 0.25, 0.25)),
        (["prob=1.0", "prob=1.0"], (0, 0, 0)),
        ([], (0, 0, 0)),
    ],
)
def test_flips(models, flips, chances):
    image = _image(models, RESIZE, *(f"dict(type='RandomFlip', {flip})" for flip in flips))
    assert (image.flip, image.flip_vertical, image.flip_both) == pytest.approx(chances)


def test_colours(models):
    assert _image(models, RESIZE, "dict(type='PhotoMetricDistortion')").colour == ColourConfig()
    step = "dict(type='PhotoMetricDistortion', brightness_delta=9, contrast_range=(0.9, 1.1), hue_delta=5)"
    assert _image(models, RESIZE, step).colour == ColourConfig(9.0, (0.9, 1.1), hue=5.0)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("dict(type='RandomFlip', prob=0.5, direction='sideways')", "direction='sideways'"),
        ("dict(type='RandomFlip')", r"pipeline\.1\.prob is missing"),
        ("dict(type='RandomFlip', prob=1.5)", "prob is 1.5, but must be a probability"),
        ("dict(type='RandomCrop', crop_size=(9, 9))", "RandomCrop"),
        ("dict(type='Pad', size_divisor=32)", "'Pad'"),
        ("dict(type='PhotoMetricDistortion', swap=False)", "swap=False"),
    ],
)
def test_steps_without_an_equivalent_are_named(models, step, says):
    with pytest.raises(InputError, match=says):
        _image(models, RESIZE, step)
