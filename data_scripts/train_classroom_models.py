"""Train the classroom models the lab ships, evaluate them on the test scenes, save them in half precision.

    python data_scripts/train_classroom_models.py

trains what ``htc_lab.load("classroom/htc")`` gives. A run that was stopped goes on where it was.
"""

import dataclasses
from pathlib import Path

import tyro

from htc_lab.config import RUNGS
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import find_data
from htc_lab.data.scenes import SceneConfig
from htc_lab.data.semantic import semantic_classes
from htc_lab.data.write_scenes import GENERATOR_VERSION, ensure_classroom
from htc_lab.engine.ablation import config_for, train_dataset
from htc_lab.engine.checkpoint import SHIPPED, save_model
from htc_lab.engine.inference import average_precision, predict_split, truth_of
from htc_lab.engine.machine import describe_machine
from htc_lab.engine.train import TrainOptions, train
from htc_lab.errors import InputError
from htc_lab.presets import CLASSROOM, CLASSROOM_SCHEDULE


def main(
    rungs: tuple[str, ...] = ("htc",),
    steps: int = 260,
    seed: int = 0,
    data: Path = Path("data/classroom"),
    runs: Path = Path("runs/classroom_models"),
    out: Path = SHIPPED / "classroom",
    device: str = "cpu",
) -> None:
    """Train and save classroom models.

    Args:
        rungs: which, by their name on the ladder.
        steps: optimiser steps.
        seed: of weights, order and sampling.
        data: the classroom scenes, made if missing.
        runs: where the trainings are kept.
        out: where the models go.
        device: cpu or cuda.
    """
    for name in rungs:
        if name not in RUNGS:
            raise InputError(f"--rungs {name}: no such rung; take some of {', '.join(RUNGS)}")
    found = find_data(ensure_classroom(data, 1000, 200, 500, SceneConfig()))
    semantic = semantic_classes(found)
    schedule = dataclasses.replace(CLASSROOM_SCHEDULE, steps=steps)
    test = CocoDataset(found.test)
    for name in rungs:
        config = dataclasses.replace(config_for(CLASSROOM, found, semantic), toggles=RUNGS[name])
        dataset = train_dataset(found, semantic, config, schedule)
        model = train(runs / name, config, schedule, dataset, TrainOptions(seed=seed, device=device))
        ap = average_precision(truth_of(test), predict_split(model, test, stages=True))
        about = {
            "seed": seed,
            "schedule": dataclasses.asdict(schedule),
            "data": {
                "scenes": "classroom",
                "generator_version": GENERATOR_VERSION,
                "train_images": len(dataset),
            },
            "test": {"images": len(test), **ap},
            "machine": describe_machine(),
        }
        save_model(model, out / f"{name}.safetensors", half=True, about=about)
        print(f"{name}: test {ap['segm']} -> {out / name}.safetensors")


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
