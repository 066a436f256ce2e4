"""Configs: the lab's own as JSON, mmdet's as Python text, toggles in words."""

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from htc_lab.checkpoint.filling import empty_model
from htc_lab.config_json import model_config_from_dict, schedule_from_dict, to_dict
from htc_lab.files import read_json
from htc_lab.interop.mmdet_config import config_from_mmdet
from htc_lab.interop.python_config import evaluate_text, read_python_config
from htc_lab.presets import PRESETS
from htc_lab.schedule import Schedule
from htc_lab.toggles import RUNGS, SWITCHES, parse_toggles
from tests.fuzz.mutate import ODD, broken_bytes, broken_tree, places
from tests.fuzz.outcome import examples, fresh, outcome, times
from tests.interop.configs import first, second, tree

_CLASSROOM = json.loads(json.dumps(to_dict(PRESETS["classroom"])))


@pytest.mark.parametrize("part", range(2))
def test_broken_model_configs(part: int) -> None:
    for seed in range(times(200)):
        values = broken_tree(_CLASSROOM, random.Random(f"{part} {seed}"))
        config = outcome(lambda values=values: model_config_from_dict(values, "run.json"), "run.json")
        if config is None:
            continue
        assert model_config_from_dict(json.loads(json.dumps(to_dict(config)))) == config
        if seed % 10 == 0 and config.cascade.fc_channels < 5000:
            outcome(lambda config=config: empty_model(config))


def test_each_field_with_odd_values() -> None:
    draw = random.Random(0)
    for path in places(_CLASSROOM):
        for value in draw.sample(ODD, min(len(ODD), times(12))):
            values = json.loads(json.dumps(_CLASSROOM))
            holder: Any = values
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = copy.deepcopy(value)
            outcome(lambda values=values: model_config_from_dict(values, "run.json"), "run.json")


def test_broken_schedules() -> None:
    sound = json.loads(json.dumps(to_dict(Schedule())))
    for seed in range(times(200)):
        values = broken_tree(sound, random.Random(seed))
        found = outcome(lambda values=values: schedule_from_dict(values, "run.json"), "run.json")
        if found is not None:
            assert found.batch >= 1
            assert found.lr >= 0


def test_broken_json_files(tmp_path: Path) -> None:
    data = json.dumps(_CLASSROOM).encode()
    for seed in range(times(150)):
        path = fresh(tmp_path, "config.json", broken_bytes(data, random.Random(seed)))
        outcome(lambda path=path: read_json(path, "start the run again"), path)
    for odd in (b"[" * 100_000, b"9" * 5000, b"\xff", b"", b"\x00" * 9):
        path = fresh(tmp_path, "config.json", odd)
        assert outcome(lambda path=path: read_json(path, "start the run again"), path) is None


# ---- mmdet's


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of mmdet configs, whose ``htc.py`` stands on ``without.py`` and that on three others."""
    return tree(tmp_path_factory.mktemp("theirs"))


@pytest.mark.parametrize("name", ["htc.py", "without.py", "../_base_/data.py", "../_base_/schedule.py"])
def test_broken_texts_of_mmdet_configs(name: str, theirs: Path, tmp_path: Path) -> None:
    models = tree(tmp_path)
    data = (theirs / name).read_bytes()
    for seed in range(times(60)):
        (models / name).write_bytes(broken_bytes(data, random.Random(f"{name} {seed}")))
        path = models / "htc.py"
        found = outcome(lambda path=path: config_from_mmdet(path, strict=False), tmp_path)
        if found is not None:
            assert model_config_from_dict(to_dict(found.model)) == found.model


@pytest.mark.parametrize("part", range(4))
def test_mmdet_configs_with_odd_values(part: int, theirs: Path, tmp_path: Path) -> None:
    folder = (theirs, first(tmp_path / "first"), second(tmp_path / "second"), theirs)[part]
    sound = json.loads(json.dumps(read_python_config(folder / "htc.py")))
    for seed in range(times(40)):
        values = broken_tree(sound, random.Random(f"odd {part} {seed}"))
        text = "inf = 1e999\n" + "\n".join(
            f"{name} = {_written(value)}" for name, value in values.items() if name.isidentifier()
        )
        path = fresh(tmp_path, "htc.py", text.encode("utf-8", "surrogatepass"))
        found = outcome(lambda path=path: config_from_mmdet(path, strict=False), path)
        if found is not None:
            assert model_config_from_dict(to_dict(found.model)) == found.model


def _written(value: Any) -> str:
    """As Python text; a number beyond Python's own limit is written in hexadecimal."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, float) and value != value:
        return "inf - inf"
    return hex(value) if type(value) is int and abs(value) > 2**64 else repr(value)


