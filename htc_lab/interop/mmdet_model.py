"""The ``model`` of an mmdet 3 config as a :class:`ModelConfig`: backbone, neck, RPN, heads, samplers."""

import dataclasses

from htc_lab.config import (
    PLAIN_CASCADE,
    BackboneConfig,
    FPNConfig,
    ImageConfig,
    ModelConfig,
    RPNConfig,
    SemanticConfig,
    Toggles,
)
from htc_lab.errors import InputError
from htc_lab.ideas import IDEAS, SEMANTIC_BRANCH
from htc_lab.interop.fields import Fields, shown
from htc_lab.interop.mmdet_heads import (
    box_coder,
    cascade_config,
    cross_entropy,
    norm_config,
    semantic_config,
    smooth_l1,
)

_FAMILIES = {"HybridTaskCascade": "HybridTaskCascadeRoIHead", "CascadeRCNN": "CascadeRoIHead"}
_BACKBONES = ("ResNet", "ResNeXt")
_BOTTLENECKS = (50, 101, 152)


def model_config(fields: Fields, name: str, image: ImageConfig) -> ModelConfig:
    """The model; settings it can't express are noted in ``fields``.

    Args:
        fields: of a whole config.
        name: name for the model.
        image: sizes, flips and colours, from the pipelines.

    Raises:
        InputError: it is another family of models, or a value is missing or has the wrong type.
    """
    family = fields.get("model.type", None)
    if not isinstance(family, str) or family not in _FAMILIES:
        raise InputError(
            f"{fields.where}: model.type is {shown(family, 60)}; only {' and '.join(_FAMILIES)} are built "
            "here; give a config of the HTC or Cascade Mask R-CNN family"
        )
    head = "model.roi_head"
    fields.expect(f"{head}.type", _FAMILIES[family])
    if not fields.has(f"{head}.mask_head"):
        raise InputError(
            f"{fields.where}: {head}.mask_head is missing: a Cascade R-CNN only finds boxes; give the "
            "config of a Cascade Mask R-CNN or HTC"
        )
    backbone = _backbone(fields)
    fpn = _fpn(fields, backbone)
    stages = fields.integer(f"{head}.num_stages")
    if stages not in (1, 2, 3):
        raise fields.wrong(f"{head}.num_stages", "1, 2 or 3")
    toggles = _toggles(fields, family == "HybridTaskCascade", stages)
    cascade, classes = cascade_config(fields, fpn, toggles)
    semantic = semantic_config(fields, fpn, cascade) if toggles.semantic else SemanticConfig()
    return ModelConfig(
        name, classes, toggles, _image(fields, image), backbone, fpn, _rpn(fields, fpn), cascade, semantic
    )


def _toggles(fields: Fields, htc: bool, stages: int) -> Toggles:
    head = "model.roi_head"
    semantic = fields.has(f"{head}.semantic_head")
    fused = fields.get(f"{head}.semantic_fusion", ("bbox", "mask"))
    if not isinstance(fused, list | tuple) or not all(part in ("bbox", "mask") for part in fused):
        raise fields.wrong(f"{head}.semantic_fusion", "a choice of 'bbox' and 'mask'")
    on: dict[str, bool] = {}
    for idea in IDEAS:
        if idea.needs == SEMANTIC_BRANCH:
            on[idea.field] = semantic and idea.mmdet in fused
        elif idea.mmdet:
            on[idea.field] = htc and fields.switch(f"{head}.{idea.mmdet}", True)
    return dataclasses.replace(PLAIN_CASCADE, **on, stages=stages)


