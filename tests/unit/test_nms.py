"""NMS of a batch: the same boxes stay whether images are taken one by one or all at once."""

import pytest
import torch

from htc_lab.layers.nms import _all_at_once, _image_by_image, best_of_each_image
from htc_lab.structures import RoIs
from tests.unit.tiny import generator

WAYS = pytest.mark.parametrize("way", [_image_by_image, _all_at_once], ids=["one by one", "all at once"])


def _crowd(seed: int, boxes: int, size: float = 300.0) -> torch.Tensor:
    """Boxes (n, 4) of which many overlap."""
    draws = generator(seed)
    corner = torch.rand((boxes, 2), generator=draws) * size * 0.6
    side = (0.1 + 0.3 * torch.rand((boxes, 2), generator=draws)) * size
    return torch.cat([corner, corner + side], dim=1)


def _batch(counts: tuple[int, ...], groups: int) -> tuple[RoIs, torch.Tensor, torch.Tensor]:
    rois = RoIs.of([_crowd(i, count, 300.0 + 500 * i) for i, count in enumerate(counts)])
    scores = torch.rand(len(rois), generator=generator(1))
    return rois, scores, torch.randint(groups, (len(rois),), generator=generator(2))


# Torchvision moves the groups of few boxes apart and takes those of many (over 1000) one by one.
@pytest.mark.parametrize("counts", [(60,), (80, 50), (40, 0, 90, 1), (0, 0), (1500, 700)])
@pytest.mark.parametrize("groups", [1, 5])
def test_both_ways_keep_the_same(counts, groups):
    rois, scores, group = _batch(counts, groups)
    for iou, most in ((0.5, 1000), (0.3, 10), (0.7, 25)):
        args = (rois, scores, group, len(counts), iou, most)
        kept = _image_by_image(*args)
        assert torch.equal(_all_at_once(*args), kept)
        assert torch.equal(best_of_each_image(*args), kept)
        if sum(counts):
            assert 0 < len(kept) < len(rois)


@WAYS
def test_an_image_keeps_in_company_what_it_keeps_alone(way):
    counts = (70, 90, 40)
    rois, scores, group = _batch(counts, 3)
    kept = way(rois, scores, group, 3, 0.5, 20)
    for i, count in enumerate(counts):
        here, start = rois.image == i, sum(counts[:i])
        one = RoIs.of([rois.boxes[here]])
        alone = way(one, scores[here], group[here], 1, 0.5, 20)
        in_company = kept[(kept >= start) & (kept < start + count)]
        assert torch.equal(in_company - start, alone)
        assert torch.equal(scores[in_company], scores[in_company].sort(descending=True).values)


@WAYS
def test_groups_and_images_do_not_suppress_each_other(way):
    box = torch.tensor([[10.0, 10.0, 20.0, 20.0]])
    rois = RoIs.of([box.repeat(3, 1), box])
    kept = way(rois, torch.tensor([0.5, 0.9, 0.7, 0.1]), torch.tensor([0, 0, 1, 0]), 2, 0.5, 9)
    assert kept.tolist() == [1, 2, 3]
