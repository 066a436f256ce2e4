"""Every idea has a whole record, and switched off it is gone. A new one is walked over like the paper's."""

import dataclasses
import functools
import itertools
import subprocess
import sys

import pytest
import torch

from htc_lab.config import HTC, PLAIN_CASCADE, RUNGS, SWITCHES, ModelConfig, Toggles
from htc_lab.config_json import model_config_from_dict, model_config_in_full, to_dict
from htc_lab.errors import InputError
from htc_lab.files import plain, write_json
from htc_lab.ideas import FLOW_CONVOLUTIONS, IDEAS, LADDER, PARTS, SEMANTIC_BRANCH, Idea, in_short
from htc_lab.interop.shapes import config_from_shapes
from htc_lab.model import HybridTaskCascade, build_model
from htc_lab.paper import TITLES
from htc_lab.report.ideas_page import PAGE, as_markdown
from htc_lab.toggles import BESIDE_THE_LADDER, EVERY_IDEA
from htc_lab.train.run_folder import claim
from tests.unit.tiny import TINY, assert_same, batch, generator, lively, with_toggles

each_idea = pytest.mark.parametrize("idea", IDEAS, ids=lambda idea: idea.field)
SETTINGS = [
    Toggles(**dict(zip([idea.field for idea in IDEAS], on, strict=True)))
    for on in itertools.product((True, False), repeat=len(IDEAS))
]


@functools.cache
def built_with(toggles: Toggles) -> HybridTaskCascade:
    return lively(with_toggles(toggles))


def without(idea: Idea, toggles: Toggles = EVERY_IDEA) -> Toggles:
    return dataclasses.replace(toggles, **{idea.field: False})


# ---- the record


def test_switches_and_records_are_the_same_ideas() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(Toggles)}
    assert [*fields][:4] == ["interleaved", "mask_flow", "semantic_box", "semantic_mask"]
    assert set(fields) == {idea.field for idea in IDEAS} | {"average_masks", "stages"}
    assert list(SWITCHES) == [*(idea.field for idea in IDEAS), "average_masks"]
    # Whoever asks for HTC gets the paper's ideas, and no later one.
    assert {idea.field for idea in IDEAS if fields[idea.field]} == {
        idea.field for step in LADDER for idea in step.ideas
    }
    assert HTC == Toggles() == RUNGS["htc"]


@pytest.mark.parametrize("name", ["field", "key", "name", "short", "says"])
def test_ideas_are_told_apart(name: str) -> None:
    values = [getattr(idea, name) for idea in IDEAS]
    assert all(values)
    assert len(set(values)) == len(IDEAS)


@each_idea
def test_an_idea_says_what_it_does(idea: Idea) -> None:
    assert len(idea.key) == 1
    # The other keys of the explorer: rungs, comparison, layers.
    assert idea.key.isupper()
    assert idea.key not in "PHCXTSD"
    # An idea beyond the paper names where it is from.
    in_paper = any(idea in step.ideas for step in LADDER)
    assert idea.equation.startswith(("eq. ", "eqs. ")) == in_paper
    assert idea.equation
    for sentence in (idea.training, idea.test):
        assert sentence.endswith(".")
        assert sentence[0].isupper()
    for words in (idea.name, idea.short, idea.says, idea.cut):
        assert not words.endswith(".")
    assert idea.hint.startswith(f"{idea.says} (")
    assert idea.knob.split()[-1] == idea.field


@each_idea
def test_an_idea_shows_in_the_wiring(idea: Idea) -> None:
    on, off = ([wire for wire in idea.wires if wire.on == state] for state in (True, False))
    assert [dataclasses.replace(wire, on=True) for wire in off] != on
    for wire in idea.wires:
        assert wire.source in ("box", "input", "mask_before", "semantic")
        assert wire.target in ("box", "mask")
        assert wire.first_stage >= (2 if wire.source == "mask_before" else 1)
        assert wire.words
        assert not wire.words.endswith(".")
        assert wire.source != "semantic" or idea.needs == SEMANTIC_BRANCH


def test_names_of_the_reference_are_told_apart() -> None:
    names = [idea.mmdet for idea in IDEAS if idea.mmdet]
    assert len(set(names)) == len(names)
    assert names[:4] == ["interleaved", "mask_info_flow", "bbox", "mask"]


def test_the_record_needs_no_torch() -> None:
    program = "import sys, htc_lab.ideas, htc_lab.toggles; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_page_of_the_ideas_is_written_from_their_records() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == as_markdown(), "run python -m htc_lab.report.ideas_page"
    for idea in IDEAS:
        assert f"| {idea.training} | {idea.test} |" in text


# ---- the ladder


def test_each_rung_adds_a_step() -> None:
    for step, (below, above) in zip(LADDER, itertools.pairwise(RUNGS.values()), strict=True):
        assert above.ideas == (*below.ideas, *step.ideas)
        assert step.is_on(above.ideas)
        assert not step.is_on(below.ideas)
    eight = [*RUNGS.values(), *BESIDE_THE_LADDER.values()]
    assert len({tuple(step.is_on(toggles.ideas) for step in LADDER) for toggles in eight}) == 8
    assert [step.key for step in LADDER] == ["interleaved", "mask_flow", "semantic"]


def test_titles_are_made_of_the_names() -> None:
    assert TITLES == {
        "plain_cascade": "Plain cascade",
        "interleaved": "+ Interleaved",
        "mask_flow": "+ Mask information flow",
        "htc": "+ Semantic branch (HTC)",
        "flow_alone": "Mask information flow alone",
        "semantic_alone": "Semantic branch alone",
        "interleaved_semantic": "Interleaved, semantic branch",
        "flow_semantic": "Mask information flow, semantic branch",
    }


