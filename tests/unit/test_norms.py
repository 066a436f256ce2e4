"""Norms in FPN and heads: where they stand, what they compute, and batches without a RoI."""

import copy
import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from htc_lab.config import FPNConfig, NormConfig
from htc_lab.config_json import model_config_from_dict, to_dict
from htc_lab.errors import InputError
from htc_lab.layers.conv import conv, conv_relu
from htc_lab.layers.norm import BatchNorm, norm_layer
from htc_lab.model import build_model, total_loss
from htc_lab.structures import Targets
from tests.unit.tiny import TINY, batch, generator, lively, picture, with_norms

KINDS = ("batch", "sync", "group")


def shuffled(module: nn.Module, seed: int = 0) -> nn.Module:
    """The same module, its norms with weights and statistics of their own."""
    draw = generator(seed)
    for part in module.modules():
        if isinstance(part, BatchNorm | nn.GroupNorm):
            for name, value in (*part.named_parameters(), *part.named_buffers()):
                if value.is_floating_point():
                    low = -0.3 if name in ("bias", "running_mean") else 0.5
                    value.data.copy_(torch.rand(value.shape, generator=draw) + low)
    return module


@pytest.mark.parametrize(("kind", "name"), [("batch", "bn"), ("sync", "bn"), ("group", "gn")])
def test_norms_stand_where_the_reference_has_them(kind, name):
    config = with_norms(kind)
    bare = dataclasses.replace(
        config,
        fpn=TINY.fpn,
        cascade=dataclasses.replace(config.cascade, box_norm=None, mask_norm=None),
        semantic=TINY.semantic,
    )
    plain, made = (set(build_model(each, 0).state_dict()) for each in (bare, config))
    blocks = {entry.removesuffix(".conv.weight") for entry in plain if entry.endswith(".conv.weight")}
    # FPN, box heads, mask heads with G_t, and the semantic branch up to its embedding; the RPN, the
    # deconvolutions, the logits and the linear layers are no such blocks.
    assert {block.split(".")[-2 if block[-1].isdigit() else -1] for block in blocks} == {
        "lateral_convs",
        "fpn_convs",
        "shared_convs",
        "convs",
        "conv_res",
        "conv_embedding",
    }
    entries = ["weight", "bias"]
    if name == "bn":
        entries += ["running_mean", "running_var", "num_batches_tracked"]
    assert made - plain == {f"{block}.{name}.{entry}" for block in blocks for entry in entries}
    assert plain - made == {f"{block}.conv.bias" for block in blocks}


def test_without_norms_nothing_is_added():
    names = build_model(TINY, 0).state_dict()
    assert not any(".bn." in name or ".gn." in name or "shared_convs" in name for name in names)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("kernel", [1, 3])
