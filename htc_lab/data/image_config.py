"""The numbers by which a picture becomes a tensor."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval, Len
from typing_extensions import Doc

from htc_lab.ranges import Offset, Positive, Share, Side


@dataclass(frozen=True)
class ColourConfig:
    """How far a training may change the colours of a picture (htc_lab/data/colours.py)."""

    brightness: Annotated[
        float, Interval(ge=0, le=255), Doc("most that is added to all values, or subtracted")
    ] = 32.0
    contrast: Annotated[tuple[Positive, Positive], Doc("least and largest factor of all values")] = (0.5, 1.5)
    saturation: Annotated[tuple[Positive, Positive], Doc("least and largest factor of the saturation")] = (
        0.5,
        1.5,
    )
    hue: Annotated[float, Interval(ge=0, le=360), Doc("most that the hue is turned, in degrees")] = 18.0


@dataclass(frozen=True)
class ImageConfig:
    """How a picture becomes a tensor, at test time and in training.

    Pictures are RGB everywhere in the lab, and so are the numbers here. A network of BGR gets its channels
    turned round once they are normalised, as the last step before it (``padded_batch``) and nowhere else.
    """

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
    bgr: Annotated[
        bool, Doc("the network takes the channels in the order B, G, R, as one with Caffe's weights does")
    ] = False
    short: Annotated[
        Side, Doc("length of the short side at test time (px), unless the long one would exceed `long`")
    ] = 800
    long: Annotated[Side, Doc("greatest length of the long side at test time (px)")] = 1333
    train_short: Annotated[
        tuple[Side, ...], Len(1), Doc("in training the short side is drawn from these (px)")
    ] = (800,)
    train_long: Annotated[Side, Doc("greatest length of the long side in training (px)")] = 1333
    train_longs: Annotated[
        tuple[Side, ...],
        Doc("in training `train_long` is drawn from these (px), on its own; empty: it is fixed"),
    ] = ()
    train_pairs: Annotated[
        tuple[tuple[Side, Side], ...],
        Doc("(short, long): both are drawn as a pair (px), instead of from the fields above"),
    ] = ()
    flip: Annotated[Share, Doc("probability of a horizontal flip in training")] = 0.5
    flip_vertical: Annotated[Share, Doc("probability that it is flipped upside down instead")] = 0.0
    flip_both: Annotated[Share, Doc("probability that it is flipped both ways instead")] = 0.0
    colour: Annotated[ColourConfig | None, Doc("changes to the colours in training; None: none")] = None
    pad: Annotated[
        int,
        Interval(ge=1, le=4096),
        Doc("sides are padded with zeros (after normalising) to a multiple of this, for the strides"),
    ] = 32
