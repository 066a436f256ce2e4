"""The numbers of SENet-154."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval
from typing_extensions import Doc

from htc_lab.ranges import Channels, Count


@dataclass(frozen=True)
class SENetConfig:
    """SENet-154, the backbone of the paper's largest single model (arXiv 1709.01507)."""

    blocks: Annotated[tuple[Count, Count, Count, Count], Doc("residual blocks of the four layers")] = (
        3,
        8,
        36,
        3,
    )
    width: Annotated[Channels, Doc("channels of the stem's first convolution; all others follow")] = 64
    groups: Annotated[Channels, Doc("of the 3x3 convolutions")] = 64
    reduction: Annotated[
        Channels, Doc("a block's channels are squeezed to this fraction of them, and excited from there")
    ] = 16
    frozen_stages: Annotated[
        int, Interval(ge=-1, le=4), Doc("the stem and so many layers get no gradient; -1: all of them do")
    ] = 1
    frozen_norm: Annotated[
        bool, Doc("batch norm uses its stored statistics in training too; its scale stays trainable")
    ] = True
    deformable: Annotated[
        tuple[Annotated[int, Interval(ge=2, le=4)], ...],
        Doc("the layers whose grouped 3x3 convolutions are deformable"),
    ] = ()
    deform_groups: Annotated[Channels, Doc("groups of input channels that have offsets of their own")] = 1
    pretrained: Annotated[
        bool, Doc("training starts from ImageNet weights: timm's legacy_senet154, downloaded once")
    ] = True
