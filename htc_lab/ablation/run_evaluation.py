"""How a finished run of an ablation did on the test images: measured once, and kept in its folder.

``detections.json`` (COCO results for the final masks), ``detections_stage1.json`` and so on (with the masks
of one stage), and ``evaluation.json``, which is written last: if it exists, the others are complete and
belong to it.
"""

import json
import time
from pathlib import Path
from typing import Any

from htc_lab.data.dataset import CocoDataset
from htc_lab.errors import InputError
from htc_lab.evaluate.coco_ap import STATISTICS
from htc_lab.evaluate.inference import SplitResults, average_precision, predict_split
from htc_lab.files import plain, read_json, remove_leftovers, write_json, write_text
from htc_lab.measured_on import describe_machine
from htc_lab.model import HybridTaskCascade
from htc_lab.predictors import ModelPredictor
from htc_lab.train.lock import only_here

EVALUATION = "evaluation.json"
DETECTIONS = "detections.json"
_FIX = "delete it, and it will be written again"
_LARGEST = 2**53


def evaluation_of(
    folder: Path,
    model: HybridTaskCascade,
    test: CocoDataset,
    truth: dict[str, Any],
    began: float,
    progress: bool,
) -> dict[str, Any]:
    """The evaluation in a run's folder; done now if there is none, or one of different images.

    Args:
        folder: of the run.
        model: with the weights of the run.
        test: the images.
        truth: their ground truth.
        began: ``time.perf_counter()`` when the run began.
        progress: show a progress bar.

    Returns:
        ``ap`` (from :func:`htc_lab.evaluate.inference.average_precision`), ``parameters``, ``seconds``,
        ``machine`` and ``asked`` (``test``, the annotation file, and ``images``, their ids).

    Raises:
        InputError: the existing files are broken, the folder can't be written to, or another process is using
            it.
    """
    asked = {"test": str(test.split.coco.path), "images": test.image_ids}
    kept = _kept(folder / EVALUATION, asked)
    if kept is not None:
        return kept
    with only_here(folder):
        found = predict_split(ModelPredictor(model), test, stages=True, progress=progress)
        card: dict[str, Any] = plain(
            {
                "ap": average_precision(truth, found),
                "parameters": sum(p.numel() for p in model.parameters()),
                "seconds": time.perf_counter() - began,
                "machine": describe_machine(),
                "asked": asked,
            }
        )
        _keep(folder, found, card)
    return card


def _kept(path: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    card = read_json(path, _FIX)
    if not isinstance(card, dict) or card.get("asked") != asked:
        return None
    numbers = [("ap", kind, name) for kind in ("bbox", "segm") for name in STATISTICS]
    for keys in (*numbers, ("parameters",), ("seconds",)):
        value: Any = card
        for key in keys:
            value = value.get(key, "") if isinstance(value, dict) else ""
        if not _is_number(value):
            raise InputError(f"{path}: field '{'.'.join(keys)}' must be a number; {_FIX}")
    stages = card["ap"].get("stage_mask_ap")
    if not isinstance(stages, list) or not all(map(_is_number, stages)):
        raise InputError(f"{path}: field 'ap.stage_mask_ap' must be a list of numbers; {_FIX}")
    return card


def _is_number(value: Any) -> bool:
    # The AP of large objects is null if there are none.
    return value is None or (type(value) in (int, float) and abs(value) < _LARGEST)


def _keep(folder: Path, found: SplitResults, card: dict[str, Any]) -> None:
    stages = {f"detections_stage{t + 1}.json": entries for t, entries in enumerate(found.by_stage)}
    path = folder / EVALUATION
    # It must not remain beside detections of different images, should this be killed halfway.
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); make its folder writable") from None
    for name, entries in ({DETECTIONS: found.final} | stages).items():
        remove_leftovers(folder / name)
        write_text(folder / name, json.dumps(entries, separators=(",", ":")))
    remove_leftovers(path)
    write_json(path, card)
