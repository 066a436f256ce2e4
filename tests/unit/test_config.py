"""Configs: what is refused, what survives the way to JSON and back, what the presets promise."""

import dataclasses
import itertools
import json
import math
import runpy
import types
import typing

import pytest
from annotated_types import Interval
from typing_extensions import Doc

from htc_lab import toggles as toggles_module
from htc_lab.config import (
    GUIDED_RPN,
    HTC,
    RUNGS,
    SWITCHES,
    ModelConfig,
    NormConfig,
    SENetConfig,
    SoftNMSConfig,
    Toggles,
)
from htc_lab.config_json import model_config_from_dict, schedule_from_dict, to_dict
from htc_lab.data.image_config import ColourConfig
from htc_lab.errors import InputError
from htc_lab.presets import PRESETS, preset, schedule_of
from htc_lab.schedule import PartRates, Schedule

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


def test_a_backbone_is_told_by_its_fields():
    config = dataclasses.replace(PRESETS["htc_r50_1x"], backbone=SENetConfig(deformable=(4,)))
    values = json.loads(json.dumps(to_dict(config)))
    assert model_config_from_dict(values) == config
    values["backbone"]["reduction"] = 0
    with pytest.raises(InputError, match=r"run\.json\.backbone\.reduction: is 0; it must be from 1"):
        model_config_from_dict(values, "run.json")
    values["backbone"] |= {"reduction": 16, "depth": 50}
    with pytest.raises(
        InputError, match=r"run\.json\.backbone\.depth: no such field; fields are blocks, width"
    ):
        model_config_from_dict(values, "run.json")


@pytest.mark.parametrize("soft", [SoftNMSConfig(), SoftNMSConfig("gaussian", sigma=0.25, min_score=0.01)])
def test_soft_nms_survives_json_and_is_off_where_a_file_does_not_know_it(soft):
    cascade = dataclasses.replace(PRESETS["classroom"].cascade, soft_nms=soft)
    config = dataclasses.replace(PRESETS["classroom"], cascade=cascade)
    values = json.loads(json.dumps(to_dict(config)))
    assert model_config_from_dict(values) == config
    del values["cascade"]["soft_nms"]
    assert model_config_from_dict(values) == PRESETS["classroom"]


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
    with pytest.raises(InputError, match=r"run\.json: .*'name'.*add it"):
        model_config_from_dict(values, "run.json")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["classes"], True, r"run\.json\.classes: True is not a whole number; correct it \(K, thing classes"),
        (["classes"], "80", r"run\.json\.classes: '80' is not a whole number; correct it"),
        (["classes"], 1.5, r"run\.json\.classes: 1\.5 is not a whole number; correct it"),
        (["classes"], None, r"run\.json\.classes: None is not a whole number; correct it"),
        (["classes"], [80], r"run\.json\.classes: \[80\] is not a whole number; correct it"),
        (["classes"], 10**400, r"run\.json\.classes: is 10{59}; it must be from 1 to 100000"),
        (["name"], 3, r"run\.json\.name: 3 is not text; correct it"),
        (["name"], "\ud800", r"run\.json: is not JSON as others read it \(.*\); write the"),
        (["image", "flip"], True, r"run\.json\.image\.flip: True is not a number; correct it"),
        (["image", "flip"], math.nan, r"run\.json\.image\.flip: is nan; it must be from 0 to 1"),
        (["rpn", "min_size"], math.inf, r"run\.json\.rpn\.min_size: is inf; it must be from 0 to 1e\+06"),
        (["rpn", "min_size"], 10**400, r"run\.json\.rpn\.min_size: is .*; it must be from 0 to 1e\+06"),
        (["rpn", "nms_iou"], 2, r"run\.json\.rpn\.nms_iou: is 2; it must be from 0 to 1 \(of two proposals"),
        (["rpn", "low_quality_matches"], 1, r"low_quality_matches: 1 is not true or false; correct it"),
        (["rpn", "anchor_ratios"], [], r"run\.json\.rpn\.anchor_ratios: is empty; give at least one number"),
        (["image", "train_short"], [], r"run\.json\.image\.train_short: is empty; give at least one number"),
        (["rpn", "anchor_ratios"], [1, -1], r"run\.json\.rpn\.anchor_ratios\[1\]: is -1; it must be from"),
        (["rpn", "stds"], [1, 1, 1], r"rpn\.stds: \[1, 1, 1\] is not a list of 4 numbers; correct it"),
        (["rpn", "stds"], [1] * 5, r"rpn\.stds: \[1, 1, 1, 1, 1\] is not a list of 4 numbers; correct it"),
        (["rpn", "stds", 2], "1", r"run\.json\.rpn\.stds\[2\]: '1' is not a number; correct it"),
        (
            ["backbone", "deformable"],
            [1],
            r"run\.json\.backbone\.deformable\[0\]: is 1; it must be from 2",
        ),
        (["cascade", "stages", 0, "iou"], 1.5, r"run\.json\.cascade\.stages\[0\]\.iou: is 1\.5; it must be"),
        (["cascade", "stages", 1], 3, r"run\.json\.cascade\.stages\[1\]: expected an object, found int"),
        (["cascade", "stages"], [], r"run\.json\.cascade\.stages: has 0 entries; give 3 to 3, or lower"),
        (["cascade", "mask_size"], 15, r"run\.json\.cascade: cascade\.mask_size 15 is not a multiple of"),
        (["cascade", "pooled_levels"], 5, r"run\.json\.cascade\.pooled_levels: is 5; it must be at most 4"),
        (
            ["semantic", "level"],
            4,
            r"run\.json\.semantic\.level: is 4; it must be at most 3, fpn\.levels is",
        ),
        (["rpn", "negative_iou"], 0.9, r"run\.json\.rpn\.negative_iou: is above rpn\.positive_iou; it must"),
        (["cascade", "soft_nms"], "linear", r"run\.json\.cascade\.soft_nms: expected an object, found str"),
        (
            ["cascade", "soft_nms"],
            {"decay": "cubic"},
            r"run\.json\.cascade\.soft_nms\.decay: 'cubic' is not 'linear' or 'gaussian'; correct it",
        ),
        (
            ["cascade", "soft_nms"],
            {"iou_threshold": 0.3},
            r"run\.json\.cascade\.soft_nms\.iou_threshold: no such field; fields are decay, iou, sigma, min_",
        ),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(path, value, message):
    with pytest.raises(InputError, match=message) as error:
        model_config_from_dict(_broken(path, value), "run.json")
    assert len(str(error.value).splitlines()) == 1