def _image(fields: Fields, image: ImageConfig) -> ImageConfig:
    at = "model.data_preprocessor"
    fields.expect(f"{at}.type", "DetDataPreprocessor")
    bgr = not fields.switch(f"{at}.bgr_to_rgb", False)
    fields.expect(f"{at}.rgb_to_bgr", False)
    fields.expect(f"{at}.seg_pad_value", 255)
    fields.expect(f"{at}.mask_pad_value", 0)
    fields.expect(f"{at}.pad_value", 0)
    # Ours pads maps and masks whenever there are any.
    fields.skip(f"{at}.pad_seg", f"{at}.pad_mask")
    # Theirs are in the order in which the network takes the channels, ours are of R, G, B.
    red, blue = (2, 0) if bgr else (0, 2)
    mean, std = fields.numbers(f"{at}.mean", 3), fields.numbers(f"{at}.std", 3)
    return dataclasses.replace(
        image,
        mean=(mean[red], mean[1], mean[blue]),
        std=(std[red], std[1], std[blue]),
        bgr=bgr,
        pad=fields.integer(f"{at}.pad_size_divisor", 1),
    )


def _backbone(fields: Fields) -> BackboneConfig:
    at = "model.backbone"
    kind = fields.get(f"{at}.type", None)
    if kind not in _BACKBONES:
        raise InputError(
            f"{fields.where}: can't be expressed here: {at}.type={shown(kind, 60)}; only "
            f"{' and '.join(_BACKBONES)} are built; give the config of such a model"
        )
    fields.expect(f"{at}.in_channels", 3)
    fields.expect(f"{at}.num_stages", 4)
    fields.expect(f"{at}.out_indices", (0, 1, 2, 3))
    fields.expect(f"{at}.strides", (1, 2, 2, 2))
    fields.expect(f"{at}.dilations", (1, 1, 1, 1))
    fields.expect(f"{at}.style", "pytorch", "caffe")
    caffe = fields.get(f"{at}.style", "pytorch") == "caffe"
    fields.expect(f"{at}.deep_stem", False)
    fields.expect(f"{at}.avg_down", False)
    # SyncBN is batch norm; what it adds concerns only training, see the schedule.
    fields.expect(f"{at}.norm_cfg.type", "BN", "SyncBN")
    fields.skip(f"{at}.with_cp", f"{at}.zero_init_residual")
    deformable = _deformable(fields, f"{at}.stage_with_dcn") if fields.has(f"{at}.dcn") else ()
    if fields.has(f"{at}.dcn"):
        fields.expect(f"{at}.dcn.type", "DCN")
        fields.expect(f"{at}.dcn.fallback_on_stride", False)
    start = fields.text(f"{at}.init_cfg.checkpoint", "") if fields.has(f"{at}.init_cfg") else ""
    if start:
        fields.expect(f"{at}.init_cfg.type", "Pretrained")
        # Of Caffe's weights the lab has none; a training that is to start from them says so.
        if not caffe and not start.startswith(("torchvision://", "open-mmlab://resnext101_")):
            fields.tell(
                f"{at}.init_cfg.checkpoint",
                "is not followed: a training starts from torchvision's ImageNet weights",
            )
            fields.skip(f"{at}.init_cfg.prefix")
    groups = fields.integer(f"{at}.groups", 1)
    group_width = fields.integer(f"{at}.base_width", 4)
    return BackboneConfig(
        depth=fields.integer(f"{at}.depth"),
        width=fields.integer(f"{at}.base_channels", 64),
        groups=groups,
        group_width=group_width if groups > 1 else 64,
        style="caffe" if caffe else "pytorch",
        frozen_stages=fields.integer(f"{at}.frozen_stages", -1),
        frozen_norm=fields.switch(f"{at}.norm_eval", True),
        trained_norm=fields.switch(f"{at}.norm_cfg.requires_grad", True),
        deformable=deformable,
        deform_groups=fields.integer(f"{at}.dcn.deform_groups", 1),
        pretrained=bool(start),
    )


def _deformable(fields: Fields, path: str) -> tuple[int, ...]:
    where = fields.get(path)
    if not isinstance(where, list | tuple) or len(where) != 4 or any(w not in (True, False) for w in where):
        raise fields.wrong(path, "four times True or False")
    if where[0]:
        fields.cannot(path, "deformable from the second layer on")
    return tuple(i for i in (2, 3, 4) if where[i - 1])


