"""The numbers of the semantic branch (section 3.3 of the paper)."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval
from typing_extensions import Doc

from htc_lab.layers.norm_config import NormConfig
from htc_lab.ranges import Channels, Weight


@dataclass(frozen=True)
class SemanticConfig:
    """The semantic branch: its size and its loss."""

    classes: Annotated[
        int,
        Interval(ge=1, le=254),
        Doc("S, thing and stuff classes of the semantic maps; 183 for COCO's stuffthingmaps"),
    ] = 183
    channels: Annotated[Channels, Doc("width of its convolutions")] = 256
    convs: Annotated[int, Interval(ge=0, le=64), Doc("how many there are between its two ends")] = 4
    level: Annotated[
        int, Interval(ge=0, le=7), Doc("the FPN level all others are resized to; 1 is stride 8")
    ] = 1
    loss_weight: Annotated[Weight, Doc("beta of eq. 7: 1 in the paper, 0.2 in the reference's configs")] = 0.2
    mean_over_valid: Annotated[
        bool, Doc("the loss is divided by the labelled pixels alone; the reference divides by all")
    ] = False
    embedding_scale: Annotated[
        Weight, Doc("S(x) begins at this share of its usual size; without effect under a norm")
    ] = 1.0
    norm: Annotated[NormConfig | None, Doc("the norm after each convolution but that of the logits")] = None


REFERENCE_SEMANTIC = SemanticConfig()
PAPER_SEMANTIC = SemanticConfig(loss_weight=1.0, mean_over_valid=True)
