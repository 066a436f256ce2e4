"""The ablation: train the rungs of the paper's ladder on one data set, evaluate them, compare.

Rungs differ in their toggles and in nothing else: same steps, same pictures in the same order, same initial
weights wherever they share a part, same thresholds, and masks averaged over the stages for all of them.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from htc_lab.ablation.measures import read_detections
from htc_lab.ablation.run_evaluation import DETECTIONS, EVALUATION, evaluation_of
from htc_lab.ablation.rung_result import RungResult
from htc_lab.ablation.size import SIZES, LadderSize, at_one_size, with_short_side
from htc_lab.ablation.studies import STUDIES, VARIANTS, Study, measure_studies, study_markdown
from htc_lab.ablation.tables import cost_markdown, effects, effects_markdown, ladder_markdown
from htc_lab.checkpoint.files import load
from htc_lab.checkpoint.pretrained import pretrained_weights
from htc_lab.config import HTC, RUNGS, ModelConfig
from htc_lab.config_json import to_dict
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import SIDECAR, ensure_classroom
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import DataFolder, find_data
from htc_lab.data.semantic import SemanticClasses, semantic_classes
from htc_lab.data.transforms import train_transform
from htc_lab.errors import InputError
from htc_lab.evaluate.coco_ap import Kind
from htc_lab.evaluate.inference import require_objects, truth_of
from htc_lab.evaluate.statistics import Interval, paired_bootstrap, paired_over_seeds, verdict
from htc_lab.files import plain, read_json, write_json, write_text
from htc_lab.measured_on import describe_machine
from htc_lab.model import HybridTaskCascade, build_model
from htc_lab.paper import TITLES, title_of
from htc_lab.presets import CLASSROOM, CLASSROOM_SCHEDULE, PHOTOS, PHOTOS_SCHEDULE
from htc_lab.schedule import Schedule
from htc_lab.toggles import BESIDE_THE_LADDER
from htc_lab.train.feature_file import features_of
from htc_lab.train.loop import FEATURES, OnLook, OnStep, TrainOptions, train
from htc_lab.train.whole_maps import with_frozen_backbone

CLASSROOM_DATA = Path("data/classroom")
REPORT_DATA = Path("data/classroom_report")
# Scenes with this seed are for reports only (docs/protocol.md).
_REPORT_SEED = 2
# Of a fresh S(x), which is twice as large as the base's P2, to which it is added (docs/protocol.md).
_SMALL = 0.2

COSTS = "costs.json"


def config_for(base: ModelConfig, data: DataFolder, semantic: SemanticClasses | None) -> ModelConfig:
    """``base`` with the data's numbers of thing and semantic classes; without maps, with its own of these."""
    config = dataclasses.replace(base, classes=len(data.class_names))
    if semantic is None:
        return config
    return dataclasses.replace(config, semantic=dataclasses.replace(base.semantic, classes=semantic.count))


def train_dataset(
    data: DataFolder, semantic: SemanticClasses | None, config: ModelConfig, schedule: Schedule
) -> CocoDataset:
    """The train split as a training sees it: augmented, without images that have no object."""
    return CocoDataset(
        data.train,
        semantic,
        keep_empty=False,
        min_size=schedule.min_size,
        transform=train_transform(config.image),
        # The decoded images of a small data set stay in memory; those of a large one would not fit.
        cache=len(data.train.coco.images) <= 2000,
    )


