"""Every number of the model and the four toggles: frozen dataclasses.

The full-size defaults are those of the reference implementation (mmdet 3.3.0, ``configs/htc``).
Derive a variant with ``dataclasses.replace(config, ...)``.
"""

from dataclasses import dataclass, field

from htc_lab.errors import InputError
from htc_lab.toggles import (
    HTC,
    INTERLEAVED,
    MASK_FLOW,
    PLAIN_CASCADE,
    RUNGS,
    SWITCHES,
    Toggles,
    parse_toggles,
)

__all__ = [
    "HTC",
    "INTERLEAVED",
    "LARGEST_RATIO",
    "MASK_FLOW",
    "PAPER_SEMANTIC",
    "PAPER_STAGES",
    "PLAIN_CASCADE",
    "REFERENCE_SEMANTIC",
    "RUNGS",
    "SWITCHES",
    "BackboneConfig",
    "CascadeConfig",
    "FPNConfig",
    "ImageConfig",
    "ModelConfig",
    "RPNConfig",
    "Schedule",
    "SemanticConfig",
    "StageConfig",
    "Toggles",
    "parse_toggles",
]


@dataclass(frozen=True)
class ImageConfig:
    """How a picture becomes a tensor.

    Attributes:
        mean, std: RGB, on the scale 0..255.
        short, long: test size: the short side becomes ``short`` px unless the long one would pass ``long``.
        train_short, train_long: the same in training; the short side is drawn from ``train_short``.
        flip: probability of a horizontal flip in training.
        pad: sides are padded with zeros (after normalising) to a multiple of this, for the strides.
    """

    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    short: int = 800
    long: int = 1333
    train_short: tuple[int, ...] = (800,)
    train_long: int = 1333
    flip: float = 0.5
    pad: int = 32


@dataclass(frozen=True)
class BackboneConfig:
    """A ResNet or ResNeXt.

    Attributes:
        depth: 18, 34, 50, 101 or 152.
        width: channels of the stem (64 in the paper; the classroom model is narrower).
        groups, group_width: ResNeXt's cardinality and width, e.g. 64 and 4 for "64x4d".
        frozen_stages: the stem and this many layers get no gradient.
        frozen_norm: batch norm uses its stored statistics in training too (its scale stays trainable).
        deformable: the layers (2..4) whose 3x3 convolutions are deformable, c3-c5 in the paper.
        deform_groups: groups of input channels that have offsets of their own.
        pretrained: training starts from pretrained weights: torchvision's ImageNet ones, or the lab's own
            for the classroom model (FPN and RPN included).
    """

    depth: int = 50
    width: int = 64
    groups: int = 1
    group_width: int = 64
    frozen_stages: int = 1
    frozen_norm: bool = True
    deformable: tuple[int, ...] = ()
    deform_groups: int = 1
    pretrained: bool = True


