"""HTC Lab: see, toggle and measure the four ideas of Hybrid Task Cascade.

``import htc_lab`` is quick: torch is loaded with the first name that needs it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from htc_lab.config import (
    HTC,
    INTERLEAVED,
    MASK_FLOW,
    PLAIN_CASCADE,
    RUNGS,
    ModelConfig,
    Toggles,
    parse_toggles,
)
from htc_lab.errors import InputError
from htc_lab.presets import PRESETS
from htc_lab.train.schedule import Schedule

if TYPE_CHECKING:
    from htc_lab.board.widget import Dashboard, dashboard
    from htc_lab.checkpoint.files import load, save_model
    from htc_lab.data.dataset import read_image
    from htc_lab.explorer.explore import explore
    from htc_lab.explorer.widget import StageExplorer
    from htc_lab.interop.mmdet_checkpoint import save_mmdet
    from htc_lab.interop.mmdet_config import MmdetConfig, config_from_mmdet
    from htc_lab.model import HybridTaskCascade, build_model, total_loss
    from htc_lab.structures import Detections, Proposals, RoIs, Targets
    from htc_lab.trace import StageTrace

__version__ = "0.1.0"

__all__ = [
    "HTC",
    "INTERLEAVED",
    "MASK_FLOW",
    "PLAIN_CASCADE",
    "PRESETS",
    "RUNGS",
    "Dashboard",
    "Detections",
    "HybridTaskCascade",
    "InputError",
    "MmdetConfig",
    "ModelConfig",
    "Proposals",
    "RoIs",
    "Schedule",
    "StageExplorer",
    "StageTrace",
    "Targets",
    "Toggles",
    "build_model",
    "config_from_mmdet",
    "dashboard",
    "explore",
    "load",
    "parse_toggles",
    "read_image",
    "save_mmdet",
    "save_model",
    "total_loss",
]

_HEAVY = {
    "Dashboard": "htc_lab.board.widget",
    "Detections": "htc_lab.structures",
    "HybridTaskCascade": "htc_lab.model",
    "MmdetConfig": "htc_lab.interop.mmdet_config",
    "Proposals": "htc_lab.structures",
    "RoIs": "htc_lab.structures",
    "StageExplorer": "htc_lab.explorer.widget",
    "StageTrace": "htc_lab.trace",
    "Targets": "htc_lab.structures",
    "build_model": "htc_lab.model",
    "config_from_mmdet": "htc_lab.interop.mmdet_config",
    "dashboard": "htc_lab.board.widget",
    "explore": "htc_lab.explorer.explore",
    "load": "htc_lab.checkpoint.files",
    "read_image": "htc_lab.data.dataset",
    "save_mmdet": "htc_lab.interop.mmdet_checkpoint",
    "save_model": "htc_lab.checkpoint.files",
    "total_loss": "htc_lab.model",
}


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module 'htc_lab' has no attribute '{name}'")
    return getattr(importlib.import_module(_HEAVY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
