"""The ablation: train the rungs of the paper's ladder on one data set, evaluate them, compare.

Rungs differ in their toggles and in nothing else: same steps, same pictures in the same order, same initial
weights wherever they share a part, same thresholds, masks averaged over the stages for all.
"""

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htc_lab.config import RUNGS, ModelConfig, Schedule, Toggles
from htc_lab.config_json import to_dict
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import DataFolder, find_data
from htc_lab.data.scenes import SceneConfig
from htc_lab.data.semantic import SemanticClasses, semantic_classes
from htc_lab.data.transforms import TrainTransform
from htc_lab.data.write_scenes import ensure_classroom
from htc_lab.engine.checkpoint import load
from htc_lab.engine.inference import average_precision, predict_split, truth_of
from htc_lab.engine.machine import describe_machine
from htc_lab.engine.statistics import Interval, paired_bootstrap, paired_over_seeds, verdict
from htc_lab.engine.train import TrainOptions, train
from htc_lab.errors import InputError
from htc_lab.files import plain, read_json, write_json, write_text
from htc_lab.model import HybridTaskCascade
from htc_lab.presets import CLASSROOM, CLASSROOM_SCHEDULE
from htc_lab.toggles import BESIDE_THE_LADDER

TITLES = {
    "plain_cascade": "Plain cascade",
    "interleaved": "+ Interleaved",
    "mask_flow": "+ Mask information flow",
    "htc": "+ Semantic branch (HTC)",
    "flow_alone": "Mask information flow alone",
    "semantic_alone": "Semantic branch alone",
    "interleaved_semantic": "Interleaved, semantic branch",
    "flow_semantic": "Mask information flow, semantic branch",
}

# As reported in the paper (table 2): box AP and mask AP on COCO val2017, R-50.
PAPER_BOX_AP = {"plain_cascade": 42.5, "interleaved": 42.5, "mask_flow": 42.5, "htc": 43.2}
PAPER_MASK_AP = {"plain_cascade": 36.5, "interleaved": 36.7, "mask_flow": 37.4, "htc": 38.0}


@dataclass(frozen=True)
class LadderSize:
    """How large an ablation is.

    Attributes:
        scenes: classroom scenes made for train, val and test, where no other data is given.
        steps: optimiser steps a rung.
        own_steps: the same on a person's own data.
        test_images: at most so many images of the test split are evaluated; None: all.
        report_scenes: so many scenes of a seed that nothing was ever tuned on are the test split instead.
    """

    scenes: tuple[int, int, int]
    steps: int
    own_steps: int
    test_images: int | None
    report_scenes: int = 0


SIZES: dict[str, LadderSize] = {
    "tiny": LadderSize(scenes=(16, 4, 8), steps=3, own_steps=3, test_images=4),
    "quick": LadderSize(scenes=(1000, 200, 500), steps=260, own_steps=200, test_images=200),
    "classroom": LadderSize(
        scenes=(1000, 200, 500), steps=1000, own_steps=1000, test_images=None, report_scenes=1000
    ),
}

CLASSROOM_DATA = Path("data/classroom")
REPORT_DATA = Path("data/classroom_report")
# Scenes of this seed are for reports alone (docs/protocol.md).
_REPORT_SEED = 2


@dataclass(frozen=True)
class RungResult:
    """One rung, all seeds.

    Attributes:
        name, toggles: which rung.
        seeds: one training each; the lists below follow their order.
        mask_ap, box_ap: AP points on the test images.
        stage_mask_ap: mask AP of stage 1, 2, 3 alone and of the result, on the same final boxes.
        statistics: all 12 COCO statistics, ``{"bbox": {...}, "segm": {...}}``.
        seconds: of training and evaluation.
        parameters: of the model.
        run_folders: where the trainings are.
    """

    name: str
    toggles: Toggles
    seeds: list[int]
    mask_ap: list[float]
    box_ap: list[float]
    stage_mask_ap: list[list[float]]
    statistics: list[dict[str, dict[str, float]]]
    seconds: list[float]
    parameters: int
    run_folders: list[Path]


