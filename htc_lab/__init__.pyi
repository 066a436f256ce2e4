"""The names of ``htc_lab`` and where each comes from; lazy_loader reads them when the package is imported."""

from .board.widget import Dashboard as Dashboard
from .board.widget import dashboard as dashboard
from .checkpoint.files import load as load
from .checkpoint.files import save_model as save_model
from .config import HTC as HTC
from .config import INTERLEAVED as INTERLEAVED
from .config import MASK_FLOW as MASK_FLOW
from .config import PLAIN_CASCADE as PLAIN_CASCADE
from .config import RUNGS as RUNGS
from .config import ModelConfig as ModelConfig
from .config import Toggles as Toggles
from .config import parse_toggles as parse_toggles
from .data.dataset import read_image as read_image
from .errors import InputError as InputError
from .explorer.explore import explore as explore
from .explorer.widget import StageExplorer as StageExplorer
from .interop.mmdet_checkpoint import save_mmdet as save_mmdet
from .interop.mmdet_config import MmdetConfig as MmdetConfig
from .interop.mmdet_config import config_from_mmdet as config_from_mmdet
from .model import HybridTaskCascade as HybridTaskCascade
from .model import build_model as build_model
from .model import total_loss as total_loss
from .presets import PRESETS as PRESETS
from .schedule import Schedule as Schedule
from .structures import Detections as Detections
from .structures import Proposals as Proposals
from .structures import RoIs as RoIs
from .structures import Targets as Targets
from .trace import StageTrace as StageTrace

__version__: str