@dataclass(frozen=True)
class FPNConfig:
    """Feature pyramid: ``channels`` of every level, levels P2.. with strides 4, 8, ..."""

    channels: int = 256
    levels: int = 5

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each level in px."""
        return tuple(4 * 2**i for i in range(self.levels))


# A delta may make a box at most so many times as wide or high, so that an untrained head gives finite boxes.
LARGEST_RATIO = 1000.0 / 16.0


@dataclass(frozen=True)
class RPNConfig:
    """Anchors, their matching and sampling, the losses, and how many proposals are kept.

    Attributes:
        anchor_scale, anchor_ratios: side in strides of the level; height over width, one anchor each.
        anchor_offset: where in its cell an anchor is centred: 0 the top left corner, 0.5 the middle.
        low_quality_matches, low_quality_iou: an object's best anchors are its own from this IoU on.
        samples, positive_fraction: anchors an image the losses look at; ground truth is never among them.
        negatives_per_positive: at most so many background anchors for each positive; below 0: no limit.
        allowed_border: anchors that reach further (px) out of the image aren't trained; below 0: all are.
        train_before_nms, train_after_nms: best anchors of a level; proposals of an image. So at test time.
        min_size: proposals must be wider and higher than this (px).
        stds, means, largest_ratio: as in :class:`StageConfig`.
    """

    anchor_scale: float = 8.0
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    anchor_offset: float = 0.0
    positive_iou: float = 0.7
    negative_iou: float = 0.3
    low_quality_matches: bool = True
    low_quality_iou: float = 0.3
    samples: int = 256
    positive_fraction: float = 0.5
    negatives_per_positive: float = -1.0
    allowed_border: int = 0
    cls_weight: float = 1.0
    box_weight: float = 1.0
    smooth_l1_beta: float = 1.0 / 9.0
    nms_iou: float = 0.7
    train_before_nms: int = 2000
    train_after_nms: int = 2000
    test_before_nms: int = 1000
    test_after_nms: int = 1000
    min_size: float = 0.0
    stds: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    means: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    largest_ratio: float = LARGEST_RATIO


@dataclass(frozen=True)
class StageConfig:
    """One stage of the cascade.

    Attributes:
        iou: RoIs at or above it are objects, those below are background.
        stds, means: a head predicts (delta - mean) / std.
        loss_weight: of its three losses (alpha_t of eq. 7).
        largest_ratio: most a delta may stretch a box's side.
    """

    iou: float
    stds: tuple[float, float, float, float]
    loss_weight: float
    means: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    largest_ratio: float = LARGEST_RATIO


PAPER_STAGES = (
    StageConfig(iou=0.5, stds=(0.1, 0.1, 0.2, 0.2), loss_weight=1.0),
    StageConfig(iou=0.6, stds=(0.05, 0.05, 0.1, 0.1), loss_weight=0.5),
    StageConfig(iou=0.7, stds=(0.033, 0.033, 0.067, 0.067), loss_weight=0.25),
)


@dataclass(frozen=True)
class CascadeConfig:
    """The box and mask heads of all stages.

    Attributes:
        finest_scale: RoIs of sqrt(area) below twice this (px) are pooled from P2, and so on by octaves.
        sampling_ratio: points per bin side of RoIAlign; 0 takes as many as the bin has feature cells.
        flow_relu: G_t of eq. 4 ends in a ReLU, as in the reference; the paper writes a convolution alone.
        samples, positive_fraction: RoIs kept per image and stage for the losses.
        negatives_per_positive: at most so many background RoIs for each positive; below 0: no limit.
        add_truth: ground-truth boxes join the RoIs a stage is trained on.
        low_quality_matches: a ground truth's best RoI may be matched to it although it overlaps another
            more (the reference: on for HTC, off for Cascade Mask R-CNN).
        cls_weight, box_weight, mask_weight: of the three losses of every stage.
    """

    stages: tuple[StageConfig, ...] = PAPER_STAGES
    box_size: int = 7
    mask_size: int = 14
    finest_scale: int = 56
    pooled_levels: int = 4
    sampling_ratio: int = 0
    fc_channels: int = 1024
    fcs: int = 2
    mask_channels: int = 256
    mask_convs: int = 4
    flow_relu: bool = True
    samples: int = 512
    positive_fraction: float = 0.25
    negatives_per_positive: float = -1.0
    add_truth: bool = True
    low_quality_matches: bool = True
    cls_weight: float = 1.0
    box_weight: float = 1.0
    mask_weight: float = 1.0
    smooth_l1_beta: float = 1.0
    score_threshold: float = 0.001
    nms_iou: float = 0.5
    max_detections: int = 100
    mask_threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.mask_size % self.box_size:
            raise InputError(
                f"cascade.mask_size {self.mask_size} is no multiple of cascade.box_size {self.box_size}: the "
                "semantic feature is pooled once for both and averaged down; choose e.g. 14 and 7"
            )


@dataclass(frozen=True)
class SemanticConfig:
    """The semantic branch (section 3.3 of the paper).

    Attributes:
        classes: S, thing and stuff classes of the semantic maps; 183 for COCO's stuffthingmaps.
        level: the FPN level all others are resized to; 1 is stride 8.
        loss_weight: beta of eq. 7. The paper says 1, the reference's configs 0.2.
        mean_over_valid: divide the loss by the labelled pixels alone; the reference divides by all.
    """

    classes: int = 183
    channels: int = 256
    convs: int = 4
    level: int = 1
    loss_weight: float = 0.2
    mean_over_valid: bool = False


REFERENCE_SEMANTIC = SemanticConfig()
PAPER_SEMANTIC = SemanticConfig(loss_weight=1.0, mean_over_valid=True)


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the network's shape and arithmetic.

    Attributes:
        name: for people; appears in files and figures.
        classes: K, thing classes, labelled 0..K-1; K itself means background, the last class logit.
        toggles: the parts the model has and is trained with.
    """

    name: str
    classes: int = 80
    toggles: Toggles = HTC
    image: ImageConfig = field(default_factory=ImageConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    fpn: FPNConfig = field(default_factory=FPNConfig)
    rpn: RPNConfig = field(default_factory=RPNConfig)
    cascade: CascadeConfig = field(default_factory=CascadeConfig)
    semantic: SemanticConfig = field(default_factory=SemanticConfig)


@dataclass(frozen=True)
class Schedule:
    """How a model is trained.

    Attributes:
        epochs: passes over the data; ``steps``, where set, counts optimiser steps instead.
        batch: images per step; ``lr`` belongs to ``lr_batch`` images and is scaled with the batch.
        adaptive: AdamW instead of the paper's SGD with momentum. A short training needs it: under SGD the
            heads of stages 2 and 3, whose losses weigh 0.5 and 0.25, learn as much more slowly.
        decay_at: fractions of the training after which the learning rate is divided by ``decay``.
        warmup_steps: linear rise from ``warmup_from`` times the learning rate.
        clip_norm: largest gradient norm; 0 leaves gradients alone.
        min_size: images whose shorter side is below this (px), and images without objects, are left out.
        accumulate: the batch is taken in so many parts, whose gradients are averaged: less memory, same step.
        amp: forward passes in bfloat16 where that is safe; weights stay float32.
        sync_norm: batch norm, where it is not frozen, takes its statistics over the images of all processes.
        group_by_shape: upright images and the others come in batches of their own, so that little is padded.
    """

    epochs: int = 12
    steps: int | None = None
    batch: int = 16
    lr: float = 0.02
    lr_batch: int = 16
    adaptive: bool = False
    momentum: float = 0.9
    weight_decay: float = 1e-4
    decay_at: tuple[float, ...] = (8 / 12, 11 / 12)
    decay: float = 10.0
    warmup_steps: int = 500
    warmup_from: float = 0.001
    clip_norm: float = 0.0
    min_size: int = 32
    accumulate: int = 1
    amp: bool = False
    sync_norm: bool = False
    group_by_shape: bool = True
