"""The ``roi_head`` of an mmdet 3 config and its training settings, as numbers of cascade and semantic branch.

mmdet allows every stage to have different heads; here they differ only in IoU, box coding and loss weight, so
the first stage's values are used and the others are compared with them.
"""

from typing import Any

from htc_lab.config import (
    CascadeConfig,
    FPNConfig,
    NormConfig,
    SemanticConfig,
    SoftNMSConfig,
    StageConfig,
    Toggles,
)
from htc_lab.interop.fields import ABSENT, Fields
from htc_lab.layers.cascade_config import BoxLoss

_HEAD = "model.roi_head"
_RCNN = "model.train_cfg.rcnn"
_LARGEST = 2**53

# Convolutions and linear layers that classes and boxes share.
_SHARED_LAYERS = {"Shared2FCBBoxHead": (0, 2), "Shared4Conv1FCBBoxHead": (4, 1)}
_IOU_LOSSES: dict[str, BoxLoss] = {"GIoULoss": "giou", "DIoULoss": "diou", "CIoULoss": "ciou"}


def box_coder(fields: Fields, path: str) -> tuple[tuple[float, float, float, float], ...]:
    """Means and stds of a coder of box deltas."""
    fields.expect(f"{path}.type", "DeltaXYWHBBoxCoder")
    fields.expect(f"{path}.clip_border", True)
    fields.expect(f"{path}.add_ctr_clamp", False)
    four = [
        fields.numbers(f"{path}.target_{kind}", 4, default)
        for kind, default in (("means", (0, 0, 0, 0)), ("stds", (1, 1, 1, 1)))
    ]
    return tuple((v[0], v[1], v[2], v[3]) for v in four)


def smooth_l1(fields: Fields, path: str) -> tuple[float, float]:
    """Beta and weight of a box loss; L1 is what smooth L1 becomes with a beta of 0."""
    fields.expect(f"{path}.type", "SmoothL1Loss", "L1Loss")
    beta = 0.0 if fields.get(f"{path}.type", None) == "L1Loss" else fields.number(f"{path}.beta", 1.0)
    return beta, fields.number(f"{path}.loss_weight", 1.0)


def cross_entropy(fields: Fields, path: str, use: str | None = None) -> float:
    """Weight of a class or mask loss, which must be of the kind that ``use`` says (softmax if it is None)."""
    fields.expect(f"{path}.type", "CrossEntropyLoss")
    for kind in ("use_sigmoid", "use_mask"):
        fields.expect(f"{path}.{kind}", kind == use, default=False)
    return fields.number(f"{path}.loss_weight", 1.0)


