"""Download released checkpoints of the reference: ``python data_scripts/get_checkpoints.py --help``."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from htc_lab.data.fetch.released import RELEASED, get_checkpoints, released_name
from htc_lab.errors import InputError
from htc_lab.one_line_errors import one_line


def show(folder: Path) -> None:
    """Print each preset with its file, and the size of those already downloaded."""
    width = max(map(len, RELEASED))
    for preset in RELEASED:
        path = folder / released_name(preset)
        here = f"  {path.stat().st_size / 1e6:.0f} MB, in {folder}" if path.is_file() else ""
        print(f"{preset:{width}}  {path.name}{here}")


def main(
    presets: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    to: Path = Path("checkpoints"),
    mirror: str | None = None,
    list: bool = False,
) -> None:
    """Download HTC and Cascade Mask R-CNN checkpoints as mmdetection released them, verified by their hash.

    Args:
        presets: for example htc_r50_1x cascade_r50_1x; --list shows all.
        to: folder for the files.
        mirror: address instead of https://download.openmmlab.com/mmdetection/v2.0, with the same paths.
        list: print what is available, and download nothing.
    """
    try:
        with one_line():
            if list:
                show(to)
                return
            if not presets:
                raise InputError(f"presets: none given; name some of {', '.join(RELEASED)}")
            paths = get_checkpoints(presets, to, mirror=mirror)
    except KeyboardInterrupt:
        print(f"{to}: stopped; the same command resumes from here", file=sys.stderr)
        raise SystemExit(130) from None
    for path in paths:
        print(path)


if __name__ == "__main__":
    tyro.cli(main)
