"""Flags that several commands share, and how commands print."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from htc_lab.config import RUNGS, SWITCHES, Toggles, parse_toggles
from htc_lab.errors import InputError, in_one_line

if TYPE_CHECKING:
    from htc_lab.data.layout import DataFolder


@dataclass(frozen=True)
class LayoutFlags:
    """For a data folder whose layout the lab doesn't recognise by itself."""

    train_json: Path | None = None
    """Annotations to train on, instead of those found; without --val-json they are split."""
    val_json: Path | None = None
    """Annotations to evaluate on."""
    test_json: Path | None = None
    """Annotations to report on; if there are none, those of val."""
    images: Path | None = None
    """Image folder for all splits, instead of those found."""
    train_images: Path | None = None
    """Image folder of the train split."""
    val_images: Path | None = None
    """Image folder of the val split."""
    semantic: Path | None = None
    """Folder of semantic maps (single-channel PNGs), instead of stuffthingmaps/ or semantic/."""
    split_seed: int = 0
    """Decides which images of a single JSON become val."""
    val_fraction: float = 0.3
    """Share of a single JSON's images that become val."""

    def find(self, data: Path) -> "DataFolder":
        """The data set in that folder."""
        from htc_lab.data.layout import find_data

        return find_data(data, **dataclasses.asdict(self))

    def given(self) -> list[str]:
        """The flags that were given a path."""
        return [
            f"--{name.replace('_', '-')}"
            for name, v in dataclasses.asdict(self).items()
            if isinstance(v, Path)
        ]


Layout = Annotated[LayoutFlags, tyro.conf.arg(name="")]
USUAL = LayoutFlags()


FROM_FEATURES = "training from cached features of the frozen backbone"


def say(text: str, json: bool) -> None:
    """Print for people: to stdout, unless that must hold one JSON object and nothing else."""
    print(text, file=sys.stderr if json else sys.stdout, flush=True)


_DEVICES = ("cpu", "cuda", "mps", "xpu")


def usable_device(name: str) -> str:
    """The device, if this torch and machine have it.

    Raises:
        InputError: they don't.
    """
    import torch

    try:
        if torch.device(name).type not in _DEVICES:
            raise RuntimeError(f"not one of {', '.join(_DEVICES)}")
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = in_one_line(str(error).split("\n")[0])
        raise InputError(
            f"--device {name}: cannot be used ({reason}); take cpu, or cuda if there is a GPU"
        ) from None
    return name


TOGGLES_WORDS = (
    f"a rung ({', '.join(RUNGS)}), or switches joined by '+' ({', '.join(SWITCHES)}, stages=N, last_mask)"
)
"""What ``--toggles`` takes, for the help of the commands that have it."""


def toggles_of(text: str | None) -> Toggles | None:
    return None if text is None else parse_toggles(text)
