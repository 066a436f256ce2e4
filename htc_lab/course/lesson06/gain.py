"""06: one value per picture, for the bootstrap."""

from collections.abc import Sequence

import numpy as np

from htc_lab.data.dataset import Sample
from htc_lab.evaluate.matching import compare_with_truth
from htc_lab.model import HybridTaskCascade


def image_scores(model: HybridTaskCascade, samples: Sequence[Sample], threshold: float = 0.3) -> np.ndarray:
    """Mean mask IoU over the true objects of each picture; a missed object counts as 0.

    Pictures without objects are left out.

    Args:
        model: in evaluation mode.
        samples: with their truth.
        threshold: detections with a lower score don't count.
    """
    values = []
    for sample in samples:
        if len(sample.targets.boxes):
            comparison = compare_with_truth(model.predict([sample.image])[0].above(threshold), sample.targets)
            values.append(comparison.mean(comparison.mask_iou))
    return np.asarray(values, dtype=np.float64)
