"""The paper's tables 2 to 5 beyond the ladder: what happens to the htc rung if one thing about it changes.

A variant is trained like the rungs: same data, steps, order, and initial weights wherever parts are shared.
If it equals a rung, the rung's own runs are used; masks of single stages come from what every run keeps.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from htc_lab.ablation.rung_result import RungResult, common_seeds, gain_words, spread
from htc_lab.config import RUNGS, ModelConfig
from htc_lab.evaluate.statistics import paired_bootstrap, paired_over_seeds
from htc_lab.files import plain, read_json
from htc_lab.ideas import BEYOND_THE_PAPER, LADDER
from htc_lab.paper import PAPER_FUSION, PAPER_SEMANTIC_WEIGHT, PAPER_STAGE_MASK_AP, title_of
from htc_lab.wording import signed, uncapitalised

# Turns the config of the htc rung into that of a variant.
Change = Callable[[ModelConfig], ModelConfig]


@dataclass(frozen=True)
class Row:
    """A line of a study's table.

    Attributes:
        setting: in words.
        run: the rung or variant whose runs it is read from.
        change: how the variant's config differs from the htc rung's; None if ``run`` is a rung.
        stage: use the masks of only this stage, from 1; None: those of the result.
        paper: mask AP in the paper, if reported.
        versus: the index of the line it is compared with; None: no comparison.
    """

    setting: str
    run: str
    change: Change | None = None
    stage: int | None = None
    paper: float | None = None
    versus: int | None = None


@dataclass(frozen=True)
class Study:
    """One table.

    Attributes:
        name: also the name of its flag.
        title, note: for the report; the note says how the table differs from the paper's.
        rows: the lines.
    """

    name: str
    title: str
    note: str
    rows: tuple[Row, ...]

    @property
    def trains(self) -> bool:
        """Whether it needs additional trainings."""
        return any(row.change for row in self.rows)

    @property
    def runs(self) -> tuple[str, ...]:
        """The rungs and variants it needs, each once."""
        return tuple(dict.fromkeys(row.run for row in self.rows))


def _switched(**toggles: Any) -> Change:
    return lambda config: dataclasses.replace(config, toggles=dataclasses.replace(config.toggles, **toggles))


def _alone(field: str) -> Change:
    """This idea on, and none of the paper's."""
    paper = {idea.field: False for step in LADDER for idea in step.ideas}
    return _switched(**paper, **{field: True})


def _weighed(weight: float) -> Change:
    return lambda config: dataclasses.replace(
        config, semantic=dataclasses.replace(config.semantic, loss_weight=weight)
    )


def _thresholds(*ious: float) -> Change:
    def change(config: ModelConfig) -> ModelConfig:
        stages = zip(config.cascade.stages, ious, strict=True)
        moved = tuple(dataclasses.replace(stage, iou=iou) for stage, iou in stages)
        return dataclasses.replace(config, cascade=dataclasses.replace(config.cascade, stages=moved))

    return change


_INTERLEAVED, _FLOW, _SEMANTIC = LADDER
_HEADS = {"box": "boxes", "mask": "masks"}

FUSION = Study(
    "fusion",
    "Where the semantic feature goes",
    "Here on top of the paper's other ideas; in the paper (table 4) on the plain cascade, so compare the "
    "differences, not the levels. Nowhere: without the branch.",
    (
        Row("nowhere", _FLOW.key, paper=PAPER_FUSION["nowhere"]),
        *(
            Row(
                _HEADS[wire.target],
                f"htc_fusion_{wire.target}",
                _switched(**{other.field: other is idea for other in _SEMANTIC.ideas}),
                paper=PAPER_FUSION[_HEADS[wire.target]],
                versus=0,
            )
            for idea in _SEMANTIC.ideas
            for wire in idea.wires
        ),
        Row("boxes and masks", "htc", paper=PAPER_FUSION["boxes and masks"], versus=0),
    ),
)

