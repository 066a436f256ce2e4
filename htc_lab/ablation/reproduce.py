"""The paper's gain without training: a released Cascade Mask R-CNN beside a released HTC, image by image.

The public tables test the two at different score thresholds (0.05 and 0.001), which flatters HTC a little.
Here both use the same one. Detections are saved as they come, one line per image, so that a stopped run
continues where it left off; on a CPU the 5000 images of val2017 take hours.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from htc_lab.config_json import model_config_in_full
from htc_lab.data.dataset import CocoDataset
from htc_lab.errors import InputError
from htc_lab.evaluate.coco_ap import Kind, coco_results, evaluate
from htc_lab.evaluate.inference import truth_of
from htc_lab.evaluate.statistics import Interval, paired_bootstrap, verdict
from htc_lab.files import one_or_all, plain, read_json, sha256_of, write_json
from htc_lab.model import HybridTaskCascade
from htc_lab.predictors import Predictor
from htc_lab.same_weights import with_cascade
from htc_lab.wording import counted

DETECTIONS = "detections.jsonl"
SOURCE = "source.json"
KINDS: tuple[Kind, ...] = ("bbox", "segm")


@dataclass(frozen=True)
class Contestant:
    """A model, or several whose results are merged, that takes part in the comparison.

    Attributes:
        role: "cascade" or "htc"; names its folder.
        predictor: with the score threshold it is tested at.
        checkpoints: the files it came from.
    """

    role: str
    predictor: Predictor
    checkpoints: tuple[str, ...]


@dataclass(frozen=True)
class Reproduction:
    """The outcome of the comparison.

    Attributes:
        statistics: the 12 COCO statistics (points) by role and kind ("bbox", "segm").
        gains: HTC minus cascade by kind, with the paired interval over images.
        images: how many were evaluated.
    """

    statistics: dict[str, dict[Kind, dict[str, float]]]
    gains: dict[Kind, Interval]
    images: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        gains = {kind: dataclasses.asdict(gain) for kind, gain in self.gains.items()}
        return {"images": self.images, "models": self.statistics, "gain": gains}

    def verdict(self) -> str:
        """One sentence on whether HTC's masks are better."""
        return verdict("Cascade Mask R-CNN", "HTC", self.gains["segm"])


def at_score_threshold(model: HybridTaskCascade, threshold: float) -> HybridTaskCascade:
    """The same weights, keeping detections with a score of at least ``threshold``.

    Raises:
        InputError: the threshold is not between 0 and 1.
    """
    if not 0.0 <= threshold < 1.0:
        raise InputError(f"--score {threshold}: must be at least 0 and below 1")
    return with_cascade(model, score_threshold=threshold)


def reproduce(
    contestants: list[Contestant],
    dataset: CocoDataset,
    out: Path,
    *,
    progress: bool = True,
    tell: Callable[[str], None] = print,
) -> Reproduction:
    """Run both models over the data and compare them.

    Args:
        contestants: the cascade, then HTC.
        dataset: its class order must be the predictors'.
        out: folder for detections and results; what is there already is not computed again.
        progress: show one bar for both models, with the time left.
        tell: is given a line where detections are there already.

    Raises:
        InputError: the folder contains detections from other checkpoints, data or settings.
    """
    cascade, htc = contestants
    wanted = dataset.image_ids
    kept = {}
    for contestant in contestants:
        folder = out / contestant.role
        _claim(folder, _source(contestant, dataset))
        kept[contestant.role] = _read_lines(folder / DETECTIONS)
        there = len(kept[contestant.role])
        if there:
            tell(f"{folder}: {there} of {counted(len(wanted), 'image')} done already")
    total, there = len(wanted) * len(contestants), sum(len(found) for found in kept.values())
    with tqdm(total=total, initial=there, desc="detect", unit="img", disable=not progress) as bar:
        for contestant in contestants:
            detect_rest(contestant, dataset, out / contestant.role, kept[contestant.role], bar.update)
    truth = truth_of(dataset)
    results = {role: [entry for i in wanted for entry in found[i]] for role, found in kept.items()}
    statistics = {
        role: {kind: evaluate(truth, found, kind) for kind in KINDS} for role, found in results.items()
    }
    gains = {kind: paired_bootstrap(truth, results[cascade.role], results[htc.role], kind) for kind in KINDS}
    outcome = Reproduction(statistics, gains, len(dataset))
    write_json(out / "results.json", outcome.as_dict())
    return outcome


