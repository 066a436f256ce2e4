"""The training loop: plain, visible, resumable.

A run is a folder: ``config.json`` (what was asked), ``metrics.jsonl`` (one line a step),
``checkpoint.safetensors`` (weights, optimiser and step in one file). Everything random is a function of the
seed and the step, so a resumed run goes on as if it had never stopped.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from htc_lab.config import ModelConfig, Schedule
from htc_lab.config_json import to_dict
from htc_lab.data.dataset import CocoDataset
from htc_lab.engine.batches import batches, seeded
from htc_lab.engine.checkpoint import CHECKPOINT, fill, load, read_run, save_run
from htc_lab.engine.pretrained import pretrained_weights
from htc_lab.errors import InputError
from htc_lab.files import plain, read_json, write_json, write_text
from htc_lab.model import HybridTaskCascade, build_model, total_loss

# What SGD and AdamW remember of each weight.
_STATE = ("momentum_buffer", "exp_avg", "exp_avg_sq", "step")

# Called after each step with the step's number (from 1) and its metrics.
OnStep = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class TrainOptions:
    """How a run is carried out; nothing here changes what a float32 run computes.

    Attributes:
        seed: of weights, order, augmentation and sampling.
        device: "cpu", "cuda", "cuda:1", ...
        workers: processes that read images; 0: none beside this one.
        checkpoint_every: steps between checkpoints.
        init: start from this checkpoint's weights instead of fresh ones.
        progress: show a bar.
        about: more for ``config.json``, e.g. which data.
    """

    seed: int = 0
    device: str = "cpu"
    workers: int = 0
    checkpoint_every: int = 200
    init: Path | None = None
    progress: bool = True
    about: dict[str, Any] | None = None


def steps_of(schedule: Schedule, images: int) -> int:
    """Optimiser steps of the whole training."""
    return schedule.steps or math.ceil(schedule.epochs * images / schedule.batch)


def learning_rate(schedule: Schedule, step: int, steps: int) -> float:
    """The rate at ``step`` (from 0): linear warm-up, then divided by ten at each of ``decay_at``."""
    rate = schedule.lr * schedule.batch / schedule.lr_batch
    for fraction in schedule.decay_at:
        if step >= round(fraction * steps):
            rate /= 10
    # A short run must not spend itself on warming up.
    warmup = min(schedule.warmup_steps, steps // 4)
    if step < warmup:
        rate *= 0.001 + 0.999 * step / warmup
    return rate


def train(
    run: Path,
    config: ModelConfig,
    schedule: Schedule,
    dataset: CocoDataset,
    options: TrainOptions = TrainOptions(),
    on_step: OnStep | None = None,
) -> HybridTaskCascade:
    """Train a model, or go on with the run in that folder, or return it if it is finished.

    Args:
        run: the run's folder, made if missing.
        config: must have the data's number of classes.
        schedule: length, batch, learning rate.
        dataset: its transform augments; images without objects should be left out.
        options: seed, device and the like.
        on_step: called after each step.

    Returns:
        The trained model, in eval mode.

    Raises:
        InputError: the folder holds another run, the data doesn't fit the config, or the loss is no number.
    """
    if config.classes != len(dataset.class_names):
        raise InputError(
            f"{dataset.split.coco.path}: categories has {len(dataset.class_names)} entries, the model's "
            f"config {config.classes} classes; set classes={len(dataset.class_names)}"
        )
    steps = steps_of(schedule, len(dataset))
    _claim(run, config, schedule, dataset, options)
    model, optimizer_state, done = _start(run, config, dataset, options)
    if done >= steps:
        return model.eval()
    _keep_lines_up_to(run / "metrics.jsonl", done)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = _optimizer(weights, schedule)
    names = {id(p): n for n, p in model.named_parameters()}
    for p in weights:
        for key in _STATE:
            kept = optimizer_state.get(f"{key}.{names[id(p)]}")
            if kept is not None:
                optimizer.state[p][key] = kept.to(p.device if kept.ndim else "cpu")

    def state() -> dict[str, Tensor]:
        return {
            f"{key}.{names[id(p)]}": optimizer.state[p][key]
            for p in weights
            for key in _STATE
            if optimizer.state[p].get(key) is not None
        }

    model.train()
    loader = batches(dataset, schedule.batch, done, steps, options.seed, options.workers)
    with (
        (run / "metrics.jsonl").open("a", encoding="utf-8") as log,
        tqdm(total=steps, initial=done, desc=run.name, disable=not options.progress) as bar,
    ):
        for step, samples in enumerate(loader, start=done):
            began = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(schedule, step, steps)
            losses = model.losses(
                [s.image for s in samples],
                [s.targets for s in samples],
                generator=seeded(options.seed, 3, step),
            )
            total = total_loss(losses)
            if not torch.isfinite(total):
                names_of_images = ", ".join(str(s.image_id) for s in samples)
                raise InputError(
                    f"{run}: the loss is {total.item()} at step {step + 1} (image ids {names_of_images}); "
                    "start a new run with a lower --lr"
                )
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            if schedule.clip_norm:
                torch.nn.utils.clip_grad_norm_(weights, schedule.clip_norm)
            optimizer.step()
            metrics = {"loss": total.item(), **{n: v.item() for n, v in losses.items()}}
            metrics |= {"lr": optimizer.param_groups[0]["lr"], "seconds": time.perf_counter() - began}
            log.write(json.dumps({"step": step + 1, **metrics}) + "\n")
            log.flush()
            bar.set_postfix(loss=f"{metrics['loss']:.2f}", refresh=False)
            bar.update()
            if (step + 1) % options.checkpoint_every == 0 or step + 1 == steps:
                save_run(run / CHECKPOINT, model, state(), step + 1)
            if on_step:
                on_step(step + 1, metrics)
    return model.eval()


def _optimizer(weights: list[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    if schedule.adaptive:
        return torch.optim.AdamW(weights, lr=schedule.lr, weight_decay=schedule.weight_decay)
    return torch.optim.SGD(
        weights, lr=schedule.lr, momentum=schedule.momentum, weight_decay=schedule.weight_decay
    )


def _claim(
    run: Path, config: ModelConfig, schedule: Schedule, dataset: CocoDataset, options: TrainOptions
) -> None:
    """Write ``config.json``, or see that the one there asks for the same."""
    wanted = {
        "model": to_dict(config),
        "schedule": to_dict(schedule),
        "seed": options.seed,
        "init": None if options.init is None else str(options.init),
        "data": str(dataset.split.coco.path),
        "images": len(dataset),
        "class_names": list(dataset.class_names),
        "about": options.about or {},
    }
    path = run / "config.json"
    if path.exists():
        mend = "delete the folder or choose another --run"
        found = read_json(path, mend)
        asked = plain(wanted)
        for field in ("model", "schedule", "seed", "init", "images", "class_names"):
            if not isinstance(found, dict) or found.get(field) != asked[field]:
                raise InputError(f"{path}: field '{field}' differs from what is asked for now; {mend}")
        return
    write_json(path, wanted)


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


def _keep_lines_up_to(path: Path, step: int) -> None:
    """Drop the lines of steps that the checkpoint doesn't hold, and a last line that was cut short."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    write_text(path, "".join(kept))
