"""The numbers of the backbone."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval, doc

from htc_lab.ranges import Channels


@dataclass(frozen=True)
class BackboneConfig:
    """A ResNet or ResNeXt."""

    depth: Annotated[int, Interval(ge=1, le=1000), doc("18, 34, 50, 101 or 152")] = 50
    width: Annotated[Channels, doc("channels of the stem; 64 in the paper, fewer in the classroom model")] = 64
    groups: Annotated[Channels, doc("ResNeXt's cardinality, the 64 of 64x4d; 1: a ResNet")] = 1
    group_width: Annotated[Channels, doc("ResNeXt's width of a group, the 4 of 64x4d")] = 64
    frozen_stages: Annotated[
        int, Interval(ge=-1, le=4), doc("the stem and so many layers get no gradient; -1: all of them do")
    ] = 1
    frozen_norm: Annotated[
        bool, doc("batch norm uses its stored statistics in training too; its scale stays trainable")
    ] = True
    deformable: Annotated[
        tuple[Annotated[int, Interval(ge=2, le=4)], ...],
        doc(
            "the layers whose 3x3 convolutions are deformable: 2, 3 and 4 (c3-c5) in the released model, the "
            "last alone in the paper's table 6"
        ),
    ] = ()
    deform_groups: Annotated[Channels, doc("groups of input channels that have offsets of their own")] = 1
    pretrained: Annotated[
        bool,
        doc(
            "training starts from pretrained weights: torchvision's ImageNet ones, or the lab's own for the "
            "classroom model, FPN and RPN included"
        ),
    ] = True