def config_for(base: ModelConfig, data: DataFolder, semantic: SemanticClasses) -> ModelConfig:
    """``base`` with the data's numbers of thing and semantic classes."""
    return dataclasses.replace(
        base,
        classes=len(data.class_names),
        semantic=dataclasses.replace(base.semantic, classes=semantic.count),
    )


def train_dataset(
    data: DataFolder, semantic: SemanticClasses, config: ModelConfig, schedule: Schedule
) -> CocoDataset:
    """The train split as a training sees it: augmented, without images that have no object."""
    image = config.image
    return CocoDataset(
        data.train,
        semantic,
        keep_empty=False,
        min_size=schedule.min_size,
        transform=TrainTransform(image.train_short, image.train_long, image.flip),
        # Decoded images of a small set stay in memory; a large one would not fit.
        cache=len(data.train.coco.images) <= 2000,
    )


class Ladder:
    """An ablation in a folder: rungs are trained one by one, and what is finished is kept."""

    def __init__(
        self,
        data: DataFolder,
        config: ModelConfig,
        schedule: Schedule,
        out: Path,
        seeds: tuple[int, ...] = (0,),
        test_images: int | None = None,
        device: str = "cpu",
    ) -> None:
        """See :func:`open_ladder`, which chooses these."""
        if not seeds or len(set(seeds)) != len(seeds):
            raise InputError(f"--seeds {list(seeds)}: give at least one seed, each once")
        self.data, self.schedule, self.out, self.seeds, self.device = data, schedule, out, seeds, device
        self.semantic = semantic_classes(data)
        self.config = config_for(config, data, self.semantic)
        self.rungs = dict(RUNGS)
        self.done: dict[str, RungResult] = {}
        self._train = train_dataset(data, self.semantic, self.config, schedule)
        self.test = CocoDataset(data.test, cache=True)
        if test_images is not None:
            self.test.images = self.test.images[:test_images]
        self.truth = truth_of(self.test)
        if not any(not row["iscrowd"] for row in self.truth["annotations"]):
            raise InputError(
                f"{data.test.coco.path}: no object in the {len(self.test)} test images; add some"
            )

    def run_rung(self, name: str, progress: bool = True) -> RungResult:
        """Train and evaluate one rung for all seeds; what an earlier call finished is read, not done again.

        Raises:
            InputError: no such rung, or its folder holds something else.
        """
        known = self.rungs | BESIDE_THE_LADDER
        if name not in known:
            raise InputError(f"rung '{name}': no such rung; take one of {', '.join(known)}")
        cards = [self._run_seed(name, known[name], seed, progress) for seed in self.seeds]
        result = RungResult(
            name=name,
            toggles=known[name],
            seeds=list(self.seeds),
            mask_ap=[c["ap"]["segm"]["AP"] for c in cards],
            box_ap=[c["ap"]["bbox"]["AP"] for c in cards],
            stage_mask_ap=[c["ap"]["stage_mask_ap"] for c in cards],
            statistics=[{kind: c["ap"][kind] for kind in ("bbox", "segm")} for c in cards],
            seconds=[c["seconds"] for c in cards],
            parameters=cards[0]["parameters"],
            run_folders=[self._folder(name, seed) for seed in self.seeds],
        )
        self.done[name] = result
        return result

    def _folder(self, name: str, seed: int) -> Path:
        return self.out / f"{name}_seed{seed}"

    def _run_seed(self, name: str, toggles: Toggles, seed: int, progress: bool) -> dict[str, Any]:
        folder = self._folder(name, seed)
        config = dataclasses.replace(self.config, toggles=toggles)
        options = TrainOptions(seed=seed, device=self.device, progress=progress, about={"rung": name})
        began = time.perf_counter()
        # A finished run comes back at once, and a run of other settings is refused: so the evaluation that
        # lies in the folder belongs to this training.
        model = train(folder, config, self.schedule, self._train, options)
        asked = {"test": str(self.data.test.coco.path), "images": self.test.image_ids}
        path = folder / "evaluation.json"
        if path.is_file():
            card: dict[str, Any] = read_json(path, "delete it, and it is made anew")
            if isinstance(card, dict) and card.get("asked") == asked:
                return card
        found = predict_split(model, self.test, stages=True, progress=progress)
        for part, entries in (
            ("", found.final),
            *((f"_stage{t + 1}", e) for t, e in enumerate(found.by_stage)),
        ):
            write_text(folder / f"detections{part}.json", json.dumps(entries, separators=(",", ":")))
        card = {
            "ap": average_precision(self.truth, found),
            "parameters": sum(p.numel() for p in model.parameters()),
            "seconds": time.perf_counter() - began,
            "asked": asked,
        }
        card = plain(card)
        write_json(path, card)
        return card

    def load(self, name: str, seed: int | None = None) -> HybridTaskCascade:
        """The trained model of a rung.

        Raises:
            InputError: it hasn't been trained here.
        """
        return load(self._folder(name, self.seeds[0] if seed is None else seed), self.device)

    def gain(self, first: str, second: str) -> Interval:
        """Mask AP of ``second`` minus that of ``first`` with a 95 % interval.

        With several seeds the interval is over seeds, paired; with one it is over test images, which
        knows nothing of how another seed would have come out.
        """
        a, b = self.done[first], self.done[second]
        over_seeds = paired_over_seeds(a.mask_ap, b.mask_ap)
        if over_seeds is not None:
            return over_seeds
        found = [
            read_json(r.run_folders[0] / "detections.json", "delete the folder and run again") for r in (a, b)
        ]
        return paired_bootstrap(self.truth, found[0], found[1])

    def verdict(self) -> str:
        """In words: what the last rung done gains over the first, and whether that means anything."""
        names = [name for name in self.rungs if name in self.done]
        if len(names) < 2:
            return "Nothing to compare yet: run at least two rungs."
        first, last = names[0], names[-1]
        return verdict(_plain(first), _plain(last), self.gain(first, last))

    def effects(self) -> dict[str, list[float]]:
        """What each idea does to mask AP, in every company: with it minus without it, mean over the seeds.

        Empty until all eight combinations of the three ideas are done. Each list has four values: with
        neither of the other two ideas, with the first, with the second, with both.
        """
        mask_ap: dict[tuple[bool, ...], float] = {}
        for rung in self.done.values():
            ideas = rung.toggles
            mask_ap[ideas.interleaved, ideas.mask_flow, ideas.semantic] = _mean(rung.mask_ap)
        if len(mask_ap) < 8:
            return {}
        effects = {}
        for i, idea in enumerate(("interleaved", "mask_flow", "semantic")):
            pairs = []
            for a, b in ((False, False), (True, False), (False, True), (True, True)):
                others = (a, b)
                off, on = ((*others[:i], value, *others[i:]) for value in (False, True))
                pairs.append(mask_ap[on] - mask_ap[off])
            effects[idea] = pairs
        return effects

    def results(self) -> dict[str, Any]:
        """Everything measured so far, as JSON values."""
        rungs = []
        for name in self.rungs:
            if name in self.done:
                rungs.append({"title": TITLES[name], **plain(dataclasses.asdict(self.done[name]))})
        names = [row["name"] for row in rungs]
        others = [
            {"title": TITLES[name], **plain(dataclasses.asdict(self.done[name]))}
            for name in BESIDE_THE_LADDER
            if name in self.done
        ]
        gain = dataclasses.asdict(self.gain(names[0], names[-1])) if len(names) > 1 else None
        return {
            "rungs": rungs,
            "beside_the_ladder": others,
            "effects": self.effects(),
            "gain": gain,
            "verdict": self.verdict(),
            "seconds": sum(sum(row["seconds"]) for row in rungs),
            "machine": describe_machine(),
            "config": {
                "model": to_dict(self.config),
                "schedule": to_dict(self.schedule),
                "data": str(self.data.root),
                "train_images": len(self._train),
                "test_images": len(self.test),
                "seeds": list(self.seeds),
            },
        }

    def markdown(self) -> str:
        """The ladder as a Markdown table, with the paper's beside it."""
        lines = [
            "| rung | mask AP | step | mask AP75 | box AP | paper: mask AP | step | seconds | M parameters |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        before: str | None = None
        for name in self.rungs:
            if name not in self.done:
                continue
            rung = self.done[name]
            step = paper_step = ""
            if before is not None:
                step = f"{_mean(rung.mask_ap) - _mean(self.done[before].mask_ap):+.1f}"
                paper_step = f"{PAPER_MASK_AP[name] - PAPER_MASK_AP[before]:+.1f}"
            cells = (
                TITLES[name],
                _spread(rung.mask_ap),
                step,
                f"{_mean([s['segm']['AP75'] for s in rung.statistics]):.1f}",
                _spread(rung.box_ap),
                f"{PAPER_MASK_AP[name]}",
                paper_step,
                f"{_mean(rung.seconds):.0f}",
                f"{rung.parameters / 1e6:.2f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
            before = name
        return "\n".join(lines)

    def effects_markdown(self) -> str:
        """The eight combinations and each idea's effect, as Markdown; empty until all are done."""
        effects = self.effects()
        if not effects:
            return ""
        lines = ["| combination | mask AP | mask AP75 | box AP |", "|---|---|---|---|"]
        for rung in self.done.values():
            ap75 = f"{_mean([s['segm']['AP75'] for s in rung.statistics]):.1f}"
            title = _plain(rung.name)
            lines.append(f"| {title} | {_spread(rung.mask_ap)} | {ap75} | {_spread(rung.box_ap)} |")
        lines += [
            "",
            "| idea | alone | with the first other | with the second | with both | mean |",
            "|---|---|---|---|---|---|",
        ]
        for idea, pairs in effects.items():
            cells = [f"{value:+.1f}" for value in (*pairs, _mean(pairs))]
            lines.append(f"| {idea.replace('_', ' ')} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def save(self) -> None:
        """Write ``results.json`` and ``results.md`` into the ablation's folder."""
        write_json(self.out / "results.json", self.results())
        note = "Paper: as reported in table 2, COCO val2017, R-50. AP in points on the test images here."
        parts = [self.markdown(), note, self.verdict(), self.effects_markdown()]
        text = "\n\n".join(part for part in parts if part) + "\n"
        write_text(self.out / "results.md", text)


def _plain(name: str) -> str:
    return TITLES[name].removeprefix("+ ")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{_mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def open_ladder(
    data: Path | DataFolder | None = None,
    out: Path = Path("runs/ablation"),
    *,
    size: str = "quick",
    seeds: tuple[int, ...] = (0,),
    device: str = "cpu",
) -> Ladder:
    """The classroom model's ladder on a data set.

    Args:
        data: a COCO-format folder; None: the classroom scenes, made if missing.
        out: where runs and results go.
        size: "tiny" only shows that all parts work; "quick" is minutes on a laptop; "classroom" is longer.
        seeds: one training of every rung for each.
        device: "cpu" or "cuda".

    Raises:
        InputError: the data can't be used, or the size is unknown.
    """
    if size not in SIZES:
        raise InputError(f"size '{size}': take one of {', '.join(SIZES)}")
    chosen = SIZES[size]
    own = data is not None
    if data is None:
        root = CLASSROOM_DATA if size != "tiny" else CLASSROOM_DATA.with_name("classroom_tiny")
        train, val, test = chosen.scenes
        data = find_data(ensure_classroom(root, train, val, test, SceneConfig()))
        if chosen.report_scenes:
            report = ensure_classroom(REPORT_DATA, 1, 1, chosen.report_scenes, SceneConfig(), _REPORT_SEED)
            data = dataclasses.replace(data, test=find_data(report).test)
    folder = data if isinstance(data, DataFolder) else find_data(data)
    config, steps = CLASSROOM, chosen.steps
    if own:
        # Photos hold smaller things than the scenes do: more pixels, fewer steps for the same time.
        image = dataclasses.replace(
            config.image, short=160, long=256, train_short=(144, 160, 176), train_long=288
        )
        config, steps = dataclasses.replace(config, image=image), chosen.own_steps
    schedule = dataclasses.replace(CLASSROOM_SCHEDULE, steps=steps)
    return Ladder(folder, config, schedule, out, seeds, chosen.test_images, device)
