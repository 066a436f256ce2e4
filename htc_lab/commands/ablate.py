"""``htc-lab ablate``."""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from htc_lab.commands.flags import FROM_FEATURES, USUAL, Layout, say, usable_device
from htc_lab.commands.numbers import in_range, seed_in_range
from htc_lab.commands.telling import tell_data
from htc_lab.errors import InputError
from htc_lab.ideas import LADDER
from htc_lab.wording import uncapitalised

if TYPE_CHECKING:
    from htc_lab.ablation.ladder import Ladder
    from htc_lab.ablation.studies import Study
    from htc_lab.data.layout import Split
    from htc_lab.train.loop import OnLook


_STAGE_MASKS = (
    f"Masks of each stage, without and with {uncapitalised(LADDER[1].name)} (table 3); no extra trainings."
)


@dataclass(frozen=True)
class StudyFlags:
    """Tables beyond the ladder: the paper's tables 3 to 5, and studies of the lab's own."""

    stage_masks: Annotated[bool, tyro.conf.arg(help=_STAGE_MASKS)] = False
    averaging: bool = False
    """Masks of the last stage against the mean of all stages (table 3); no extra trainings."""
    fusion: bool = False
    """The semantic feature in boxes, masks, both, nowhere (table 4); two extra trainings per seed."""
    semantic_weight: bool = False
    """Weight of the semantic loss: 0.5, 1, 2, 3 (table 5); four extra trainings per seed."""
    stage_count: bool = False
    """One, two and three stages (not in the paper); two extra trainings per seed."""
    thresholds: bool = False
    """Other IoU thresholds for the stages (not in the paper); two extra trainings per seed."""
    beyond_the_paper: bool = False
    """Ideas of other papers, each alone and on top of HTC; two extra trainings per seed for each of them."""

    def chosen(self) -> "list[Study]":
        """The studies asked for."""
        from htc_lab.ablation.studies import STUDIES

        return [study for study in STUDIES if getattr(self, study.name)]


Studies = Annotated[StudyFlags, tyro.conf.arg(name="")]
NO_STUDIES = StudyFlags()


