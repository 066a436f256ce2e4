"""The numbers of the cascade: of each stage, and of what the stages have in common."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval
from typing_extensions import Doc

from htc_lab.errors import InputError
from htc_lab.layers.box_coding_config import LARGEST_RATIO, LargestRatio, Means, Stds
from htc_lab.layers.norm_config import NormConfig
from htc_lab.layers.soft_nms_config import SoftNMSConfig
from htc_lab.ranges import Channels, Count, NoLimitBelowZero, Share, Side, Weight

BoxLoss = Literal["smooth_l1", "giou", "diou", "ciou"]


@dataclass(frozen=True)
class StageConfig:
    """One stage of the cascade."""

    iou: Annotated[Share, Doc("RoIs at or above it are objects, those below are background")]
    stds: Stds
    loss_weight: Annotated[Weight, Doc("of its three losses: alpha_t of eq. 7")]
    means: Means = (0.0, 0.0, 0.0, 0.0)
    largest_ratio: LargestRatio = LARGEST_RATIO


PAPER_STAGES = (
    StageConfig(iou=0.5, stds=(0.1, 0.1, 0.2, 0.2), loss_weight=1.0),
    StageConfig(iou=0.6, stds=(0.05, 0.05, 0.1, 0.1), loss_weight=0.5),
    StageConfig(iou=0.7, stds=(0.033, 0.033, 0.067, 0.067), loss_weight=0.25),
)


@dataclass(frozen=True)
class CascadeConfig:
    """The box and mask heads of all stages, what they are trained on, and what becomes a detection."""

    stages: Annotated[tuple[StageConfig, ...], Doc("one entry a stage")] = PAPER_STAGES
    box_size: Annotated[int, Interval(ge=1, le=128), Doc("side of a RoI's feature for the box head")] = 7
    mask_size: Annotated[int, Interval(ge=1, le=256), Doc("the same for the mask head")] = 14
    finest_scale: Annotated[
        Side, Doc("RoIs of sqrt(area) below twice this (px) are pooled from P2, and so on by octaves")
    ] = 56
    pooled_levels: Annotated[
        int, Interval(ge=1, le=8), Doc("RoIs are pooled from this many levels, P2 and up")
    ] = 4
    sampling_ratio: Annotated[
        int,
        Interval(ge=0, le=64),
        Doc("points per bin side of RoIAlign; 0 takes as many as the bin has feature cells"),
    ] = 0
    fc_channels: Annotated[Channels, Doc("width of the box head's linear layers")] = 1024
    box_convs: Annotated[
        int, Interval(ge=0, le=64), Doc("3x3 convolutions of the box head before its linear layers")
    ] = 0
    box_channels: Annotated[Channels, Doc("width of these convolutions")] = 256
    box_norm: Annotated[NormConfig | None, Doc("the norm after each of them")] = None
    fcs: Annotated[int, Interval(ge=1, le=16), Doc("how many of them there are")] = 2
    class_agnostic: Annotated[
        bool, Doc("the box head gives each RoI four deltas; False: four for each class")
    ] = True
    mask_channels: Annotated[Channels, Doc("width of the mask head's convolutions")] = 256
    mask_convs: Annotated[int, Interval(ge=1, le=64), Doc("how many of them there are")] = 4
    mask_norm: Annotated[
        NormConfig | None, Doc("the norm after each convolution of the mask head, and after G_t of eq. 4")
    ] = None
    flow_relu: Annotated[
        bool,
        Doc("G_t of eq. 4 ends in a ReLU, as in the reference; the paper writes a convolution alone"),
    ] = True
    samples: Annotated[Count, Doc("RoIs per image and stage that the losses look at")] = 512
    positive_fraction: Annotated[Share, Doc("at most this share of them are objects")] = 0.25
    negatives_per_positive: Annotated[
        NoLimitBelowZero, Doc("most background RoIs for each positive; below 0: no limit")
    ] = -1.0
    add_truth: Annotated[bool, Doc("ground-truth boxes join the RoIs a stage is trained on")] = True
    low_quality_matches: Annotated[
        bool,
        Doc(
            "a ground truth's best RoI may be matched to it although it overlaps another more; in the "
            "reference on for HTC, off for Cascade Mask R-CNN"
        ),
    ] = True
    cls_weight: Annotated[Weight, Doc("weight of every stage's loss of classes")] = 1.0
    box_weight: Annotated[Weight, Doc("weight of every stage's loss of boxes")] = 1.0
    mask_weight: Annotated[Weight, Doc("weight of every stage's loss of masks")] = 1.0
    box_loss: Annotated[
        BoxLoss,
        Doc("how boxes are judged: smooth L1 of the deltas, or by the overlap of the boxes they make"),
    ] = "smooth_l1"
    smooth_l1_beta: Annotated[
        Weight, Doc("error from which on the loss of the deltas is linear; 0: everywhere")
    ] = 1.0
    score_threshold: Annotated[Share, Doc("detections score more than this")] = 0.001
    nms_iou: Annotated[Share, Doc("of two boxes of a class that overlap more, the better stays")] = 0.5
    max_detections: Annotated[Count, Doc("most detections in an image; the best are kept")] = 100
    mask_threshold: Annotated[Share, Doc("probability from which a pixel belongs to the object")] = 0.5
    soft_nms: Annotated[
        SoftNMSConfig | None,
        Doc("boxes that overlap a better one stay, with lower scores, and nms_iou is unused; null: NMS"),
    ] = None

    def __post_init__(self) -> None:
        if self.mask_size % self.box_size:
            raise InputError(
                f"cascade.mask_size {self.mask_size} is not a multiple of cascade.box_size {self.box_size}: "
                "the semantic feature is pooled once for both and averaged down; choose e.g. 14 and 7"
            )
