"""The numbers by which a picture becomes a tensor."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval, Len
from typing_extensions import Doc

from htc_lab.ranges import Offset, Positive, Share, Side


@dataclass(frozen=True)
class ImageConfig:
    """How a picture becomes a tensor, at test time and in training."""

    mean: Annotated[tuple[Offset, Offset, Offset], Doc("of R, G, B on the scale 0..255")] = (
        123.675,
        116.28,
        103.53,
    )
    std: Annotated[tuple[Positive, Positive, Positive], Doc("of R, G, B on the scale 0..255")] = (
        58.395,
        57.12,
        57.375,
    )
    short: Annotated[
        Side, Doc("length of the short side at test time (px), unless the long one would exceed `long`")
    ] = 800
    long: Annotated[Side, Doc("greatest length of the long side at test time (px)")] = 1333
    train_short: Annotated[
        tuple[Side, ...], Len(1), Doc("in training the short side is drawn from these (px)")
    ] = (800,)
    train_long: Annotated[Side, Doc("greatest length of the long side in training (px)")] = 1333
    flip: Annotated[Share, Doc("probability of a horizontal flip in training")] = 0.5
    pad: Annotated[
        int,
        Interval(ge=1, le=4096),
        Doc("sides are padded with zeros (after normalising) to a multiple of this, for the strides"),
    ] = 32
