"""``htc-lab train``."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Any

import tyro

from htc_lab.commands.flags import USUAL, Layout, say, toggles_of, usable_device
from htc_lab.config import ModelConfig, Schedule
from htc_lab.errors import InputError
from htc_lab.presets import preset, schedule_of


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
    chosen = toggles_of(toggles)
    if chosen is not None:
        config = dataclasses.replace(config, toggles=chosen)
    schedule = _schedule(preset_name, steps, epochs, batch, lr)

    from htc_lab.data.semantic import semantic_classes
    from htc_lab.engine.ablation import config_for, train_dataset
    from htc_lab.engine.train import TrainOptions, steps_of
    from htc_lab.engine.train import train as run_training

    folder = layout.find(data)
    say(folder.describe(), json)
    semantic = semantic_classes(folder)
    config = config_for(config, folder, semantic)
    dataset = train_dataset(folder, semantic, config, schedule)
    options = TrainOptions(seed, usable_device(device), workers, checkpoint_every, init)
    last: dict[str, float] = {}
    began = time.perf_counter()
    run_training(run, config, schedule, dataset, options, lambda step, metrics: last.update(metrics))
    seconds = time.perf_counter() - began
    say(
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
