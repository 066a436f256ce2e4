"""Weights that a training starts from: ImageNet backbones, or the classroom's own base."""

from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from htc_lab.checkpoint.timm_pretrained import timm_weights
from htc_lab.config import ImageConfig, ModelConfig, SENetConfig, TimmBackboneConfig
from htc_lab.errors import InputError, in_one_line
from htc_lab.presets import CLASSROOM

SHIPPED = Path(__file__).resolve().parent.parent / "models"
CLASSROOM_BASE = SHIPPED / "classroom" / "base.safetensors"
_SENET = ("blocks", "width", "groups", "reduction")


def pretrained_weights(config: ModelConfig) -> dict[str, Tensor]:
    """The entries of the model's state dict that don't start from scratch, float32.

    The classroom's base (backbone, FPN, RPN: what all rungs of the ladder share) comes with the lab. It was
    trained in a single-stage detector on scenes from another seed, so that a short training compares the
    heads and not the progress of a backbone. At full size it is only the backbone, from ImageNet, downloaded
    once by torchvision; so is timm's, unless it comes with the lab.

    Raises:
        InputError: there are none for this shape.
    """
    backbone = config.backbone
    if isinstance(backbone, SENetConfig):
        return _senet_weights(backbone, config.image)
    if isinstance(backbone, TimmBackboneConfig):
        return timm_weights(backbone, config.image)
    # How much of it is trained doesn't matter here.
    as_preset = replace(backbone, frozen_stages=1, frozen_norm=True)
    if (as_preset, config.fpn) == (CLASSROOM.backbone, CLASSROOM.fpn):
        weights = load_file(CLASSROOM_BASE)
        return {name: v.float() if v.is_floating_point() else v for name, v in weights.items()}

    from torchvision import models

    named = {
        (50, 64, 1, 64): models.ResNet50_Weights.IMAGENET1K_V1,
        (101, 64, 1, 64): models.ResNet101_Weights.IMAGENET1K_V1,
        (101, 64, 64, 4): models.ResNeXt101_64X4D_Weights.IMAGENET1K_V1,
    }
    shape = (backbone.depth, backbone.width, backbone.groups, backbone.group_width)
    if backbone.style == "caffe" or config.image.bgr:
        raise InputError(
            "backbone.style 'caffe' or image.bgr: no pretrained weights are known for a backbone of Caffe's "
            "style or for BGR pictures; start from a checkpoint with --init"
        )
    if shape not in named:
        raise InputError(
            f"backbone of depth {backbone.depth}, width {backbone.width}, groups {backbone.groups}: no "
            "pretrained weights are known for it; start from a checkpoint with --init"
        )
    state: dict[str, Tensor] = named[shape].get_state_dict(progress=True, check_hash=True)
    return {f"backbone.{name}": value for name, value in state.items() if not name.startswith("fc.")}


def _senet_weights(backbone: SENetConfig, image: ImageConfig) -> dict[str, Tensor]:
    """ImageNet weights of SENet-154, downloaded once by timm."""
    usual, seen = SENetConfig(), ImageConfig()
    if any(getattr(backbone, field) != getattr(usual, field) for field in _SENET):
        numbers = ", ".join(f"{field} {getattr(backbone, field)}" for field in _SENET)
        raise InputError(
            f"backbone with {numbers}: pretrained weights are known for SENet-154 alone; start from a "
            "checkpoint with --init"
        )
    if (image.mean, image.std, image.bgr) != (seen.mean, seen.std, seen.bgr):
        raise InputError(
            f"image: SENet-154's ImageNet weights want RGB pictures with the mean {list(seen.mean)} and "
            f"the std {list(seen.std)}; set these, or backbone.pretrained=False"
        )
    import timm

    try:
        state = timm.create_model("legacy_senet154", pretrained=True).state_dict()
    # No network, a damaged file, a full disk: everything that timm and what it downloads with raise.
    except Exception as error:
        raise InputError(
            f"backbone: the ImageNet weights of SENet-154 can't be fetched ({in_one_line(error)}); connect "
            "to the internet, or start from a checkpoint with --init"
        ) from None
    return {f"backbone.{name}": value for name, value in state.items() if not name.startswith("last_linear.")}
