"""Digests of all that must come out the same: ``python -m tests.faults.fingerprints FOLDER`` prints them."""

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from htc_lab.checkpoint.files import CHECKPOINT, load, read_run, shipped_models
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import find_data
from htc_lab.evaluate.inference import average_precision, predict_split, truth_of
from htc_lab.explorer.pack import make_pack
from htc_lab.explorer.runs import run_models
from htc_lab.predictors import ModelPredictor
from htc_lab.train.batches import BatchOfStep, batches
from tests.faults.killing import curve
from tests.faults.small import of_steps, small

STEPS = 4


def digest(parts: Iterable[bytes]) -> str:
    """Of the parts, one after the other."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def of_tensors(tensors: dict[str, Tensor]) -> str:
    """Of names and bits."""
    return digest(
        part
        for name, value in sorted(tensors.items())
        for part in (name.encode(), value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    )


def of_files(folder: Path) -> str:
    """Of names and bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest(
        part for path in files for part in (str(path.relative_to(folder)).encode(), path.read_bytes())
    )


def of_batches(dataset: CocoDataset, workers: int) -> str:
    """Of what the training sees."""
    found: dict[str, Tensor] = {}
    for step, batch in enumerate(batches(BatchOfStep(dataset, 2, STEPS, seed=7), 0, workers)):
        for i, sample in enumerate(batch.samples):
            t = sample.targets
            assert t.semantic is not None
            for name, value in (("image", sample.image), ("boxes", t.boxes), ("labels", t.labels)):
                found[f"{step}.{i}.{name}"] = value
            found[f"{step}.{i}.masks"], found[f"{step}.{i}.semantic"] = t.masks, t.semantic
    return of_tensors(found)


def main(folder: Path) -> dict[str, str]:
    """Every digest by name."""
    torch.set_num_threads(1)
    setup = small(folder / "scenes")
    run = folder / "run"
    setup.train(run, of_steps(STEPS))
    weights, optimizer, _ = read_run(run / CHECKPOINT)
    test = CocoDataset(find_data(folder / "scenes").test)
    found = predict_split(ModelPredictor(load(run)), test, stages=True, progress=False)
    truth = truth_of(test)
    models = {name: load(name) for name in shipped_models()[:2]}
    return {
        "scenes": of_files(folder / "scenes"),
        "batches, no worker": of_batches(setup.dataset, 0),
        "batches, two workers": of_batches(setup.dataset, 2),
        "weights": of_tensors(weights),
        "optimizer": of_tensors(optimizer),
        "losses": digest([json.dumps(curve(run)).encode()]),
        "detections": digest([json.dumps([found.final, found.by_stage]).encode()]),
        "average precision": digest([json.dumps(average_precision(truth, found)).encode()]),
        "pack": digest([make_pack(run_models(models, classroom_samples(1, first=9)[0]))]),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