class Ladder:
    """An ablation in a folder: rungs are trained one by one, and finished ones are kept."""

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
        """See :func:`open_ladder`, which chooses these arguments."""
        if not seeds or len(set(seeds)) != len(seeds):
            raise InputError(f"--seeds {list(seeds)}: give at least one seed, each once")
        self.data, self.schedule, self.out, self.seeds, self.device = data, schedule, out, seeds, device
        self.semantic = semantic_classes(data)
        self.config = config_for(config, data, self.semantic)
        self.rungs = dict(RUNGS)
        self.done: dict[str, RungResult] = {}
        # Set these to evaluate runs along the way: what evaluates the run in a folder, and how often.
        self.look: Callable[[Path], OnLook] | None = None
        self.look_every = 200
        self.asked: Sequence[Study] = ()
        self._train = train_dataset(data, self.semantic, self.config, schedule)
        self.test = CocoDataset(data.test, cache=True)
        if test_images is not None:
            self.test.images = self.test.images[:test_images]
        self.truth = truth_of(self.test)
        require_objects(self.truth, data.test.coco.path)

    @property
    def train_images(self) -> int:
        """The number of images the rungs are trained on."""
        return len(self._train)

    def config_of(self, name: str) -> ModelConfig:
        """The model of a rung, of a combination beside the ladder, or of a study's variant.

        Raises:
            InputError: no such name; the message lists them.
        """
        known = self.rungs | BESIDE_THE_LADDER
        if name in VARIANTS:
            return VARIANTS[name](dataclasses.replace(self.config, toggles=HTC))
        if name not in known:
            raise InputError(f"rung '{name}': no such rung; choose one of {', '.join((*known, *VARIANTS))}")
        return dataclasses.replace(self.config, toggles=known[name])

    def run_rung(self, name: str, progress: bool = True, seeds: Sequence[int] | None = None) -> RungResult:
        """Train and evaluate one rung, or a study's variant; finished runs are read, not repeated.

        Args:
            name: as for ``config_of``.
            progress: show progress bars.
            seeds: default: the ladder's.

        Raises:
            InputError: no such rung, or its folder contains something else.
        """
        config, chosen = self.config_of(name), list(self.seeds if seeds is None else seeds)
        cards = [self.run_seed(name, seed, progress) for seed in chosen]
        result = RungResult(
            name=name,
            toggles=config.toggles,
            seeds=chosen,
            mask_ap=[c["ap"]["segm"]["AP"] for c in cards],
            box_ap=[c["ap"]["bbox"]["AP"] for c in cards],
            stage_mask_ap=[c["ap"]["stage_mask_ap"] for c in cards],
            statistics=[{kind: c["ap"][kind] for kind in ("bbox", "segm")} for c in cards],
            seconds=[c["seconds"] for c in cards],
            parameters=cards[0]["parameters"],
            run_folders=[self.run_folder(name, seed) for seed in chosen],
        )
        self.done[name] = result
        return result

    def take_up(self) -> None:
        """Also read the finished combinations and variants in the folder, for this ladder's seeds."""
        for name in (*BESIDE_THE_LADDER, *VARIANTS):
            finished = self.finished_seeds(name)
            if name not in self.done and finished:
                self.run_rung(name, progress=False, seeds=finished)

    def finished_seeds(self, name: str) -> list[int]:
        """The seeds of this ladder for which a rung or variant is trained and evaluated."""
        return [seed for seed in self.seeds if (self.run_folder(name, seed) / EVALUATION).is_file()]

    def run_folder(self, name: str, seed: int) -> Path:
        """The folder of one training, whether or not it exists yet."""
        return self.out / f"{name}_seed{seed}"

    def run_seed(
        self, name: str, seed: int, progress: bool = True, on_step: OnStep | None = None
    ) -> dict[str, Any]:
        """Train and evaluate one run; a finished one is read.

        Args:
            name: as for ``config_of``.
            seed: of the run.
            progress: show progress bars.
            on_step: as for :func:`htc_lab.train.loop.train`.

        Returns:
            As :func:`htc_lab.ablation.run_evaluation.evaluation_of`.

        Raises:
            InputError: as by ``run_rung``.
        """
        config, folder = self.config_of(name), self.run_folder(name, seed)
        options = TrainOptions(
            seed=seed,
            device=self.device,
            progress=progress,
            about={"rung": name},
            look=None if self.look is None else self.look(folder),
            look_every=self.look_every,
        )
        began = time.perf_counter()
        # A finished run is returned at once, and a run with different settings is refused; so the evaluation
        # in the folder belongs to this training.
        model = train(folder, config, self.schedule, self._train, options, on_step)
        return evaluation_of(folder, model, self.test, self.truth, began, progress)

    def compute_features(self, progress: bool = True) -> None:
        """Keep the features that all runs start from, where they start from any.

        Otherwise the first run computes them.

        Raises:
            InputError: the disk has no room, or the folder can't be written to.
        """
        if self.schedule.cached_features:
            # The frozen backbone is the same in all runs.
            model = build_model(self.config, seed=0)
            if self.config.backbone.pretrained:
                model.load_state_dict(pretrained_weights(self.config), strict=False)
            features_of(model.to(self.device), self._train, self.out / FEATURES, progress)

    def load(self, name: str, seed: int | None = None) -> HybridTaskCascade:
        """The trained model of a rung.

        Raises:
            InputError: it hasn't been trained here.
        """
        return load(self.run_folder(name, self.seeds[0] if seed is None else seed), self.device)

    def gain(self, first: str, second: str, kind: Kind = "segm") -> Interval:
        """Mask AP of ``second`` minus that of ``first`` with a 95 % interval ("bbox": box AP).

        With several seeds the interval is over seeds, paired. With one seed it is over test images, and can't
        say how another seed would have turned out.
        """
        a, b = self.done[first], self.done[second]
        over_seeds = paired_over_seeds(*((r.mask_ap if kind == "segm" else r.box_ap) for r in (a, b)))
        if over_seeds is not None:
            return over_seeds
        found = [read_detections(r.run_folders[0] / DETECTIONS, self.truth) for r in (a, b)]
        return paired_bootstrap(self.truth, found[0], found[1], kind)

    def verdict(self) -> str:
        """In words: what the last finished rung gains over the first, and whether that means anything."""
        names = [name for name in self.rungs if name in self.done]
        if len(names) < 2:
            return "Nothing to compare yet: run at least two rungs."
        first, last = names[0], names[-1]
        return verdict(title_of(first), title_of(last), self.gain(first, last))

    def effects(self) -> dict[str, list[float]]:
        """Each idea's effect in every combination (:func:`htc_lab.ablation.tables.effects`)."""
        return effects(self.done)

    def studies(self) -> list[dict[str, Any]]:
        """The tables of the studies asked for, and of all others whose variants were trained."""
        shown = [study for study in STUDIES if study.trains or study in self.asked]
        return measure_studies(shown, self.done, self.truth)

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
            "studies": self.studies(),
            "costs": self.costs(),
            "gain": gain,
            "verdict": self.verdict(),
            "seconds": sum(sum(row["seconds"]) for row in rungs),
            "machine": describe_machine(),
            "config": {
                "model": to_dict(self.config),
                "schedule": to_dict(self.schedule),
                "data": str(self.data.root),
                "train_images": self.train_images,
                "test_images": len(self.test),
                "seeds": list(self.seeds),
            },
        }

    def markdown(self) -> str:
        """The ladder as a Markdown table, with the paper's beside it."""
        return ladder_markdown({name: self.done[name] for name in self.rungs if name in self.done})

    def effects_markdown(self) -> str:
        """The eight combinations and each idea's effect, as Markdown; empty until all are done."""
        return effects_markdown(self.done)

    def costs(self) -> dict[str, Any] | None:
        """The last result of :func:`htc_lab.ablation.costs.measure_costs`; None if there is none."""
        path = self.out / COSTS
        found: dict[str, Any] | None = read_json(path, "delete it") if path.is_file() else None
        return found

    def cost_markdown(self) -> str:
        """What each rung costs beside what it gains; empty until it is measured and all rungs are done."""
        costs, names = self.costs(), list(self.rungs)
        if costs is None or not set(names) <= self.done.keys():
            return ""
        gains = {name: dataclasses.asdict(self.gain(names[0], name)) for name in names[1:]}
        try:
            return cost_markdown({name: self.done[name] for name in names}, gains, costs)
        except (LookupError, TypeError, ValueError, ArithmeticError):
            raise InputError(
                f"{self.out / COSTS}: was not written by --costs; delete it and run with --costs again"
            ) from None

    def save(self) -> dict[str, Any]:
        """Write ``results.json`` and ``results.md`` into the ablation's folder; return the results."""
        results = self.results()
        write_json(self.out / "results.json", results)
        note = "Paper: as reported in table 2, COCO val2017, R-50. AP in points on the test images here."
        if self.schedule.cached_features:
            note += " Trained from cached features of the frozen backbone."
        parts = [self.markdown(), note, self.verdict(), self.cost_markdown(), self.effects_markdown()]
        parts += map(study_markdown, results["studies"])
        text = "\n\n".join(part for part in parts if part) + "\n"
        write_text(self.out / "results.md", text)
        return results