def cascade_config(fields: Fields, fpn: FPNConfig, toggles: Toggles) -> tuple[CascadeConfig, int]:
    """Heads, samplers and thresholds of all stages, and how many classes they tell apart."""
    count = toggles.stages
    boxes = _stages(fields, f"{_HEAD}.bbox_head", count)
    masks = _stages(fields, f"{_HEAD}.mask_head", count)
    rcnn = _stages(fields, _RCNN, count)
    classes = _whole(fields, boxes, "num_classes", 80)
    for path in masks:
        fields.expect(f"{path}.num_classes", classes, default=80)
    box_size, sampling_ratio, pooled_levels = _extractor(fields, "bbox_roi_extractor", fpn)
    mask_size, mask_ratio, mask_levels = _extractor(fields, "mask_roi_extractor", fpn)
    if (mask_ratio, mask_levels) != (sampling_ratio, pooled_levels):
        fields.cannot(f"{_HEAD}.mask_roi_extractor", "sampling and levels as for boxes")
    finest = fields.integer(f"{_HEAD}.bbox_roi_extractor.finest_scale", 56)
    fields.expect(f"{_HEAD}.mask_roi_extractor.finest_scale", finest, default=56)
    weights = fields.numbers(f"{_HEAD}.stage_loss_weights", count)
    heads = [_box_head(fields, path, fpn, box_size) for path in boxes]
    mask_weights = [_mask_head(fields, path, fpn, mask_size, toggles) for path in masks]
    norms = [norm_config(fields, f"{path}.norm_cfg") for path in masks]
    coders = [box_coder(fields, f"{path}.bbox_coder") for path in boxes]
    ious = [_assigner(fields, path, mask_size) for path in rcnn]
    for i in range(1, count):
        if heads[i] != heads[0]:
            fields.cannot(boxes[i], "the same layers and losses in all stages, except stage_loss_weights")
        if mask_weights[i] != mask_weights[0]:
            fields.cannot(f"{masks[i]}.loss_mask", "the same losses in all stages except stage_loss_weights")
        if norms[i] != norms[0]:
            fields.cannot(f"{masks[i]}.norm_cfg", "the same norm in all stages")
    test = "model.test_cfg.rcnn"
    sampler = [f"{path}.sampler" for path in rcnn]
    cascade = CascadeConfig(
        stages=tuple(
            StageConfig(iou=iou, stds=stds, loss_weight=weight, means=means)
            for iou, (means, stds), weight in zip(ious, coders, weights, strict=True)
        ),
        box_size=box_size,
        mask_size=mask_size,
        finest_scale=finest,
        pooled_levels=pooled_levels,
        sampling_ratio=sampling_ratio,
        mask_channels=_whole(fields, masks, "conv_out_channels", 256),
        mask_convs=_whole(fields, masks, "num_convs", 4),
        mask_norm=norms[0],
        samples=_whole(fields, sampler, "num"),
        positive_fraction=float(_common(fields, sampler, "pos_fraction")),
        negatives_per_positive=float(_common(fields, sampler, "neg_pos_ub", -1)),
        add_truth=bool(_common(fields, sampler, "add_gt_as_proposals", True)),
        low_quality_matches=bool(
            _common(fields, [f"{path}.assigner" for path in rcnn], "match_low_quality", True)
        ),
        mask_weight=mask_weights[0],
        score_threshold=fields.number(f"{test}.score_thr"),
        **_suppression(fields, f"{test}.nms"),
        max_detections=fields.integer(f"{test}.max_per_img"),
        mask_threshold=fields.number(f"{test}.mask_thr_binary"),
        **heads[0],
    )
    return cascade, classes


def _suppression(fields: Fields, path: str) -> dict[str, Any]:
    """NMS or soft-NMS of the detections, as fields of the cascade's config."""
    fields.expect(f"{path}.type", "nms", "soft_nms")
    if fields.get(f"{path}.type", "nms") != "soft_nms":
        return {"nms_iou": fields.number(f"{path}.iou_threshold")}
    # What isn't said is mmcv's default.
    decay = fields.get(f"{path}.method", "linear")
    fields.expect(f"{path}.method", "linear", "gaussian")
    return {
        "soft_nms": SoftNMSConfig(
            decay="gaussian" if decay == "gaussian" else "linear",
            iou=fields.number(f"{path}.iou_threshold", 0.3),
            sigma=fields.number(f"{path}.sigma", 0.5),
            min_score=fields.number(f"{path}.min_score", 1e-3),
        )
    }


def _stages(fields: Fields, path: str, count: int) -> list[str]:
    """Where each stage's values are: in a list, or in one dict for all stages."""
    found = fields.length(path)
    if found not in (0, count):
        raise fields.wrong(path, f"a list for {count} stages")
    return [f"{path}.{i}" for i in range(count)] if found else [path] * count


def _common(fields: Fields, paths: list[str], name: str, default: Any = ABSENT) -> Any:
    """A number or switch that must be the same in all stages."""
    first = fields.get(f"{paths[0]}.{name}", default)
    if type(first) not in (int, float, bool) or abs(first) > _LARGEST:
        raise fields.wrong(f"{paths[0]}.{name}", "a number")
    for path in paths[1:]:
        fields.expect(f"{path}.{name}", first, default=default)
    return first


def _whole(fields: Fields, paths: list[str], name: str, default: Any = ABSENT) -> int:
    """A whole number that must be the same in all stages."""
    value = _common(fields, paths, name, default)
    if type(value) is not int:
        raise fields.wrong(f"{paths[0]}.{name}", "a whole number")
    return value