def detect_rest(
    contestant: Contestant,
    dataset: CocoDataset,
    folder: Path,
    found: dict[int, list[dict[str, Any]]],
    step: Callable[[], Any],
) -> None:
    """Add COCO results for every image without any to ``found`` and the folder's file, one line per image.

    Args:
        contestant: the model.
        dataset: the images.
        folder: the folder of ``detections.jsonl``.
        found: the results so far, by image id.
        step: called after each image.

    Raises:
        InputError: an image can't be read, or the file can't be written to.
    """
    categories = dataset.split.coco.category_ids
    with _appending(folder / DETECTIONS) as file:
        for i, image_id in enumerate(dataset.image_ids):
            if image_id in found:
                continue
            sample = dataset[i]
            detections = contestant.predictor.predict([sample.image])[0]
            results = coco_results(image_id, detections, categories)
            file.write(json.dumps({"image_id": image_id, "results": results}) + "\n")
            file.flush()
            found[image_id] = results
            step()


def _source(contestant: Contestant, dataset: CocoDataset) -> dict[str, Any]:
    """Everything that determines the detections, so that a folder never mixes two kinds."""
    checkpoints, annotations = [Path(path) for path in contestant.checkpoints], dataset.split.coco.path
    weights = [sha256_of(path) if path.is_file() else None for path in checkpoints]
    source = {
        "checkpoint": one_or_all([path.name for path in checkpoints]),
        "checkpoint_sha256": one_or_all(weights),
        "annotations": annotations.name,
        "annotations_sha256": sha256_of(annotations),
        "config": contestant.predictor.description(),
    }
    read_back: dict[str, Any] = json.loads(json.dumps(plain(source)))
    return read_back


def _claim(folder: Path, source: dict[str, Any]) -> None:
    """Claim the folder for this source.

    Raises:
        InputError: it belongs to a different one.
    """
    path = folder / SOURCE
    if not path.exists():
        if (folder / DETECTIONS).exists():
            raise InputError(f"{path}: missing beside {DETECTIONS}; remove {folder} or name another --out")
        write_json(path, source)
        return
    there = read_json(path, f"remove {folder} to compute it again")
    if isinstance(there, dict):
        there["config"] = _in_full(there.get("config"))
    differs = [name for name in source if not isinstance(there, dict) or there.get(name) != source[name]]
    if differs:
        raise InputError(
            f"{path}: {', '.join(differs)} differ from this call's; name another --out, or remove {folder}"
        )


def _in_full(description: Any) -> Any:
    """A predictor's description as an older lab wrote it, with the fields that configs have today."""
    if isinstance(description, dict) and isinstance(description.get("models"), list):
        return description | {"models": [model_config_in_full(config) for config in description["models"]]}
    return model_config_in_full(description)


@contextmanager
def _appending(path: Path) -> Iterator[Any]:
    try:
        with path.open("a", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); free space and run the command again"
        ) from None


def _read_lines(path: Path) -> dict[int, list[dict[str, Any]]]:
    """The results by image id. A last line that was cut off when the run was killed is removed.

    Raises:
        InputError: any other line is broken.
    """
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
    found = {}
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        try:
            entry = json.loads(line)
            found[int(entry["image_id"])] = list(entry["results"])
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}: line {number} is broken; remove that line and run again") from None
    return found
