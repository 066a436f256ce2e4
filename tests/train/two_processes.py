"""What the tests let two real processes do: ``torchrun ... -m tests.train.two_processes DATA OUT``.

Each task joins the processes again, as a command does, and writes what it saw into OUT.
"""

import dataclasses
import json
import os
import signal
import socket
import sys
from pathlib import Path

import torch

from htc_lab.ablation.ladder import config_for, train_dataset
from htc_lab.cli import main
from htc_lab.config import ModelConfig
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.distributed import ALONE, Team, processes
from htc_lab.errors import InputError
from htc_lab.evaluate.inference import SplitResults, predict_split
from htc_lab.layers.norm import BatchNorm
from htc_lab.model import HybridTaskCascade, build_model
from htc_lab.predictors import ModelPredictor
from htc_lab.schedule import Schedule
from htc_lab.train.loop import OnStep, TrainOptions, train
from tests.unit.tiny import TINY, generator, with_norms

SCHEDULE = Schedule(steps=5, batch=4, lr=0.02, lr_batch=4, warmup_steps=2, clip_norm=10.0, min_size=8)
QUIET = TrainOptions(progress=False, checkpoint_every=2)


def tiny(data: Path) -> ModelConfig:
    """The tiny model with frozen batch norm, trained on images of several sizes."""
    folder = find_data(data)
    config = dataclasses.replace(
        TINY,
        image=dataclasses.replace(TINY.image, train_short=(32, 64, 96), train_long=96),
        backbone=dataclasses.replace(TINY.backbone, frozen_norm=True),
    )
    return config_for(config, folder, semantic_classes(folder))


def train_tiny(
    data: Path,
    run: Path,
    schedule: Schedule = SCHEDULE,
    team: Team = ALONE,
    config: ModelConfig | None = None,
    on_step: OnStep | None = None,
) -> HybridTaskCascade:
    """Train it, in one process or in several."""
    config = config or tiny(data)
    folder = find_data(data)
    dataset = train_dataset(folder, semantic_classes(folder), config, schedule)
    return train(run, config, schedule, dataset, QUIET, on_step, team)


def normed(data: Path) -> ModelConfig:
    """The tiny model with synchronised norms in FPN and heads."""
    return with_norms("sync", tiny(data))


def norm_of_rois(team: Team = ALONE) -> dict[str, list[float]]:
    """A synchronised norm where the first process has seven RoIs and any other none."""
    norm = BatchNorm(3, synchronised=True).train()
    if team.size > 1:
        norm.share(team.gradients)
    rois = torch.randn(7, 3, 4, 4, generator=generator())[: None if team.first else 0].requires_grad_()
    out = norm(rois)
    (out**3).sum().backward()
    assert rois.grad is not None
    found = {"out": out, "rois": rois.grad, "mean": norm.running_mean, "var": norm.running_var}
    for name, weight in norm.named_parameters():
        assert weight.grad is not None
        found[name] = weight.grad
    return {name: value.flatten().tolist() for name, value in found.items()}


def detect(data: Path, team: Team = ALONE) -> SplitResults:
    """A fresh tiny model over the train split, three images at a time."""
    model = build_model(tiny(data), seed=3).eval()
    dataset = CocoDataset(find_data(data).train)
    predictor = ModelPredictor(model)
    return predict_split(predictor, dataset, stages=True, batch=3, progress=False, team=team)


def refusals(data: Path, out: Path, team: Team) -> dict[str, str]:
    """Trainings that must not begin, or must stop, and what each process was told."""
    thawed = dataclasses.replace(tiny(data), backbone=TINY.backbone)
    wild = dataclasses.replace(SCHEDULE, steps=30, lr=1e30, warmup_steps=0, clip_norm=0.0)
    asked = {
        "odd": (dataclasses.replace(SCHEDULE, batch=3), None),
        "parts": (dataclasses.replace(SCHEDULE, accumulate=4), None),
        "frozen": (dataclasses.replace(SCHEDULE, sync_norm=True), None),
        "cpu": (dataclasses.replace(SCHEDULE, sync_norm=True), thawed),
        "wild": (wild, None),
    }
    said = {}
    for name, (schedule, config) in asked.items():
        try:
            train_tiny(data, out / name, schedule, team, config)
        except InputError as error:
            said[name] = f"{type(error).__name__}: {error}"
    return said


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def run_all(data: Path, torn: Path, out: Path) -> None:
    """Every task, one after the other."""
    with processes("cpu", 120.0) as (team, device):
        assert device == "cpu"
        model = train_tiny(data, out / "plain", team=team)
        sums = {n: float(v.double().sum()) for n, v in model.state_dict().items()}
        train_tiny(data, out / "parts", dataclasses.replace(SCHEDULE, accumulate=2), team)
        train_tiny(data, out / "amp", dataclasses.replace(SCHEDULE, steps=2, amp=True), team)
        train_tiny(data, out / "norms", team=team, config=normed(data))
        train_tiny(torn, out / "torn", team=team)
        found = detect(data, team)
        seen = {
            "sums": sums,
            "norm": norm_of_rois(team),
            "said": refusals(data, out / "refused", team),
            "final": found.final,
            "by_stage": found.by_stage,
        }
        (out / f"seen{team.rank}.json").write_text(json.dumps(seen))
        ports = team.gather([free_port() for _ in range(4)])[0]
    # Processes that meet again need another place for it, kept by the first of them: torchrun keeps one only.
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
    os.environ["MASTER_PORT"] = str(ports[0])
    main(command("train", data, out / "whole"))
    os.environ["MASTER_PORT"] = str(ports[1])
    main(["eval", "--data", str(data), "--checkpoint", str(out / "whole"), "--split", "train", "--json"])
    os.environ["MASTER_PORT"] = str(ports[2])
    try:
        main([*command("train", data, out / "never"), "--batch", "5"])
    except SystemExit as stop:
        (out / f"code{os.environ['RANK']}").write_text(str(stop.code))
    os.environ["MASTER_PORT"] = str(ports[3])
    with processes("cpu", 3.0) as (team, _):
        train_tiny(data, out / "hung", team=team, on_step=_freeze if team.rank == 1 else None)


def _freeze(step: int, metrics: dict[str, float]) -> None:
    if step == 2:
        os.kill(os.getpid(), signal.SIGSTOP)


def command(name: str, data: Path, run: Path) -> list[str]:
    """The training that is also started, and stopped, from outside."""
    sizes = ["--steps", "10", "--batch", "4", "--checkpoint-every", "2"]
    return [name, "--data", str(data), "--run-folder", str(run), *sizes]


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_all(*(Path(argument) for argument in sys.argv[1:]))
