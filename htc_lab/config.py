"""Every number of the model and the four toggles: frozen dataclasses.

The full-size defaults are those of the reference implementation (mmdet 3.3.0, ``configs/htc``).
Derive a variant with ``dataclasses.replace(config, ...)``.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from htc_lab.errors import InputError


@dataclass(frozen=True)
class Toggles:
    """The ideas of the paper as switches. Any combination is legal.

    Attributes:
        interleaved: masks of stage t are taken on the boxes stage t has just refined (eq. 2). It is an
            idea about training: at test time final masks always come from the final boxes, and the
            switch decides only which boxes the per-stage view uses.
        mask_flow: the mask head of stage t also sees the mask feature of stage t - 1 (eqs. 3-5).
        semantic_box: the semantic feature is added to the box features (eq. 6).
        semantic_mask: the semantic feature is added to the mask features (eq. 6).
        average_masks: at test time, the mean of the stages' mask probabilities; off: the last stage's alone.
        stages: how many stages of the cascade run, 1 to 3.
    """

    interleaved: bool = True
    mask_flow: bool = True
    semantic_box: bool = True
    semantic_mask: bool = True
    average_masks: bool = True
    stages: int = 3

    def __post_init__(self) -> None:
        for name in SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"Toggles.{name} is {getattr(self, name)!r}; give True or False")
        if type(self.stages) is not int or self.stages not in (1, 2, 3):
            raise InputError(f"Toggles.stages is {self.stages!r}; give 1, 2 or 3")

    @property
    def semantic(self) -> bool:
        """Whether the semantic branch is needed at all."""
        return self.semantic_box or self.semantic_mask


SWITCHES = ("interleaved", "mask_flow", "semantic_box", "semantic_mask", "average_masks")

PLAIN_CASCADE = Toggles(interleaved=False, mask_flow=False, semantic_box=False, semantic_mask=False)
INTERLEAVED = dataclasses.replace(PLAIN_CASCADE, interleaved=True)
MASK_FLOW = dataclasses.replace(INTERLEAVED, mask_flow=True)
HTC = Toggles()

# The ladder of the paper's table 2, from the bottom up.
RUNGS: dict[str, Toggles] = {
    "plain_cascade": PLAIN_CASCADE,
    "interleaved": INTERLEAVED,
    "mask_flow": MASK_FLOW,
    "htc": HTC,
}


def parse_toggles(text: str) -> Toggles:
    """Toggles from words: a rung's name, or switches joined by "+" ("none" for no switch).

    ``htc``, ``plain_cascade``, ``interleaved+mask_flow``, ``mask_flow+semantic_mask+stages=2``. A sum of
    switches averages the stages' masks, as the rungs do; add ``last_mask`` for the last stage's alone.

    Raises:
        InputError: a word that is none of these; the message lists them.
    """
    if text in RUNGS:
        return RUNGS[text]
    values: dict[str, Any] = dict.fromkeys(SWITCHES, False) | {"average_masks": True}
    for word in text.split("+"):
        if word in SWITCHES:
            values[word] = True
        elif word.startswith("stages=") and word[7:].isdigit():
            values["stages"] = int(word[7:])
        elif word == "last_mask":
            values["average_masks"] = False
        elif word != "none":
            raise InputError(
                f"--toggles {text}: '{word}' is not a toggle; take one of {', '.join(RUNGS)}, or join "
                f"{', '.join(SWITCHES)}, stages=N, last_mask with '+'"
            )
    return Toggles(**values)


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


@dataclass(frozen=True)
class RPNConfig:
    """Anchors, their matching and sampling, the losses, and how many proposals are kept."""

    anchor_scale: float = 8.0
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    positive_iou: float = 0.7
    negative_iou: float = 0.3
    low_quality_iou: float = 0.3
    samples: int = 256
    positive_fraction: float = 0.5
    allowed_border: int = 0
    smooth_l1_beta: float = 1.0 / 9.0
    nms_iou: float = 0.7
    train_before_nms: int = 2000
    train_after_nms: int = 2000
    test_before_nms: int = 1000
    test_after_nms: int = 1000
    stds: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True)
class StageConfig:
    """One stage: IoU threshold, scale of the box deltas, weight of its losses (alpha_t of eq. 7)."""

    iou: float
    stds: tuple[float, float, float, float]
    loss_weight: float


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
        samples, positive_fraction: RoIs kept per image and stage for the losses.
        low_quality_matches: a ground truth's best RoI may be matched to it although it overlaps another
            more (the reference: on for HTC, off for Cascade Mask R-CNN).
    """

    stages: tuple[StageConfig, ...] = PAPER_STAGES
    box_size: int = 7
    mask_size: int = 14
    finest_scale: int = 56
    pooled_levels: int = 4
    sampling_ratio: int = 0
    fc_channels: int = 1024
    mask_channels: int = 256
    mask_convs: int = 4
    samples: int = 512
    positive_fraction: float = 0.25
    low_quality_matches: bool = True
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
        classes: K, thing classes.
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
        decay_at: fractions of the training after which the learning rate is divided by ten.
        warmup_steps: linear rise from a thousandth of the learning rate.
        clip_norm: largest gradient norm; 0 leaves gradients alone.
        min_size: images whose shorter side is below this (px), and images without objects, are left out.
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
    warmup_steps: int = 500
    clip_norm: float = 0.0
    min_size: int = 32
