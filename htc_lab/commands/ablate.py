"""``htc-lab ablate``."""

from pathlib import Path
from typing import Any

from htc_lab.commands.flags import USUAL, Layout, say, usable_device
from htc_lab.commands.numbers import seed_in_range
from htc_lab.errors import InputError


def ablate(
    data: Path | None = None,
    out: Path | None = None,
    quick: bool = False,
    combinations: bool = False,
    report: bool = False,
    seeds: tuple[int, ...] = (0,),
    device: str = "cpu",
    layout: Layout = USUAL,
    json: bool = False,
) -> dict[str, Any] | None:
    """Train the four rungs of the paper's ladder, evaluate them, and say what was gained.

    Args:
        data: folder of a COCO-format data set; default: the classroom scenes, made if missing.
        out: folder of the runs and results; default: runs/ablation_... after data and size. What is
            finished there is not trained again.
        quick: the size for a class: minutes on two cores.
        combinations: also train the four combinations of the three ideas that the ladder has no rung for.
        report: also measure each kind of situation and of error, and write a report with figures.
        seeds: one training of every rung for each.
        device: cpu or cuda.
        layout: where things are in the data folder.
        json: print the results as one JSON object.
    """
    from htc_lab.engine.ablation import open_ladder
    from htc_lab.toggles import BESIDE_THE_LADDER

    if not seeds:
        raise InputError("--seeds: names none; give at least one number")
    for seed in seeds:
        seed_in_range("seeds", seed)
    size = "quick" if quick else "classroom"
    if data is None and layout.given():
        raise InputError(f"{', '.join(layout.given())}: needs --data, the folder of the data set")
    found = None if data is None else layout.find(data)
    name = "scenes" if data is None else data.resolve().name
    folder = out or Path("runs") / f"ablation_{name}_{size}"
    ladder = open_ladder(found, folder, size=size, seeds=tuple(seeds), device=usable_device(device))
    say(ladder.data.describe(), json)
    for rung in (*ladder.rungs, *(BESIDE_THE_LADDER if combinations else ())):
        result = ladder.run_rung(rung)
        say(
            f"{rung}: mask AP {', '.join(f'{v:.1f}' for v in result.mask_ap)}, "
            f"box AP {', '.join(f'{v:.1f}' for v in result.box_ap)}, {sum(result.seconds):.0f} s",
            json,
        )
    ladder.save()
    shown = [ladder.markdown(), ladder.effects_markdown(), ladder.verdict()]
    text = "\n\n".join(part for part in shown if part)
    say(f"\n{text}\n{folder}/results.json, results.md", json)
    if report:
        from htc_lab.plots.ladder_report import write_report

        rungs = [(rung, ladder.done[rung].run_folders) for rung in ladder.rungs]
        say(str(write_report(folder, rungs, ladder.truth, folder / "report")), json)
    return ladder.results() if json else None
