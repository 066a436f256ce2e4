"""Write what the repository keeps of a ladder: ``results/`` and the page of results.

    htc-lab ablate --seeds 0 1 2 3 4
    python data_scripts/write_results.py --seeds 0 1 2 3 4

Combinations, studies and costs that are finished in the folder of runs are included. Whatever is missing of
the ladder itself is trained first.
"""

from pathlib import Path

import tyro

from htc_lab.ablation.ladder import open_ladder
from htc_lab.errors import InputError
from htc_lab.report.results_page import write_results


def main(
    seeds: tuple[int, ...] = (0,),
    runs: Path = Path("runs/ablation_scenes_classroom"),
    data: Path | None = None,
    name: str = "classroom",
    title: str = "Results on the classroom scenes",
    size: str = "classroom",
    results: Path = Path("results"),
    page: Path = Path("docs/results.md"),
    device: str = "cpu",
    steps: int | None = None,
    short_side: int | None = None,
    preset: str | None = None,
    crop: int | None = None,
) -> None:
    """Write the results of a ladder.

    Args:
        seeds: as given to ``htc-lab ablate``.
        runs: the folder that it wrote.
        data: its data set; default: the classroom scenes.
        name: name of the files in ``results``.
        title: title of the page.
        size: classroom, or quick if the ladder was trained with --quick; tiny only shows that it works.
        results: folder for the files.
        page: the page to write.
        device: cpu or cuda.
        steps, short_side, preset, crop: as given to ``htc-lab ablate``.
    """
    ladder = open_ladder(
        data,
        runs,
        size=size,
        seeds=seeds,
        device=device,
        steps=steps,
        short_side=short_side,
        preset=preset,
        crop=crop,
    )
    for rung in ladder.rungs:
        ladder.run_rung(rung)
    ladder.take_up()
    which = f"--seeds {' '.join(map(str, seeds))}"
    flags = "" if data is None else f" --data {data.name}"
    sizes = {"preset": preset, "steps": steps, "short-side": short_side, "crop": crop}
    flags += "".join(f" --{flag} {value}" for flag, value in sizes.items() if value is not None)
    own = "" if name == "classroom" else f"{flags} --name {name} ..."
    command = f"htc-lab ablate{flags}{' --quick' if size == 'quick' else ''} {which}"
    writer = f"python data_scripts/write_results.py {which}{own}"
    print(write_results(ladder, name, title, command, writer, results, page))


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