def test_at_test_time_a_block_is_its_parts_one_by_one(kind, relu, kernel):
    torch.manual_seed(0)
    block = shuffled((conv_relu if relu else conv)(6, 8, kernel, NormConfig(kind, groups=4))).eval()
    x, onto = torch.randn(2, 6, 9, 7), torch.randn(2, 8, 9, 7)
    weight = block.conv.weight
    assert block.conv.bias is None
    if kind == "group":
        norm = block.gn
        wanted = F.group_norm(F.conv2d(x, weight, padding=kernel // 2), 4, norm.weight, norm.bias)
    else:
        norm = block.bn
        wanted = F.batch_norm(
            F.conv2d(x, weight, padding=kernel // 2),
            norm.running_mean,
            norm.running_var,
            norm.weight,
            norm.bias,
        )
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            for added in (None, onto):
                found = block(x, onto=None if added is None else added.clone())
                whole = wanted if added is None else wanted + added
                torch.testing.assert_close(found, F.relu(whole) if relu else whole, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_wide_block_takes_the_short_way_of_the_cpu_and_agrees_with_it():
    torch.manual_seed(0)
    x = torch.randn(1, 192, 60, 60)
    for kind in ("batch", "group"):
        block = shuffled(conv_relu(192, 192, 3, NormConfig(kind))).eval()
        exact = copy.deepcopy(block).double()
        torch.testing.assert_close(block(x).double(), exact(x.double()), rtol=1e-3, atol=1e-3)


def both_norms(channels: int = 5):
    """Ours and torch's, with the same weights."""
    ours, theirs = shuffled(BatchNorm(channels)), nn.BatchNorm2d(channels)
    theirs.load_state_dict(ours.state_dict())
    return ours.train(), theirs.train()


@pytest.mark.parametrize("by_hand", [False, True])
def test_in_training_batch_norm_is_torchs(by_hand):
    ours, theirs = both_norms()
    x = torch.randn(3, 5, 4, 6, generator=generator()) * 3 + 1
    mine, other = (x.clone().requires_grad_() for _ in range(2))
    if by_hand:
        # What several processes do, here with one.
        ours.forward = ours._by_hand
    for _ in range(2):
        a, b = ours(mine), theirs(other)
        torch.testing.assert_close(a, b)
        pull = torch.randn(a.shape, generator=generator(1))
        (a * pull).sum().backward()
        (b * pull).sum().backward()
    torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-5)
    for name in ("weight", "bias"):
        torch.testing.assert_close(getattr(ours, name).grad, getattr(theirs, name).grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_batch_goes_through_and_teaches_nothing(kind, training):
    norm = shuffled(norm_layer(NormConfig(kind, groups=2), 4)).train(training)
    before = {name: value.clone() for name, value in norm.named_buffers() if value.is_floating_point()}
    x = torch.zeros(0, 4, 7, 7, requires_grad=True)
    out = norm(x)
    assert out.shape == x.shape
    out.sum().backward()
    assert x.grad is not None
    for weight in norm.parameters():
        assert torch.equal(weight.grad, torch.zeros(4))
    for name, value in norm.named_buffers():
        if name in before:
            assert torch.equal(value, before[name])


def test_a_single_value_is_its_own_mean():
    norm = shuffled(BatchNorm(4)).train()
    out = norm(torch.full((1, 4, 1, 1), 7.0))
    torch.testing.assert_close(out.flatten(), norm.bias)
    assert bool(torch.isfinite(norm.running_var).all())


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_without_an_object_train_too(kind):
    model = build_model(with_norms(kind), 0).train()
    nothing = Targets(
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.long),
        torch.zeros(0, 64, 64, dtype=torch.uint8),
        torch.zeros(64, 64, dtype=torch.uint8),
    )
    losses = model.losses([picture(0), picture(1)], [nothing, nothing], generator=generator())
    assert float(losses["s2.loss_mask"].detach()) == 0
    total_loss(losses).backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


@pytest.mark.parametrize("kind", KINDS)
def test_norms_learn_and_are_used(kind):
    model = build_model(with_norms(kind), 0).train()
    images, targets = batch()
    total_loss(model.losses(images, targets, generator=generator())).backward()
    norms = {n: m for n, m in model.named_modules() if isinstance(m, BatchNorm | nn.GroupNorm)}
    assert len(norms) == 4 + 4 + 3 * 2 + 3 * 2 + 2 + 4 + 1 + 1
    for name, norm in norms.items():
        assert float(norm.weight.grad.abs().max()) > 0, name
        if kind != "group":
            assert float(norm.running_mean.abs().max()) > 0, name
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.predict([picture(2)])
    # At test time statistics are looked up, not taken.
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_close(kind):
    model = shuffled(lively(with_norms(kind)))
    images = [picture(3)]
    features = model.encode(images)
    proposals = model.propose(features)
    full = model.cascade(features, proposals)
    with model.at_test_time(bf16=True):
        half = model.cascade(model.encode(images), proposals)
    assert half.scores.dtype == torch.float32
    for ours, theirs in zip(full.stages[:1], half.stages[:1], strict=True):
        same = (ours.class_logits - theirs.class_logits).abs().max() / ours.class_logits.abs().max()
        assert 0 < float(same) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_config_with_norms_survives_json(kind):
    config = with_norms(kind)
    assert model_config_from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("part", "name", "norm", "says"),
    [
        (
            "fpn",
            "norm",
            {"kind": "layer"},
            r"fpn\.norm\.kind: 'layer' is not .*batch.*sync.*group.*; correct",
        ),
        ("fpn", "norm", {}, r"fpn\.norm: field 'kind' is missing"),
        (
            "fpn",
            "norm",
            {"kind": "group"},
            r"fpn\.norm\.groups: 32 groups can't share 16 channels.*give a divisor",
        ),
        (
            "cascade",
            "mask_norm",
            {"kind": "group", "groups": 3},
            r"cascade\.mask_norm\.groups: 3 groups can't",
        ),
        (
            "semantic",
            "norm",
            {"kind": "group", "groups": 16},
            r"semantic\.norm\.groups: 16 groups can't share 10 channels",
        ),
        ("fpn", "norm", {"kind": "batch", "groups": 0}, r"fpn\.norm\.groups: is 0; it must be from 1"),
    ],
)
def test_a_norm_that_makes_no_sense_is_refused(part, name, norm, says):
    values = json.loads(json.dumps(to_dict(with_norms("sync"))))
    values[part][name] = norm
    with pytest.raises(InputError, match=says):
        model_config_from_dict(values)


def test_a_box_head_without_convolutions_has_no_place_for_a_norm():
    values = json.loads(json.dumps(to_dict(TINY)))
    values["cascade"]["box_norm"] = {"kind": "sync"}
    with pytest.raises(
        InputError, match=r"cascade\.box_norm: there is no convolution.*set cascade\.box_convs"
    ):
        model_config_from_dict(values)


def test_groups_that_do_not_fit_are_refused_where_the_model_is_built():
    config = dataclasses.replace(TINY, fpn=FPNConfig(channels=16, levels=4, norm=NormConfig("group")))
    with pytest.raises(InputError, match="32 groups can't share 16 channels"):
        build_model(config)


def test_four_convolutions_and_one_linear_layer():
    """The reference's 4conv1fc head, by its weights' names and shapes."""
    cascade = dataclasses.replace(
        TINY.cascade, box_convs=4, box_channels=20, fcs=1, box_norm=NormConfig("sync")
    )
    head = build_model(dataclasses.replace(TINY, cascade=cascade), 0).roi_head.bbox_head[1]
    shapes = {name: tuple(value.shape) for name, value in head.named_parameters() if "bn" not in name}
    assert shapes == {
        "shared_convs.0.conv.weight": (20, 16, 3, 3),
        "shared_convs.1.conv.weight": (20, 20, 3, 3),
        "shared_convs.2.conv.weight": (20, 20, 3, 3),
        "shared_convs.3.conv.weight": (20, 20, 3, 3),
        "shared_fcs.0.weight": (24, 20 * 7 * 7),
        "shared_fcs.0.bias": (24,),
        "fc_cls.weight": (4, 24),
        "fc_cls.bias": (4,),
        "fc_reg.weight": (4, 24),
        "fc_reg.bias": (4,),
    }
