"""``htc-lab train``."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Annotated, Any

import tyro

from htc_lab.commands.flags import (
    FROM_FEATURES,
    TOGGLES_WORDS,
    USUAL,
    Layout,
    say,
    toggles_of,
    usable_device,
)
from htc_lab.commands.numbers import LONGEST_WAIT, in_range, seed_in_range
from htc_lab.commands.telling import tell_data
from htc_lab.config import ModelConfig
from htc_lab.config_json import schedule_from_dict, to_dict
from htc_lab.errors import InputError
from htc_lab.presets import preset, schedule_of
from htc_lab.schedule import Schedule
from htc_lab.wording import counted


def train(
    data: Path | None = None,
    # torchrun takes a bare --run for an abbreviation of one of its own options.
    run: Annotated[Path | None, tyro.conf.arg(aliases=["--run-folder"])] = None,
    preset_name: Annotated[str, tyro.conf.arg(name="preset")] = "classroom",
    list_presets: Annotated[bool, tyro.conf.arg(name="list")] = False,
    toggles: Annotated[
        str | None, tyro.conf.arg(help=f"The ideas to train with: {TOGGLES_WORDS}. Default: the preset's.")
    ] = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 0,
    checkpoint_every: int = 200,
    eval_every: int | None = None,
    eval_images: int = 64,
    init: Path | None = None,
    accumulate: int | None = None,
    amp: bool = False,
    sync_norm: bool = False,
    group_by_shape: bool = True,
    cache_features: bool = False,
    crop: int | None = None,
    features: Path | None = None,
    timeout: float = 600.0,
    layout: Layout = USUAL,
    json: bool = False,
) -> dict[str, Any] | None:
    """Train a model, or resume a run that was stopped; under torchrun, in several processes.

    Args:
        data: folder of a COCO-format data set; required, except with --list.
        run: folder of the run: config.json, metrics.jsonl, checkpoint.safetensors; required, except with
            --list. Under torchrun, write --run-folder.
        preset_name: which model.
        list_presets: show the presets, their size and the released figures, and train nothing.
        steps: optimiser steps, instead of the preset's schedule.
        epochs: passes over the data, instead of the preset's schedule.
        batch: images per step, in all processes together; the learning rate follows.
        lr: learning rate for the schedule's own batch.
        seed: for weights, order and sampling.
        device: cpu or cuda; of several GPUs each process takes its own.
        workers: processes that read images, for each process that trains.
        checkpoint_every: steps between checkpoints.
        eval_every: steps between evaluations on pictures of the val split, for the dashboard's AP curves and
            sample pictures; default: none along the way.
        eval_images: how many pictures of the val split.
        init: checkpoint to start from: a run folder, a .safetensors file, a shipped model's name, or a .pth
            file of mmdet. What fits is kept, also if classes, stages or ideas differ; the rest starts fresh
            and is named.
        accumulate: take the batch in N parts, one after the other, to use less memory.
        amp: forward passes in bfloat16.
        sync_norm: train batch norm's statistics, over all processes, instead of keeping the pretrained ones.
        group_by_shape: keep portrait images and all others in separate batches, so that little is padded.
        cache_features: freeze the backbone, compute its maps of every picture once, keep them on disk, and
            train from there; as the photos preset does anyway. The backbone then learns nothing, and pictures
            have one size.
        crop: with cached features, train on squares of so many px of each picture, a multiple of 32; 0: on
            whole pictures. Default: the preset's.
        features: folder of the cached features; default: "features" beside the run.
        timeout: seconds a process waits for the others before it gives up.
        layout: where things are in the data folder.
        json: print the figures as one JSON object.
    """
    if list_presets:
        from htc_lab.preset_table import as_json, as_text, rows

        if json:
            return as_json(rows())
        print(as_text(rows()))
        return None
    if eval_every is not None:
        in_range("eval-every", eval_every, 1, math.inf)
    in_range("eval-images", eval_images, 1, math.inf)
    in_range("checkpoint-every", checkpoint_every, 1, math.inf)
    in_range("workers", workers, 0, 1024)
    in_range("timeout", timeout, 1e-3, LONGEST_WAIT)
    if crop is not None:
        in_range("crop", crop, 0, 100_000)
    seed_in_range("seed", seed)
    if data is None or run is None:
        lacking, what = ("data", "a data set's folder") if data is None else ("run", "a folder for the run")
        raise InputError(f"--{lacking}: is missing; give {what} (--list by itself shows the presets)")

    from htc_lab.ablation.ladder import config_for, train_dataset
    from htc_lab.board.look import look_at
    from htc_lab.data.dataset import CocoDataset
    from htc_lab.data.semantic import semantic_if_needed
    from htc_lab.distributed import processes
    from htc_lab.train.loop import TrainOptions, steps_of
    from htc_lab.train.loop import train as run_training
    from htc_lab.train.whole_maps import require_fit, with_frozen_backbone

    last: dict[str, float] = {}
    with processes(device, timeout) as (team, own_device):
        with team.together():
            config = _config(preset_name, toggles, sync_norm)
            numbers = {"steps": steps, "epochs": epochs, "batch": batch, "lr": lr, "accumulate": accumulate}
            schedule = _schedule(preset_name, numbers)
            schedule = dataclasses.replace(
                schedule,
                amp=amp,
                sync_norm=sync_norm or schedule.sync_norm,
                group_by_shape=group_by_shape,
            )
            if cache_features:
                config = with_frozen_backbone(config)
                schedule = dataclasses.replace(schedule, cached_features=True)
            if crop is not None:
                schedule = dataclasses.replace(schedule, crop=crop)
            require_fit(config, schedule)
            folder = layout.find(data)
            semantic = semantic_if_needed(folder, config.toggles.semantic)
            config = config_for(config, folder, semantic)
            used = semantic if config.toggles.semantic else None
            dataset = train_dataset(folder, used, config, schedule)
            look = None
            if eval_every is not None:
                look = look_at(run, CocoDataset(folder.val, cache=True), eval_images)
            usable_device(own_device)
        if team.first:
            tell_data(folder, used, json, config.cascade.max_detections)
            if schedule.cached_features:
                say(FROM_FEATURES, json)
        options = TrainOptions(
            seed,
            own_device,
            workers,
            checkpoint_every,
            init,
            look=look,
            look_every=eval_every or 1,
            features=features,
        )
        began = time.perf_counter()
        run_training(run, config, schedule, dataset, options, lambda _, metrics: last.update(metrics), team)
        seconds = time.perf_counter() - began
    if not team.first:
        return None
    say(
        f"{run}: {counted(steps_of(schedule, len(dataset)), 'step')} done; "
        f"htc-lab eval --checkpoint {run} evaluates it",
        json,
    )
    return {"run": str(run), "seconds": seconds, "last_step": last} if json else None


def _config(preset_name: str, toggles: str | None, sync_norm: bool) -> ModelConfig:
    config = preset(preset_name)
    chosen = toggles_of(toggles)
    if chosen is not None:
        config = dataclasses.replace(config, toggles=chosen)
    if sync_norm:
        config = dataclasses.replace(config, backbone=dataclasses.replace(config.backbone, frozen_norm=False))
    return config


def _schedule(preset_name: str, given: dict[str, int | float | None]) -> Schedule:
    """The preset's schedule with the numbers that were given."""
    schedule = schedule_of(preset_name)
    if given["steps"] is not None and given["epochs"] is not None:
        raise InputError("--steps and --epochs: both set the length; give only one")
    for name, value in given.items():
        if value is not None and not value > 0:
            raise InputError(f"--{name} {value}: must be above 0")
    if given["epochs"] is not None:
        schedule = dataclasses.replace(schedule, steps=None)
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    schedule = dataclasses.replace(schedule, **chosen)
    try:
        return schedule_from_dict(to_dict(schedule), "")
    except InputError as error:
        raise InputError(f"--{str(error).removeprefix('.')}") from None