SEMANTIC_WEIGHT = Study(
    "semantic_weight",
    "Weight of the semantic loss",
    "The htc rung uses 0.2, as the reference's configs do; the paper's table 5 starts at 0.5.",
    (
        Row("0.2", "htc"),
        *(
            Row(f"{weight:g}", f"htc_semantic_weight_{weight:g}", _weighed(weight), None, paper, 0)
            for weight, paper in PAPER_SEMANTIC_WEIGHT.items()
        ),
    ),
)

_MASKS_OF = ("stage 1", "stage 2", "stage 3", "mean of 1 to 3")

STAGE_MASKS = Study(
    "stage_masks",
    f"Masks of each stage, without and with {uncapitalised(_FLOW.name)}",
    "All on the same final boxes, without a semantic branch, as in the paper's table 3. The difference is "
    "the value with the flow minus the value without it.",
    tuple(
        Row(
            f"{'with' if flow else 'without'} flow, {words}",
            step.key,
            stage=t + 1 if t < 3 else None,
            paper=PAPER_STAGE_MASK_AP[step.key][t],
            versus=t if flow else None,
        )
        for flow, step in ((False, _INTERLEAVED), (True, _FLOW))
        for t, words in enumerate(_MASKS_OF)
    ),
)

AVERAGING = Study(
    "averaging",
    "Masks of the last stage, and the mean of all stages' masks",
    "The same models and boxes. The paper's table 3 has two of the rungs.",
    tuple(
        Row(
            f"{title_of(rung)}, {'mean' if averaged else 'last stage'}",
            rung,
            stage=None if averaged else 3,
            paper=PAPER_STAGE_MASK_AP[rung][3 if averaged else 2] if rung in PAPER_STAGE_MASK_AP else None,
            versus=2 * place if averaged else None,
        )
        for place, rung in enumerate(RUNGS)
        for averaged in (False, True)
    ),
)

STAGE_COUNT = Study(
    "stage_count",
    "Number of stages",
    "The paper has no such table. With one stage there is nothing for masks to flow from.",
    (
        Row("1", "htc_stages_1", _switched(stages=1), versus=2),
        Row("2", "htc_stages_2", _switched(stages=2), versus=2),
        Row("3", "htc"),
    ),
)

THRESHOLDS = Study(
    "thresholds",
    "IoU from which each stage counts a box as an object",
    "The paper has no such table; it takes 0.5, 0.6 and 0.7 from Cascade R-CNN.",
    (
        Row("0.5, 0.6, 0.7", "htc"),
        Row("0.5, 0.5, 0.5", "htc_thresholds_50_50_50", _thresholds(0.5, 0.5, 0.5), versus=0),
        Row("0.6, 0.7, 0.8", "htc_thresholds_60_70_80", _thresholds(0.6, 0.7, 0.8), versus=0),
    ),
)

_HTC_ROW = 1 + len(BEYOND_THE_PAPER)

BEYOND = Study(
    "beyond_the_paper",
    "Ideas beyond the paper's, alone and on top of HTC",
    "The paper has no such table. Alone: on the plain cascade.",
    (
        Row("plain cascade", "plain_cascade"),
        *(
            Row(f"{uncapitalised(idea.name)} alone", f"{idea.field}_alone", _alone(idea.field), versus=0)
            for idea in BEYOND_THE_PAPER
        ),
        Row("HTC", "htc"),
        *(
            Row(
                f"HTC and {uncapitalised(idea.name)}",
                f"htc_{idea.field}",
                _switched(**{idea.field: True}),
                versus=_HTC_ROW,
            )
            for idea in BEYOND_THE_PAPER
        ),
    ),
)

STUDIES = (STAGE_MASKS, AVERAGING, FUSION, SEMANTIC_WEIGHT, STAGE_COUNT, THRESHOLDS, BEYOND)