def _extractor(fields: Fields, name: str, fpn: FPNConfig) -> tuple[int, int, int]:
    """Output size, sampling ratio, number of levels."""
    at = f"{_HEAD}.{name}"
    fields.expect(f"{at}.type", "SingleRoIExtractor")
    fields.expect(f"{at}.roi_layer.type", "RoIAlign")
    fields.expect(f"{at}.roi_layer.aligned", True)
    fields.expect(f"{at}.roi_layer.pool_mode", "avg")
    fields.expect(f"{at}.out_channels", fpn.channels)
    levels = fields.length(f"{at}.featmap_strides")
    fields.expect(f"{at}.featmap_strides", list(fpn.strides[:levels]))
    size = fields.integer(f"{at}.roi_layer.output_size")
    return size, fields.integer(f"{at}.roi_layer.sampling_ratio", 0), levels


def _box_head(fields: Fields, path: str, fpn: FPNConfig, size: int) -> dict[str, Any]:
    """Layers and losses, as fields of the cascade's config."""
    kind = fields.text(f"{path}.type", "Shared2FCBBoxHead")
    fields.expect(f"{path}.type", *_SHARED_LAYERS, "ConvFCBBoxHead")
    fields.expect(f"{path}.in_channels", fpn.channels, default=256)
    fields.expect(f"{path}.roi_feat_size", size, default=7)
    fields.expect(f"{path}.with_avg_pool", False)
    convs, fcs = _SHARED_LAYERS.get(kind, (0, 2))
    if kind == "ConvFCBBoxHead":
        convs = fields.integer(f"{path}.num_shared_convs", 0)
        fcs = fields.integer(f"{path}.num_shared_fcs", 0)
        if fcs < 1:
            fields.cannot(
                f"{path}.num_shared_fcs", "at least one linear layer for classes and boxes together"
            )
        for own in ("cls_convs", "cls_fcs", "reg_convs", "reg_fcs"):
            fields.expect(f"{path}.num_{own}", 0)
    norm = norm_config(fields, f"{path}.norm_cfg")
    loss, beta, weight = _box_loss(fields, path)
    return {
        "box_convs": convs,
        "box_channels": fields.integer(f"{path}.conv_out_channels", 256),
        # mmdet gives the same norm_cfg to heads that have no convolution for it, and so no norm.
        "box_norm": norm if convs else None,
        "fc_channels": fields.integer(f"{path}.fc_out_channels", 1024),
        "fcs": max(fcs, 1),
        "class_agnostic": fields.switch(f"{path}.reg_class_agnostic", False),
        "cls_weight": cross_entropy(fields, f"{path}.loss_cls"),
        "box_loss": loss,
        "smooth_l1_beta": beta,
        "box_weight": weight,
    }


def _box_loss(fields: Fields, path: str) -> tuple[BoxLoss, float, float]:
    """Kind, beta and weight of a box head's loss."""
    kind = _IOU_LOSSES.get(fields.text(f"{path}.loss_bbox.type", "SmoothL1Loss"))
    # Overlaps are those of boxes, smooth L1 that of deltas; mmdet lets one combine them otherwise.
    fields.expect(f"{path}.reg_decoded_bbox", kind is not None, default=False)
    if kind is None:
        return "smooth_l1", *smooth_l1(fields, f"{path}.loss_bbox")
    fields.expect(f"{path}.loss_bbox.eps", 1e-6)
    return kind, 1.0, fields.number(f"{path}.loss_bbox.loss_weight", 1.0)


def norm_config(fields: Fields, path: str) -> NormConfig | None:
    """The norm after the convolutions of a part, from its ``norm_cfg``."""
    if not fields.has(path):
        return None
    kind = fields.text(f"{path}.type")
    fields.expect(f"{path}.type", "BN", "SyncBN", "MMSyncBN", "GN")
    fields.expect(f"{path}.requires_grad", True)
    fields.expect(f"{path}.eps", 1e-5)
    if kind == "GN":
        return NormConfig("group", fields.integer(f"{path}.num_groups"))
    return NormConfig("batch" if kind == "BN" else "sync")


