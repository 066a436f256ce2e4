"""Every idea is in the explorer and in StageView: its bit, its knob, its switch, its words and wires."""

import dataclasses
from itertools import product

import pytest

import htc_lab
from htc_lab.config import HTC, PLAIN_CASCADE, RUNGS, Toggles
from htc_lab.errors import InputError
from htc_lab.explorer import bits as bits_module
from htc_lab.explorer.bits import (
    ALL_BITS,
    LADDER_RUNGS,
    bits_of,
    can_serve,
    title_of,
    toggles_of_bits,
    whole_bits,
)
from htc_lab.explorer.explore import _not_hidden
from htc_lab.explorer.pack import make_pack
from htc_lab.explorer.pack_format import read_pack
from htc_lab.explorer.stage_session import StageSession
from htc_lab.explorer.stage_view import StageView
from htc_lab.explorer.state import KNOBS, ExplorerState
from htc_lab.explorer.words import remark
from htc_lab.ideas import IDEAS, Idea
from htc_lab.toggles import EVERY_IDEA
from tests.explorer.made_pack import made_runs, tiny_models, tiny_sample
from tests.unit.tiny import lively, with_toggles

each_idea = pytest.mark.parametrize("idea", IDEAS, ids=lambda idea: idea.field)


def without(idea: Idea, toggles: Toggles = EVERY_IDEA) -> Toggles:
    return dataclasses.replace(toggles, **{idea.field: False})


# ---- bits and state strings


@each_idea
def test_an_idea_is_one_bit(idea: Idea) -> None:
    place = IDEAS.index(idea)
    bits = bits_of(without(idea))
    assert [i for i, (a, b) in enumerate(zip(bits, bits_of(EVERY_IDEA), strict=True)) if a != b] == [place]
    assert toggles_of_bits(bits, EVERY_IDEA) == without(idea)
    assert len(ALL_BITS) == len(set(ALL_BITS)) == 2 ** len(IDEAS)


@pytest.mark.parametrize("length", range(1, len(IDEAS) + 1))
def test_a_string_from_before_an_idea_has_it_off(length: int) -> None:
    state = ExplorerState.parse(f"B={'1' * length}&A={'1' * length}")
    on = "1" * length + "0" * (len(IDEAS) - length)
    assert (state.bits, state.compare) == (on, on)
    assert str(state).startswith(f"B={on}&A={on}&")
    assert toggles_of_bits("1" * length).ideas == IDEAS[:length]


def test_a_string_of_today_stays_readable_when_an_idea_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    fifth = dataclasses.replace(IDEAS[0], field="fifth")
    monkeypatch.setattr(bits_module, "IDEAS", (*IDEAS, fifth))
    assert whole_bits("1" * len(IDEAS)) == "1" * len(IDEAS) + "0"
    assert whole_bits("1" * len(IDEAS) + "1") == "1" * len(IDEAS) + "1"


@pytest.mark.parametrize("name", ["B", "A"])
def test_a_string_of_more_ideas_than_this_lab_has_names_the_fix(name: str) -> None:
    said = {"B": "bits", "A": "compare"}[name]
    count = len(IDEAS)
    message = rf"state: {said} is .* of {count + 1} ideas .* update the lab, or keep the first {count}"
    with pytest.raises(InputError, match=message) as error:
        ExplorerState.parse(f"{name}=1111" + "0" * (count - 3))
    assert "\n" not in str(error.value)


def test_titles_of_settings() -> None:
    shorts = [idea.short for idea in IDEAS[:4]]
    for on in product("01", repeat=4):
        bits = "".join(on) + "0" * (len(IDEAS) - 4)
        words = " + ".join(word for word, bit in zip(shorts, on, strict=True) if bit == "1")
        plain = words.replace("Semantic → boxes + Semantic → masks", "Semantic")
        rungs = {"0000": "Plain cascade", "1000": "+ Interleaved", "1100": "+ Mask flow", "1111": "HTC"}
        assert title_of(bits) == rungs.get("".join(on), plain)


def test_rungs_are_named_as_python_names_them() -> None:
    assert [getattr(htc_lab, rung.constant) for rung in LADDER_RUNGS] == [*RUNGS.values()]
    assert [toggles_of_bits(rung.bits) for rung in LADDER_RUNGS] == [*RUNGS.values()]


# ---- knobs


@each_idea
def test_a_hidden_idea_is_not_on(idea: Idea) -> None:
    for knob in idea.knob.split():
        assert knob in KNOBS
        assert idea not in _not_hidden([knob]).ideas
    assert _not_hidden([]) == HTC
    assert len(KNOBS) == len(set(KNOBS))


# ---- what the browser is told


def test_a_pack_names_every_idea_and_rung() -> None:
    index = read_pack(make_pack(made_runs())).index
    assert [entry["field"] for entry in index["ideas"]] == [idea.field for idea in IDEAS]
    for entry, idea in zip(index["ideas"], IDEAS, strict=True):
        assert list(entry) == ["field", "key", "knob", "short", "name", "equation", "says", "cut", "wires"]
        assert all(entry[name] == getattr(idea, name) for name in entry if name != "wires")
        assert entry["wires"] == [dataclasses.asdict(wire) for wire in idea.wires]
        assert list(entry["wires"][0]) == ["source", "target", "on", "first_stage", "words"]
    assert index["rungs"] == [dataclasses.asdict(rung) for rung in LADDER_RUNGS]
    assert list(index["rungs"][0]) == ["bits", "title", "constant"]
    for model in index["models"]:
        assert len(model["bits"]) == len(index["ideas"])


# ---- StageView


@each_idea
def test_stage_view_has_a_switch_for_every_idea(idea: Idea) -> None:
    models = {"all": lively(with_toggles(EVERY_IDEA)), "without": lively(with_toggles(PLAIN_CASCADE))}
    view = StageView(models, [tiny_sample()], threshold=0.05)
    assert view.switches[idea.field].description == idea.name
    assert view.switches[idea.field].value
    assert idea.says in view._hints[idea.field].value
    assert idea.training in view.switches[idea.field].tooltip
    assert idea.test in view.switches[idea.field].tooltip
    view.switches[idea.field].value = False
    assert view.state.toggles == without(idea)
    view.set(model="without")
    assert view.switches[idea.field].disabled == (idea.needs is not None)
    assert ("has no weights for it" in view._hints[idea.field].value) == (idea.needs is not None)


@each_idea
def test_an_idea_that_is_cut_out_is_remarked(idea: Idea) -> None:
    said = remark(4, 4, without(idea), EVERY_IDEA)
    assert (f"{idea.name}: switched off in a model trained with it" in said) == (not idea.cut)
    assert said


def test_views_and_explorer_refuse_the_same() -> None:
    for name, model in tiny_models().items():
        have = model.config.toggles
        refused = StageSession({name: model}, [tiny_sample()]).refusals(name)
        for bits in ALL_BITS:
            on = {idea.field for idea in toggles_of_bits(bits).ideas}
            assert can_serve(have, bits) == (not on & refused.keys())
