"""What a training starts from."""

import dataclasses

import pytest
import torch

from htc_lab.checkpoint.pretrained import CLASSROOM_BASE, pretrained_weights
from htc_lab.config import RUNGS
from htc_lab.errors import InputError
from htc_lab.model import build_model
from htc_lab.presets import CLASSROOM, PRESETS


@pytest.mark.parametrize("rung", RUNGS)
def test_the_classroom_base_fills_all_that_the_rungs_share(rung):
    weights = pretrained_weights(CLASSROOM)
    model = build_model(dataclasses.replace(CLASSROOM, toggles=RUNGS[rung]), seed=0)
    wanted = {name: value for name, value in model.state_dict().items() if not name.startswith("roi_head.")}
    assert weights.keys() == wanted.keys()
    for name, value in weights.items():
        assert value.shape == wanted[name].shape, name
        assert value.dtype == wanted[name].dtype, name
    assert CLASSROOM_BASE.stat().st_size < 8 * 2**20


def test_the_base_is_trained():
    fresh = build_model(CLASSROOM, seed=0).state_dict()
    weights = pretrained_weights(CLASSROOM)
    assert weights["backbone.bn1.running_mean"].abs().max() > 0
    assert not torch.equal(weights["rpn_head.rpn_cls.weight"], fresh["rpn_head.rpn_cls.weight"])


def test_a_shape_without_weights_is_named():
    config = PRESETS["htc_x101_32x4d_20e"]
    with pytest.raises(InputError, match=r"backbone of depth 101, width 64, groups 32: no .*--init"):
        pretrained_weights(config)


def test_a_backbone_frozen_otherwise_is_the_same_one():
    backbone = dataclasses.replace(CLASSROOM.backbone, frozen_stages=4, frozen_norm=False)
    assert (
        pretrained_weights(dataclasses.replace(CLASSROOM, backbone=backbone)).keys()
        == pretrained_weights(CLASSROOM).keys()
    )
