"""The models that have a name, as plain constants, and the schedules they are trained with."""

import dataclasses

from htc_lab.config import (
    MASK_FLOW,
    PLAIN_CASCADE,
    BackboneConfig,
    CascadeConfig,
    FPNConfig,
    ImageConfig,
    ModelConfig,
    RPNConfig,
    Schedule,
    SemanticConfig,
)
from htc_lab.errors import InputError

ONE_X = Schedule()
TWENTY_EPOCHS = Schedule(epochs=20, decay_at=(16 / 20, 19 / 20))

_R50 = BackboneConfig()
_R101 = BackboneConfig(depth=101)
_X101_32 = BackboneConfig(depth=101, groups=32, group_width=4)
_X101_64 = BackboneConfig(depth=101, groups=64, group_width=4)
_CASCADE_TEST = CascadeConfig(low_quality_matches=False, score_threshold=0.05)


def _cascade_mask_rcnn(name: str, backbone: BackboneConfig) -> ModelConfig:
    return ModelConfig(name, toggles=PLAIN_CASCADE, backbone=backbone, cascade=_CASCADE_TEST)


# A cascade for 128-px scenes that a laptop trains in minutes: the same wiring, every part narrower. Most of
# its arithmetic is mask heads, so these are the ones to keep small.
CLASSROOM = ModelConfig(
    "classroom",
    classes=6,
    image=ImageConfig(short=160, long=240, train_short=(160,), train_long=240),
    backbone=BackboneConfig(depth=18, width=32),
    fpn=FPNConfig(channels=48, levels=4),
    rpn=RPNConfig(
        anchor_scale=4.0,
        samples=64,
        train_before_nms=200,
        train_after_nms=200,
        test_before_nms=200,
        test_after_nms=100,
    ),
    cascade=CascadeConfig(
        finest_scale=28,
        pooled_levels=3,
        sampling_ratio=2,
        fc_channels=128,
        mask_channels=32,
        mask_convs=2,
        samples=32,
        max_detections=50,
        score_threshold=0.01,
    ),
    semantic=SemanticConfig(classes=12, channels=48, convs=2, level=0, loss_weight=0.2, mean_over_valid=True),
)

CLASSROOM_SCHEDULE = Schedule(
    steps=1000,
    batch=4,
    lr=0.002,
    lr_batch=4,
    adaptive=True,
    decay_at=(0.7, 0.9),
    warmup_steps=20,
    clip_norm=10.0,
    min_size=16,
)

PRESETS: dict[str, ModelConfig] = {
    "classroom": CLASSROOM,
    "cascade_r50_1x": _cascade_mask_rcnn("cascade_r50_1x", _R50),
    "cascade_r50_20e": _cascade_mask_rcnn("cascade_r50_20e", _R50),
    "cascade_r101_20e": _cascade_mask_rcnn("cascade_r101_20e", _R101),
    "cascade_x101_32x4d_20e": _cascade_mask_rcnn("cascade_x101_32x4d_20e", _X101_32),
    "cascade_x101_64x4d_20e": _cascade_mask_rcnn("cascade_x101_64x4d_20e", _X101_64),
    "htc_without_semantic_r50_1x": ModelConfig("htc_without_semantic_r50_1x", toggles=MASK_FLOW),
    "htc_r50_1x": ModelConfig("htc_r50_1x"),
    "htc_r50_20e": ModelConfig("htc_r50_20e"),
    "htc_r101_20e": ModelConfig("htc_r101_20e", backbone=_R101),
    "htc_x101_32x4d_20e": ModelConfig("htc_x101_32x4d_20e", backbone=_X101_32),
    "htc_x101_64x4d_20e": ModelConfig("htc_x101_64x4d_20e", backbone=_X101_64),
    "htc_x101_64x4d_dcn_ms_20e": ModelConfig(
        "htc_x101_64x4d_dcn_ms_20e",
        image=ImageConfig(train_short=tuple(range(400, 1401)), train_long=1600),
        backbone=dataclasses.replace(_X101_64, deformable=(2, 3, 4)),
    ),
}


def preset(name: str) -> ModelConfig:
    """The preset of that name.

    Raises:
        InputError: no such preset; the message lists them.
    """
    if name not in PRESETS:
        raise InputError(f"--preset {name}: no such preset; take one of {', '.join(PRESETS)}")
    return PRESETS[name]


def schedule_of(preset_name: str) -> Schedule:
    """The schedule a preset is trained with."""
    if preset_name == "classroom":
        return CLASSROOM_SCHEDULE
    return ONE_X if preset_name.endswith("1x") else TWENTY_EPOCHS