def _mask_head(fields: Fields, path: str, fpn: FPNConfig, size: int, toggles: Toggles) -> float:
    """Weight of the mask loss."""
    htc = fields.get("model.type") == "HybridTaskCascade"
    fields.expect(f"{path}.type", "HTCMaskHead" if htc else "FCNMaskHead")
    fields.expect(f"{path}.in_channels", fpn.channels, default=256)
    fields.expect(f"{path}.roi_feat_size", size, default=14)
    fields.expect(f"{path}.conv_kernel_size", 3)
    fields.expect(f"{path}.class_agnostic", False)
    fields.expect(f"{path}.upsample_cfg.type", "deconv")
    fields.expect(f"{path}.upsample_cfg.scale_factor", 2)
    # The first stage gets no flow, whether it has the convolution for it or not.
    if toggles.mask_flow and path != f"{_HEAD}.mask_head.0":
        fields.expect(f"{path}.with_conv_res", True)
    fields.skip(f"{path}.with_conv_res")
    return cross_entropy(fields, f"{path}.loss_mask", "use_mask")


def _assigner(fields: Fields, path: str, mask_size: int) -> float:
    """The stage's IoU threshold."""
    iou = fields.number(f"{path}.assigner.pos_iou_thr")
    fields.expect(f"{path}.assigner.type", "MaxIoUAssigner")
    fields.expect(f"{path}.assigner.neg_iou_thr", iou)
    fields.expect(f"{path}.assigner.min_pos_iou", iou, default=0.0)
    fields.expect(f"{path}.assigner.ignore_iof_thr", -1)
    fields.expect(f"{path}.sampler.type", "RandomSampler")
    fields.expect(f"{path}.mask_size", 2 * mask_size)
    fields.expect(f"{path}.pos_weight", -1)
    fields.skip(f"{path}.debug")
    return iou


def semantic_config(fields: Fields, fpn: FPNConfig, cascade: CascadeConfig) -> SemanticConfig:
    """The semantic branch and how its feature is pooled."""
    at, pooling = f"{_HEAD}.semantic_head", f"{_HEAD}.semantic_roi_extractor"
    level = fields.integer(f"{at}.fusion_level")
    if not 0 <= level < fpn.levels:
        raise fields.wrong(f"{at}.fusion_level", f"a level of the {fpn.levels} there are")
    stride = fpn.strides[level]
    fields.expect(f"{at}.type", "FusedSemanticHead")
    fields.expect(f"{at}.num_ins", fpn.levels)
    fields.expect(f"{at}.in_channels", fpn.channels, default=256)
    fields.expect(f"{at}.conv_out_channels", fpn.channels, default=256)
    fields.expect(f"{at}.seg_scale_factor", 1 / stride, default=1 / 8)
    fields.expect(f"{at}.loss_seg.type", "CrossEntropyLoss")
    fields.expect(f"{at}.loss_seg.ignore_index", 255, default="none")
    fields.expect(f"{pooling}.type", "SingleRoIExtractor")
    fields.expect(f"{pooling}.roi_layer.type", "RoIAlign")
    fields.expect(f"{pooling}.roi_layer.aligned", True)
    fields.expect(f"{pooling}.roi_layer.output_size", cascade.mask_size)
    fields.expect(f"{pooling}.roi_layer.sampling_ratio", cascade.sampling_ratio, default=0)
    fields.expect(f"{pooling}.out_channels", fpn.channels)
    fields.expect(f"{pooling}.featmap_strides", [stride])
    return SemanticConfig(
        classes=fields.integer(f"{at}.num_classes", 183),
        channels=fields.integer(f"{at}.conv_out_channels", 256),
        convs=fields.integer(f"{at}.num_convs", 4),
        level=level,
        loss_weight=fields.number(f"{at}.loss_seg.loss_weight", 1.0),
        mean_over_valid=fields.switch(f"{at}.loss_seg.avg_non_ignore", False),
        norm=norm_config(fields, f"{at}.norm_cfg"),
    )