def _fpn(fields: Fields, backbone: BackboneConfig) -> FPNConfig:
    at = "model.neck"
    fields.expect(f"{at}.type", "FPN")
    expansion = 4 if backbone.depth in _BOTTLENECKS else 1
    fields.expect(f"{at}.in_channels", [backbone.width * 2**i * expansion for i in range(4)])
    fields.expect(f"{at}.start_level", 0)
    fields.expect(f"{at}.end_level", -1)
    fields.expect(f"{at}.add_extra_convs", False)
    fields.expect(f"{at}.relu_before_extra_convs", False)
    fields.expect(f"{at}.no_norm_on_lateral", False)
    return FPNConfig(
        fields.integer(f"{at}.out_channels"),
        fields.integer(f"{at}.num_outs"),
        norm_config(fields, f"{at}.norm_cfg"),
    )


def _nms(fields: Fields, path: str) -> float:
    fields.expect(f"{path}.type", "nms")
    return fields.number(f"{path}.iou_threshold")


def _rpn(fields: Fields, fpn: FPNConfig) -> RPNConfig:
    at, train, test = "model.rpn_head", "model.train_cfg.rpn", "model.test_cfg.rpn"
    proposal, anchors = "model.train_cfg.rpn_proposal", f"{at}.anchor_generator"
    fields.expect(f"{at}.type", "RPNHead")
    fields.expect(f"{at}.in_channels", fpn.channels)
    fields.expect(f"{at}.feat_channels", fpn.channels, default=256)
    fields.expect(f"{at}.num_convs", 1)
    fields.expect(f"{anchors}.type", "AnchorGenerator")
    fields.expect(f"{anchors}.strides", fpn.strides)
    scales = fields.numbers(f"{anchors}.scales")
    if not scales:
        raise fields.wrong(f"{anchors}.scales", "a list of one number")
    if len(scales) != 1:
        fields.cannot(f"{anchors}.scales", "one scale")
    means, stds = box_coder(fields, f"{at}.bbox_coder")
    beta, box_weight = smooth_l1(fields, f"{at}.loss_bbox")
    fields.expect(f"{train}.assigner.type", "MaxIoUAssigner")
    fields.expect(f"{train}.assigner.ignore_iof_thr", -1)
    fields.expect(f"{train}.sampler.type", "RandomSampler")
    fields.expect(f"{train}.sampler.add_gt_as_proposals", False, default=True)
    fields.expect(f"{train}.pos_weight", -1)
    nms_iou, min_size = _nms(fields, f"{test}.nms"), fields.number(f"{test}.min_bbox_size", 0)
    fields.expect(f"{proposal}.nms.type", "nms")
    fields.expect(f"{proposal}.nms.iou_threshold", nms_iou)
    fields.expect(f"{proposal}.min_bbox_size", min_size, default=0)
    fields.skip(f"{train}.debug")
    return RPNConfig(
        anchor_scale=scales[0],
        anchor_ratios=fields.numbers(f"{anchors}.ratios"),
        anchor_offset=fields.number(f"{anchors}.center_offset", 0.0),
        positive_iou=fields.number(f"{train}.assigner.pos_iou_thr"),
        negative_iou=fields.number(f"{train}.assigner.neg_iou_thr"),
        low_quality_matches=fields.switch(f"{train}.assigner.match_low_quality", True),
        low_quality_iou=fields.number(f"{train}.assigner.min_pos_iou", 0.0),
        samples=fields.integer(f"{train}.sampler.num"),
        positive_fraction=fields.number(f"{train}.sampler.pos_fraction"),
        negatives_per_positive=fields.number(f"{train}.sampler.neg_pos_ub", -1),
        allowed_border=fields.integer(f"{train}.allowed_border"),
        cls_weight=cross_entropy(fields, f"{at}.loss_cls", "use_sigmoid"),
        box_weight=box_weight,
        smooth_l1_beta=beta,
        nms_iou=nms_iou,
        train_before_nms=fields.integer(f"{proposal}.nms_pre"),
        train_after_nms=fields.integer(f"{proposal}.max_per_img"),
        test_before_nms=fields.integer(f"{test}.nms_pre"),
        test_after_nms=fields.integer(f"{test}.max_per_img"),
        min_size=min_size,
        stds=stds,
        means=means,
    )
