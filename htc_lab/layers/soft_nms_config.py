"""The numbers of soft-NMS."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval
from typing_extensions import Doc

from htc_lab.ranges import Share

Decay = Literal["linear", "gaussian"]


@dataclass(frozen=True)
class SoftNMSConfig:
    """How far a detection's score falls when it overlaps a better one (arXiv 1704.04503); as in mmcv."""

    decay: Annotated[
        Decay,
        Doc("linear: times 1 - IoU from `iou` on; gaussian: times exp(-IoU^2 / sigma), at any overlap"),
    ] = "linear"
    iou: Annotated[Share, Doc("overlap from which on a score falls, if linear")] = 0.3
    sigma: Annotated[
        float, Interval(ge=1e-3, le=1e3), Doc("the larger, the less a score falls, if gaussian")
    ] = 0.5
    min_score: Annotated[Share, Doc("detections whose score has fallen below it are dropped")] = 1e-3
