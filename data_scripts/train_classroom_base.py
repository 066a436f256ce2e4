"""Train the base (backbone, FPN, RPN) that classroom trainings start from.

It is a single-stage detector (the plain cascade with one stage), trained on scenes of a seed that nothing
else uses. Its heads are thrown away: heads are what the lab compares.
"""

import dataclasses
from pathlib import Path

import tyro
from safetensors.torch import save_file

from htc_lab.ablation.ladder import config_for, train_dataset
from htc_lab.checkpoint.pretrained import CLASSROOM_BASE
from htc_lab.config import parse_toggles
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import ensure_classroom
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.errors import InputError
from htc_lab.files import write_atomically
from htc_lab.presets import CLASSROOM
from htc_lab.schedule import Schedule
from htc_lab.train.loop import TrainOptions, train


def main(
    steps: int = 1100,
    data: Path = Path("data/classroom_pretraining"),
    run: Path = Path("runs/classroom_base"),
    out: Path = CLASSROOM_BASE,
    device: str = "cpu",
) -> None:
    """Train and save the base; a run that was stopped is resumed.

    Args:
        steps: optimiser steps.
        data: the scenes to train on, made if missing.
        run: folder of the training.
        out: file for the weights, in half precision.
        device: cpu or cuda.
    """
    found = find_data(ensure_classroom(data, 1200, 10, 200, SceneConfig(), seed=1))
    semantic = semantic_classes(found)
    # Trained from scratch, so nothing is frozen, and at the scenes' own size, which is faster.
    fresh = dataclasses.replace(CLASSROOM.backbone, pretrained=False, frozen_stages=-1, frozen_norm=False)
    image = dataclasses.replace(CLASSROOM.image, short=128, long=192, train_short=(128,), train_long=192)
    config = dataclasses.replace(
        CLASSROOM,
        backbone=fresh,
        image=image,
        cascade=dataclasses.replace(CLASSROOM.cascade, samples=48),
        toggles=parse_toggles("none+stages=1"),
    )
    schedule = Schedule(
        steps=steps,
        batch=8,
        lr_batch=8,
        decay_at=(0.7, 0.9),
        warmup_steps=50,
        clip_norm=10.0,
        min_size=16,
    )
    config = config_for(config, found, semantic)
    dataset = train_dataset(found, semantic, config, schedule)
    model = train(run, config, schedule, dataset, TrainOptions(device=device))
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in model.cpu().state_dict().items()
        if not name.startswith("roi_head.")
    }
    write_atomically(out, lambda path: save_file(weights, path))
    print(f"{sum(v.numel() for v in weights.values()) / 1e6:.2f} M weights -> {out}")


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
