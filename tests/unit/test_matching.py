"""Which ground truth a box stands for, and which boxes are drawn."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htc_lab.config import PAPER_STAGES, CascadeConfig
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.layers.matching import BACKGROUND, IGNORED, match, sample
from htc_lab.layers.sampling import sample_rois
from htc_lab.structures import RoIs, Targets
from tests.unit.boxes import box_lists

THRESHOLDS = st.sampled_from(
    [(0.7, 0.3, 0.3), (0.5, 0.5, 0.5), (0.5, 0.5, None), (0.7, 0.7, 0.7), (0.25, 0.125, 0.0625)]
)


def slow_match(iou, positive, negative, low_quality):
    """The verdicts of ``match`` from the IoU table, box by box; for each box the set of right answers."""
    verdicts = []
    for row in iou:
        best = max(row)
        if best >= positive:
            verdicts.append({g for g, v in enumerate(row) if v == best})
        else:
            verdicts.append({BACKGROUND if best < negative else IGNORED})
    if low_quality is not None:
        for g in range(len(iou[0])):
            best = max(row[g] for row in iou)
            if best >= low_quality:
                for i, row in enumerate(iou):
                    if row[g] == best:
                        verdicts[i] = {g}
    return verdicts


@settings(deadline=None, max_examples=60)
@given(box_lists(1, 12), box_lists(1, 6), THRESHOLDS)
def test_matching_is_that_of_a_slow_loop(boxes, truth, thresholds):
    iou = pairwise_iou(boxes, truth)
    matches = match(boxes, truth, *thresholds)
    for found, right in zip(
        matches.index.tolist(), slow_match(iou.tolist(), *[t and _f32(t) for t in thresholds]), strict=True
    ):
        assert found in right
    assert torch.equal(matches.iou, iou.max(dim=1).values)


def _f32(value):
    return float(torch.tensor(value))


@settings(deadline=None, max_examples=60)
@given(box_lists(1, 12), box_lists(1, 6), THRESHOLDS)
def test_what_a_match_promises(boxes, truth, thresholds):
    positive, _, low_quality = thresholds
    iou = pairwise_iou(boxes, truth)
    index = match(boxes, truth, *thresholds).index
    for i in torch.nonzero(index >= 0).flatten().tolist():
        own = iou[i, index[i]]
        enough = own >= positive and own == iou[i].max()
        best_of_its_truth = low_quality is not None and own == iou[:, index[i]].max() and own >= low_quality
        assert enough or best_of_its_truth
    if low_quality is not None:
        # No object that some box reaches goes without, unless a later one took its box.
        for g in range(len(truth)):
            best = iou[:, g].max()
            if best >= low_quality:
                assert (index[iou[:, g] == best] >= g).all()


def test_a_later_object_takes_the_box_of_an_earlier_one():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    truth = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 6.0]])
    assert match(boxes, truth, 0.5, 0.5, None).index.tolist() == [0]
    assert match(boxes, truth, 0.5, 0.5, 0.5).index.tolist() == [1]


def test_a_pair_that_is_not_comparable_does_not_overlap():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [40.0, 0.0, 50.0, 9.0]])
    truth = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8.0]])
    comparable = torch.tensor([[False, True], [True, False], [False, False]])
    matches = match(boxes, truth, 0.5, 0.0, 0.0, comparable)
    # Not even thresholds of 0 are reached where nothing may be compared.
    assert matches.index.tolist() == [1, 0, BACKGROUND]
    assert matches.iou.tolist() == pytest.approx([0.8, 0.9, 0.0])
    # One column for all objects leaves out whole boxes, and their claim to be an object's best.
    left_out = match(boxes, truth, 0.95, 0.1, 0.5, torch.tensor([[False], [True], [True]]))
    assert left_out.index.tolist() == [BACKGROUND, 1, BACKGROUND]


@pytest.mark.parametrize(("boxes", "truth"), [(3, 0), (0, 3), (0, 0)])
def test_matching_with_nothing(boxes, truth):
    matches = match(torch.rand(boxes, 4), torch.rand(truth, 4), 0.5, 0.5, 0.5)
    assert matches.index.tolist() == [BACKGROUND] * boxes
    assert matches.iou.tolist() == [0.0] * boxes


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(-2, 3), max_size=40),
    st.integers(1, 30),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.integers(0, 99),
)
def test_sampling_counts(index, count, fraction, seed):
    verdicts = torch.tensor(index, dtype=torch.int64)
    positive, negative = sample(verdicts, count, fraction, torch.Generator().manual_seed(seed))
    positives, negatives = sum(i >= 0 for i in index), index.count(BACKGROUND)
    assert len(positive) == min(positives, int(count * fraction))
    assert len(negative) == min(negatives, count - len(positive))
    assert (verdicts[positive] >= 0).all()
    assert (verdicts[negative] == BACKGROUND).all()
    for drawn in (positive.tolist(), negative.tolist()):
        assert drawn == sorted(set(drawn))


def test_one_seed_gives_one_draw_and_another_seed_another():
    index = torch.arange(40) % 2 - 1

    def draw(seed):
        return torch.cat(sample(index, 16, 0.5, torch.Generator().manual_seed(seed))).tolist()

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_nothing_is_drawn_where_everything_fits():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    sample(torch.tensor([0, -1, -2, 1]), 8, 0.5, generator)
    assert torch.equal(generator.get_state(), before)
    sample(torch.tensor([0, -1, -2, 1]), 2, 0.5, generator)
    assert not torch.equal(generator.get_state(), before)


def _target(boxes, labels):
    boxes = torch.tensor(boxes).reshape(-1, 4)
    return Targets(boxes, torch.tensor(labels, dtype=torch.int64), torch.ones(len(labels), 64, 64).byte())


def test_samples_of_a_stage():
    targets = [_target([[0.0, 0, 20, 20], [30, 30, 50, 50]], [2, 0]), _target([[10.0, 10, 20, 20]], [1])]
    proposed = RoIs.of(
        [
            torch.tensor([[60.0, 0, 64, 9], [0, 0, 20, 19]]),
            torch.tensor([[10.0, 10, 20, 19], [11, 10, 20, 20], [40, 40, 50, 50]]),
        ]
    )
    config = CascadeConfig(samples=64, positive_fraction=0.5)
    found = sample_rois(proposed, targets, PAPER_STAGES[0], config, classes=3)
    assert found.rois.image.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert found.labels.tolist() == [2, 0, 2, 3, 1, 1, 1, 3]
    assert found.truth.tolist() == [0, 1, 0, -1, 0, 0, 0, -1]
    assert found.from_truth.tolist() == [True, True, False, False, True, False, False, False]
    assert found.positive.tolist() == [True, True, True, False, True, True, True, False]
    for box, wanted, image, truth in zip(
        found.rois.boxes, found.boxes, found.rois.image, found.truth, strict=True
    ):
        assert torch.equal(wanted, targets[image].boxes[truth] if truth >= 0 else box)


@settings(deadline=None, max_examples=40)
@given(box_lists(0, 12), box_lists(0, 5), st.sampled_from(PAPER_STAGES), st.integers(4, 24), st.booleans())
def test_samples_hold_at_most_their_share_of_positives(boxes, truth, stage, samples, low_quality):
    targets = [Targets(truth, torch.zeros(len(truth)).long(), torch.zeros(len(truth), 8, 8).byte())]
    config = CascadeConfig(samples=samples, positive_fraction=0.25, low_quality_matches=low_quality)
    found = sample_rois(RoIs.of([boxes]), targets, stage, config, 1, torch.Generator().manual_seed(0))
    positives = int(found.positive.sum())
    assert len(found.rois) <= samples
    assert positives <= int(samples * 0.25)
    assert found.positive.tolist() == [True] * positives + [False] * (len(found.rois) - positives)
    if not low_quality:
        iou = pairwise_iou(found.rois.boxes[:positives], truth)
        assert (iou[torch.arange(positives), found.truth[:positives]] >= stage.iou).all()


def test_objects_that_share_one_box_each_get_a_sample():
    box = [5.0, 5.0, 25.0, 25.0]
    target = _target([box, box], [0, 2])
    found = sample_rois(
        RoIs.of([torch.tensor([[5.0, 5.0, 25.0, 24.0]])]), [target], PAPER_STAGES[0], CascadeConfig(), 3
    )
    assert found.truth[found.from_truth].tolist() == [0, 1]
    assert found.labels[found.from_truth].tolist() == [0, 2]
