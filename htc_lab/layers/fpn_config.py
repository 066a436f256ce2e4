"""The numbers of the feature pyramid."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval
from typing_extensions import Doc

from htc_lab.layers.norm_config import NormConfig
from htc_lab.ranges import Channels


@dataclass(frozen=True)
class FPNConfig:
    """The feature pyramid's levels P2, P3, ..., of strides 4, 8, ... px."""

    channels: Annotated[Channels, Doc("of every level")] = 256
    levels: Annotated[int, Interval(ge=4, le=8), Doc("how many there are")] = 5
    norm: Annotated[NormConfig | None, Doc("the norm after each lateral and each output convolution")] = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each level in px."""
        return tuple(4 * 2**i for i in range(self.levels))