VARIANTS: dict[str, Change] = {
    row.run: row.change for study in STUDIES for row in study.rows if row.change is not None
}


def measure_studies(
    studies: Iterable[Study], done: Mapping[str, RungResult], truth: dict[str, Any]
) -> list[dict[str, Any]]:
    """The tables of the studies whose runs are done (:func:`measure_study`)."""
    found = [measure_study(study, done, truth) for study in studies]
    return [table for table in found if table is not None]


def measure_study(
    study: Study, done: Mapping[str, RungResult], truth: dict[str, Any]
) -> dict[str, Any] | None:
    """A study's table as JSON values, over the seeds all its runs have.

    Args:
        study: which.
        done: results by rung or variant.
        truth: COCO data set of the test images.

    Returns:
        ``name``, ``title``, ``note``, ``seeds`` and ``rows``: ``setting``, ``run``, ``stage``, ``mask_ap``
        and ``box_ap`` (by seed), ``paper``, ``versus`` (the setting compared with, or None) and ``gain`` over
        it: an ``Interval``, over seeds, or over images if there is only one. None until every run is done
        with a common seed.
    """
    if not set(study.runs) <= done.keys():
        return None
    seeds = common_seeds(done[run] for run in study.runs)
    if not seeds:
        return None
    here = {run: done[run].at(seeds) for run in study.runs}
    rows = []
    for row in study.rows:
        gain = None
        if row.versus is not None:
            other = study.rows[row.versus]
            a, b = _mask_ap(other, here), _mask_ap(row, here)
            over = paired_over_seeds(a, b)
            if over is None:
                over = paired_bootstrap(truth, _detections(other, here), _detections(row, here))
            gain = dataclasses.asdict(over)
        rows.append(
            {
                "setting": row.setting,
                "run": row.run,
                "stage": row.stage,
                "mask_ap": _mask_ap(row, here),
                "box_ap": here[row.run].box_ap,
                "paper": row.paper,
                "versus": None if row.versus is None else study.rows[row.versus].setting,
                "gain": gain,
            }
        )
    value: dict[str, Any] = plain(
        {"name": study.name, "title": study.title, "note": study.note, "seeds": seeds, "rows": rows}
    )
    return value


def _mask_ap(row: Row, here: Mapping[str, RungResult]) -> list[float]:
    result = here[row.run]
    return result.mask_ap if row.stage is None else [ap[row.stage - 1] for ap in result.stage_mask_ap]


def _detections(row: Row, here: Mapping[str, RungResult]) -> list[dict[str, Any]]:
    part = "" if row.stage is None else f"_stage{row.stage}"
    path = here[row.run].run_folders[0] / f"detections{part}.json"
    found: list[dict[str, Any]] = read_json(path, "delete the folder's evaluation.json and run again")
    return found


def study_markdown(study: Mapping[str, Any]) -> str:
    """The table from :func:`measure_study` as Markdown, including its heading."""
    seeds = study["seeds"]
    basis = (
        f"Seeds {', '.join(map(str, seeds))}; intervals (95 %) are paired over the seeds."
        if len(seeds) > 1
        else f"One training seed ({seeds[0]}): intervals (95 %) are paired over the images, and say nothing "
        "about how another training would have turned out."
    )
    lines = [
        f"### {study['title']}",
        "",
        f"{study['note']} {basis}",
        "",
        "| | mask AP | box AP | difference | against | paper: mask AP | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    papers = {row["setting"]: row["paper"] for row in study["rows"]}
    for row in study["rows"]:
        gain, paper, base = row["gain"], row["paper"], papers.get(row["versus"])
        cells = (
            row["setting"],
            spread(row["mask_ap"]),
            "" if row["stage"] else spread(row["box_ap"]),
            gain_words(gain) if gain else "",
            row["versus"] or "",
            "" if paper is None else f"{paper}",
            "" if paper is None or base is None else signed(paper - base),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
