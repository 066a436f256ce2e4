"""How large an ablation may be."""

import dataclasses
from dataclasses import dataclass

from htc_lab.config import ModelConfig


@dataclass(frozen=True)
class LadderSize:
    """How large an ablation is.

    Attributes:
        scenes: classroom scenes drawn for train, val and test, if no other data is given.
        steps: optimiser steps per rung.
        from_features: on the scenes, the base's backbone stays as it is and trainings start from its maps,
            which pays for more steps; and S(x) begins as a small correction.
        own_steps: the same on a user's own data, with the classroom's model.
        photo_steps: the same with the photo model.
        photo_short: short side of photographs, px, which are taken whole; None: the preset's, and its crops.
        test_images: at most this many images of the test split are evaluated; None: all.
        report_scenes: if not 0, this many scenes from a seed that nothing was ever tuned on are the test
            split instead.
    """

    scenes: tuple[int, int, int]
    steps: int
    own_steps: int
    photo_steps: int
    photo_short: int | None
    test_images: int | None
    report_scenes: int = 0
    from_features: bool = False


SIZES: dict[str, LadderSize] = {
    "tiny": LadderSize(scenes=(16, 4, 8), steps=3, own_steps=3, photo_steps=3, photo_short=96, test_images=4),
    "quick": LadderSize(
        scenes=(1000, 200, 500),
        steps=600,
        own_steps=200,
        photo_steps=250,
        photo_short=320,
        test_images=200,
        from_features=True,
    ),
    "classroom": LadderSize(
        scenes=(1000, 200, 500),
        steps=1000,
        own_steps=1000,
        photo_steps=1000,
        photo_short=None,
        test_images=None,
        report_scenes=1000,
    ),
}


def with_short_side(config: ModelConfig, short: int) -> ModelConfig:
    """``config`` for images with a short side of ``short`` px, in training up to a tenth less or more."""
    change = max(short // 10, 1)
    image = dataclasses.replace(
        config.image,
        short=short,
        long=8 * short // 5,
        train_short=(short - change, short, short + change),
        train_long=9 * short // 5,
    )
    return dataclasses.replace(config, image=image)


def at_one_size(config: ModelConfig, short: int) -> ModelConfig:
    """``config`` for images with a short side of ``short`` px, in training as well."""
    long = 8 * short // 5
    image = dataclasses.replace(config.image, short=short, long=long, train_short=(short,), train_long=long)
    return dataclasses.replace(config, image=image)
