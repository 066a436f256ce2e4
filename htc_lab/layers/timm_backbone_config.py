"""The numbers of a backbone that timm builds."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval
from typing_extensions import Doc


@dataclass(frozen=True)
class TimmBackboneConfig:
    """A backbone of timm's, by its name there.

    Unlike ``BackboneConfig`` it counts the stem as a stage: 0 freezes nothing, 1 the stem, 4 the stem and the
    three stages after it.
    """

    name: Annotated[str, Doc('as timm writes it: "tf_efficientnet_lite0"')]
    frozen_stages: Annotated[
        Annotated[int, Interval(ge=0, le=1000)] | None,
        Doc("so many of its stages, the first being the stem, get no gradient; null: none of them does"),
    ] = 2
    frozen_norm: Annotated[
        bool, Doc("batch norm uses its stored statistics in training too; its scale stays trainable")
    ] = True
    pretrained: Annotated[
        bool,
        Doc(
            "training starts from ImageNet weights: those that come with the lab, or timm's, downloaded once"
        ),
    ] = True