def ablate(
    data: Path | None = None,
    out: Path | None = None,
    quick: bool = False,
    tiny: bool = False,
    combinations: bool = False,
    studies: Studies = NO_STUDIES,
    costs: bool = False,
    report: bool = False,
    seeds: tuple[int, ...] = (0,),
    device: str = "cpu",
    at_once: int | None = None,
    steps: int | None = None,
    short_side: int | None = None,
    preset_name: Annotated[str | None, tyro.conf.arg(name="preset")] = None,
    crop: int | None = None,
    eval_every: int | None = None,
    eval_images: int = 64,
    layout: Layout = USUAL,
    json: bool = False,
) -> dict[str, Any] | None:
    """Train the four rungs of the paper's ladder, evaluate them, and report the gains.

    Args:
        data: folder of a COCO-format data set; default: the classroom scenes, made if missing.
        out: folder for the runs and results; default: runs/ablation_..., named after data and size. What is
            finished there is not trained again.
        quick: the size for a class: minutes on two cores.
        tiny: three steps per rung, to see that all parts work; its figures mean nothing.
        combinations: also train the four combinations of the three ideas that are not rungs of the ladder.
        costs: also measure what each rung costs; takes a few minutes on a machine that does nothing else.
        report: also measure each kind of situation and error, and write a report with figures.
        seeds: every rung is trained once for each.
        device: cpu or cuda.
        at_once: how many trainings run side by side, each in a process of its own with its share of the
            cores. Default: as many as there are cores and memory for; with --tiny and on a GPU, one.
        steps: optimiser steps of every training. Default: 1000; for --quick 600 on the scenes, 250 on
            photographs.
        short_side: px to which the short side of an image is resized; in training of the classroom preset it
            varies by a tenth either way. Small objects need more. Default: 160; for the photos preset 1024,
            for --quick 320.
        preset_name: the model: classroom, or photos, whose backbone knows photographs and is frozen, so that
            its features are computed once for all rungs. Default: classroom for scenes, photos for own data.
        crop: with the photos preset, train on squares of so many px, a multiple of 32; 0: on whole pictures.
            Default: 512, for --quick 0.
        eval_every: steps between evaluations of a run on pictures of the val split, for the dashboard's AP
            curves and sample pictures; they count towards the run's seconds. Default: none along the way.
        eval_images: how many pictures of the val split.
        layout: where things are in the data folder.
        json: print the results as one JSON object.
    """
    from htc_lab.ablation.ladder import COSTS, ladder_folder, open_ladder
    from htc_lab.ablation.side_by_side import at_once_here, train_side_by_side
    from htc_lab.ablation.studies import study_markdown
    from htc_lab.files import write_json
    from htc_lab.toggles import BESIDE_THE_LADDER

    if not seeds:
        raise InputError("--seeds: is empty; give at least one number")
    for seed in seeds:
        seed_in_range("seeds", seed)
    if eval_every is not None:
        in_range("eval-every", eval_every, 1, math.inf)
    in_range("eval-images", eval_images, 1, math.inf)
    if at_once is not None:
        in_range("at-once", at_once, 1, 64)
    if steps is not None:
        in_range("steps", steps, 1, math.inf)
    if short_side is not None:
        in_range("short-side", short_side, 32, 2000)
    if crop is not None:
        in_range("crop", crop, 0, 100_000)
    if quick and tiny:
        raise InputError("--quick and --tiny: give only one of them")
    size = "tiny" if tiny else "quick" if quick else "classroom"
    if data is None and layout.given():
        raise InputError(f"{', '.join(layout.given())}: needs --data, the folder of the data set")
    found = None if data is None else layout.find(data)
    folder = out or ladder_folder(data, size)
    ladder = open_ladder(
        found,
        folder,
        size=size,
        seeds=tuple(seeds),
        device=usable_device(device),
        steps=steps,
        short_side=short_side,
        preset=preset_name,
        crop=crop,
    )
    if eval_every is not None:
        ladder.look = partial(_look, ladder.data.val, eval_images)
        ladder.look_every = eval_every
    tell_data(ladder.data, ladder.semantic, json, ladder.config.cascade.max_detections)
    if ladder.schedule.cached_features:
        say(FROM_FEATURES, json)
    beside = tuple(BESIDE_THE_LADDER) if combinations else ()
    variants = (run for study in studies.chosen() for run in study.runs)
    names = list(dict.fromkeys((*ladder.rungs, *beside, *variants)))
    runs = [(name, seed) for name in names for seed in seeds]
    # A GPU is one training's; three steps end before another process has started.
    alone = tiny or ladder.device != "cpu"
    several = at_once or (1 if alone else at_once_here(len(runs)))
    if several > 1:
        train_side_by_side(ladder, runs, several)
    for name in names:
        _run(ladder, name, json)
    ladder.take_up()
    ladder.asked = studies.chosen()
    if costs:
        from htc_lab.ablation.costs import measure_costs

        write_json(folder / COSTS, measure_costs(ladder))
    results = ladder.save()
    shown = [ladder.markdown(), ladder.cost_markdown(), ladder.effects_markdown()]
    shown += [*map(study_markdown, results["studies"]), ladder.verdict()]
    text = "\n\n".join(part for part in shown if part)
    say(f"\n{text}\n{folder}/results.json, results.md", json)
    if report:
        from htc_lab.report.ladder_report import write_report

        rungs = [(rung, ladder.done[rung].run_folders) for rung in ladder.rungs]
        say(str(write_report(folder, rungs, ladder.truth, folder / "report")), json)
    return results if json else None


def _look(pictures: "Split", images: int, run: Path) -> "OnLook":
    """What evaluates the run in a folder along the way."""
    from htc_lab.board.look import look_at
    from htc_lab.data.dataset import CocoDataset

    return look_at(run, CocoDataset(pictures, cache=True), images)


def _run(ladder: "Ladder", name: str, json: bool) -> None:
    """Train and evaluate a rung or variant, and print the result."""
    result = ladder.run_rung(name)
    say(
        f"{name}: mask AP {', '.join(f'{v:.1f}' for v in result.mask_ap)}, "
        f"box AP {', '.join(f'{v:.1f}' for v in result.box_ap)}, {sum(result.seconds):.0f} s",
        json,
    )
