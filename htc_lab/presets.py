"""The models that have a name: each one's numbers, its schedule, and what its released weights reach."""

import dataclasses
from dataclasses import dataclass

from htc_lab.config import (
    MASK_FLOW,
    PLAIN_CASCADE,
    BackboneConfig,
    CascadeConfig,
    FPNConfig,
    ImageConfig,
    ModelConfig,
    NormConfig,
    RPNConfig,
    SemanticConfig,
    SENetConfig,
    TimmBackboneConfig,
)
from htc_lab.errors import InputError
from htc_lab.schedule import Schedule

RELEASED_BY = "mmdet 3.3.0 model zoo (configs/htc/metafile.yml, configs/cascade_rcnn/metafile.yml)"


@dataclass(frozen=True)
class Released:
    """What the reference's released weights reach on COCO val2017, single scale, as ``RELEASED_BY`` says.

    Attributes:
        box_ap, mask_ap: in percent.
        memory_gb: of one GPU in training, with the images a GPU of the released run.
        images_per_second: at 800 x 1333 px, batch 1, on a V100.
    """

    box_ap: float
    mask_ap: float
    memory_gb: float | None = None
    images_per_second: float | None = None


@dataclass(frozen=True)
class Preset:
    """A model that has a name, which is ``config.name``.

    Attributes:
        config: its numbers.
        schedule: how it is trained.
        released: None if the reference has released no weights of this model; ``htc_lab.data.fetch.released``
            names the files.
    """

    config: ModelConfig
    schedule: Schedule
    released: Released | None = None


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

# The classroom's heads behind a backbone that knows photographs and isn't trained. A street has a hundred
# windows: more boxes at every point, and anchors from 8 px to 256 px.
PHOTOS = dataclasses.replace(
    CLASSROOM,
    name="photos",
    classes=5,
    image=ImageConfig(
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        short=1024,
        long=1536,
        train_short=(1024,),
        train_long=1536,
    ),
    backbone=TimmBackboneConfig("tf_efficientnet_lite0", frozen_stages=None),
    fpn=FPNConfig(channels=48, levels=6),
    rpn=dataclasses.replace(
        CLASSROOM.rpn,
        anchor_scale=2.0,
        samples=256,
        train_before_nms=600,
        train_after_nms=300,
        test_before_nms=600,
        test_after_nms=300,
    ),
    cascade=dataclasses.replace(CLASSROOM.cascade, samples=128, max_detections=150),
    semantic=dataclasses.replace(CLASSROOM.semantic, classes=11),
)

PHOTOS_SCHEDULE = dataclasses.replace(
    CLASSROOM_SCHEDULE, warmup_steps=50, min_size=32, cached_features=True, crop=512
)

_DCN_MS = ModelConfig(
    "htc_x101_64x4d_dcn_ms_20e",
    image=ImageConfig(train_short=tuple(range(400, 1401)), train_long=1600),
    backbone=dataclasses.replace(_X101_64, deformable=(2, 3, 4)),
)

# Table 6 of the paper up to its largest backbone: deformable in the last layer, norms that learn from all
# processes, many sizes. Nobody has released weights of it.
_SYNC = NormConfig("sync")
_SENET = ModelConfig(
    "htc_senet154_dcn_syncbn_ms_20e",
    image=_DCN_MS.image,
    backbone=SENetConfig(frozen_norm=False, deformable=(4,)),
    fpn=FPNConfig(norm=_SYNC),
    cascade=CascadeConfig(box_convs=4, fcs=1, box_norm=_SYNC, mask_norm=_SYNC),
    semantic=SemanticConfig(norm=_SYNC),
)

_ALL = (
    Preset(CLASSROOM, CLASSROOM_SCHEDULE),
    Preset(PHOTOS, PHOTOS_SCHEDULE),
    Preset(_cascade_mask_rcnn("cascade_r50_1x", _R50), ONE_X, Released(41.2, 35.9, 6.0, 11.2)),
    Preset(_cascade_mask_rcnn("cascade_r50_20e", _R50), TWENTY_EPOCHS, Released(41.9, 36.5, 6.0, 11.2)),
    Preset(_cascade_mask_rcnn("cascade_r101_20e", _R101), TWENTY_EPOCHS, Released(43.4, 37.8, 7.9, 9.8)),
    Preset(
        _cascade_mask_rcnn("cascade_x101_32x4d_20e", _X101_32), TWENTY_EPOCHS, Released(45.0, 39.0, 9.2, 8.6)
    ),
    Preset(_cascade_mask_rcnn("cascade_x101_64x4d_20e", _X101_64), TWENTY_EPOCHS, Released(45.6, 39.5, 12.2)),
    Preset(ModelConfig("htc_without_semantic_r50_1x", toggles=MASK_FLOW), ONE_X),
    Preset(ModelConfig("htc_r50_1x"), ONE_X, Released(42.3, 37.4, 8.2, 5.8)),
    Preset(ModelConfig("htc_r50_20e"), TWENTY_EPOCHS, Released(43.3, 38.3, 8.2, 5.8)),
    Preset(ModelConfig("htc_r101_20e", backbone=_R101), TWENTY_EPOCHS, Released(44.8, 39.6, 10.2, 5.5)),
    Preset(
        ModelConfig("htc_x101_32x4d_20e", backbone=_X101_32), TWENTY_EPOCHS, Released(46.1, 40.5, 11.4, 5.0)
    ),
    Preset(
        ModelConfig("htc_x101_64x4d_20e", backbone=_X101_64), TWENTY_EPOCHS, Released(47.0, 41.4, 14.5, 4.4)
    ),
    Preset(_DCN_MS, TWENTY_EPOCHS, Released(50.4, 43.8)),
    Preset(_SENET, dataclasses.replace(TWENTY_EPOCHS, sync_norm=True)),
)

PRESET_RECORDS: dict[str, Preset] = {one.config.name: one for one in _ALL}
"""Name -> all that is known of a preset."""

PRESETS: dict[str, ModelConfig] = {name: one.config for name, one in PRESET_RECORDS.items()}
"""Name -> what ``build_model`` takes."""


def preset(name: str) -> ModelConfig:
    """The preset of that name.

    Raises:
        InputError: no such preset; the message lists them.
    """
    return _record(name).config


def schedule_of(preset_name: str) -> Schedule:
    """The schedule a preset is trained with; raises InputError like its sibling."""
    return _record(preset_name).schedule


def _record(name: str) -> Preset:
    if name not in PRESET_RECORDS:
        raise InputError(f"--preset {name}: no such preset; take one of {', '.join(PRESET_RECORDS)}")
    return PRESET_RECORDS[name]
