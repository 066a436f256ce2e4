"""Get the facade photographs: ``python data_scripts/get_facades.py --help``."""

import sys
from pathlib import Path

import tyro

from htc_lab.data.facades.made import ensure_facades
from htc_lab.one_line_errors import one_line


def main(
    root: Path | None = None,
    size: int = 1024,
    original: Path = Path("data/facade_original"),
    mirror: str | None = None,
) -> None:
    """Download and verify 598 facade photographs, and make a data folder with semantic maps from them.

    The same command resumes a download that broke off, and leaves a folder that is complete as it is. The
    photographs are under CC BY 4.0; SOURCE.md in the folder says whose they are and what was changed.

    Args:
        root: folder to create. Default: data/facade_SIZE.
        size: height and width, px: 256 to 1024. At 1024 the pictures are the published files; smaller ones
            are written anew as JPEG of quality 90.
        original: folder of the published files (114 MB), such as a clone of their repository; what is missing
            is downloaded into it.
        mirror: address in the place of https://github.com, with the same paths.
    """
    root = root or Path("data", f"facade_{size}")
    try:
        with one_line():
            counts = ensure_facades(root, size, original, mirror=mirror)
    except KeyboardInterrupt:
        print(f"{root}: stopped; the same command resumes from here", file=sys.stderr)
        raise SystemExit(130) from None
    print(
        f"{root}: {counts['train']} training and {counts['val']} val pictures of {size} px (CC BY 4.0: "
        "SOURCE.md says whose they are)"
    )


if __name__ == "__main__":
    tyro.cli(main)
