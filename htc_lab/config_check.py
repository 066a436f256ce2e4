"""Which numbers of a config make sense: one read from a file is held to these before anything is built."""

import math
from typing import Any

from htc_lab.config import ModelConfig, Schedule

Range = tuple[int | float, int | float]

_SHARE: Range = (0, 1)
_WEIGHT: Range = (0, 1e6)
_SIDE: Range = (1, 100_000)
_ABOVE: Range = (1e-6, 1e6)
_WIDE: Range = (1, 65_536)

_MODEL: dict[str, Range] = {
    "classes": (1, 100_000),
    "image.std": _ABOVE,
    "image.mean": (-1e6, 1e6),
    "image.short": _SIDE,
    "image.long": _SIDE,
    "image.train_short": _SIDE,
    "image.train_long": _SIDE,
    "image.flip": _SHARE,
    "image.pad": (1, 4096),
    "backbone.width": _WIDE,
    "backbone.groups": _WIDE,
    "backbone.group_width": _WIDE,
    "backbone.frozen_stages": (-1, 4),
    "backbone.deformable": (2, 4),
    "backbone.deform_groups": _WIDE,
    "fpn.channels": _WIDE,
    "fpn.levels": (4, 8),
    "rpn.anchor_scale": _ABOVE,
    "rpn.anchor_ratios": _ABOVE,
    "rpn.anchor_offset": (-1, 1),
    "rpn.positive_iou": _SHARE,
    "rpn.negative_iou": _SHARE,
    "rpn.low_quality_iou": _SHARE,
    "rpn.samples": (1, 1e6),
    "rpn.positive_fraction": _SHARE,
    "rpn.negatives_per_positive": (-1, 1e6),
    "rpn.allowed_border": (-1, 1e6),
    "rpn.cls_weight": _WEIGHT,
    "rpn.box_weight": _WEIGHT,
    "rpn.smooth_l1_beta": (0, 1e6),
    "rpn.nms_iou": _SHARE,
    "rpn.train_before_nms": (1, 1e7),
    "rpn.train_after_nms": (1, 1e7),
    "rpn.test_before_nms": (1, 1e7),
    "rpn.test_after_nms": (1, 1e7),
    "rpn.min_size": (0, 1e6),
    "rpn.stds": _ABOVE,
    "rpn.means": (-1e6, 1e6),
    "rpn.largest_ratio": (1, 1e6),
    "cascade.box_size": (1, 128),
    "cascade.mask_size": (1, 256),
    "cascade.finest_scale": _SIDE,
    "cascade.pooled_levels": (1, 8),
    "cascade.sampling_ratio": (0, 64),
    "cascade.fc_channels": _WIDE,
    "cascade.fcs": (1, 16),
    "cascade.mask_channels": _WIDE,
    "cascade.mask_convs": (1, 64),
    "cascade.samples": (1, 1e6),
    "cascade.positive_fraction": _SHARE,
    "cascade.negatives_per_positive": (-1, 1e6),
    "cascade.cls_weight": _WEIGHT,
    "cascade.box_weight": _WEIGHT,
    "cascade.mask_weight": _WEIGHT,
    "cascade.smooth_l1_beta": (0, 1e6),
    "cascade.score_threshold": _SHARE,
    "cascade.nms_iou": _SHARE,
    "cascade.max_detections": (1, 1e6),
    "cascade.mask_threshold": _SHARE,
    "semantic.classes": (1, 254),
    "semantic.channels": _WIDE,
    "semantic.convs": (0, 64),
    "semantic.level": (0, 7),
    "semantic.loss_weight": _WEIGHT,
}

_STAGE: dict[str, Range] = {
    "iou": _SHARE,
    "stds": _ABOVE,
    "means": (-1e6, 1e6),
    "loss_weight": _WEIGHT,
    "largest_ratio": (1, 1e6),
}

_SCHEDULE: dict[str, Range] = {
    "epochs": (1, 1e9),
    "steps": (1, 1e12),
    "batch": (1, 1e6),
    "lr": (0, 1e6),
    "lr_batch": (1, 1e6),
    "momentum": _SHARE,
    "weight_decay": _WEIGHT,
    "decay_at": _SHARE,
    "decay": _ABOVE,
    "warmup_steps": (0, 1e12),
    "warmup_from": _SHARE,
    "clip_norm": (0, 1e12),
    "min_size": (0, 1e6),
    "accumulate": (1, 1e6),
}

_NEEDED = ("image.train_short", "rpn.anchor_ratios")


def model_fault(config: ModelConfig) -> str | None:
    """What is wrong with a model's config: ".field: what; mend", or None."""
    fault = _first_fault(config, _MODEL)
    for i, stage in enumerate(config.cascade.stages):
        inner = _first_fault(stage, _STAGE)
        fault = fault or (inner and f".cascade.stages[{i}]{inner}")
    if fault:
        return fault
    for path in _NEEDED:
        if not _at(config, path):
            return f".{path}: is empty; give at least one number"
    if not config.toggles.stages <= len(config.cascade.stages) <= 3:
        return (
            f".cascade.stages: has {len(config.cascade.stages)} entries; give {config.toggles.stages} to 3, "
            "or lower toggles.stages"
        )
    for path in ("semantic.level", "cascade.pooled_levels"):
        most = config.fpn.levels - (path == "semantic.level")
        if _at(config, path) > most:
            levels = f"fpn.levels is {config.fpn.levels}"
            return f".{path}: is {_at(config, path)}; it must be at most {most}, {levels}"
    if config.rpn.negative_iou > config.rpn.positive_iou:
        return ".rpn.negative_iou: is above rpn.positive_iou; it must be at most that"
    return None


def schedule_fault(schedule: Schedule) -> str | None:
    """What is wrong with a schedule: ".field: what; mend", or None."""
    return _first_fault(schedule, _SCHEDULE)


def _at(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config


def _first_fault(config: Any, ranges: dict[str, Range]) -> str | None:
    for path, (low, high) in ranges.items():
        found = _at(config, path)
        for value in found if isinstance(found, tuple) else (found,):
            if value is not None and not (low <= value <= high and math.isfinite(value)):
                return f".{path}: is {value:.10g}; it must be from {low:g} to {high:g}"
    return None
