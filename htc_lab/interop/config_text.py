"""What the config text inside a checkpoint says that the shapes of its weights don't.

mmdet stores the text of the training's config with the weights. Its layout changed between versions; what is
read here (the backbone's style, norms, the pictures' normalisation, the wiring's switches) is in all of them.
"""

import dataclasses
from typing import Any

from htc_lab.config import BackboneConfig, ImageConfig, ModelConfig, NormConfig, Toggles
from htc_lab.errors import InputError
from htc_lab.ideas import IDEAS, SEMANTIC_BRANCH
from htc_lab.interop.mmdet_defaults import plain_types
from htc_lab.interop.python_config import evaluate_text


def with_config_text(config: ModelConfig, text: str, where: str) -> ModelConfig:
    """The config with what the text adds to it; a text that can't be read adds nothing."""
    try:
        values = plain_types(evaluate_text(text, where))
    except InputError:
        return config
    model = _dict(values.get("model"))
    pictures = _dict(model.get("data_preprocessor")) or _dict(values.get("img_norm_cfg"))
    backbone = config.backbone
    style = _dict(model.get("backbone")).get("style")
    if isinstance(backbone, BackboneConfig) and style in ("pytorch", "caffe"):
        backbone = dataclasses.replace(backbone, style=style)
    config = _with_norms(config, model)
    return dataclasses.replace(
        config,
        image=_image(config.image, pictures),
        backbone=backbone,
        toggles=_toggles(config, _dict(model.get("roi_head"))),
    )


def _image(image: ImageConfig, pictures: dict[str, Any]) -> ImageConfig:
    rgb = pictures.get("bgr_to_rgb", pictures.get("to_rgb"))
    if isinstance(rgb, bool):
        image = dataclasses.replace(image, bgr=not rgb)
    mean, std = _triple(pictures.get("mean")), _triple(pictures.get("std"))
    if mean and std:
        # Theirs are in the order in which the network takes the channels, ours are of R, G, B.
        image = dataclasses.replace(
            image, mean=mean[::-1] if image.bgr else mean, std=std[::-1] if image.bgr else std
        )
    return image


def _with_norms(config: ModelConfig, model: dict[str, Any]) -> ModelConfig:
    """The norms of FPN and heads with their kind, of those that look alike, and their groups."""
    head = _dict(model.get("roi_head"))
    cascade, semantic = config.cascade, config.semantic
    return dataclasses.replace(
        config,
        fpn=dataclasses.replace(config.fpn, norm=_norm(config.fpn.norm, model.get("neck"))),
        cascade=dataclasses.replace(
            cascade,
            box_norm=_norm(cascade.box_norm, _first(head.get("bbox_head"))),
            mask_norm=_norm(cascade.mask_norm, _first(head.get("mask_head"))),
        ),
        semantic=dataclasses.replace(semantic, norm=_norm(semantic.norm, head.get("semantic_head"))),
    )


def _norm(seen: NormConfig | None, part: Any) -> NormConfig | None:
    said = _dict(_dict(part).get("norm_cfg"))
    groups = said.get("num_groups")
    if seen == NormConfig("group") and type(groups) is int and groups > 0:
        return NormConfig("group", groups)
    return NormConfig("batch") if seen == NormConfig("sync") and said.get("type") == "BN" else seen


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) and value else value


def _toggles(config: ModelConfig, head: dict[str, Any]) -> Toggles:
    """The switches of ideas without weights of their own, and those of the semantic feature."""
    toggles = config.toggles
    if head.get("type") != "HybridTaskCascadeRoIHead":
        return toggles
    silent = [idea for idea in IDEAS if idea.mmdet and idea.needs is None]
    said = {idea.field: bool(head.get(idea.mmdet, True)) for idea in silent}
    semantic = {idea.mmdet: idea.field for idea in IDEAS if idea.mmdet and idea.needs == SEMANTIC_BRANCH}
    fused = head.get("semantic_fusion", tuple(semantic))
    if toggles.semantic and isinstance(fused, list | tuple) and any(name in fused for name in semantic):
        said |= {field: name in fused for name, field in semantic.items()}
    return dataclasses.replace(toggles, **said)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _triple(value: Any) -> tuple[float, float, float] | None:
    if isinstance(value, list | tuple) and len(value) == 3 and all(type(v) in (int, float) for v in value):
        return (float(value[0]), float(value[1]), float(value[2]))
    return None
