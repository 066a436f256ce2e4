"""The training loop: plain, visible, resumable.

A run is a folder: ``config.json`` (what was asked for), ``metrics.jsonl`` (one line per step),
``checkpoint.safetensors`` (weights, optimiser and step in one file) and ``run.lock`` (which process is
training); if something went wrong, also ``skipped.jsonl`` (images that could not be read) and
``stopped_at_step_N.safetensors`` (the batch at which a value became NaN or infinite). Everything random is a
function of the seed and the step, so a resumed run continues as if it had never stopped, and several
processes compute what a single one would.
"""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from htc_lab.checkpoint.files import CHECKPOINT, fill, load, read_run, save_run
from htc_lab.checkpoint.pretrained import pretrained_weights
from htc_lab.config import ModelConfig
from htc_lab.config_json import to_dict
from htc_lab.data.dataset import CocoDataset
from htc_lab.distributed import ALONE, SharedError, Team
from htc_lab.errors import InputError
from htc_lab.model import HybridTaskCascade, build_model
from htc_lab.schedule import Schedule
from htc_lab.threads import on_free_cores
from htc_lab.train.batches import BatchOfStep, Share, batches
from htc_lab.train.lock import only_here
from htc_lab.train.out_of_memory import memory_explained
from htc_lab.train.run_folder import RunLog, claim, note_parts, require_in_place, threads_of, tidy
from htc_lab.train.step import GradientStep
from htc_lab.train.stopping import stopping_between_steps

