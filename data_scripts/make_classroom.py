"""Draw the classroom scenes: ``python data_scripts/make_classroom.py --help``."""

from pathlib import Path

import tyro

from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import ensure_classroom
from htc_lab.one_line_errors import one_line


def main(
    root: Path = Path("data/classroom"),
    train: int = 1000,
    val: int = 200,
    test: int = 500,
    size: int = 128,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Write classroom scenes in COCO format with semantic maps; a folder that has them is left as it is.

    Args:
        root: folder to create.
        train: number of images for training.
        val: number of images for making choices.
        test: number of images for the report.
        size: height and width, px.
        seed: different seeds give different scenes.
        workers: processes; by default one per core.
    """
    with one_line():
        ensure_classroom(root, train, val, test, SceneConfig(size=size), seed, workers)
    print(f"{root}: {train} train, {val} val, {test} test scenes of {size} px")


if __name__ == "__main__":
    tyro.cli(main)
