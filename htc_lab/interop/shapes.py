"""The config of a model, inferred from nothing but the names and shapes of its weights."""

import dataclasses
import math
import re
from collections.abc import Mapping

from htc_lab.config import (
    GUIDED_RPN,
    HTC,
    PLAIN_CASCADE,
    BackboneConfig,
    GuidedConfig,
    ModelConfig,
    NormConfig,
    RPNConfig,
    SENetConfig,
    Toggles,
)
from htc_lab.errors import InputError
from htc_lab.ideas import IDEAS, PARTS
from htc_lab.layers.backbone import _BLOCKS
from htc_lab.presets import PRESETS

Shapes = Mapping[str, tuple[int, ...]]


def config_from_shapes(shapes: Shapes, name: str, where: str) -> ModelConfig:
    """What can be seen: depth, widths, norms, deformable layers, classes, stages, and the ideas' own parts.

    What can't be seen is the family's: a model with such a part is an HTC, interleaved, with the semantic
    feature in boxes and masks; one without is a plain cascade. Batch norm in heads is synchronised, and group
    norm has 32 groups.

    Args:
        shapes: the shape of every entry, under the reference's names.
        name: name for the config, if it is not a preset.
        where: what messages call the source.

    Raises:
        InputError: an entry that every such model has is missing, or the backbone is not a ResNet.
    """
    look = _Look(shapes, where)
    backbone = _backbone(look)
    channels = look.shape("neck.lateral_convs.0.conv.weight", 4)[0]
    box_head = "roi_head.bbox_head.0"
    hidden, box_inputs = look.shape(f"{box_head}.shared_fcs.0.weight", 2)
    convs = look.count(f"{box_head}.shared_convs", "conv.weight")
    box_channels = look.shape(f"{box_head}.shared_convs.0.conv.weight", 4)[0] if convs else 256
    classes = look.shape("roi_head.bbox_head.0.fc_cls.weight", 2)[0] - 1
    mask_channels = look.shape("roi_head.mask_head.0.convs.0.conv.weight", 4)[0]
    stages = look.count("roi_head.bbox_head", "fc_cls.weight")
    if stages > 3:
        raise InputError(f"{where}: has {stages} stages; this lab's cascades have at most 3")
    seen = {idea.field: idea.needs.is_in(shapes) for idea in IDEAS if idea.needs is not None}
    if any(seen.values()):
        base, toggles = PRESETS["htc_r50_1x"], dataclasses.replace(HTC, **seen)
    else:
        base, toggles = PRESETS["cascade_r50_1x"], PLAIN_CASCADE
    box_size = math.isqrt(box_inputs // (box_channels if convs else channels))
    cascade = dataclasses.replace(
        base.cascade,
        box_size=box_size,
        mask_size=2 * box_size,
        fc_channels=hidden,
        fcs=look.count(f"{box_head}.shared_fcs", "weight"),
        box_convs=convs,
        box_channels=box_channels,
        box_norm=look.norm(f"{box_head}.shared_convs.0"),
        class_agnostic=look.shape(f"{box_head}.fc_reg.weight", 2)[0] == 4,
        mask_channels=mask_channels,
        mask_convs=look.count("roi_head.mask_head.0.convs", "conv.weight"),
        mask_norm=look.norm("roi_head.mask_head.0.convs.0"),
    )
    config = dataclasses.replace(
        base,
        name=name,
        classes=classes,
        toggles=dataclasses.replace(toggles, stages=stages),
        backbone=backbone,
        fpn=dataclasses.replace(base.fpn, channels=channels, norm=look.norm("neck.lateral_convs.0")),
        rpn=_rpn(look, base.rpn),
        cascade=cascade,
    )
    return _with_semantic(config, look) if toggles.semantic else config


def _with_semantic(config: ModelConfig, look: "_Look") -> ModelConfig:
    head = "roi_head.semantic_head"
    classes, channels = look.shape(f"{head}.conv_logits.weight", 4)[:2]
    semantic = dataclasses.replace(
        config.semantic,
        classes=classes,
        channels=channels,
        convs=look.count(f"{head}.convs", "conv.weight"),
        norm=look.norm(f"{head}.lateral_convs.0"),
    )
    levels = look.count(f"{head}.lateral_convs", "conv.weight")
    return dataclasses.replace(config, semantic=semantic, fpn=dataclasses.replace(config.fpn, levels=levels))


def _rpn(look: "_Look", usual: RPNConfig) -> RPNConfig:
    if "rpn_head.conv_loc.weight" not in look.shapes:
        return usual
    offsets = look.shape("rpn_head.feature_adaption.conv_offset.weight", 4)[0]
    return dataclasses.replace(GUIDED_RPN, guided=GuidedConfig(deform_groups=offsets // 18))


def _backbone(look: "_Look") -> BackboneConfig | SENetConfig:
    if "backbone.layer0.conv1.weight" in look.shapes:
        return _senet(look)
    width = look.shape("backbone.conv1.weight", 4)[0]
    counts = tuple(look.count(f"backbone.layer{i}", "conv1.weight") for i in (1, 2, 3, 4))
    deep = "backbone.layer1.0.conv3.weight" in look.shapes
    depths = [
        depth
        for depth, (block, units) in _BLOCKS.items()
        if units == counts and (block.expansion > 1) == deep
    ]
    if not depths:
        kinds = ", ".join(map(str, _BLOCKS))
        raise InputError(
            f"{look.where}: its backbone has {', '.join(map(str, counts))} blocks in its four layers, which "
            f"fits no ResNet of depth {kinds}; only ResNet and ResNeXt are known here"
        )
    filters, per_group = look.shape("backbone.layer1.0.conv2.weight", 4)[:2]
    groups = filters // max(per_group, 1)
    group_width = per_group * 64 // width if deep and groups > 1 else 64
    deformable, deform_groups = _deformable(look)
    return BackboneConfig(
        depths[0], width, groups, group_width, deformable=deformable, deform_groups=deform_groups
    )


def _senet(look: "_Look") -> SENetConfig:
    width = look.shape("backbone.layer0.conv1.weight", 4)[0]
    counts = [look.count(f"backbone.layer{i}", "conv1.weight") for i in (1, 2, 3, 4)]
    per_group = look.shape("backbone.layer1.0.conv2.weight", 4)[1]
    squeezed = look.shape("backbone.layer1.0.se_module.fc1.weight", 4)[0]
    deformable, deform_groups = _deformable(look)
    return SENetConfig(
        blocks=(counts[0], counts[1], counts[2], counts[3]),
        width=width,
        groups=2 * width // per_group,
        reduction=4 * width // squeezed,
        deformable=deformable,
        deform_groups=deform_groups,
    )


def _deformable(look: "_Look") -> tuple[tuple[int, ...], int]:
    """The layers with offsets, and how many groups of channels have their own."""
    offsets = {i: look.shapes.get(f"backbone.layer{i}.0.conv2.conv_offset.weight") for i in (2, 3, 4)}
    # Two offsets for each point of a 3x3 kernel.
    groups = max([shape[0] // 18 for shape in offsets.values() if shape], default=1)
    return tuple(i for i, shape in offsets.items() if shape), groups


class _Look:
    """Shapes by name, with a message if one is missing."""

    def __init__(self, shapes: Shapes, where: str) -> None:
        self.shapes = shapes
        self.where = where

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        found = self.shapes.get(name)
        if found is None or len(found) != dimensions or 0 in found:
            what = "is missing" if found is None else f"has the shape {found}"
            raise InputError(
                f"{self.where}: entry {name} {what}; get the file again, or give one of a Cascade Mask R-CNN "
                "or HTC with a ResNet or ResNeXt and an FPN"
            )
        return found

    def norm(self, block: str) -> NormConfig | None:
        """The norm after a convolution; of those that look alike, the one that is usual in heads."""
        kinds = {"bn": NormConfig("sync"), "gn": NormConfig("group")}
        return next((norm for name, norm in kinds.items() if f"{block}.{name}.weight" in self.shapes), None)

    def count(self, prefix: str, suffix: str) -> int:
        """How many of prefix.0.suffix, prefix.1.suffix, ... there are."""
        i = 0
        while f"{prefix}.{i}.{suffix}" in self.shapes:
            i += 1
        return i


def like_a_preset(config: ModelConfig, file_stem: str) -> ModelConfig:
    """The preset with this network and arithmetic, including its training sizes, if there is one.

    Presets may differ in nothing but the schedule; if the file's name has one ("1x", "20e"), it decides.
    """
    found = []
    for preset in PRESETS.values():
        image = dataclasses.replace(
            preset.image, train_short=config.image.train_short, train_long=config.image.train_long
        )
        if dataclasses.replace(preset, name=config.name, image=image) == config:
            found.append(preset)
    said = re.search(r"(?<![^_-])\d+[xe](?![^_-])", file_stem)
    if said:
        found = [preset for preset in found if preset.name.endswith(f"_{said[0]}")]
    return found[0] if found else config


def with_toggles(config: ModelConfig, toggles: Toggles, where: str) -> ModelConfig:
    """The config with toggles that a person has set, because shapes don't show them.

    Raises:
        InputError: the toggles ask for parts that the file lacks, or leave out parts that it has.
    """
    have = config.toggles
    seen = [(part.key, part in toggles.parts, part in have.parts) for part in PARTS]
    for name, wanted, found in (*seen, ("stages", toggles.stages, have.stages)):
        if wanted != found:
            raise InputError(
                f"{where}: toggles say {name}={wanted}, the file's weights say {found}; load it as it is and "
                "pass other toggles to predict() or cascade()"
            )
    return dataclasses.replace(config, toggles=toggles)
