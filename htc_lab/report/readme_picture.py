"""The README's picture: ``python -m htc_lab.report.readme_picture --help``."""

from pathlib import Path

import tyro

from htc_lab.checkpoint.files import load
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.files import write_atomically
from htc_lab.plots.stages import show_model


def main(model: str = "classroom/htc", out: Path = Path("docs/stages.png"), scene: int = 1) -> None:
    """Draw what each stage of a model makes of one classroom test scene.

    Args:
        model: a shipped model's name or a checkpoint.
        out: the PNG to write.
        scene: index in the test split, from 0.
    """
    figure = show_model(load(model), classroom_samples(1, first=scene)[0])
    write_atomically(out, lambda path: figure.savefig(path, format="png"))
    print(out)


if __name__ == "__main__":
    tyro.cli(main)
