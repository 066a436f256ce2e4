"""Why a true object was not found: each reason, on traces made so."""

import dataclasses

import pytest
import torch
from torch import Tensor

from htc_lab.config import PLAIN_CASCADE, CascadeConfig
from htc_lab.explorer.bits import bits_of
from htc_lab.explorer.lost import (
    CROWDED_OUT,
    LOW_SCORE,
    MOVED_AWAY,
    NO_PROPOSAL,
    SUPPRESSED,
    TAKEN,
    Lost,
    find_lost,
)
from htc_lab.explorer.pack import make_pack
from htc_lab.explorer.pack_format import read_pack
from htc_lab.explorer.runs import PictureRuns
from htc_lab.trace import StageTrace
from tests.explorer.made_pack import made_runs
from tests.plots.made_trace import made_sample, made_trace

CONFIG = CascadeConfig()
OBJECT = 1


def without(trace: StageTrace, detection: int) -> StageTrace:
    """The trace with one detection taken out of its result."""
    keep = torch.arange(len(trace.detected)) != detection
    stages = tuple(
        dataclasses.replace(
            record,
            mask_boxes=record.mask_boxes[keep],
            mask_logits=record.mask_logits[keep],
            final_mask_logits=record.final_mask_logits[keep],
        )
        for record in trace.stages
    )
    return dataclasses.replace(
        trace,
        stages=stages,
        detected=trace.detected[keep],
        labels=trace.labels[keep],
        scores=trace.scores[keep],
        boxes=trace.boxes[keep],
        mask_probabilities=trace.mask_probabilities[keep],
    )


def changed(trace: StageTrace, *, boxes: Tensor | None = None, logits: float | None = None) -> StageTrace:
    """The trace with another final box, or other scores as its class, of the RoI on the object."""
    label = made_sample().targets.labels[OBJECT]
    stages = []
    for t, record in enumerate(trace.stages):
        moved, said = record.boxes.clone(), record.class_logits.clone()
        if boxes is not None and t == len(trace.stages) - 1:
            moved[OBJECT] = boxes
        if logits is not None:
            said[OBJECT, label] = logits
        stages.append(dataclasses.replace(record, boxes=moved, class_logits=said))
    return dataclasses.replace(trace, stages=tuple(stages))


def lost_of(trace: StageTrace) -> Lost:
    return find_lost(trace, made_sample().targets, [OBJECT], CONFIG)


@pytest.fixture
def trace() -> StageTrace:
    return without(made_trace(made_sample(), extra=0), OBJECT)


def test_a_low_score_is_named_with_what_it_was_taken_for(trace: StageTrace) -> None:
    found = lost_of(changed(trace, logits=-6.0))
    assert found.why.tolist() == [LOW_SCORE]
    assert found.box_iou.shape == (4, 1)
    assert found.box_iou[-1, 0] > 0.8
    assert (found.scores < 0.05).all()
    assert found.called.tolist() != [int(made_sample().targets.labels[OBJECT])]


def test_no_proposal_and_a_box_that_was_moved_away_differ(trace: StageTrace) -> None:
    corner = torch.tensor([0.0, 0.0, 3.0, 3.0])
    moved = lost_of(changed(trace, boxes=corner))
    assert moved.why.tolist() == [MOVED_AWAY]
    assert moved.nearest[0] >= 0.5
    rois = trace.proposals.rois
    boxes = rois.boxes.clone()
    boxes[OBJECT] = corner
    none = dataclasses.replace(
        trace, proposals=dataclasses.replace(trace.proposals, rois=dataclasses.replace(rois, boxes=boxes))
    )
    found = lost_of(changed(none, boxes=corner))
    assert found.why.tolist() == [NO_PROPOSAL]
    assert found.nearest[0] < 0.5


def test_what_suppressed_it_is_named(trace: StageTrace) -> None:
    label = int(made_sample().targets.labels[OBJECT])
    assert lost_of(trace).why.tolist() == [CROWDED_OUT]
    labels, scores, boxes = trace.labels.clone(), trace.scores.clone(), trace.boxes.clone()
    labels[0], scores[0], boxes[0] = label, 0.999, trace.stages[-1].boxes[OBJECT]
    found = lost_of(dataclasses.replace(trace, labels=labels, scores=scores, boxes=boxes))
    assert (found.why.tolist(), found.by.tolist()) == ([SUPPRESSED], [0])


def test_a_detection_that_stands_for_another_object_is_said_to(trace: StageTrace) -> None:
    assert lost_of(made_trace(made_sample(), extra=0)).why.tolist() == [TAKEN]


def test_a_pack_tells_of_every_true_object_that_no_detection_stands_for(trace: StageTrace) -> None:
    runs = made_runs()
    run = dataclasses.replace(
        runs.runs[0],
        traces={bits_of(PLAIN_CASCADE): without(runs.runs[0].traces[bits_of(PLAIN_CASCADE)], OBJECT)},
    )
    opened = read_pack(
        make_pack(PictureRuns(runs.image, runs.targets, (run, *runs.runs[1:]), runs.class_names, ()))
    )
    for entry in opened.index["runs"]:
        lost, things = entry["lost"], set(opened.blocks[entry["things"]].tolist())
        missing = set(range(opened.index["things"]["true"])) - things
        assert set(opened.blocks[lost["things"]].tolist()) == missing
        assert opened.blocks[lost["boxes"][3]].shape == (len(missing), 4)
    first = opened.index["runs"][0]["lost"]
    assert opened.blocks[first["things"]].tolist() == [OBJECT]
    without_truth = read_pack(make_pack(dataclasses.replace(runs, targets=None)))
    assert all(entry["lost"] is None for entry in without_truth.index["runs"])
