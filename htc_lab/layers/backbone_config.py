"""The numbers of the backbone."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval
from typing_extensions import Doc

from htc_lab.ranges import Channels


@dataclass(frozen=True)
class BackboneConfig:
    """A ResNet or ResNeXt."""

    depth: Annotated[int, Interval(ge=1, le=1000), Doc("18, 34, 50, 101 or 152")] = 50
    width: Annotated[Channels, Doc("channels of the stem: 64 in the paper, fewer for the classroom")] = 64
    groups: Annotated[Channels, Doc("ResNeXt's cardinality, the 64 of 64x4d; 1: a ResNet")] = 1
    group_width: Annotated[Channels, Doc("ResNeXt's width of a group, the 4 of 64x4d")] = 64
    style: Annotated[
        Literal["pytorch", "caffe"],
        Doc(
            "where a bottleneck that halves the map has its stride: in its 3x3 convolution, or in the 1x1 "
            "before, as in weights that come from Caffe (which want `image.bgr`, too)"
        ),
    ] = "pytorch"
    frozen_stages: Annotated[
        int, Interval(ge=-1, le=4), Doc("the stem and this many layers get no gradient; -1: all of them do")
    ] = 1
    frozen_norm: Annotated[bool, Doc("batch norm uses its stored statistics in training too")] = True
    trained_norm: Annotated[bool, Doc("batch norm's scale and shift get a gradient")] = True
    deformable: Annotated[
        tuple[Annotated[int, Interval(ge=2, le=4)], ...],
        Doc(
            "the layers whose 3x3 convolutions are deformable: 2, 3 and 4 (c3-c5) in the released model, the "
            "last alone in the paper's table 6"
        ),
    ] = ()
    deform_groups: Annotated[Channels, Doc("groups of input channels that have offsets of their own")] = 1
    pretrained: Annotated[
        bool,
        Doc(
            "training starts from pretrained weights: torchvision's ImageNet ones, or the lab's own for the "
            "classroom model, FPN and RPN included"
        ),
    ] = True
