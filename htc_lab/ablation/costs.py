"""What each rung costs: seconds per training step and per test image, and memory, measured side by side.

Each rung trains for a few steps and evaluates a few pictures in a separate process, with the real training
and evaluation code; the rungs take turns, round after round, so that a machine that slows down does so for
all of them. Other work on the machine spoils the measurement.
"""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from htc_lab.ablation.ladder import Ladder, train_dataset
from htc_lab.config import ModelConfig
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import DataFolder
from htc_lab.data.semantic import semantic_classes
from htc_lab.evaluate.inference import predict_split
from htc_lab.measured_on import describe_machine, peak_memory
from htc_lab.predictors import ModelPredictor
from htc_lab.schedule import Schedule
from htc_lab.train.loop import FEATURES, TrainOptions, train

# The first steps of a process also pay for memory and kernels that are used for the first time.
_WARM_STEPS = 3


@dataclass(frozen=True)
class _Job:
    data: DataFolder
    config: ModelConfig
    schedule: Schedule
    device: str
    threads: int
    images: int
    features: Path


def measure_costs(
    ladder: Ladder, steps: int = 12, images: int = 32, rounds: int = 3, progress: bool = True
) -> dict[str, Any]:
    """The costs of the ladder's rungs.

    Args:
        ladder: its data, sizes and device are used; its runs are not touched.
        steps: of training, per rung and round.
        images: of the test split, per rung and round.
        rounds: how often each rung takes its turn.
        progress: show a progress bar.

    Returns:
        ``rungs`` by name: ``step_seconds``, ``image_seconds`` (medians over the rounds; for a step, also
        within each round) and ``peak_gb`` (of the training process: resident memory on a CPU, memory taken by
        torch on a GPU); ``steps``, ``images``, ``rounds``, ``batch`` and ``machine``.
    """
    schedule = dataclasses.replace(ladder.schedule, steps=_WARM_STEPS + steps)
    rows: dict[str, list[Mapping[str, float]]] = {name: [] for name in ladder.rungs}
    with tqdm(total=rounds * len(rows), desc="costs", disable=not progress) as bar:
        for _ in range(rounds):
            for name in rows:
                config = ladder.config_of(name)
                threads = torch.get_num_threads()
                features = ladder.out / FEATURES
                job = _Job(ladder.data, config, schedule, ladder.device, threads, images, features)
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    rows[name].append(pool.submit(_cost, job).result())
                bar.update()
    middle = {
        name: {key: statistics.median(row[key] for row in found) for key in found[0]}
        for name, found in rows.items()
    }
    return {
        "rungs": middle,
        "steps": steps,
        "images": images,
        "rounds": rounds,
        "batch": schedule.batch,
        "machine": describe_machine(),
    }


def _cost(job: _Job) -> dict[str, float]:
    """One rung, one round, in this process."""
    torch.set_num_threads(job.threads)
    dataset = train_dataset(job.data, semantic_classes(job.data), job.config, job.schedule)
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        options = TrainOptions(device=job.device, progress=False, features=job.features)
        model = train(
            Path(folder) / "run",
            job.config,
            job.schedule,
            dataset,
            options,
            lambda step, metrics: seconds.append(metrics["seconds"]),
        )
    peak = peak_memory(job.device)
    test = CocoDataset(job.data.test, cache=True)
    test.images = test.images[: job.images]
    predict_split(ModelPredictor(model), test, progress=False)
    began = time.perf_counter()
    predict_split(ModelPredictor(model), test, progress=False)
    image = (time.perf_counter() - began) / len(test)
    return {"step_seconds": statistics.median(seconds[_WARM_STEPS:]), "image_seconds": image, "peak_gb": peak}
