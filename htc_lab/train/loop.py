"""The training loop: plain, visible, resumable.

A run is a folder: ``config.json`` (what was asked for), ``metrics.jsonl`` (one line per step),
``checkpoint.safetensors`` (weights, optimiser and step in one file) and ``run.lock`` (which process is
training); if something went wrong, also ``skipped.jsonl`` (images that could not be read) and
``stopped_at_step_N.safetensors`` (the batch at which a value became NaN or infinite). Everything random is a
function of the seed and the step, so a resumed run continues as if it had never stopped, and several
processes compute what a single one would.
"""

import math
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from htc_lab.checkpoint.files import CHECKPOINT, read_run, save_run
from htc_lab.checkpoint.filling import fill
from htc_lab.checkpoint.pretrained import pretrained_weights
from htc_lab.checkpoint.starting import Start, start_from
from htc_lab.config import ModelConfig, TimmBackboneConfig, norms_of
from htc_lab.config_json import to_dict
from htc_lab.data.dataset import CocoDataset
from htc_lab.distributed import ALONE, SharedError, Team
from htc_lab.errors import InputError
from htc_lab.layers.norm import share_norms
from htc_lab.model import HybridTaskCascade, build_model
from htc_lab.schedule import Schedule
from htc_lab.threads import on_free_cores
from htc_lab.train.batches import BatchOfStep, Share, batches
from htc_lab.train.feature_crops import FeatureCrops
from htc_lab.train.feature_file import features_of
from htc_lab.train.lock import only_here
from htc_lab.train.optimizer import optimizer_of, remembered, restore
from htc_lab.train.out_of_memory import memory_explained
from htc_lab.train.rates import FACTOR, learning_rate
from htc_lab.train.run_folder import (
    RunLog,
    claim,
    note_parts,
    require_in_place,
    require_same,
    threads_of,
    tidy,
)
from htc_lab.train.step import GradientStep
from htc_lab.train.stopping import stopping_between_steps
from htc_lab.train.whole_maps import require_fit, require_frozen

FEATURES = "features"
"""The folder of cached features, beside the folders of the runs that share them."""

# Called after each step with the step's number (from 1) and its metrics.
OnStep = Callable[[int, dict[str, float]], None]

# Given the model, in eval mode, and the number of steps so far: what it returns is logged as a separate line.
OnLook = Callable[[HybridTaskCascade, int, Team], dict[str, Any]]


@dataclass(frozen=True)
class TrainOptions:
    """How a run is carried out; except ``seed`` and ``init``, nothing changes what a float32 run computes.

    Attributes:
        seed: for weights, order, augmentation and sampling.
        device: "cpu", "cuda", "cuda:1", ...
        workers: processes that read images; 0: none besides this one.
        checkpoint_every: steps between checkpoints.
        init: start from this checkpoint's weights: those that fit the model are kept, all others start fresh
            and are named on stderr and in ``config.json`` (:mod:`htc_lab.checkpoint.starting`). A run that is
            resumed goes on from its own checkpoint and doesn't need the file any more.
        progress: show a progress bar.
        about: additional entries for ``config.json``, e.g. which data.
        look: evaluates the model along the way (:mod:`htc_lab.board.look`), in every process.
        look_every: steps between evaluations; the last step gets one, too.
        features: folder of cached features, which trainings share; default: ``features`` beside the run.
    """

    seed: int = 0
    device: str = "cpu"
    workers: int = 0
    checkpoint_every: int = 200
    init: Path | str | None = None
    progress: bool = True
    about: dict[str, Any] | None = None
    look: OnLook | None = None
    look_every: int = 200
    features: Path | None = None


def steps_of(schedule: Schedule, images: int) -> int:
    """The number of optimiser steps in the whole training."""
    return schedule.steps or math.ceil(schedule.epochs * images / schedule.batch)


