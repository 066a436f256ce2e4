"""Scenes that a model has encoded once, for experiments that run its heads many times."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from htc_lab.data.dataset import Sample
from htc_lab.data.transforms import resize_sample
from htc_lab.model import HybridTaskCascade
from htc_lab.structures import Features, Proposals, Targets


@dataclass(frozen=True)
class Seen:
    """A scene at the model's test size, with the results of the expensive part of the model.

    Attributes:
        image: (3, H, W) uint8.
        targets: the truth at that size.
        features, proposals: of this picture alone.
    """

    image: Tensor
    targets: Targets
    features: Features
    proposals: Proposals


@torch.no_grad()
def look_at(model: HybridTaskCascade, samples: Sequence[Sample]) -> list[Seen]:
    """Resize, encode and propose; scenes without objects are left out."""
    size = model.config.image
    seen = []
    for sample in (resize_sample(sample, size.short, size.long) for sample in samples):
        if len(sample.targets.boxes):
            features = model.encode([sample.image])
            seen.append(Seen(sample.image, sample.targets, features, model.propose(features)))
    return seen