def ladder_folder(data: Path | None, size: str) -> Path:
    """The default folder for the runs of an ablation: one for each data set and size."""
    name = "scenes" if data is None else data.resolve().name
    return Path("runs") / f"ablation_{name}_{size}"


def open_ladder(
    data: Path | DataFolder | None = None,
    out: Path = Path("runs/ablation"),
    *,
    size: str = "quick",
    seeds: tuple[int, ...] = (0,),
    device: str = "cpu",
    steps: int | None = None,
    short_side: int | None = None,
    preset: str | None = None,
    crop: int | None = None,
) -> Ladder:
    """The ladder of the classroom's model or the photo model on a data set.

    Args:
        data: a COCO-format folder; None: the classroom scenes, drawn if missing.
        out: folder for runs and results.
        size: "tiny" only shows that all parts work; "quick" takes minutes on a laptop; "classroom" is longer.
        seeds: every rung is trained once for each.
        device: "cpu" or "cuda".
        steps: optimiser steps of a rung, instead of the size's.
        short_side: short side of the images in px, instead of the size's; in training of the classroom's
            model it varies by a tenth either way.
        preset: "classroom" or "photos"; default: photos, except on drawn scenes.
        crop: side of the squares of the photo model's features in px, instead of the size's; 0: whole
            pictures.

    Raises:
        InputError: the data can't be used, the size or preset is unknown, or crops are for another model.
    """
    if size not in SIZES:
        raise InputError(f"size '{size}': choose one of {', '.join(SIZES)}")
    if preset not in (None, CLASSROOM.name, PHOTOS.name):
        raise InputError(f"--preset {preset}: the ladder is for {CLASSROOM.name} and {PHOTOS.name}; take one")
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
    drawn = (folder.root / SIDECAR).is_file()
    if preset == PHOTOS.name or (preset is None and own and not drawn):
        config, schedule = _photos(chosen, short_side, crop)
    elif crop is not None:
        raise InputError(f"--crop {crop}: only the photo model takes crops; add --preset {PHOTOS.name}")
    else:
        config, schedule = _classroom(chosen, own, short_side)
    if steps is not None:
        schedule = dataclasses.replace(schedule, steps=steps)
    return Ladder(folder, config, schedule, out, seeds, chosen.test_images, device)


