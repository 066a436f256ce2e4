"""What each command of ``htc-lab`` does. Flags are the functions' arguments, help texts their docstrings."""

import dataclasses
import functools
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from htc_lab.config import ModelConfig, Schedule, Toggles, parse_toggles, preset, schedule_of
from htc_lab.errors import InputError

if TYPE_CHECKING:
    from htc_lab.data.layout import DataFolder

# torch and everything built on it is imported inside the commands, so that --help answers at once.


@dataclass(frozen=True)
class LayoutFlags:
    """For a data folder that is laid out in a way the lab doesn't find by itself."""

    train_json: Path | None = None
    """Annotations to train on, instead of those found; without --val-json they are split."""
    val_json: Path | None = None
    """Annotations to evaluate on."""
    test_json: Path | None = None
    """Annotations to report on; val where there are none."""
    images: Path | None = None
    """Image folder for all splits, instead of those found."""
    train_images: Path | None = None
    """Image folder of the train split."""
    val_images: Path | None = None
    """Image folder of the val split."""
    semantic: Path | None = None
    """Folder of semantic maps (single-channel PNGs), instead of stuffthingmaps/ or semantic/."""
    split_seed: int = 0
    """Decides which images of a single JSON become val."""
    val_fraction: float = 0.3
    """Share of a single JSON's images that become val."""

    def find(self, data: Path) -> "DataFolder":
        """The data set in that folder."""
        from htc_lab.data.layout import find_data

        return find_data(data, **dataclasses.asdict(self))

    def given(self) -> list[str]:
        """The flags that name something."""
        return [
            f"--{name.replace('_', '-')}"
            for name, v in dataclasses.asdict(self).items()
            if isinstance(v, Path)
        ]


Layout = Annotated[LayoutFlags, tyro.conf.arg(name="")]
USUAL = LayoutFlags()


def _say(text: str, json: bool) -> None:
    """For people: on stdout, unless that is to hold one JSON object and nothing else."""
    print(text, file=sys.stderr if json else sys.stdout, flush=True)


def _device(name: str) -> str:
    import torch

    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"--device {name}: cannot be used ({reason}); take cpu, or cuda where there is a GPU"
        ) from None
    return name


def _toggles(text: str | None) -> Toggles | None:
    return None if text is None else parse_toggles(text)


def train(
    data: Path,
    run: Path,
    preset_name: Annotated[str, tyro.conf.arg(name="preset")] = "classroom",
    toggles: str | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 0,
    checkpoint_every: int = 200,
    init: Path | None = None,
    layout: Layout = USUAL,
    json: bool = False,
) -> dict[str, Any] | None:
    """Train a model, or go on with a run that was stopped.

    Args:
        data: folder of a COCO-format data set.
        run: folder of the run: config.json, metrics.jsonl, checkpoint.safetensors.
        preset_name: which model; a wrong name lists them all.
        toggles: the ideas it is trained with: a rung (plain_cascade, interleaved, mask_flow, htc) or switches
            joined by "+"; default: the preset's.
        steps: optimiser steps, instead of the preset's schedule.
        epochs: passes over the data, instead of the preset's schedule.
        batch: images a step; the learning rate follows.
        lr: learning rate for the schedule's own batch.
        seed: of weights, order and sampling.
        device: cpu or cuda.
        workers: processes that read images.
        checkpoint_every: steps between checkpoints.
        init: checkpoint to start from.
        layout: where things are in the data folder.
        json: print the figures as one JSON object.
    """
    config: ModelConfig = preset(preset_name)
    chosen = _toggles(toggles)
    if chosen is not None:
        config = dataclasses.replace(config, toggles=chosen)
    schedule = _schedule(preset_name, steps, epochs, batch, lr)

    from htc_lab.data.semantic import semantic_classes
    from htc_lab.engine.ablation import config_for, train_dataset
    from htc_lab.engine.train import TrainOptions, steps_of
    from htc_lab.engine.train import train as run_training

    folder = layout.find(data)
    _say(folder.describe(), json)
    semantic = semantic_classes(folder)
    config = config_for(config, folder, semantic)
    dataset = train_dataset(folder, semantic, config, schedule)
    options = TrainOptions(seed, _device(device), workers, checkpoint_every, init)
    last: dict[str, float] = {}
    began = time.perf_counter()
    run_training(run, config, schedule, dataset, options, lambda step, metrics: last.update(metrics))
    seconds = time.perf_counter() - began
    _say(
        f"{run}: {steps_of(schedule, len(dataset))} steps done; htc-lab eval --checkpoint {run} evaluates it",
        json,
    )
    return {"run": str(run), "seconds": seconds, "last_step": last} if json else None


