"""The recorded outputs of the reference, and proof that the comparison can fail."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.oracle.__main__ import main
from tests.oracle.compare import Comparison, compare

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize(
    "name", ["htc_r50", "cascade_mask_rcnn_r50", "htc_x101_64x4d_dcn", "htc_r50_box_fusion_no_flow"]
)
def test_our_outputs_are_those_of_the_reference(name):
    """The ends of the ladder; ``python -m tests.oracle tests/oracle/cases/*.npz`` compares all cases."""
    lines = compare(CASES / f"{name}.npz")
    names = {line.name for line in lines}
    # A comparison that compares little holds easily.
    assert {"fpn0", "rpn_boxes", "stage2_cls", "refined", "det_boxes", "mask_logits", "pasted_mean"} <= names
    assert {"full_boxes", "train.loss_rpn_cls", "train.s0.loss_cls", "train.s2.loss_mask"} <= names
    assert ("train.loss_semantic_seg" in names) == name.startswith("htc")
    failed = [str(line) for line in lines if not line.holds]
    assert not failed, "\n".join(failed)


@torch.no_grad()
def test_a_weight_that_is_off_by_a_little_is_noticed():
    comparison = Comparison(CASES / "cascade_mask_rcnn_r50.npz")
    features = comparison.model.features_of([comparison.image])
    for factor, holds in ((1.0, True), (1.01, False)):
        comparison.model.roi_head.mask_head[1].conv_logits.weight.mul_(factor)
        comparison.lines.clear()
        comparison._masks_at_truth(features)
        verdicts = {line.name: line.holds for line in comparison.lines}
        assert verdicts["mask_logits"] == holds
        # The last head is another.
        assert verdicts["pasted_last"]


def _holding(path: Path, **arrays: np.ndarray) -> Comparison:
    """A comparison of these arrays alone, without a model."""
    np.savez(path, **arrays)
    comparison = Comparison.__new__(Comparison)
    comparison.file, comparison.lines, comparison.compared = np.load(path), [], set()
    return comparison


@pytest.mark.parametrize(("gap", "holds"), [(5e-6, True), (1e-3, False)])
def test_only_a_tie_may_change_places(tmp_path, gap, holds):
    boxes = torch.tensor([[0.0, 0, 9, 9], [20, 20, 40, 40], [5, 5, 8, 8]])
    scores = torch.tensor([0.9, 0.5, 0.5 - gap])
    comparison = _holding(
        tmp_path / "case.npz", rpn_boxes=boxes.numpy(), rpn_scores=scores.numpy().astype(np.float32)
    )
    swapped = [0, 2, 1]
    comparison.ranked("rpn", boxes[swapped], scores)
    assert all(line.holds for line in comparison.lines) == holds
    comparison.lines.clear()
    comparison.ranked("rpn", boxes, scores)
    assert all(line.holds for line in comparison.lines)


def test_what_was_recorded_and_not_compared_is_a_failure(tmp_path):
    comparison = _holding(tmp_path / "case.npz", refined=np.zeros((2, 4)), novelty=np.zeros(3))
    comparison.close("refined", torch.zeros(2, 4), 0.01)
    comparison.left_over()
    assert [(line.name, line.holds) for line in comparison.lines] == [("refined", True), ("novelty", False)]


def test_the_program_says_what_it_cannot_read(capsys):
    assert main(["no_such.npz"]) == 2
    assert "no_such.npz: no such file" in capsys.readouterr().err
