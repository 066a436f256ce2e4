"""What mmdet takes where a config sets nothing, and the names that settings once had.

A default of the lab in the place of mmdet's would be another model. So what is absent is filled in here, with
the defaults of mmdet 3.3.0's and mmcv 2.1.0's classes, before anything is read; and what is written out but
is the default, of settings this lab doesn't have, is left out, for it changes nothing.
"""

import copy
from typing import Any

_PACKAGES = ("mmdet", "mmcv", "mmengine", "torch")
# A dumped config names classes; these have another name where a config is written by hand.
_CLASSES = {
    "BatchNorm2d": "BN",
    "SyncBatchNorm": "SyncBN",
    "GroupNorm": "GN",
    "DeformConv2dPack": "DCN",
    "ModulatedDeformConv2dPack": "DCNv2",
    "ConvTranspose2d": "deconv",
}

_SOFTMAX = {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0}
_SIGMOID = {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0}
_MASKS = {"type": "CrossEntropyLoss", "use_mask": True, "loss_weight": 1.0}
_MAPS = {"type": "CrossEntropyLoss", "ignore_index": 255, "loss_weight": 0.2}
_CODER = {"type": "DeltaXYWHBBoxCoder", "clip_border": True, "target_means": [0.0, 0.0, 0.0, 0.0]}

# What is used where the config has no such part, by the part it would be in.
_RPN = {
    "anchor_generator": {
        "type": "AnchorGenerator",
        "scales": [8, 16, 32],
        "ratios": [0.5, 1.0, 2.0],
        "strides": [4, 8, 16, 32, 64],
    },
    "bbox_coder": {**_CODER, "target_stds": [1.0, 1.0, 1.0, 1.0]},
    "loss_cls": _SIGMOID,
    "loss_bbox": {"type": "SmoothL1Loss", "beta": 1.0 / 9.0, "loss_weight": 1.0},
}
_BOX_HEAD = {
    "bbox_coder": {**_CODER, "target_stds": [0.1, 0.1, 0.2, 0.2]},
    "loss_cls": _SOFTMAX,
    "loss_bbox": {"type": "SmoothL1Loss", "beta": 1.0, "loss_weight": 1.0},
}
_MASK_HEAD = {"loss_mask": _MASKS}
_SEMANTIC_HEAD = {"loss_seg": _MAPS}
_PREPROCESSOR = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}

# Settings without a field here, by the type they belong to, with the value that says nothing.
_SAYS_NOTHING: dict[str, dict[str, Any]] = {
    "SmoothL1Loss": {"reduction": "mean"},
    "CrossEntropyLoss": {"reduction": "mean"},
    "FPN": {"upsample_cfg": {"mode": "nearest"}},
    "RPNHead": {"num_classes": 1, "reg_decoded_bbox": False},
    "AnchorGenerator": {"scale_major": True, "use_box_type": False},
    "DeltaXYWHBBoxCoder": {"ctr_clamp": 32, "use_box_type": False},
    "MaxIoUAssigner": {
        "gt_max_assign_all": True,
        "ignore_wrt_candidates": True,
        "iou_calculator": {"type": "BboxOverlaps2D"},
    },
    "RoIAlign": {"use_torchvision": False, "spatial_scale": 1.0},
    "Shared2FCBBoxHead": {
        "with_cls": True,
        "with_reg": True,
        "predict_box_type": "hbox",
        "cls_predictor_cfg": {"type": "Linear"},
        "reg_predictor_cfg": {"type": "Linear"},
    },
    "FCNMaskHead": {"predictor_cfg": {"type": "Conv"}},
    "HTCMaskHead": {"predictor_cfg": {"type": "Conv"}},
    "DetDataPreprocessor": {"boxtype2tensor": True},
}
# How much memory is used, or what is printed.
_IDLE = {
    "MaxIoUAssigner": ("gpu_assign_thr",),
    "nms": ("split_thr",),
    "DetDataPreprocessor": ("non_blocking",),
}


def plain_types(value: Any) -> Any:
    """The same with classes of OpenMMLab and torch by their bare name, as in ``mmdet.models.FPN``."""
    if isinstance(value, dict):
        return {
            key: _bare(item) if _is_type(key) and isinstance(item, str) else plain_types(item)
            for key, item in value.items()
            if key != "_scope_"
        }
    if isinstance(value, list | tuple):
        return type(value)(plain_types(item) for item in value)
    return value


def _is_type(key: Any) -> bool:
    return isinstance(key, str) and (key == "type" or key.endswith("_type"))


