"""The numbers of a norm between a convolution of the FPN or of a head and its ReLU."""

from dataclasses import dataclass
from typing import Annotated, Literal

from typing_extensions import Doc

from htc_lab.ranges import Channels


@dataclass(frozen=True)
class NormConfig:
    """Which norm. The convolution before it has no bias."""

    kind: Annotated[
        Literal["batch", "sync", "group"],
        Doc(
            "statistics over the batch of one process, over that of all processes, or over groups of "
            "channels of each picture or RoI by itself"
        ),
    ]
    groups: Annotated[Channels, Doc("of group norm: so many groups of channels")] = 32

    def fault(self, channels: int) -> str | None:
        """Why it can't follow a convolution of so many channels, as "what; fix"; None: it can."""
        if self.kind == "group" and channels % self.groups:
            return f"{self.groups} groups can't share {channels} channels evenly; give a divisor"
        return None
