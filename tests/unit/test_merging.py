"""The merge arithmetic, against recorded outputs of version 2 of the reference.

``merges_of_mmdet.npz`` holds random boxes, scores and masks of four views of three sizes, two mirrored,
and what ``merge_augs.py`` of mmdet 2.28.2 made of them, with torchvision's NMS in the place of mmcv's:
``merge_aug_proposals`` (NMS 0.7, at most 60), ``merge_aug_bboxes``, ``merge_aug_scores`` and
``merge_aug_masks``.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from htc_lab.merging import mean, merged_proposals, one_hot
from htc_lab.views import Frame


@pytest.fixture(scope="module")
def recorded():
    with np.load(Path(__file__).with_name("merges_of_mmdet.npz")) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def frames(recorded):
    picture = tuple(recorded["picture"].tolist())
    views = zip(recorded["sizes"].tolist(), recorded["flips"].tolist(), strict=True)
    return [Frame(picture, tuple(size), flip) for size, flip in views]


def test_boxes_go_into_a_view_as_in_the_reference(recorded, frames):
    for i, frame in enumerate(frames):
        torch.testing.assert_close(frame.into(recorded[f"picture_boxes{i}"]), recorded[f"into{i}"])


def test_the_union_of_proposals_is_the_references(recorded, frames):
    rows = [recorded[f"proposals{i}"] for i in range(len(frames))]
    boxes = [frame.back(row[:, :4]) for frame, row in zip(frames, rows, strict=True)]
    merged, scores = merged_proposals(boxes, [row[:, 4] for row in rows], 0.7, 60)
    wanted = recorded["merged_proposals"]
    assert len(merged) == len(wanted) == 60 < sum(len(row) for row in rows)
    torch.testing.assert_close(torch.cat([merged, scores[:, None]], dim=1), wanted)


def test_boxes_scores_and_masks_are_averaged_as_in_the_reference(recorded, frames):
    views = range(len(frames))
    boxes = mean([frames[i].back(recorded[f"boxes{i}"]) for i in views])
    torch.testing.assert_close(boxes, recorded["merged_boxes"])
    scores = mean([recorded[f"scores{i}"] for i in views])
    torch.testing.assert_close(scores, recorded["merged_scores"])
    torch.testing.assert_close(scores, recorded["merged_scores_alone"])
    masks = mean([frames[i].turned_back(recorded[f"masks{i}"]) for i in views])
    torch.testing.assert_close(masks, recorded["merged_masks"])


def test_no_proposals_at_all():
    boxes, scores = merged_proposals([torch.zeros(0, 4)] * 2, [torch.zeros(0)] * 2, 0.7, 10)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)


def test_one_hot():
    table = one_hot(torch.tensor([0.5, 0.25]), torch.tensor([2, 0]), 3)
    assert table.tolist() == [[0, 0, 0.5], [0.25, 0, 0]]
    assert one_hot(torch.zeros(0), torch.zeros(0, dtype=torch.long), 3).shape == (0, 3)