def _bare(name: str) -> str:
    """Only of classes that are what they are here: another package's FPN may be something else."""
    package, dot, _ = name.partition(".")
    if not dot or package not in _PACKAGES:
        return name
    last = name.rpartition(".")[2]
    return _CLASSES.get(last, last)


def complete(model: dict[str, Any]) -> None:
    """Fill in mmdet's defaults and today's names; ``model`` (mmdet 3's layout) is changed."""
    _fill(model.get("data_preprocessor"), _PREPROCESSOR)
    backbone = model.get("backbone")
    if isinstance(backbone, dict) and isinstance(backbone.get("dcn"), dict):
        _deformable(backbone["dcn"])
    rpn = model.get("rpn_head")
    _fill(rpn, _RPN)
    if isinstance(rpn, dict):
        _octaves(rpn.get("anchor_generator"))
    head = model.get("roi_head")
    if isinstance(head, dict):
        for one in _listed(head.get("bbox_head")):
            _fill(one, _BOX_HEAD)
        for one in _listed(head.get("mask_head")):
            _fill(one, _MASK_HEAD)
        for name in ("bbox_roi_extractor", "mask_roi_extractor", "semantic_roi_extractor"):
            extractor = head.get(name)
            layer = extractor.get("roi_layer") if isinstance(extractor, dict) else None
            _rename(layer, "out_size", "output_size")
            _rename(layer, "sample_num", "sampling_ratio")
        _semantic(head.get("semantic_head"))
    for settings, parts in (("train_cfg", ("rpn_proposal",)), ("test_cfg", ("rpn", "rcnn"))):
        of_all = model.get(settings)
        for part in parts:
            _proposals(of_all.get(part) if isinstance(of_all, dict) else None)
    _without_idle(model)


def _listed(heads: Any) -> list[Any]:
    return list(heads) if isinstance(heads, list | tuple) else [heads]


def _fill(holder: Any, usual: dict[str, Any]) -> None:
    if isinstance(holder, dict):
        for name, value in usual.items():
            if holder.get(name) is None:
                holder[name] = copy.deepcopy(value)


def _rename(holder: Any, old: str, new: str) -> None:
    if isinstance(holder, dict) and old in holder:
        holder.setdefault(new, holder.pop(old))


def _deformable(dcn: dict[str, Any]) -> None:
    _rename(dcn, "deformable_groups", "deform_groups")
    # mmdet 1 had one class, with or without modulation.
    if isinstance(dcn.get("modulated"), bool):
        dcn.setdefault("type", "DCNv2" if dcn.pop("modulated") else "DCN")


def _octaves(anchors: Any) -> None:
    """Scales written as octaves: ``octave_base_scale`` times 2 ** (i / ``scales_per_octave``)."""
    if not isinstance(anchors, dict) or anchors.get("scales") is not None:
        return
    base, count = anchors.get("octave_base_scale"), anchors.get("scales_per_octave")
    if isinstance(base, int | float) and type(count) is int and 1 <= count <= 16:
        del anchors["octave_base_scale"], anchors["scales_per_octave"]
        anchors["scales"] = [base * 2 ** (i / count) for i in range(count)]


def _semantic(head: Any) -> None:
    _fill(head, _SEMANTIC_HEAD)
    if not isinstance(head, dict) or not isinstance(head["loss_seg"], dict):
        return
    # The names before mmdet 2.11, which mmdet 3 still takes.
    for old, new in (("ignore_label", "ignore_index"), ("loss_weight", "loss_weight")):
        value = head.pop(old, None)
        if value:
            head["loss_seg"][new] = value


def _proposals(settings: Any) -> None:
    """Settings of non-maximum suppression as they were called before mmdet 2.5."""
    if not isinstance(settings, dict):
        return
    if settings.get("nms_across_levels") is False:
        del settings["nms_across_levels"]
    _rename(settings, "max_num", "max_per_img")
    if "nms_thr" in settings:
        settings.setdefault("nms", {"type": "nms", "iou_threshold": settings.pop("nms_thr")})
    _rename(settings.get("nms"), "iou_thr", "iou_threshold")
    kept, of_level = settings.get("max_per_img"), settings.get("nms_post")
    # Of each level no more than of all: no limit at all.
    if type(kept) is int and type(of_level) is int and of_level >= kept:
        del settings["nms_post"]


def _without_idle(value: Any) -> None:
    if isinstance(value, dict):
        kind = value.get("type", "nms" if "iou_threshold" in value else None)
        if isinstance(kind, str):
            for name, usual in _SAYS_NOTHING.get(kind, {}).items():
                if name in value and value[name] == usual and type(value[name]) is type(usual):
                    del value[name]
            for name in _IDLE.get(kind, ()):
                value.pop(name, None)
    for inner in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    ):
        _without_idle(inner)
