"""What a frozen backbone makes of a picture: the definition of the features that a training may start from.

The backbone sees each picture whole and alone, at the size of the training. What it says doesn't change
while it is frozen, so it is computed once for each picture and for its mirror image, and kept in 16 bits.
"""

from dataclasses import replace

import torch
from jaxtyping import UInt8
from torch import Tensor

from htc_lab.config import AnyBackboneConfig, ImageConfig, ModelConfig, TimmBackboneConfig
from htc_lab.data.transforms import fit, mirrored_image, resize_image
from htc_lab.errors import InputError
from htc_lab.layers.timm_backbone import STRIDES
from htc_lab.model import HybridTaskCascade
from htc_lab.padded_batch import padded_batch
from htc_lab.schedule import Schedule
from htc_lab.transfer import fetch

ALIGNED = STRIDES[-1]
"""Crops begin at multiples of this, px, and their sides are multiples of it: whole cells of every map."""


def require_fit(config: ModelConfig, schedule: Schedule) -> None:
    """Check that a schedule's numbers about cached features make sense, also together with the model's.

    Raises:
        InputError: they don't.
    """
    if not schedule.cached_features:
        if schedule.crop:
            raise InputError(
                f"schedule.crop: is {schedule.crop}, but crops are taken of cached features only; set "
                "schedule.cached_features=True, or crop=0"
            )
        return
    if schedule.crop % ALIGNED:
        raise InputError(
            f"schedule.crop: is {schedule.crop}; it must be a multiple of {ALIGNED} px, the stride of the "
            "coarsest map, or 0 for whole pictures"
        )
    if len(set(config.image.train_short)) > 1:
        sizes = list(config.image.train_short)
        raise InputError(
            f"image.train_short: is {sizes}, but cached features are of one size; give one number, or train "
            "without schedule.cached_features"
        )
    plain = ImageConfig()
    for name in ("train_longs", "train_pairs", "flip_vertical", "flip_both", "colour"):
        if getattr(config.image, name) != getattr(plain, name):
            raise InputError(
                f"image.{name}: cached features are of pictures in one size, mirrored or not; leave it "
                f"at {getattr(plain, name)}, or train without schedule.cached_features"
            )
    if config.image.pad % ALIGNED:
        raise InputError(
            f"image.pad: is {config.image.pad}; for cached features give a multiple of {ALIGNED}"
        )


def require_frozen(model: HybridTaskCascade) -> None:
    """Check that training leaves the backbone as it is.

    Raises:
        InputError: it doesn't.
    """
    if any(parameter.requires_grad for parameter in model.backbone.parameters()):
        raise InputError(
            "schedule.cached_features: the backbone must be frozen for its features to stay true, but "
            f"backbone.frozen_stages is {model.config.backbone.frozen_stages}; freeze all of it (null for a "
            "backbone of timm's, 4 for a ResNet), or train without cached features"
        )


def training_size(height: int, width: int, image: ImageConfig) -> tuple[int, int]:
    """(height, width) px that a picture is brought to."""
    return fit(height, width, image.train_short[0], image.train_long)


def map_shapes(size: tuple[int, int], channels: list[int], pad: int) -> list[tuple[int, int, int]]:
    """(h, w, C) of C2..C5 of a picture of that size, px, which is padded to multiples of ``pad``."""
    height, width = (-(-side // pad) * pad for side in size)
    return [(height // s, width // s, c) for s, c in zip(STRIDES, channels, strict=True)]


@torch.no_grad()
def whole_maps(model: HybridTaskCascade, picture: UInt8[Tensor, "3 H W"], mirrored: bool) -> list[Tensor]:
    """C2..C5 of a picture as it was read: (h, w, C) float16 each, on the CPU.

    Raises:
        InputError: a value doesn't fit into 16 bits.
    """
    image = model.config.image
    fitted = resize_image(picture, image.train_short[0], image.train_long)[0]
    if mirrored:
        fitted = mirrored_image(fitted)
    with model.at_test_time():
        maps = model.backbone(padded_batch([fitted], image, (0, 0), model.device))
    kept = [fetch(x[0].permute(1, 2, 0).half().contiguous()) for x in maps]
    if not all(bool(x.isfinite().all()) for x in kept):
        raise InputError(
            "schedule.cached_features: the backbone's maps have values that 16 bits can't hold; train "
            "without cached features"
        )
    return kept


def with_frozen_backbone(config: ModelConfig) -> ModelConfig:
    """``config`` as cached features need it: nothing of the backbone is trained, and images have one size."""
    backbone = config.backbone
    if isinstance(backbone, TimmBackboneConfig):
        frozen: AnyBackboneConfig = replace(backbone, frozen_stages=None)
    else:
        frozen = replace(backbone, frozen_stages=4)
    image = replace(config.image, train_short=(config.image.short,), train_long=config.image.long)
    return replace(config, backbone=frozen, image=image)
