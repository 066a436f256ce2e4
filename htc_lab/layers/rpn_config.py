"""The numbers of the region proposal network."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval, Len
from typing_extensions import Doc

from htc_lab.layers.box_coding_config import LARGEST_RATIO, LargestRatio, Means, Stds
from htc_lab.layers.guided_config import GuidedConfig
from htc_lab.ranges import Count, ManyBoxes, NoLimitBelowZero, Positive, Share, Weight


@dataclass(frozen=True)
class RPNConfig:
    """Anchors, their matching and sampling, the losses, and how many proposals are kept."""

    anchor_scale: Annotated[Positive, Doc("side of an anchor, in strides of its level")] = 8.0
    anchor_ratios: Annotated[
        tuple[Positive, ...], Len(1), Doc("height over width; a cell has an anchor of each")
    ] = (0.5, 1.0, 2.0)
    anchor_offset: Annotated[
        float,
        Interval(ge=-1, le=1),
        Doc("where in its cell an anchor is centred: 0 the top left corner, 0.5 the middle"),
    ] = 0.0
    positive_iou: Annotated[Share, Doc("anchors with at least this IoU with an object are objects")] = 0.7
    negative_iou: Annotated[Share, Doc("anchors below it are background")] = 0.3
    low_quality_matches: Annotated[
        bool, Doc("the anchors that overlap an object most are its own, from low_quality_iou on")
    ] = True
    low_quality_iou: Annotated[Share, Doc("least IoU of such an anchor")] = 0.3
    samples: Annotated[
        Count, Doc("anchors per image that the losses look at; ground truth is never among them")
    ] = 256
    positive_fraction: Annotated[Share, Doc("at most this share of them are objects")] = 0.5
    negatives_per_positive: Annotated[
        NoLimitBelowZero, Doc("most background anchors for each positive; below 0: no limit")
    ] = -1.0
    allowed_border: Annotated[
        int,
        Interval(ge=-1, le=1_000_000),
        Doc("anchors that reach further (px) out of the image aren't trained; below 0: all are"),
    ] = 0
    cls_weight: Annotated[Weight, Doc("weight of the loss of objectness")] = 1.0
    box_weight: Annotated[Weight, Doc("weight of the loss of the deltas")] = 1.0
    smooth_l1_beta: Annotated[
        Weight, Doc("error from which on the loss of the deltas is linear; 0: everywhere")
    ] = 1.0 / 9.0
    nms_iou: Annotated[Share, Doc("of two proposals of a level that overlap more, the better stays")] = 0.7
    train_before_nms: Annotated[ManyBoxes, Doc("best anchors of a level, in training")] = 2000
    train_after_nms: Annotated[ManyBoxes, Doc("proposals of an image, in training")] = 2000
    test_before_nms: Annotated[ManyBoxes, Doc("best anchors of a level, at test time")] = 1000
    test_after_nms: Annotated[ManyBoxes, Doc("proposals of an image, at test time")] = 1000
    min_size: Annotated[Weight, Doc("proposals must be wider and higher than this (px)")] = 0.0
    stds: Stds = (1.0, 1.0, 1.0, 1.0)
    means: Means = (0.0, 0.0, 0.0, 0.0)
    largest_ratio: LargestRatio = LARGEST_RATIO
    guided: Annotated[
        GuidedConfig | None, Doc("guided anchoring, an anchor for each cell, in the place of fixed ones")
    ] = None


# Guided anchoring as in the reference's detectors (configs/guided_anchoring).
GUIDED_RPN = RPNConfig(
    allowed_border=-1,
    smooth_l1_beta=1.0,
    train_before_nms=2000,
    train_after_nms=300,
    test_before_nms=2000,
    test_after_nms=300,
    stds=(0.07, 0.07, 0.11, 0.11),
    guided=GuidedConfig(),
)