def train(
    run: Path,
    config: ModelConfig,
    schedule: Schedule,
    dataset: CocoDataset,
    options: TrainOptions = TrainOptions(),
    on_step: OnStep | None = None,
    team: Team = ALONE,
) -> HybridTaskCascade:
    """Train a model, or continue the run in that folder, or return its model if it is finished.

    Several processes call this in the same way, each with its own device (:mod:`htc_lab.distributed`). The
    first one writes the folder, which all of them must be able to see.

    Args:
        run: the run's folder, created if missing.
        config: must have the data's number of classes.
        schedule: length, batch (of all processes together), learning rate.
        dataset: its transform augments, except with cached features; images without objects should be left
            out.
        options: seed, device and the like.
        on_step: called after each step, in every process.
        team: the processes that train together.

    Returns:
        The trained model, in eval mode.

    Raises:
        InputError: the folder contains another run or another process trains in it, the data doesn't fit the
            config, ``init`` can't be started from, the batch can't be divided evenly, too many images are
            unreadable, the loss is NaN or infinite, the disk is full, or memory runs out. The last checkpoint
            is kept; before the first one, nothing keeps another command out of the folder.
        KeyboardInterrupt: SIGINT or SIGTERM; with a single process, after the current step and its
            checkpoint.
    """
    with ExitStack() as lock:
        if team.size == 1 and options.device == "cpu":
            lock.enter_context(on_free_cores(threads_of(run)))
        with team.together():
            _check(config, schedule, dataset, options, team)
            if team.first:
                if lock.enter_context(only_here(run)):
                    tidy(run)
                require_same(run, _asked(config, schedule, dataset, options))
        with memory_explained(run, schedule, team.size, options.workers, options.device):
            return _train(run, config, schedule, dataset, options, on_step, team)