def test_a_step_that_is_on_as_a_whole_has_one_short_name() -> None:
    assert in_short(PLAIN_CASCADE.ideas) == "Plain cascade"
    assert in_short(Toggles(mask_flow=False).ideas) == "Interleaved + Semantic"
    assert in_short(Toggles(semantic_box=False).ideas) == "Interleaved + Mask flow + Semantic → masks"


# ---- off is gone


@each_idea
@torch.no_grad()
def test_off_is_bitwise_a_model_without_the_idea(idea: Idea) -> None:
    model, bare = built_with(EVERY_IDEA), built_with(without(idea))
    images, targets = batch()
    features = model.encode(images)
    proposals = model.propose(features)
    off = model.cascade(features, proposals, without(idea))
    assert_same(off, bare.cascade(bare.encode(images), proposals))
    losses = model.losses(images, targets, without(idea), generator())
    assert_same(losses, bare.losses(images, targets, generator=generator()), "losses")
    # And it is there when it is on: else what is off would be gone for want of a wire.
    on = model.cascade(features, proposals, EVERY_IDEA)
    assert not torch.equal(_seen(on), _seen(off))


def _seen(trace) -> torch.Tensor:
    """Everything a trace says of stages and result, as one row of numbers."""
    rows = [
        value.flatten().float()
        for record in trace.stages
        for value in (record.boxes, record.class_logits, record.mask_logits, record.final_mask_logits)
    ]
    return torch.cat([*rows, trace.boxes.flatten(), trace.mask_probabilities.flatten()])


def test_a_model_without_ideas_lacks_their_parts_and_nothing_else() -> None:
    whole = set(built_with(EVERY_IDEA).state_dict())
    for lacking in itertools.product((True, False), repeat=len(PARTS)):
        absent = [part for part, gone in zip(PARTS, lacking, strict=True) if gone]
        off = {idea.field: False for idea in IDEAS if idea.needs in absent}
        names = set(built_with(dataclasses.replace(EVERY_IDEA, **off)).state_dict())
        assert whole - names == {n for n in whole if any(part.is_in([n]) for part in absent)}
        for part in PARTS:
            assert part.is_in(names) == (part not in absent)


@pytest.mark.parametrize("parts", [*itertools.product((True, False), repeat=len(PARTS))])
def test_a_file_s_weights_show_which_ideas_it_can_have(parts: tuple[bool, ...]) -> None:
    there = [part for part, is_there in zip(PARTS, parts, strict=True) if is_there]
    off = {idea.field: False for idea in IDEAS if idea.needs is not None and idea.needs not in there}
    weights = built_with(dataclasses.replace(EVERY_IDEA, **off)).state_dict()
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    assert set(config_from_shapes(shapes, "m", "m.pth").toggles.parts) == set(there)


def test_a_seed_gives_every_setting_the_weights_of_the_whole() -> None:
    whole = built_with(EVERY_IDEA).state_dict()
    for toggles in SETTINGS:
        for name, value in built_with(toggles).state_dict().items():
            assert torch.equal(value, whole[name]), name


def test_a_model_waits_for_no_part_of_a_later_idea(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Toggles] = []
    real = HybridTaskCascade.__init__

    def counting(model: HybridTaskCascade, config: ModelConfig) -> None:
        built.append(config.toggles)
        real(model, config)

    monkeypatch.setattr(HybridTaskCascade, "__init__", counting)
    for toggles, wanted in ((HTC, [HTC]), (EVERY_IDEA, [EVERY_IDEA]), (PLAIN_CASCADE, [HTC, PLAIN_CASCADE])):
        built.clear()
        build_model(with_toggles(toggles), seed=0)
        assert built == wanted


def test_one_rule_says_what_weights_can_serve() -> None:
    for have, wanted in itertools.product(SETTINGS, SETTINGS):
        lacking = wanted.lacking(have)
        assert set(lacking) == {
            idea
            for idea in wanted.ideas
            if idea.needs and not any(other.needs == idea.needs for other in have.ideas)
        }
        cascade = built_with(have).roi_head
        if lacking:
            first, part = next(iter(lacking.items()))
            with pytest.raises(InputError, match=rf"Toggles\.{first.field}: .* without {part.name}; "):
                cascade.check(wanted)
        else:
            cascade.check(wanted)
    assert set(HTC.lacking(PLAIN_CASCADE).values()) == {FLOW_CONVOLUTIONS, SEMANTIC_BRANCH}


# ---- files that are older than an idea


@each_idea
def test_an_idea_a_config_has_never_heard_of_is_off(idea: Idea) -> None:
    values = plain(to_dict(with_toggles(EVERY_IDEA)))
    del values["toggles"][idea.field]
    assert model_config_from_dict(values).toggles == without(idea)
    assert model_config_in_full(values) == plain(to_dict(with_toggles(without(idea))))
    assert model_config_in_full({"toggles": 3}) == {"toggles": 3}


@each_idea
def test_a_run_from_before_an_idea_goes_on_without_it(idea: Idea, tmp_path) -> None:
    def asked(config: ModelConfig) -> dict:
        others = {"schedule": {}, "seed": 0, "init": None, "images": 3, "class_names": ["a", "b", "c"]}
        return {"model": to_dict(config), **others}

    old = plain(asked(dataclasses.replace(TINY, toggles=without(idea))))
    del old["model"]["toggles"][idea.field]
    write_json(tmp_path / "config.json", old)
    (tmp_path / "checkpoint.safetensors").touch()
    claim(tmp_path, asked(with_toggles(without(idea))))
    with pytest.raises(InputError, match="field 'model' differs"):
        claim(tmp_path, asked(with_toggles(EVERY_IDEA)))
