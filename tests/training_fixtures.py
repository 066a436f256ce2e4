"""A handful of classroom scenes and a model small enough to train in seconds."""

import dataclasses
from pathlib import Path

import pytest

from htc_lab.ablation.ladder import config_for
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import write_classroom
from htc_lab.data.layout import DataFolder, find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.schedule import Schedule
from tests.unit.tiny import TINY

SCHEDULE = Schedule(steps=6, batch=2, lr=0.01, lr_batch=2, warmup_steps=2, clip_norm=10.0, min_size=8)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classroom tree of 64-px scenes."""
    root = tmp_path_factory.mktemp("data") / "scenes"
    write_classroom(root, 6, 2, 4, SceneConfig(size=64), progress=False)
    return root


@pytest.fixture(scope="session")
def data(scenes: Path) -> DataFolder:
    """The same, found."""
    return find_data(scenes)


@pytest.fixture(scope="session")
def config(data: DataFolder):
    """A tiny model for them."""
    image = dataclasses.replace(TINY.image, short=64, long=96, train_short=(64,), train_long=96)
    return config_for(dataclasses.replace(TINY, image=image), data, semantic_classes(data))
