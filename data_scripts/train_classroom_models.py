"""Train the eight classroom models the lab ships, or take them from an ablation's runs; save them in 8 bits.

    python data_scripts/train_classroom_models.py

makes what ``htc_lab.load("classroom/htc")`` and its seven siblings load: the four rungs of the ladder and the
other four combinations, all of seed 0. It trains what the folder of runs doesn't hold yet, as
``htc-lab ablate --combinations`` does; a run that was stopped is resumed. Each model is evaluated on the
report's scenes in the form in which it is shipped, compared with the run it came from, and refused if it lost
too much.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tyro

from htc_lab.ablation.ladder import Ladder, open_ladder
from htc_lab.checkpoint.files import SHIPPED, load, save_model
from htc_lab.config_json import to_dict
from htc_lab.data.classroom.tree import GENERATOR_VERSION
from htc_lab.data.layout import Split, map_name
from htc_lab.errors import InputError
from htc_lab.evaluate.inference import average_precision, predict_split
from htc_lab.files import sha256_of
from htc_lab.measured_on import describe_machine
from htc_lab.predictors import ModelPredictor
from htc_lab.toggles import BESIDE_THE_LADDER, RUNGS

SEED = 0
# AP points that a model may lose by being stored in 8 bits.
MOST_LOST = 0.1
# Size of all models together, in MB.
LARGEST = 40.0


def main(
    models: tuple[str, ...] = (*RUNGS, *BESIDE_THE_LADDER),
    size: str = "classroom",
    runs: Path = Path("runs/ablation_scenes_classroom"),
    out: Path = SHIPPED / "classroom",
    device: str = "cpu",
) -> None:
    """Train and save classroom models.

    Args:
        models: which ones, by the names of their rungs and combinations.
        size: as for the ablation; tiny only shows that the script works.
        runs: the ablation's folder.
        out: folder for the models.
        device: cpu or cuda.
    """
    ladder = open_ladder(None, runs, size=size, seeds=(SEED,), device=device)
    unknown = [name for name in models if name not in (*RUNGS, *BESIDE_THE_LADDER)]
    if unknown:
        known = ", ".join((*RUNGS, *BESIDE_THE_LADDER))
        raise InputError(f"--models {unknown[0]}: no such model; take some of {known}")
    for name in models:
        ship(ladder, name, out)
    total = sum(path.stat().st_size for path in out.glob("*.safetensors") if path.stem in models) / 1e6
    print(f"{len(models)} models, {total:.1f} MB")
    if total > LARGEST:
        raise InputError(f"{out}: the models take {total:.1f} MB, more than {LARGEST:g}; make them narrower")


def ship(ladder: Ladder, name: str, out: Path) -> None:
    """Save one model, evaluated in the form in which it is shipped.

    Args:
        ladder: the ladder of seed 0.
        name: name of a rung or combination.
        out: folder for the model.

    Raises:
        InputError: it lost more than ``MOST_LOST`` points of mask or box AP; then nothing is written.
    """
    result, trained = ladder.run_rung(name), ladder.load(name)
    with tempfile.TemporaryDirectory() as folder:
        save_model(trained, Path(folder) / "packed.safetensors", packed=True)
        shipped = load(Path(folder) / "packed.safetensors", ladder.device)
    ap = average_precision(ladder.truth, predict_split(ModelPredictor(shipped), ladder.test, stages=True))
    refuse_loss(name, result.statistics[0], ap)
    about = {
        "seed": SEED,
        "schedule": to_dict(ladder.schedule),
        "data": {
            "scenes": ladder.data.root.name,
            "generator_version": GENERATOR_VERSION,
            "train_images": ladder.train_images,
            "train_sha256": digest(ladder.data.train),
        },
        "test": {"images": len(ladder.test), "sha256": digest(ladder.data.test), **ap},
        "run": {
            "command": f"htc-lab ablate --seeds {SEED} --combinations",
            **result.statistics[0],
            "seconds": result.seconds[0],
        },
        "machine": describe_machine(),
    }
    save_model(trained, out / f"{name}.safetensors", packed=True, about=about)
    both = " / ".join(f"{found['segm']['AP']:.2f}" for found in (result.statistics[0], ap))
    print(f"{name}: mask AP of the run / as shipped {both} -> {out / name}.safetensors")


def refuse_loss(name: str, run: Mapping[str, Any], shipped: Mapping[str, Any]) -> None:
    """Refuse a model that lost AP by being packed.

    Raises:
        InputError: it lost more than ``MOST_LOST`` points of mask or box AP.
    """
    for kind in ("segm", "bbox"):
        lost = run[kind]["AP"] - shipped[kind]["AP"]
        if lost > MOST_LOST:
            raise InputError(
                f"{name}: 8 bits cost {lost:.2f} points of {kind} AP, but at most {MOST_LOST} is allowed; "
                "save it with half=True"
            )


def digest(split: Split) -> str:
    """SHA-256 of a split: its annotations, then images and semantic maps in the annotations' order."""
    total = hashlib.sha256(sha256_of(split.coco.path).encode())
    for image in split.coco.images:
        total.update(sha256_of(split.images / image["file_name"]).encode())
        if split.semantic is not None:
            total.update(sha256_of(split.semantic / map_name(image["file_name"])).encode())
    return total.hexdigest()


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
