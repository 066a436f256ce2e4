"""How a process's memory grows: readings and the line through them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from htc_lab.errors import InputError

MIB = 1024**2


def mib_of(pid: int) -> dict[str, float]:
    """MiB of a process: ``rss`` resident, ``pss`` with shared pages split among their users, ``private``.

    Raises:
        InputError: the system doesn't say (it is not Linux).
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError as error:
        raise InputError(
            f"/proc/{pid}/smaps_rollup: cannot be read ({error.strerror}); memory is measured on Linux only"
        ) from None
    rows = [line.split() for line in text.splitlines()[1:]]
    kib = {row[0].rstrip(":"): int(row[1]) for row in rows}
    return {
        "rss": kib["Rss"] / 1024,
        "pss": kib["Pss"] / 1024,
        "private": (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024,
    }


@dataclass
class Growth:
    """Resident memory against a count of something done.

    Attributes:
        every: between readings.
        pid: whose memory.
        warm: share of the readings that belongs to warming up and is left out of the fit.
        counts, mib: the readings.
    """

    every: int
    pid: int = field(default_factory=os.getpid)
    warm: float = 0.25
    counts: list[int] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)

    def see(self, count: int) -> None:
        """Take a reading where one is due."""
        if count % self.every == 0:
            self.counts.append(count)
            self.mib.append(mib_of(self.pid)["rss"])

    def figures(self) -> dict[str, float]:
        """First and last reading after warming up, and the slope of the line through them.

        Returns:
            ``done``, ``mib_warm``, ``mib_end``, ``mib_largest``, ``mib_per_1000``.
        """
        first = int(len(self.counts) * self.warm)
        counts, mib = self.counts[first:], self.mib[first:]
        return {
            "done": self.counts[-1],
            "mib_warm": round(mib[0], 1),
            "mib_end": round(mib[-1], 1),
            "mib_largest": round(max(self.mib), 1),
            "mib_per_1000": round(slope(counts, mib) * 1000, 2),
        }


def slope(counts: Sequence[float], values: Sequence[float]) -> float:
    """Of the line with the least squared error; 0 for fewer than two readings."""
    if len(counts) < 2:
        return 0.0
    return float(np.polyfit(counts, values, 1)[0])
