"""All combinations of the toggles run, and off means gone: bitwise the model built without the part."""

import dataclasses
import functools
import itertools

import pytest
import torch

from htc_lab.config import HTC, PLAIN_CASCADE, RUNGS, SWITCHES, Toggles
from htc_lab.errors import InputError
from htc_lab.model import total_loss
from htc_lab.toggles import EVERY_IDEA, parse_toggles
from tests.unit.tiny import assert_same, batch, generator, lively, with_toggles

COMBINATIONS = [
    Toggles(**dict(zip(SWITCHES, on, strict=True)), stages=stages)
    for stages in (3, 2, 1)
    for on in itertools.product((False, True), repeat=len(SWITCHES))
    # How masks are averaged is looked at with all stages, and in the tests of the trace with fewer.
    if stages == 3 or on[SWITCHES.index("average_masks")]
]
# ``average_masks`` has no part in training.
TRAINED = [toggles for toggles in COMBINATIONS if toggles.average_masks]


def _name(toggles):
    on = [name for name in SWITCHES if getattr(toggles, name)]
    return f"{toggles.stages}-" + ("+".join(on) or "none")


@functools.cache
def built_with(toggles):
    """A model that has only the parts ``toggles`` ask for."""
    return lively(with_toggles(toggles))


@pytest.fixture(scope="module")
def full():
    """A model that has every part, and what it encodes and proposes for two pictures."""
    model = lively(with_toggles(EVERY_IDEA))
    images, targets = batch()
    with torch.no_grad():
        features = model.encode(images)
        return model, images, targets, features, model.propose(features)


@pytest.mark.parametrize("toggles", COMBINATIONS, ids=_name)
@torch.no_grad()
def test_forward_and_off_means_gone(full, toggles):
    model, images, _, features, proposals = full
    trace = model.cascade(features, proposals, toggles)
    assert trace.toggles == toggles
    assert len(trace.stages) == toggles.stages
    assert len(trace.detected) > 0
    assert trace.mask_probabilities.isfinite().all()

    # Averaging has no weights, so two combinations share a model.
    bare = built_with(dataclasses.replace(toggles, average_masks=True))
    assert (bare.roi_head.semantic_head is not None) == toggles.semantic
    assert (bare.roi_head.feat_relay_head is not None) == toggles.feature_relay
    assert [head.conv_res is not None for head in bare.roi_head.mask_head] == [
        toggles.mask_flow and t > 0 for t in range(toggles.stages)
    ]
    bare_features = bare.encode(images)
    assert_same(features.levels, bare_features.levels)
    bare_proposals = bare.propose(bare_features)
    assert_same(proposals, bare_proposals)
    assert_same(trace, bare.cascade(bare_features, bare_proposals, toggles))


@pytest.mark.parametrize("toggles", TRAINED, ids=_name)
def test_backward_and_off_means_gone(full, toggles):
    model, images, targets, _, _ = full
    model.zero_grad(set_to_none=True)
    losses = model.losses(images, targets, toggles, generator())
    total_loss(losses).backward()
    assert all(value.isfinite() for value in losses.values())
    assert ("loss_semantic_seg" in losses) == toggles.semantic
    assert {name.split(".")[0] for name in losses if "." in name} == {f"s{t}" for t in range(toggles.stages)}

    bare = built_with(toggles)
    bare.zero_grad(set_to_none=True)
    bare_losses = bare.losses(images, targets, generator=generator())
    assert_same(losses, bare_losses, "losses")
    total_loss(bare_losses).backward()
    whole = dict(model.named_parameters())
    for name, value in bare.named_parameters():
        # Every weight a model has is trained: a part without a gradient would be a part left out.
        assert value.grad is not None, name
        assert whole[name].grad is not None, name
        torch.testing.assert_close(whole[name].grad, value.grad, rtol=1e-5, atol=1e-6)
    for name in whole.keys() - dict(bare.named_parameters()).keys():
        assert whole[name].grad is None, name


@pytest.mark.parametrize("toggles", RUNGS.values(), ids=RUNGS)
def test_predict_runs_on_every_rung(full, toggles):
    model, images, _, _, _ = full
    found = model.predict(images, toggles)
    assert [d.masks.shape[1:] for d in found] == [(64, 64), (64, 64)]
    assert all(len(d) for d in found)