def _schedule(
    preset_name: str, steps: int | None, epochs: int | None, batch: int | None, lr: float | None
) -> Schedule:
    schedule = schedule_of(preset_name)
    if steps is not None and epochs is not None:
        raise InputError("--steps and --epochs: both say how long; give one")
    given: dict[str, Any] = {"steps": steps, "batch": batch, "lr": lr, "epochs": epochs}
    for name, value in given.items():
        if value is not None and value <= 0:
            raise InputError(f"--{name} {value}: must be above 0")
    if epochs is not None:
        schedule = dataclasses.replace(schedule, steps=None)
    return dataclasses.replace(
        schedule, **{name: value for name, value in given.items() if value is not None}
    )


def evaluate(
    data: Path,
    checkpoint: str,
    split: Literal["train", "val", "test"] = "val",
    toggles: str | None = None,
    device: str = "cpu",
    layout: Layout = USUAL,
    json: bool = False,
) -> dict[str, Any] | None:
    """Box and mask AP of a checkpoint, of its result and of each stage's masks.

    Args:
        data: folder of a COCO-format data set.
        checkpoint: a run folder, a .safetensors file, or a shipped model's name.
        split: which images.
        toggles: evaluate with these instead of the model's own.
        device: cpu or cuda.
        layout: where things are in the data folder.
        json: print the figures as one JSON object.
    """
    chosen = _toggles(toggles)

    from htc_lab.data.dataset import CocoDataset
    from htc_lab.engine.checkpoint import load
    from htc_lab.engine.inference import average_precision, predict_split, truth_of

    model = load(checkpoint, _device(device))
    folder = layout.find(data)
    _say(folder.describe(), json)
    if folder.class_names != model.class_names:
        raise InputError(
            f"{checkpoint}: knows the classes {', '.join(model.class_names)}; the data's categories are "
            f"{', '.join(folder.class_names)}; give data or a checkpoint that agree"
        )
    dataset = CocoDataset(getattr(folder, split))
    began = time.perf_counter()
    ap = average_precision(truth_of(dataset), predict_split(model, dataset, chosen, stages=True))
    seconds = time.perf_counter() - began
    if json:
        return {"checkpoint": checkpoint, "split": split, "images": len(dataset), "seconds": seconds, **ap}
    for kind, title in (("bbox", "boxes"), ("segm", "masks")):
        figures = ap[kind]
        assert isinstance(figures, dict)
        print(f"{title}: " + "  ".join(f"{name} {value:.1f}" for name, value in figures.items()))
    *stages, mean = ap["stage_mask_ap"]
    parts = [f"stage {t + 1} {value:.1f}" for t, value in enumerate(stages)] + [f"result {mean:.1f}"]
    print("mask AP on the final boxes: " + "  ".join(parts))
    print(f"{len(dataset)} images in {seconds:.0f} s")
    return None


def predict(
    images: Annotated[tuple[Path, ...], tyro.conf.Positional],
    checkpoint: str = "classroom/htc",
    out: Path = Path("predictions"),
    score: float = 0.3,
    toggles: str | None = None,
    device: str = "cpu",
    json: bool = False,
) -> dict[str, Any] | None:
    """Find objects in pictures; write each picture with boxes and masks.

    Args:
        images: picture files.
        checkpoint: a run folder, a .safetensors file, or a shipped model's name.
        out: folder for the pictures (PNG).
        score: least score of a detection that is shown, 0 to 1.
        toggles: run with these instead of the model's own.
        device: cpu or cuda.
        json: print the detections as one JSON object.
    """
    chosen = _toggles(toggles)
    if not images:
        raise InputError("predict: no picture given; name at least one file")
    if not 0 <= score <= 1:
        raise InputError(f"--score {score}: must be between 0 and 1")

    from PIL import Image

    from htc_lab.data.dataset import read_image
    from htc_lab.engine.checkpoint import load
    from htc_lab.files import write_atomically
    from htc_lab.plots.drawing import draw_detections

    model = load(checkpoint, _device(device))
    found = []
    for path in images:
        image = read_image(path)
        began = time.perf_counter()
        detections = model.predict([image], chosen)[0]
        seconds = time.perf_counter() - began
        detections = detections.above(score)
        target = out / f"{path.stem}.png"
        picture = Image.fromarray(draw_detections(image, detections, model.class_names))
        write_atomically(target, functools.partial(picture.save, format="PNG"))
        _say(f"{path}: {len(detections)} objects in {seconds:.2f} s -> {target}", json)
        objects = [
            {"class": model.class_names[label], "score": value, "box": box}
            for label, value, box in zip(
                detections.labels.tolist(), detections.scores.tolist(), detections.boxes.tolist(), strict=True
            )
        ]
        found.append({"image": str(path), "picture": str(target), "seconds": seconds, "objects": objects})
    return {"checkpoint": checkpoint, "pictures": found} if json else None