def test_more_stages_than_the_toggles_know_are_refused():
    stages = to_dict(PRESETS["classroom"])["cascade"]["stages"]
    with pytest.raises(InputError, match=r"run\.json\.cascade\.stages: has 4 entries; give 3 to 3"):
        model_config_from_dict(_broken(["cascade", "stages"], [*stages, stages[0]]), "run.json")


@pytest.mark.parametrize("values", [None, 3, "config", [], [1]])
def test_what_is_no_object_is_refused(values):
    with pytest.raises(InputError, match=r"run\.json: expected an object, found"):
        model_config_from_dict(values, "run.json")


def test_whole_numbers_may_stand_for_floats_and_become_floats():
    config = model_config_from_dict(_broken(["rpn", "stds"], [1, 2, 3, 4]))
    assert [type(number) for number in config.rpn.stds] == [float] * 4
    schedule = schedule_from_dict({"lr": 1, "steps": None})
    assert (schedule.lr, type(schedule.lr), schedule.steps) == (1.0, float, None)


def _numbers(kind, path=()):
    """Each field of a config down to single numbers: (path, type, what its annotation says)."""
    if typing.get_origin(kind) is typing.Annotated:
        inner, *said = typing.get_args(kind)
        for at, found, more in _numbers(inner, path):
            own = all(isinstance(step, int) for step in at[len(path) :])
            yield at, found, [*said, *more] if own else more
    elif typing.get_origin(kind) in (typing.Union, types.UnionType):
        yield from _numbers(typing.get_args(kind)[0], path)
    elif typing.get_origin(kind) is tuple:
        yield from _numbers(typing.get_args(kind)[0], (*path, 0))
    elif dataclasses.is_dataclass(kind):
        for name, annotation in typing.get_type_hints(kind, include_extras=True).items():
            yield from _numbers(annotation, (*path, name))
    else:
        yield path, kind, []


FIELDS = [
    *((ModelConfig, *field) for field in _numbers(ModelConfig) if field[0][0] != "toggles"),
    *((Schedule, *field) for field in _numbers(Schedule)),
]


def _named(field):
    kind, path, *_ = field
    return ".".join(map(str, (kind.__name__, *path)))


_SCHEDULE = dataclasses.replace(schedule_of("classroom"), parts=(PartRates("backbone"),))


def _full():
    """A config in which no list is empty and nothing is None."""
    sound = PRESETS["htc_x101_64x4d_dcn_ms_20e"]
    image = dataclasses.replace(
        sound.image, train_longs=(900,), train_pairs=((800, 900),), colour=ColourConfig()
    )
    norm = NormConfig("group")
    return dataclasses.replace(
        sound,
        image=image,
        fpn=dataclasses.replace(sound.fpn, norm=norm),
        rpn=GUIDED_RPN,
        cascade=dataclasses.replace(
            sound.cascade, soft_nms=SoftNMSConfig(), box_convs=4, box_norm=norm, mask_norm=norm
        ),
        semantic=dataclasses.replace(sound.semantic, norm=norm),
    )


@pytest.mark.parametrize("field", FIELDS, ids=_named)
def test_every_field_has_its_words_and_every_number_its_range(field):
    kind, path, found, said = field
    assert [note for note in said if isinstance(note, Doc)], "says nothing"
    ranges = [note for note in said if isinstance(note, Interval)]
    assert len(ranges) == (found in (int, float))
    if not ranges:
        return
    read, sound = (
        (model_config_from_dict, _full()) if kind is ModelConfig else (schedule_from_dict, _SCHEDULE)
    )
    low, high = ranges[0].ge, ranges[0].le
    for value in (low - 1, high + 1):
        values = json.loads(json.dumps(to_dict(sound)))
        place = values
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        with pytest.raises(InputError) as error:
            read(values, "run.json")
        named = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
        assert str(error.value).startswith(f"run.json{named}: is ")
        assert f"; it must be from {low:g} to {high:g} (" in str(error.value)


def test_the_presets_are_those_of_the_reference():
    for name, config in PRESETS.items():
        if name in ("classroom", "photos"):
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