@pytest.mark.parametrize("name", [*SWITCHES, "stages"])
@torch.no_grad()
def test_every_toggle_does_something(full, name):
    """Else "off" would equal "gone" for a switch that is not wired up."""
    model, _, _, features, proposals = full
    on = model.cascade(features, proposals, EVERY_IDEA)
    without = dataclasses.replace(EVERY_IDEA, **{name: 1 if name == "stages" else False})
    off = model.cascade(features, proposals, without)
    changed = {
        "interleaved": lambda t: t.stages[0].mask_boxes,
        "mask_flow": lambda t: t.stages[2].final_mask_logits,
        "semantic_box": lambda t: t.stages[0].class_logits,
        "semantic_mask": lambda t: t.stages[0].final_mask_logits,
        "average_masks": lambda t: t.mask_probabilities,
        "stages": lambda t: t.boxes,
        "feature_relay": lambda t: t.stages[0].final_mask_logits,
    }[name]
    assert not torch.equal(changed(on), changed(off))


@torch.no_grad()
def test_interleaving_leaves_the_result_alone_at_test_time(full):
    model, _, _, features, proposals = full
    on = model.cascade(features, proposals, HTC)
    off = model.cascade(features, proposals, Toggles(interleaved=False))
    assert torch.equal(on.boxes, off.boxes)
    assert torch.equal(on.mask_probabilities, off.mask_probabilities)
    assert not torch.equal(on.stages[1].mask_logits, off.stages[1].mask_logits)


def test_interleaving_changes_the_training(full):
    model, images, targets, _, _ = full
    on = model.losses(images, targets, HTC, generator())
    off = model.losses(images, targets, Toggles(interleaved=False), generator())
    assert on["s0.loss_cls"] == off["s0.loss_cls"]
    assert on["s0.loss_mask"] != off["s0.loss_mask"]


def test_shared_parts_start_equal(full):
    model = full[0]
    bare = lively(with_toggles(PLAIN_CASCADE))
    whole, part = model.state_dict(), bare.state_dict()
    assert part.keys() < whole.keys()
    assert all(torch.equal(part[name], whole[name]) for name in part)
    other = lively(with_toggles(PLAIN_CASCADE), seed=1).state_dict()
    assert not torch.equal(part["backbone.conv1.weight"], other["backbone.conv1.weight"])


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    lively()
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("built", "asked", "named"),
    [
        (PLAIN_CASCADE, Toggles(semantic_box=False, semantic_mask=False), "mask_flow"),
        (PLAIN_CASCADE, Toggles(mask_flow=False), "semantic_box"),
        (PLAIN_CASCADE, Toggles(mask_flow=False, semantic_box=False), "semantic_mask"),
        (Toggles(stages=2), HTC, "stages=3"),
        (Toggles(stages=1), Toggles(stages=2), "stages=2"),
    ],
)
def test_toggles_the_weights_cannot_serve_are_refused(built, asked, named):
    model = lively(with_toggles(built))
    images, targets = batch(1)
    features = model.encode(images)
    message = rf"Toggles\.{named}.*model 'tiny'"
    with pytest.raises(InputError, match=message):
        model.cascade(features, model.propose(features), asked)
    with pytest.raises(InputError, match=message):
        model.predict(images, asked)
    with pytest.raises(InputError, match=message):
        model.losses(images, targets, asked)


def test_words_ask_for_the_relay_and_names_of_rungs_do_not():
    asked = parse_toggles("mask_flow+feature_relay")
    assert asked == dataclasses.replace(PLAIN_CASCADE, mask_flow=True, feature_relay=True)
    assert not any(parse_toggles(name).feature_relay for name in RUNGS)


def test_one_fusion_at_run_time_where_the_other_was_built(full):
    """The branch is one part: weights that have it serve both fusions."""
    model, _, _, features, proposals = full
    other = Toggles(semantic_box=False)
    bare = built_with(Toggles(semantic_mask=False))
    assert_same(model.cascade(features, proposals, other), bare.cascade(features, proposals, other))


def test_the_default_is_what_the_model_was_built_with(full):
    _, images, targets, features, proposals = full
    model = built_with(PLAIN_CASCADE)
    assert_same(
        model.cascade(features, proposals), built_with(HTC).cascade(features, proposals, PLAIN_CASCADE)
    )
    assert "loss_semantic_seg" not in model.losses(images, targets)
