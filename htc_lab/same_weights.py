"""The same weights with other numbers at test time: thresholds, how many detections, picture size."""

import dataclasses
from typing import Any

from htc_lab.checkpoint.files import empty_model
from htc_lab.config import ModelConfig
from htc_lab.model import HybridTaskCascade


def with_config(model: HybridTaskCascade, config: ModelConfig) -> HybridTaskCascade:
    """A model that shares its weights with ``model``, in eval mode; ``model`` itself where nothing differs.

    Args:
        model: any; it stays as it is.
        config: its config with other numbers, none of which decides the shape of a weight.
    """
    if config == model.config:
        return model
    twin = empty_model(config)
    twin.load_state_dict(model.state_dict(), assign=True)
    twin.class_names = model.class_names
    return twin.to(model.device).eval()


def with_cascade(model: HybridTaskCascade, **numbers: Any) -> HybridTaskCascade:
    """:func:`with_config` with other fields of ``config.cascade``, e.g. ``score_threshold=0.05``."""
    cascade = dataclasses.replace(model.config.cascade, **numbers)
    return with_config(model, dataclasses.replace(model.config, cascade=cascade))
