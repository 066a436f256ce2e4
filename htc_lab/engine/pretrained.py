"""Weights that a backbone starts from: torchvision's ImageNet ones, or the lab's own for the classroom."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from htc_lab.config import CLASSROOM, BackboneConfig
from htc_lab.errors import InputError

SHIPPED = Path(__file__).resolve().parent.parent / "models"
CLASSROOM_BACKBONE = SHIPPED / "classroom" / "backbone.safetensors"


def pretrained_backbone(config: BackboneConfig) -> dict[str, Tensor]:
    """Weights for this shape of backbone, float32.

    The classroom's come with the lab: trained with a single-stage detector on scenes of another seed, as
    ImageNet weights come from other pictures. The others are downloaded once, by torchvision.

    Raises:
        InputError: there are none for this shape.
    """
    shape = (config.depth, config.width, config.groups, config.group_width)
    room = CLASSROOM.backbone
    if shape == (room.depth, room.width, room.groups, room.group_width):
        weights = load_file(CLASSROOM_BACKBONE)
        return {name: v.float() if v.is_floating_point() else v for name, v in weights.items()}

    from torchvision import models

    named = {
        (50, 64, 1, 64): models.ResNet50_Weights.IMAGENET1K_V1,
        (101, 64, 1, 64): models.ResNet101_Weights.IMAGENET1K_V1,
        (101, 64, 64, 4): models.ResNeXt101_64X4D_Weights.IMAGENET1K_V1,
    }
    if shape not in named:
        raise InputError(
            f"backbone of depth {config.depth}, width {config.width}, groups {config.groups}: no "
            "pretrained weights are known for it; start from a checkpoint with --init"
        )
    state: dict[str, Tensor] = named[shape].get_state_dict(progress=True, check_hash=True)
    return {name: value for name, value in state.items() if not name.startswith("fc.")}
