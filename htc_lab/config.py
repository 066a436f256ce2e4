"""A model's numbers: those of every layer, which lie beside the layer, put together.

The full-size defaults are those of the reference implementation (mmdet 3.3.0, ``configs/htc``).
Derive a variant with ``dataclasses.replace(config, ...)``. The numbers of a layer, with their ranges and
words, are in a file of their own next to it (``layers/rpn_config.py``); all can be imported from here too.
"""

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Interval
from typing_extensions import Doc

from htc_lab.data.image_config import ImageConfig
from htc_lab.layers.backbone_config import BackboneConfig
from htc_lab.layers.cascade_config import PAPER_STAGES, CascadeConfig, StageConfig
from htc_lab.layers.fpn_config import FPNConfig
from htc_lab.layers.guided_config import GuidedConfig
from htc_lab.layers.norm_config import NormConfig
from htc_lab.layers.rpn_config import GUIDED_RPN, RPNConfig
from htc_lab.layers.senet_config import SENetConfig
from htc_lab.layers.soft_nms_config import SoftNMSConfig
from htc_lab.layers.timm_backbone_config import TimmBackboneConfig
from htc_lab.stages.semantic_config import PAPER_SEMANTIC, REFERENCE_SEMANTIC, SemanticConfig
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
from htc_lab.wording import counted

__all__ = [
    "GUIDED_RPN",
    "HTC",
    "INTERLEAVED",
    "MASK_FLOW",
    "PAPER_SEMANTIC",
    "PAPER_STAGES",
    "PLAIN_CASCADE",
    "REFERENCE_SEMANTIC",
    "RUNGS",
    "SWITCHES",
    "AnyBackboneConfig",
    "BackboneConfig",
    "CascadeConfig",
    "FPNConfig",
    "GuidedConfig",
    "ImageConfig",
    "ModelConfig",
    "NormConfig",
    "RPNConfig",
    "SENetConfig",
    "SemanticConfig",
    "SoftNMSConfig",
    "StageConfig",
    "TimmBackboneConfig",
    "Toggles",
    "disagreement",
    "norms_of",
    "parse_toggles",
]

# In a file they are told apart by their fields.
AnyBackboneConfig = BackboneConfig | SENetConfig | TimmBackboneConfig


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the network's shape and arithmetic."""

    name: Annotated[str, Doc("for people; appears in files and figures")]
    classes: Annotated[
        int,
        Interval(ge=1, le=100_000),
        Doc("K, thing classes, labelled 0..K-1; K itself means background, the last class logit"),
    ] = 80
    toggles: Annotated[Toggles, Doc("the parts the model has and is trained with")] = HTC
    image: ImageConfig = field(default_factory=ImageConfig)
    backbone: AnyBackboneConfig = field(default_factory=BackboneConfig)
    fpn: FPNConfig = field(default_factory=FPNConfig)
    rpn: RPNConfig = field(default_factory=RPNConfig)
    cascade: CascadeConfig = field(default_factory=CascadeConfig)
    semantic: SemanticConfig = field(default_factory=SemanticConfig)


def norms_of(config: ModelConfig) -> dict[str, tuple[NormConfig, tuple[int, ...]]]:
    """The norms that FPN and heads have, by field, each with the widths of the convolutions before it."""
    c, s, channels = config.cascade, config.semantic, config.fpn.channels
    found = {
        "fpn.norm": (config.fpn.norm, (channels,)),
        "cascade.box_norm": (c.box_norm, (c.box_channels,)),
        "cascade.mask_norm": (
            c.mask_norm,
            (c.mask_channels, *((channels,) if config.toggles.mask_flow else ())),
        ),
        "semantic.norm": (s.norm, (channels, s.channels)),
    }
    return {path: (norm, widths) for path, (norm, widths) in found.items() if norm is not None}


def disagreement(config: ModelConfig) -> str | None:
    """Which numbers, each of them in its range, don't go together: "field: what; fix", or None."""
    stages, levels = len(config.cascade.stages), config.fpn.levels
    if not config.toggles.stages <= stages <= 3:
        needed = config.toggles.stages
        found = counted(stages, "entry", "entries")
        return f"cascade.stages: has {found}; give {needed} to 3, or lower toggles.stages"
    for path, level, most in (
        ("semantic.level", config.semantic.level, levels - 1),
        ("cascade.pooled_levels", config.cascade.pooled_levels, levels),
    ):
        if level > most:
            return f"{path}: is {level}; it must be at most {most}, fpn.levels is {levels}"
    if config.cascade.box_norm is not None and not config.cascade.box_convs:
        return "cascade.box_norm: there is no convolution before it; set cascade.box_convs, or leave it out"
    for path, (norm, widths) in norms_of(config).items():
        for fault in filter(None, map(norm.fault, widths)):
            return f"{path}.groups: {fault}"
    guided, channels = config.rpn.guided, config.fpn.channels
    if guided is not None and channels % guided.deform_groups:
        return (
            f"rpn.guided.deform_groups: {guided.deform_groups} groups can't share {channels} channels "
            f"evenly; give a divisor of {channels}"
        )
    image = config.image
    if image.flip + image.flip_vertical + image.flip_both > 1 + 1e-9:
        return "image.flip: together with flip_vertical and flip_both above 1; they are chances of one draw"
    if config.rpn.negative_iou > config.rpn.positive_iou:
        return "rpn.negative_iou: is above rpn.positive_iou; it must be at most that"
    return None
