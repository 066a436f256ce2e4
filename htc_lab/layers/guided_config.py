"""The numbers of guided anchoring; those that it shares with fixed anchors are in ``RPNConfig``."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval
from typing_extensions import Doc

from htc_lab.layers.box_coding_config import Stds
from htc_lab.ranges import Channels, Positive, Share, Weight


@dataclass(frozen=True)
class GuidedConfig:
    """Where anchors are put and which shape they get, how both are learned, and what depends on them."""

    octave_scales: Annotated[
        int,
        Interval(ge=1, le=16),
        Doc(
            "a cell learns an object's shape if an anchor of one of so many sizes within an octave and of "
            "one of `anchor_ratios` would be matched to it"
        ),
    ] = 3
    shape_stds: Stds = (0.07, 0.07, 0.14, 0.14)
    deform_groups: Annotated[Channels, Doc("groups of channels whose view of an anchor differs")] = 4
    location_threshold: Annotated[
        Share, Doc("at test time, cells with a lower probability of an object's centre have no anchor")
    ] = 0.01
    centre_ratio: Annotated[Share, Doc("an object's centre: its box with the sides times this")] = 0.2
    ignored_ratio: Annotated[Share, Doc("around it, so much of the box is not judged")] = 0.5
    background_weight: Annotated[Weight, Doc("of a cell away from all objects, in the loss of locations")] = (
        0.1
    )
    location_cells: Annotated[
        Positive, Doc("the loss of locations is divided by this fraction of all cells: one in so many")
    ] = 200.0
    location_weight: Annotated[Weight, Doc("weight of the loss of locations")] = 1.0
    shape_weight: Annotated[Weight, Doc("weight of the loss of shapes")] = 1.0
    shape_beta: Annotated[Positive, Doc("shortfall from which on the loss of shapes is linear")] = 0.2
