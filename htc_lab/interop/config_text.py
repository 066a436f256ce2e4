"""What the config text inside a checkpoint says that the shapes of its weights don't.

mmdet stores the text of the training's config with the weights. Its layout changed between versions; what is
read here (the backbone's style, the pictures' normalisation, the wiring's switches) is found in all of them.
"""

import dataclasses
from typing import Any

from htc_lab.config import ModelConfig, Toggles
from htc_lab.errors import InputError
from htc_lab.ideas import IDEAS, SEMANTIC_BRANCH
from htc_lab.interop.mmdet_defaults import plain_types
from htc_lab.interop.python_config import evaluate_text


def with_config_text(config: ModelConfig, text: str, where: str) -> ModelConfig:
    """The config with what the text adds to it; a text that can't be read adds nothing.

    Raises:
        InputError: the text describes a model whose weights look the same but that computes something else.
    """
    try:
        values = plain_types(evaluate_text(text, where))
    except InputError:
        return config
    model = _dict(values.get("model"))
    pictures = _dict(model.get("data_preprocessor")) or _dict(values.get("img_norm_cfg"))
    if _dict(model.get("backbone")).get("style", "pytorch") != "pytorch":
        raise InputError(
            f"{where}: its config says backbone.style='caffe' (stride in the first 1x1 convolution), which "
            "this lab doesn't build; use the model of the pytorch style"
        )
    if not pictures.get("bgr_to_rgb", pictures.get("to_rgb", True)):
        raise InputError(
            f"{where}: its config says it was trained on BGR pictures, and this lab's are RGB; use a model "
            "trained on RGB"
        )
    image = config.image
    mean, std = _triple(pictures.get("mean")), _triple(pictures.get("std"))
    if mean and std:
        image = dataclasses.replace(image, mean=mean, std=std)
    return dataclasses.replace(config, image=image, toggles=_toggles(config, _dict(model.get("roi_head"))))


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
