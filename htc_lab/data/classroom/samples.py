"""Classroom scenes as samples, drawn in memory: no files needed."""

from pathlib import Path

import torch

from htc_lab.data.classroom.scenes import SceneConfig, make_scene
from htc_lab.data.classroom.tree import ensure_classroom, scene_seed
from htc_lab.data.dataset import Sample
from htc_lab.data.layout import DataFolder, find_data
from htc_lab.structures import Targets


def classroom_samples(
    count: int, split: str = "test", first: int = 0, config: SceneConfig | None = None
) -> list[Sample]:
    """Scenes of a split as samples, the same as those ``data_scripts/make_classroom.py`` writes.

    Args:
        count: how many.
        split: train, val or test.
        first: index of the first one, from 0.
        config: what the scenes look like; default: as in ``data/classroom``.
    """
    return [_sample(split, i, config or SceneConfig()) for i in range(first, first + count)]


def _sample(split: str, index: int, config: SceneConfig) -> Sample:
    scene = make_scene(scene_seed(0, split, index), config)
    targets = Targets(
        torch.from_numpy(scene.boxes),
        torch.from_numpy(scene.labels),
        torch.from_numpy(scene.masks),
        torch.from_numpy(scene.semantic),
    )
    image = torch.from_numpy(scene.image.copy()).permute(2, 0, 1).contiguous()
    return Sample(image, targets, index + 1, (config.size, config.size))


def classroom_data(
    counts: tuple[int, int, int] = (1000, 200, 500), root: str = "data/classroom"
) -> DataFolder:
    """The classroom scenes on disk; if they are missing, they are drawn first (about 20 s).

    Args:
        counts: train, val and test images.
        root: folder; one that contains different scenes is refused.

    Raises:
        InputError: the folder contains something else.
    """
    train, val, test = counts
    return find_data(ensure_classroom(Path(root), train, val, test, SceneConfig()))