_STATEMENTS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "_base_ = 3",
                "_base_ = None",
                "_base_ = ['a\\0b.py']",
                "_base_ = './htc.py'",
                "_base_ = ['" + "x" * 300 + ".py']",
                "_base_ = {'a.py': 1}",
                "a = 0x" + "f" * 5000,
                "0x" + "f" * 5000,
                "a = f'{0x" + "f" * 5000 + "}'",
                "a = f(0x" + "f" * 5000 + ")",
                "a = [0] * 999999999",
                "a = 'x' * 999999999",
                "a = 2 ** 99999",
                "a = 9999999 * 9999999 * 9999999",
                "a = -" * 3000 + "1",
                "a = " + "[" * 150 + "]" * 150,
                "a = " + "1 + " * 3000 + "1",
                "a = " + "(" * 300 + ")" * 300,
                "a = {[]: 1}",
                "a = {**3}",
                "a = [1][5]",
                "a = [1]['x']",
                "a = dict(1)",
                "a = dict([[1]])",
                "a = b = 1",
                "a, b = 1, 2",
                "a: int = 3",
                "a += 1",
                "import os",
                "__import__('os').system('true')",
                "a = __import__('os')",
                "a = (lambda: 1)()",
                "a = [x for x in [1]]",
                "a = 1 / 0",
                "a = 1 % 0",
                "a = '%d' % 3",
                "a = 1e999",
                "a = 1j",
                "a = b''",
                "a = ...",
                "a = not []",
                "a = -[]",
                "a = {{_base_.a}}",
                "a = '{{ _base_.x }}'",
                "model = [1]",
                "model = dict(type=[1])",
                "model = dict(type='CascadeRCNN', roi_head=3)",
                "model = dict(type='HybridTaskCascade', roi_head=dict(mask_head=1, semantic_fusion=[[1]]))",
                "del a",
                "if True:\n    a = 1",
                "class A: pass",
                "\x00",
                "a = '\ud800'",
                "# -*- coding: latin-1 -*-",
                "\ufeffa = 1",
            ]
        ),
        st.text(max_size=20),
    ),
    max_size=4,
)


@given(_STATEMENTS)
@example(["_base_ = 3"])
@example(["0x" + "f" * 5000])
@example(["a = " + "1 + " * 3000 + "1"])
@examples(500)
def test_any_statements(statements: list[str]) -> None:
    text = "\n".join(statements)
    values = outcome(lambda: evaluate_text(text, "the text of f.py"), "f.py")
    assert values is None or isinstance(values, dict)


@given(_STATEMENTS)
@examples(200)
def test_any_config_file(tmp_path_factory: pytest.TempPathFactory, statements: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp() / "any_config"
    path = fresh(folder, "a.py", "\n".join(statements).encode("utf-8", "surrogatepass"))
    outcome(lambda: config_from_mmdet(path, strict=False), path)


# ---- toggles in words


@given(
    st.one_of(
        st.text(max_size=30),
        st.lists(
            st.sampled_from([*SWITCHES, *RUNGS, "none", "last_mask", "stages=2", "stages=9", "stages=", ""]),
            max_size=5,
        ).map("+".join),
        st.sampled_from(["stages=²", "stages=٣", "stages=" + "9" * 5000, "htc\n", "none+none"]),
    )
)
@example("stages=²")
@example("stages=" + "9" * 5000)
@examples(500)
def test_any_words_for_toggles(text: str) -> None:
    toggles = outcome(lambda: parse_toggles(text))
    if toggles is not None:
        assert toggles.stages in (1, 2, 3)
