"""The recorded outputs of the reference, and proof that the comparison can fail."""

from pathlib import Path

import pytest
import torch

from tests.oracle.__main__ import main
from tests.oracle.compare import Comparison, compare

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("name", ["htc_r50", "cascade_mask_rcnn_r50"])
def test_our_outputs_are_those_of_the_reference(name):
    """The two ends of the ladder; ``python -m tests.oracle tests/oracle/cases/*.npz`` compares all cases."""
    lines = compare(CASES / f"{name}.npz")
    names = {line.name for line in lines}
    # A comparison that compares little holds easily.
    assert {"fpn0", "rpn_boxes", "stage2_cls", "refined", "det_boxes", "mask_logits", "pasted_mean"} <= names
    assert {"full_boxes", "train.loss_rpn_cls", "train.s0.loss_cls", "train.s2.loss_mask"} <= names
    failed = [str(line) for line in lines if not line.holds]
    assert not failed, "\n".join(failed)


@torch.no_grad()
def test_a_weight_that_is_off_by_a_little_is_noticed():
    comparison = Comparison(CASES / "cascade_mask_rcnn_r50.npz")
    features = comparison.model.encode([comparison.image])
    for factor, holds in ((1.0, True), (1.01, False)):
        comparison.model.roi_head.mask_head[1].conv_logits.weight.mul_(factor)
        comparison.lines.clear()
        comparison._masks_at_truth(features)
        verdicts = {line.name: line.holds for line in comparison.lines}
        assert verdicts["mask_logits"] == holds
        # The last head is another.
        assert verdicts["pasted_last"]


def test_the_program_says_what_it_cannot_read(capsys):
    assert main(["no_such.npz"]) == 2
    assert "no_such.npz: no such file" in capsys.readouterr().err