def _classroom(size: LadderSize, own: bool, short_side: int | None) -> tuple[ModelConfig, Schedule]:
    config, schedule = CLASSROOM, dataclasses.replace(CLASSROOM_SCHEDULE, steps=size.steps)
    if own:
        # Photos contain smaller things than the scenes: use more pixels, and fewer steps for the same time.
        config, schedule = with_short_side(config, 160), dataclasses.replace(schedule, steps=size.own_steps)
    elif size.from_features:
        semantic = dataclasses.replace(config.semantic, embedding_scale=_SMALL)
        config = with_frozen_backbone(dataclasses.replace(config, semantic=semantic))
        schedule = dataclasses.replace(schedule, cached_features=True)
    if short_side is not None:
        sized = at_one_size if schedule.cached_features else with_short_side
        config = sized(config, short_side)
    return config, schedule


def _photos(size: LadderSize, short_side: int | None, crop: int | None) -> tuple[ModelConfig, Schedule]:
    config, schedule = PHOTOS, dataclasses.replace(PHOTOS_SCHEDULE, steps=size.photo_steps)
    if size.photo_short is not None:
        config, schedule = at_one_size(config, size.photo_short), dataclasses.replace(schedule, crop=0)
    if short_side is not None:
        config = at_one_size(config, short_side)
    return config, schedule if crop is None else dataclasses.replace(schedule, crop=crop)
