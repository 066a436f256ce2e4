"""Our config for a recorded case: its shapes say what was built, its name and overrides how it was run."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from htc_lab.config import HTC, ModelConfig
from htc_lab.errors import InputError
from htc_lab.ideas import IDEAS, SEMANTIC_BRANCH
from htc_lab.interop.shapes import config_from_shapes
from htc_lab.presets import PRESETS

# What a family does that no shape shows: score threshold, low-quality matches, toggles.
_FAMILIES = {
    "htc": "htc_r50_1x",
    "cascade-mask-rcnn": "cascade_r50_1x",
    "cascade_mask_rcnn": "cascade_r50_1x",
}

# Ideas by the reference's names: arguments of the RoI head, and what the semantic feature is fused with.
_SWITCHES = {idea.mmdet: idea.field for idea in IDEAS if idea.mmdet and idea.needs != SEMANTIC_BRANCH}
_FUSED = {idea.mmdet: idea.field for idea in IDEAS if idea.mmdet and idea.needs == SEMANTIC_BRANCH}

# Overrides that set one field of ours, by the reference's name for them (without "model.").
_FIELDS = {
    **{f"roi_head.{name}": f"toggles.{field}" for name, field in _SWITCHES.items()},
    "roi_head.semantic_head.loss_seg.loss_weight": "semantic.loss_weight",
    "roi_head.semantic_head.loss_seg.avg_non_ignore": "semantic.mean_over_valid",
    "rpn_head.loss_cls.loss_weight": "rpn.cls_weight",
    "rpn_head.loss_bbox.loss_weight": "rpn.box_weight",
    "rpn_head.loss_bbox.beta": "rpn.smooth_l1_beta",
    "train_cfg.rpn.allowed_border": "rpn.allowed_border",
    "train_cfg.rpn.assigner.pos_iou_thr": "rpn.positive_iou",
    "train_cfg.rpn.assigner.neg_iou_thr": "rpn.negative_iou",
    "train_cfg.rpn.assigner.min_pos_iou": "rpn.low_quality_iou",
    "train_cfg.rpn.assigner.match_low_quality": "rpn.low_quality_matches",
    "test_cfg.rpn.nms_pre": "rpn.test_before_nms",
    "test_cfg.rpn.max_per_img": "rpn.test_after_nms",
    "test_cfg.rpn.nms.iou_threshold": "rpn.nms_iou",
    "test_cfg.rpn.min_bbox_size": "rpn.min_size",
    "test_cfg.rcnn.score_thr": "cascade.score_threshold",
    "test_cfg.rcnn.nms.iou_threshold": "cascade.nms_iou",
    "test_cfg.rcnn.max_per_img": "cascade.max_detections",
    "test_cfg.rcnn.mask_thr_binary": "cascade.mask_threshold",
    "data_preprocessor.mean": "image.mean",
    "data_preprocessor.std": "image.std",
}

# Overrides that the weights show: what they say must be what the shapes say.
_SEEN: dict[str, Callable[[ModelConfig], object]] = {
    "backbone.type": lambda c: "ResNet" if c.backbone.groups == 1 else "ResNeXt",
    "backbone.depth": lambda c: c.backbone.depth,
    "backbone.groups": lambda c: c.backbone.groups,
    "backbone.base_width": lambda c: c.backbone.group_width,
    "backbone.base_channels": lambda c: c.backbone.width,
    "backbone.dcn.deform_groups": lambda c: c.backbone.deform_groups,
    "backbone.stage_with_dcn": lambda c: [i in c.backbone.deformable for i in (1, 2, 3, 4)],
}

# Overrides without effect on what is recorded: where weights came from, what has a gradient, how many anchors
# are drawn (the recordings take all).
_NO_EFFECT = (
    "backbone.init_cfg",
    "backbone.pretrained",
    "backbone.frozen_stages",
    "backbone.with_cp",
    "train_cfg.rpn.sampler.num",
)


def recorded_config(meta: dict[str, Any], path: Path, padded: bool) -> tuple[ModelConfig, ModelConfig]:
    """Our configs for a case.

    Args:
        meta: the recording's.
        path: for messages.
        padded: the picture was padded to a multiple of 32, not taken as it is.

    Returns:
        The config the case was run with, and the one that has every part its weights have: a part may be
        there and switched off.

    Raises:
        InputError: a config or an override this program doesn't know, or one that the shapes contradict.
    """
    shapes = {name: tuple(shape) for name, shape in meta["shapes"].items()}
    name = str(meta["config"])
    stem = name.rsplit("/", 1)[-1].removesuffix(".py")
    families = [family for family in _FAMILIES if stem.startswith(family)]
    if not families or "caffe" in stem or "32x8d" in stem:
        known = ", ".join(f"{family}_*" for family in _FAMILIES)
        raise InputError(
            f"{path}: config '{name}' is not one this program knows; it takes {known} of the pytorch style"
        )
    family = PRESETS[_FAMILIES[families[0]]]
    seen = config_from_shapes(shapes, stem, str(path))
    there = {idea.field: idea.needs in seen.toggles.parts for idea in IDEAS if idea.needs is not None}
    config = dataclasses.replace(
        seen,
        toggles=dataclasses.replace(family.toggles, **there),
        image=dataclasses.replace(family.image, pad=family.image.pad if padded else 1),
        cascade=dataclasses.replace(
            seen.cascade,
            low_quality_matches=family.cascade.low_quality_matches,
            score_threshold=family.cascade.score_threshold,
        ),
    )
    parts = dataclasses.replace(HTC, **there)
    for override, value in _flat(meta.get("overrides") or {}):
        config = _overridden(config, override.removeprefix("model."), value, path)
    return config, dataclasses.replace(config, toggles=parts)


def _flat(overrides: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in overrides.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _overridden(config: ModelConfig, name: str, value: Any, path: Path) -> ModelConfig:
    if name in _NO_EFFECT:
        return config
    if name in _SEEN:
        shown = _SEEN[name](config)
        said = [bool(v) for v in value] if isinstance(shown, list) else value
        if said != shown:
            raise InputError(f"{path}: override '{name}' is {said}, but the shapes show {shown}")
        return config
    if name in _FIELDS:
        return _with_field(config, _FIELDS[name], tuple(value) if isinstance(value, list) else value)
    toggles = config.toggles
    match name, value:
        case (switch, _) if switch in _SWITCHES:
            return _overridden(config, f"roi_head.{switch}", value, path)
        case ("roi_head.semantic_fusion" | "semantic_fusion", _):
            into = [value] if isinstance(value, str) else list(value or ())
            if not set(into) <= set(_FUSED):
                known = " and ".join(_FUSED)
                raise InputError(f"{path}: override '{name}' is {value}; this program knows {known}")
            on = {field: toggles.semantic and head in into for head, field in _FUSED.items()}
            return dataclasses.replace(config, toggles=dataclasses.replace(toggles, **on))
        case ("roi_head.semantic_head" | "roi_head.semantic_roi_extractor", None) if not toggles.semantic:
            return config
        case ("backbone.dcn", None) if not config.backbone.deformable:
            return config
        case (part, False) if part.endswith(".with_conv_res") and not toggles.mask_flow:
            return config
        case ("backbone.dcn.type", "DCN") | ("backbone.dcn.fallback_on_stride", False):
            return config
        case ("roi_head.stage_loss_weights", [_, _, _]):
            stages = tuple(
                dataclasses.replace(stage, loss_weight=float(weight))
                for stage, weight in zip(config.cascade.stages, value, strict=True)
            )
            return dataclasses.replace(config, cascade=dataclasses.replace(config.cascade, stages=stages))
    raise InputError(f"{path}: override '{name}' = {value!r} is not one this program knows")


def _with_field(config: ModelConfig, field: str, value: Any) -> ModelConfig:
    part, name = field.split(".")
    changed = dataclasses.replace(getattr(config, part), **{name: value})
    return dataclasses.replace(config, **{part: changed})
