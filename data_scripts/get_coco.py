"""Download COCO 2017 into the folders the lab reads: ``python data_scripts/get_coco.py --help``."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from htc_lab.data.fetch.coco import COCO_PARTS, get_coco
from htc_lab.one_line_errors import one_line

Part = Literal["annotations", "val2017", "stuffthingmaps", "train2017"]


def main(
    parts: Annotated[tuple[Part, ...], tyro.conf.Positional] = ("annotations", "val2017"),
    to: Path = Path("data/coco"),
    mirror: str | None = None,
    official: bool = True,
    keep_archives: bool = False,
) -> None:
    """Download, verify and unpack parts of COCO 2017; resumes where it stopped, skips what is complete.

    To check released checkpoints, annotations and val2017 are enough (the default: 1.1 GB to download).
    Training needs all four parts: 21 GB to download, 42 GB on disk while the largest is unpacked.

    Args:
        parts: annotations (0.25 GB), val2017 (0.8 GB), stuffthingmaps (0.7 GB), train2017 (19.3 GB).
        to: the folder to fill.
        mirror: address that serves zips/train2017.zip, zips/val2017.zip, stuffthingmaps_trainval2017.zip and
            annotations/annotations_trainval2017.zip instead of the official servers.
        official: compare everything with the official sizes, checksums and image counts; --no-official
            accepts any archives with the same folders.
        keep_archives: keep the archives, in a folder "archives" beside the data.
    """
    try:
        with one_line():
            chosen = [COCO_PARTS[name] for name in COCO_PARTS if name in parts]
            get_coco(to, chosen, mirror=mirror, official=official, keep_archives=keep_archives)
    except KeyboardInterrupt:
        print(f"{to}: stopped; the same command resumes from here", file=sys.stderr)
        raise SystemExit(130) from None
    print(f"{to}: {', '.join(part.name for part in chosen)} of COCO 2017")


if __name__ == "__main__":
    tyro.cli(main)
