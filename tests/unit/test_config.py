"""Configs: what is refused, what survives the way to JSON and back, what the presets promise."""

import dataclasses
import itertools
import json
import runpy

import pytest

from htc_lab import toggles as toggles_module
from htc_lab.config import HTC, RUNGS, SWITCHES, Toggles
from htc_lab.config_json import model_config_from_dict, schedule_from_dict, to_dict
from htc_lab.errors import InputError
from htc_lab.presets import PRESETS, preset, schedule_of

# The type checks of the test run would refuse these before the module's own words come: so, without them.
PlainToggles = runpy.run_path(toggles_module.__file__)["Toggles"]


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", [1, 0, "on", None])
def test_a_switch_is_true_or_false(name, value):
    with pytest.raises(InputError, match=rf"Toggles\.{name} is .*True or False"):
        PlainToggles(**{name: value})


@pytest.mark.parametrize("value", [0, 4, -1, True, "3", None, 2.5, 2.0])
def test_stages_are_one_to_three(value):
    with pytest.raises(InputError, match=r"Toggles\.stages is .*give 1, 2 or 3"):
        PlainToggles(stages=value)


def test_replace_checks_too():
    with pytest.raises(InputError, match=r"Toggles\.stages"):
        dataclasses.replace(HTC, stages=7)


def test_each_rung_adds_one_idea():
    rungs = list(RUNGS.values())
    added = [
        {name for name in SWITCHES if getattr(above, name) and not getattr(below, name)}
        for below, above in itertools.pairwise(rungs)
    ]
    assert added == [{"interleaved"}, {"mask_flow"}, {"semantic_box", "semantic_mask"}]
    assert rungs[-1] == HTC == Toggles()


def test_an_unknown_preset_is_named_and_the_known_ones_are_listed():
    with pytest.raises(InputError, match=r"htc_r5o_1x: no such preset.*htc_r50_1x"):
        preset("htc_r5o_1x")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name):
    config = preset(name)
    assert config.name == name
    assert model_config_from_dict(json.loads(json.dumps(to_dict(config)))) == config
    schedule = schedule_of(name)
    assert schedule_from_dict(json.loads(json.dumps(to_dict(schedule)))) == schedule


def test_a_changed_number_survives_json():
    config = dataclasses.replace(
        PRESETS["classroom"], cascade=dataclasses.replace(PRESETS["classroom"].cascade, nms_iou=0.4375)
    )
    again = model_config_from_dict(json.loads(json.dumps(to_dict(config))))
    assert again.cascade.nms_iou == 0.4375
    assert again != PRESETS["classroom"]


def _broken(path, value):
    values = json.loads(json.dumps(to_dict(PRESETS["classroom"])))
    *way, last = path
    place = values
    for step in way:
        place = place[step]
    place[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["colour"], 1, r"run\.json\.colour: no such field"),
        (["rpn", "anchors"], 1, r"run\.json\.rpn\.anchors: no such field; fields are anchor_scale"),
        (["cascade", "stages", 1, "alpha"], 1, r"run\.json\.cascade\.stages\[1\]\.alpha: no such field"),
        (["backbone"], 50, r"run\.json\.backbone: expected an object, found int"),
        (["cascade", "stages"], 3, r"run\.json\.cascade\.stages: expected a list, found int"),
        (["toggles", "stages"], 9, r"Toggles\.stages is 9"),
    ],
)
def test_a_broken_config_names_the_field(path, value, message):
    with pytest.raises(InputError, match=message):
        model_config_from_dict(_broken(path, value), "run.json")


def test_a_missing_field_is_named():
    values = to_dict(PRESETS["classroom"])
    del values["name"]
    with pytest.raises(InputError, match=r"run\.json: .*'name'"):
        model_config_from_dict(values, "run.json")


def test_the_presets_are_those_of_the_reference():
    for name, config in PRESETS.items():
        if name == "classroom":
            continue
        assert config.classes == 80
        assert config.toggles.semantic == (name.startswith("htc") and "without_semantic" not in name)
        assert config.toggles.mask_flow == name.startswith("htc")
        # Cascade Mask R-CNN's recipe differs from HTC's in these two.
        assert config.cascade.low_quality_matches == name.startswith("htc")
        assert config.cascade.score_threshold == (0.001 if name.startswith("htc") else 0.05)
        assert [stage.iou for stage in config.cascade.stages] == [0.5, 0.6, 0.7]
        assert [stage.loss_weight for stage in config.cascade.stages] == [1, 0.5, 0.25]
        assert schedule_of(name).epochs == (12 if name.endswith("1x") else 20)
