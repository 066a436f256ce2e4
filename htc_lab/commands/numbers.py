"""Numbers from the command line, checked against their range before anything is done with them."""

import math

from htc_lab.errors import InputError

MOST_SEED = 2**32 - 1
LONGEST_WAIT = 30 * 24 * 3600.0
"""A month, in seconds: timers don't accept more."""


def in_range(flag: str, value: int | float, low: int | float, high: int | float) -> None:
    """Check a number.

    Raises:
        InputError: it is below ``low``, above ``high``, or NaN.
    """
    if not (low <= value <= high):
        shown = f"{low:.12g} to {high:.12g}" if math.isfinite(high) else f"{low:.12g} or more"
        raise InputError(f"--{flag} {value:.12g}: must be {shown}")


def seed_in_range(flag: str, value: int) -> None:
    """Check a seed: 0 to 2^32 - 1; raises like :func:`in_range`."""
    if not 0 <= value <= MOST_SEED:
        raise InputError(f"--{flag}: must be from 0 to {MOST_SEED}")
