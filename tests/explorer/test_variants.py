"""The explorer of a model with everything that models beside the presets may have."""

import dataclasses

import pytest
import torch

from htc_lab.config import GUIDED_RPN, GuidedConfig
from htc_lab.explorer.pack import kept, make_pack
from htc_lab.explorer.pack_format import read_pack
from htc_lab.explorer.runs import run_models
from tests.explorer.made_pack import tiny_sample
from tests.unit.tiny import lively, with_norms


@pytest.mark.parametrize("kind", ["sync", "group"])
def test_a_detection_ends_in_the_box_of_its_own_class(kind):
    config = with_norms(kind)
    model = lively(
        dataclasses.replace(
            config,
            rpn=dataclasses.replace(
                GUIDED_RPN, anchor_scale=4.0, test_after_nms=12, guided=GuidedConfig(deform_groups=2)
            ),
            cascade=dataclasses.replace(config.cascade, class_agnostic=False, score_threshold=0.0),
            backbone=dataclasses.replace(config.backbone, style="caffe"),
            image=dataclasses.replace(config.image, bgr=True),
        )
    )
    with torch.no_grad():
        model.rpn_head.conv_loc.bias.fill_(1.0)
    runs = run_models({"mine": model}, tiny_sample(), ("a", "b", "c", "sky", "sea"))
    opened = read_pack(make_pack(runs, "mine"))
    assert len(opened.index["runs"]) == len(runs.runs[0].traces) == 16
    for entry in opened.index["runs"]:
        trace = runs.runs[0].traces[entry["bits"]]
        keep = kept(trace)
        assert entry["count"] == len(keep) > 0
        shown = torch.from_numpy(opened.blocks[entry["boxes"][-1]].copy())
        assert torch.equal(shown, trace.boxes[keep])
