"""A predictor over a whole split: COCO results for the final masks and for each stage's, and their AP."""

from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from htc_lab.data.dataset import CocoDataset
from htc_lab.distributed import ALONE, Team
from htc_lab.errors import InputError
from htc_lab.evaluate.coco_ap import coco_results, evaluate
from htc_lab.predictors import Predictor
from htc_lab.wording import counted


@dataclass(frozen=True)
class SplitResults:
    """COCO result entries of a split.

    Attributes:
        final: the final boxes, scores and masks.
        by_stage: the same boxes and scores, with the masks of only stage 1, 2, ...
    """

    final: list[dict]
    by_stage: list[list[dict]]


def predict_split(
    predictor: Predictor,
    dataset: CocoDataset,
    *,
    stages: bool = False,
    batch: int = 8,
    progress: bool = True,
    team: Team = ALONE,
) -> SplitResults:
    """Detect in every image of a dataset.

    Several processes share the images: process i of n takes every n-th batch. The batches are those that a
    single process would make, so the results are the same.

    Args:
        predictor: of one model, for example :class:`~htc_lab.predictors.ModelPredictor`.
        dataset: its class order must be the predictor's.
        stages: also take each stage's masks on the final boxes.
        batch: images at a time.
        progress: show a progress bar.
        team: the processes that share the images.

    Returns:
        The results of all images, in order, in a single or the first process; empty in the others.

    Raises:
        InputError: an image can't be read.
    """
    mine: dict[int, SplitResults] = {}
    starts = range(0, len(dataset), batch)
    own = [range(start, min(start + batch, len(dataset))) for start in starts[team.rank :: team.size]]
    shown = progress and team.first
    with (
        team.together(),
        tqdm(total=sum(map(len, own)), desc="evaluate", disable=not shown, leave=False) as bar,
    ):
        for indices in own:
            mine[indices.start] = _predict_batch(predictor, dataset, indices, stages)
            bar.update(len(indices))
    found: dict[int, SplitResults] = {}
    for share in team.collect(mine):
        found |= share
    parts = [found[start] for start in starts] if team.first else []
    return _joined(parts, predictor.stages if stages else 0)


def _predict_batch(predictor: Predictor, dataset: CocoDataset, indices: range, stages: bool) -> SplitResults:
    category_ids = dataset.split.coco.category_ids
    final: list[dict] = []
    by_stage: list[list[dict]] = [[] for _ in range(predictor.stages if stages else 0)]
    samples = [dataset[i] for i in indices]
    found = predictor.detect([sample.image for sample in samples], by_stage=stages)
    for sample, detections in zip(samples, found, strict=True):
        for entries, one in zip((final, *by_stage), detections, strict=True):
            entries += coco_results(sample.image_id, one, category_ids)
    return SplitResults(final, by_stage)


def _joined(parts: list[SplitResults], stages: int) -> SplitResults:
    return SplitResults(
        [entry for part in parts for entry in part.final],
        [[entry for part in parts for entry in part.by_stage[t]] for t in range(stages)],
    )


def truth_of(dataset: CocoDataset) -> dict:
    """The COCO ground truth of only the dataset's images, including crowd annotations."""
    return dataset.split.coco.subset(dataset.image_ids).as_dict()


def require_objects(truth: dict, path: Path) -> None:
    """Check that there is something to find, since AP is undefined otherwise.

    Args:
        truth: from :func:`truth_of`.
        path: its annotation file, for the message.

    Raises:
        InputError: there are no objects, or only crowds.
    """
    if all(row["iscrowd"] for row in truth["annotations"]):
        raise InputError(
            f"{path}: no object in {counted(len(truth['images']), 'image')} to evaluate on; add some"
        )


def average_precision(truth: dict, results: SplitResults) -> dict[str, dict[str, float] | list[float]]:
    """All 12 statistics for boxes and masks, and the mask AP of stages 1, 2, ... and of the result.

    Returns:
        ``{"bbox": {...}, "segm": {...}, "stage_mask_ap": [stage 1, ..., result]}`` in AP points.
    """
    segm = evaluate(truth, results.final, "segm")
    stages = [evaluate(truth, entries, "segm")["AP"] for entries in results.by_stage]
    return {
        "bbox": evaluate(truth, results.final, "bbox"),
        "segm": segm,
        "stage_mask_ap": [*stages, segm["AP"]] if stages else [],
    }