def _train(
    run: Path,
    config: ModelConfig,
    schedule: Schedule,
    dataset: CocoDataset,
    options: TrainOptions,
    on_step: OnStep | None,
    team: Team,
) -> HybridTaskCascade:
    """Like :func:`train`, in a folder that belongs to this run alone."""
    with team.together():
        begun = _begin(run, config, schedule, dataset, options)
    model, done = begun.model, begun.done
    if len(seen := set(team.gather(done))) > 1:
        raise SharedError(
            f"{run}: its checkpoint is not the same for all processes (steps {sorted(seen)}); choose a --run "
            "in a folder that all machines share"
        )
    steps = steps_of(schedule, len(dataset))
    if done >= steps:
        return model.eval()
    with team.together():
        if team.first:
            # Only now, when the model stands: a start that failed must not keep the next command out.
            start = {} if begun.start is None else {"start": begun.start.as_dict()}
            claim(run, _asked(config, schedule, dataset, options) | start)
            note_parts(run, done, schedule.accumulate)
            if begun.start is not None:
                print(begun.start.describe(), file=sys.stderr)
    if team.size > 1:
        share_norms(model, team.gradients, every=schedule.sync_norm)
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    weights = list(named.values())
    optimizer = optimizer_of(model, named, schedule)
    restore(optimizer, named, begun.optimizer)
    model.train()
    gradients = GradientStep(model, schedule, options.seed, team)
    share = Share(team.rank, team.size, schedule.accumulate)
    pictures = _crops(run, model, schedule, dataset, options, team) if schedule.cached_features else dataset
    source = BatchOfStep(pictures, schedule.batch, steps, options.seed, share, schedule.group_by_shape)
    loader = batches(source, done, options.workers, options.device)
    with (
        stopping_between_steps(team.size == 1) as stop,
        RunLog(run, done, len(dataset), team) as log,
        tqdm(total=steps, initial=done, desc=run.name, disable=not (options.progress and team.first)) as bar,
    ):
        for step, batch in enumerate(loader, start=done):
            began = time.perf_counter()
            rate = learning_rate(schedule, step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rate * group[FACTOR]
            optimizer.zero_grad(set_to_none=True)
            metrics = gradients.backward(step, batch, log)
            if schedule.clip_norm:
                norm = float(torch.nn.utils.clip_grad_norm_(weights, schedule.clip_norm))
                if not math.isfinite(norm):
                    gradients.stop(f"the gradient's norm is {norm}", step, batch.samples, metrics, log)
            optimizer.step()
            metrics |= {"lr": rate, "seconds": time.perf_counter() - began}
            log.step(step + 1, metrics)
            bar.set_postfix(loss=f"{metrics['loss']:.2f}", refresh=False)
            bar.update()
            # Before the checkpoint, so that a run resumed from it has this line.
            if options.look and ((step + 1) % options.look_every == 0 or step + 1 == steps):
                log.step(step + 1, options.look(model.eval(), step + 1, team))
                model.train()
            if stop or (step + 1) % options.checkpoint_every == 0 or step + 1 == steps:
                if team.largest([int(not _all_numbers(model))])[0]:
                    gradients.stop("weights that are not finite", step, batch.samples, metrics, log)
                if team.first:
                    require_in_place(run)
                    save_run(run / CHECKPOINT, model, remembered(optimizer, named), step + 1)
            if on_step:
                on_step(step + 1, metrics)
            if stop:
                raise KeyboardInterrupt
    # No process may read the last checkpoint, or end the first process, before it is written.
    team.wait()
    return model.eval()


def _crops(
    run: Path,
    model: HybridTaskCascade,
    schedule: Schedule,
    dataset: CocoDataset,
    options: TrainOptions,
    team: Team,
) -> FeatureCrops:
    folder = options.features or run.parent / FEATURES
    # The first writes the file, the others read it.
    for its_turn in (team.first, not team.first):
        with team.together():
            if its_turn:
                features = features_of(model, dataset, folder, options.progress)
    return FeatureCrops(dataset, features, model.config.image, schedule.crop)


def _check(
    config: ModelConfig, schedule: Schedule, dataset: CocoDataset, options: TrainOptions, team: Team
) -> None:
    if config.classes != len(dataset.class_names):
        raise InputError(
            f"{dataset.split.coco.path}: categories has {len(dataset.class_names)} entries, the model's "
            f"config {config.classes} classes; set classes={len(dataset.class_names)}"
        )
    require_fit(config, schedule)
    takers = team.size * schedule.accumulate
    if schedule.batch % takers:
        raise InputError(
            f"--batch {schedule.batch}: is the batch of all processes together, and {team.size} processes "
            f"times --accumulate {schedule.accumulate} can't share it evenly; give a multiple of {takers}"
        )
    in_heads = any(norm.kind != "group" for norm, _ in norms_of(config).values())
    if schedule.sync_norm and config.backbone.frozen_norm and not in_heads:
        raise InputError(
            "schedule.sync_norm: batch norm is frozen in this config, so there are no statistics to share; "
            "set backbone.frozen_norm=False, or leave sync_norm off"
        )
    if schedule.sync_norm and isinstance(config.backbone, TimmBackboneConfig):
        raise InputError(
            f"schedule.sync_norm: batch norm of {config.backbone.name} is timm's own, with the activation in "
            "it, and can't be shared; leave sync_norm off"
        )
    if schedule.sync_norm and not config.backbone.frozen_norm and team.size > 1 and options.device == "cpu":
        raise InputError(
            "--sync-norm: several processes can share batch norm on GPUs only; give --device cuda, or start "
            "one process"
        )


def _all_numbers(model: nn.Module) -> bool:
    """Whether all values of the model are finite, so that a checkpoint of it is worth keeping."""
    floating = [v for v in model.state_dict().values() if v.is_floating_point()]
    return bool(torch.stack([torch.isfinite(v).all() for v in floating]).all())


def _asked(
    config: ModelConfig, schedule: Schedule, dataset: CocoDataset, options: TrainOptions
) -> dict[str, Any]:
    """The content of ``config.json``."""
    return {
        "model": to_dict(config),
        "schedule": to_dict(schedule),
        "seed": options.seed,
        "init": None if options.init is None else str(options.init),
        "data": str(dataset.split.coco.path),
        "images": len(dataset),
        "threads": torch.get_num_threads(),
        "class_names": list(dataset.class_names),
        "about": options.about or {},
    }


@dataclass(frozen=True)
class _Begun:
    """A model on its device, with what its optimiser remembers and the number of steps done."""

    model: HybridTaskCascade
    optimizer: dict[str, Tensor]
    done: int
    start: Start | None = None


def _begin(
    run: Path, config: ModelConfig, schedule: Schedule, dataset: CocoDataset, options: TrainOptions
) -> _Begun:
    model = build_model(config, options.seed)
    model.class_names = dataset.class_names
    if schedule.cached_features:
        require_frozen(model)
    if (run / CHECKPOINT).is_file():
        weights, optimizer, done = read_run(run / CHECKPOINT)
        fill(model, weights, str(run / CHECKPOINT))
        return _Begun(model.to(options.device), optimizer, done)
    start = None
    if options.init is not None:
        start = start_from(model, options.init, dataset.class_names)
    elif config.backbone.pretrained:
        model.load_state_dict(pretrained_weights(config), strict=False)
    return _Begun(model.to(options.device), {}, 0, start)
