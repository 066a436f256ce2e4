"""The numbers of box coding that the RPN and the stages share."""

from typing import Annotated

from annotated_types import Interval
from typing_extensions import Doc

from htc_lab.ranges import Offset, Positive

# How many times as wide or high a delta may make a box: so an untrained head gives finite boxes.
LARGEST_RATIO = 1000.0 / 16.0

Stds = Annotated[
    tuple[Positive, Positive, Positive, Positive],
    Doc("a head predicts (delta - mean) / std: the stds of dx, dy, dw, dh"),
]
Means = Annotated[
    tuple[Offset, Offset, Offset, Offset],
    Doc("a head predicts (delta - mean) / std: the means of dx, dy, dw, dh"),
]
LargestRatio = Annotated[
    float, Interval(ge=1, le=1e6), Doc("largest factor by which a delta may stretch a side of a box")
]