# What SGD and AdamW store for each weight.
_STATE = ("momentum_buffer", "exp_avg", "exp_avg_sq", "step")

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
        init: start from this checkpoint's weights instead of fresh ones.
        progress: show a progress bar.
        about: additional entries for ``config.json``, e.g. which data.
        look: evaluates the model along the way (:mod:`htc_lab.board.look`), in every process.
        look_every: steps between evaluations; the last step gets one, too.
    """

    seed: int = 0
    device: str = "cpu"
    workers: int = 0
    checkpoint_every: int = 200
    init: Path | None = None
    progress: bool = True
    about: dict[str, Any] | None = None
    look: OnLook | None = None
    look_every: int = 200


def steps_of(schedule: Schedule, images: int) -> int:
    """The number of optimiser steps in the whole training."""
    return schedule.steps or math.ceil(schedule.epochs * images / schedule.batch)


def learning_rate(schedule: Schedule, step: int, steps: int) -> float:
    """The learning rate at ``step`` (from 0): linear warm-up, then ``decay`` at each of ``decay_at``."""
    rate = schedule.lr * schedule.batch / schedule.lr_batch
    for fraction in schedule.decay_at:
        if step >= round(fraction * steps):
            rate /= schedule.decay
    # A short run should not spend most of its steps on warming up.
    warmup = min(schedule.warmup_steps, steps // 4)
    if step < warmup:
        rate *= schedule.warmup_from + (1 - schedule.warmup_from) * step / warmup
    return rate


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
        dataset: its transform augments; images without objects should be left out.
        options: seed, device and the like.
        on_step: called after each step, in every process.
        team: the processes that train together.

    Returns:
        The trained model, in eval mode.

    Raises:
        InputError: the folder contains another run or another process trains in it, the data doesn't fit the
            config, the batch can't be divided evenly, too many images are unreadable, the loss is NaN or
            infinite, the disk is full, or memory runs out. The last checkpoint is kept.
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
                claim(run, _asked(config, schedule, dataset, options))
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
        model, kept, done = _start(run, config, dataset, options)
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
            note_parts(run, done, schedule.accumulate)
    if schedule.sync_norm and team.size > 1:
        nn.SyncBatchNorm.convert_sync_batchnorm(model, team.gradients)
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    weights = list(named.values())
    optimizer = _optimizer(weights, schedule)
    _restore(optimizer, named, kept)
    model.train()
    gradients = GradientStep(model, schedule, options.seed, team)
    share = Share(team.rank, team.size, schedule.accumulate)
    source = BatchOfStep(dataset, schedule.batch, steps, options.seed, share, schedule.group_by_shape)
    loader = batches(source, done, options.workers, options.device)
    with (
        stopping_between_steps(team.size == 1) as stop,
        RunLog(run, done, len(dataset), team) as log,
        tqdm(total=steps, initial=done, desc=run.name, disable=not (options.progress and team.first)) as bar,
    ):
        for step, batch in enumerate(loader, start=done):
            began = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(schedule, step, steps)
            optimizer.zero_grad(set_to_none=True)
            metrics = gradients.backward(step, batch, log)
            if schedule.clip_norm:
                norm = float(torch.nn.utils.clip_grad_norm_(weights, schedule.clip_norm))
                if not math.isfinite(norm):
                    gradients.stop(f"the gradient's norm is {norm}", step, batch.samples, metrics, log)
            optimizer.step()
            metrics |= {"lr": optimizer.param_groups[0]["lr"], "seconds": time.perf_counter() - began}
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
                    save_run(run / CHECKPOINT, model, _remembered(optimizer, named), step + 1)
            if on_step:
                on_step(step + 1, metrics)
            if stop:
                raise KeyboardInterrupt
    # No process may read the last checkpoint, or end the first process, before it is written.
    team.wait()
    return model.eval()


def _check(
    config: ModelConfig, schedule: Schedule, dataset: CocoDataset, options: TrainOptions, team: Team
) -> None:
    if config.classes != len(dataset.class_names):
        raise InputError(
            f"{dataset.split.coco.path}: categories has {len(dataset.class_names)} entries, the model's "
            f"config {config.classes} classes; set classes={len(dataset.class_names)}"
        )
    takers = team.size * schedule.accumulate
    if schedule.batch % takers:
        raise InputError(
            f"--batch {schedule.batch}: is the batch of all processes together, and {team.size} processes "
            f"times --accumulate {schedule.accumulate} can't share it evenly; give a multiple of {takers}"
        )
    if schedule.sync_norm and config.backbone.frozen_norm:
        raise InputError(
            "schedule.sync_norm: batch norm is frozen in this config, so there are no statistics to share; "
            "set backbone.frozen_norm=False, or leave sync_norm off"
        )
    if schedule.sync_norm and team.size > 1 and options.device == "cpu":
        raise InputError(
            "--sync-norm: several processes can share batch norm on GPUs only; give --device cuda, or start "
            "one process"
        )


def _optimizer(weights: list[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    if schedule.adaptive:
        # Fused: one pass over all weights. Otherwise the optimizer takes a tenth of a small model's step.
        return torch.optim.AdamW(weights, lr=schedule.lr, weight_decay=schedule.weight_decay, fused=True)
    return torch.optim.SGD(
        weights, lr=schedule.lr, momentum=schedule.momentum, weight_decay=schedule.weight_decay
    )


def _all_numbers(model: nn.Module) -> bool:
    """Whether all values of the model are finite, so that a checkpoint of it is worth keeping."""
    floating = [v for v in model.state_dict().values() if v.is_floating_point()]
    return bool(torch.stack([torch.isfinite(v).all() for v in floating]).all())


def _restore(
    optimizer: torch.optim.Optimizer, named: dict[str, nn.Parameter], kept: dict[str, Tensor]
) -> None:
    for name, p in named.items():
        for key in _STATE:
            value = kept.get(f"{key}.{name}")
            if value is not None:
                optimizer.state[p][key] = value.to(p.device)


def _remembered(optimizer: torch.optim.Optimizer, named: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    return {
        f"{key}.{name}": optimizer.state[p][key]
        for name, p in named.items()
        for key in _STATE
        if optimizer.state[p].get(key) is not None
    }


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


def _start(
    run: Path, config: ModelConfig, dataset: CocoDataset, options: TrainOptions
) -> tuple[HybridTaskCascade, dict[str, Tensor], int]:
    model = build_model(config, options.seed)
    optimizer_state: dict[str, Tensor] = {}
    done = 0
    if (run / CHECKPOINT).is_file():
        weights, optimizer_state, done = read_run(run / CHECKPOINT)
        fill(model, weights, str(run / CHECKPOINT))
    elif options.init is not None:
        fill(model, load(options.init).state_dict(), str(options.init))
    elif config.backbone.pretrained:
        model.load_state_dict(pretrained_weights(config), strict=False)
    model.class_names = dataset.class_names
    return model.to(options.device), optimizer_state, done