def ablate(
    data: Path | None = None,
    out: Path | None = None,
    quick: bool = False,
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
        seeds: one training of every rung for each.
        device: cpu or cuda.
        layout: where things are in the data folder.
        json: print the results as one JSON object.
    """
    from htc_lab.engine.ablation import open_ladder

    size = "quick" if quick else "classroom"
    if data is None and layout.given():
        raise InputError(f"{', '.join(layout.given())}: needs --data, the folder of the data set")
    found = None if data is None else layout.find(data)
    name = "scenes" if data is None else data.resolve().name
    folder = out or Path("runs") / f"ablation_{name}_{size}"
    ladder = open_ladder(found, folder, size=size, seeds=tuple(seeds), device=_device(device))
    _say(ladder.data.describe(), json)
    for rung in ladder.rungs:
        result = ladder.run_rung(rung)
        _say(
            f"{rung}: mask AP {', '.join(f'{v:.1f}' for v in result.mask_ap)}, "
            f"box AP {', '.join(f'{v:.1f}' for v in result.box_ap)}, {sum(result.seconds):.0f} s",
            json,
        )
    ladder.save()
    _say(f"\n{ladder.markdown()}\n\n{ladder.verdict()}\n{folder}/results.json, results.md", json)
    return ladder.results() if json else None


@dataclass(frozen=True)
class Show:
    """Say what is found in a data folder, and read all of it once."""

    data: Path
    """Folder of a COCO-format data set."""
    layout: Layout = USUAL
    """Where things are in it."""
    json: bool = False
    """Print the figures as one JSON object."""


@dataclass(frozen=True)
class Classroom:
    """Make the classroom scenes; a folder that has them already is left as it is."""

    root: Path = Path("data/classroom")
    """Folder to make."""
    train: int = 1000
    """Images to train on."""
    val: int = 200
    """Images to make choices on."""
    test: int = 500
    """Images to report on."""
    size: int = 128
    """Height and width, px."""
    seed: int = 0
    """Other seeds give other scenes."""
    json: bool = False
    """Print the figures as one JSON object."""


def data(
    action: tyro.conf.OmitArgPrefixes[
        Annotated[Show, tyro.conf.subcommand("show")]
        | Annotated[Classroom, tyro.conf.subcommand("classroom")]
    ],
) -> dict[str, Any] | None:
    """Look at data, or make the classroom scenes."""
    if isinstance(action, Classroom):
        from htc_lab.data.scenes import SceneConfig
        from htc_lab.data.write_scenes import ensure_classroom

        config = SceneConfig(size=action.size)
        ensure_classroom(action.root, action.train, action.val, action.test, config, action.seed)
        counts = {"train": action.train, "val": action.val, "test": action.test}
        _say(f"{action.root}: {counts} classroom scenes of {action.size} px", action.json)
        return {"root": str(action.root), **counts} if action.json else None
    return _show(action)


def _show(action: Show) -> dict[str, Any] | None:
    from tqdm.auto import tqdm

    from htc_lab.data.dataset import CocoDataset
    from htc_lab.data.semantic import semantic_classes

    found = action.layout.find(action.data)
    _say(found.describe(), action.json)
    semantic = semantic_classes(found)
    _say(f"  semantic branch: {semantic.count} classes, {semantic.source}", action.json)
    read = {}
    for name in ("train", "val", "test"):
        dataset = CocoDataset(getattr(found, name), semantic)
        for i in tqdm(range(len(dataset)), desc=name, leave=False):
            dataset[i]
        read[name] = len(dataset)
    _say("  all images and maps can be read", action.json)
    figures = {"classes": list(found.class_names), "semantic_classes": semantic.count, "images": read}
    return {"root": str(found.root), **figures} if action.json else None
