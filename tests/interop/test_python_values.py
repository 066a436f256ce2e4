"""The language of config files: what is read, and what of a package's own configs is found."""

import sys

import pytest

from htc_lab.errors import InputError
from htc_lab.interop import python_values
from htc_lab.interop.mmdet_config import config_from_mmdet
from htc_lab.interop.mmdet_defaults import plain_types
from htc_lab.interop.python_config import evaluate_text, read_python_config
from htc_lab.presets import ONE_X, PRESETS
from tests.interop.configs import tree


@pytest.mark.parametrize(
    ("text", "x"),
    [
        ("x = y = [1]\ny[0] = 2", [2]),
        ("x = dict(a=dict(b=1))\nx['a']['b'] = 2\nx['a']['c'] = 3", {"a": {"b": 2, "c": 3}}),
        ("x = dict(a=dict(b=1))\nx.a.b = 2", {"a": {"b": 2}}),
        ("x = [dict(a=1), 5]\nx[0]['a'] = x[-1] = 7", [{"a": 7}, 7]),
        ("x, y = 1, 2", 1),
        ("x: int = 3", 3),
        ("x = 1\nx += 2", 3),
        ("x = [1]\ny = x\ny += [2]", [1, 2]),
        ("x = dict(a=1)\nx['a'] *= 5", {"a": 5}),
        ("n = ('cat', 'dog')\nx = len(n)", 2),
        ("x = int(7 / 2) + int('4')", 7),
        ("x = str(3) + '.pth'", "3.pth"),
        ("x = list(range(2, 8, 3))", [2, 5]),
        ("x = range(3)", [0, 1, 2]),
        ("x = dict([('a', 1)], b=2)", {"a": 1, "b": 2}),
        ("x = list()", []),
        ("x = dict()", {}),
        ("x = max(1, 2) + min([3, 4]) + round(2.6) + abs(-1)", 9),
        ("x = 2**5 * 10**-1", 3.2),
        ("a = [1, 2]\nx = [*a, 3, *a]", [1, 2, 3, 1, 2]),
        ("x = [1, 2, 3][-1]", 3),
        (
            "n = [1, 2]\nx = [dict(a=i * k, b=n) for i, k in [(1, 2), (3, 4)] for n in range(1)]",
            [{"a": 2, "b": 0}, {"a": 12, "b": 0}],
        ),
        ("i = 5\ny = [i for i in [1, 2]]\nx = [i, *y]", [5, 1, 2]),
    ],
)
def test_statements_and_values(text, x):
    assert evaluate_text(text, "text")["x"] == x


@pytest.mark.parametrize(
    "text",
    [
        "x = list(range(10**8))",
        "x = int('9' * 10000)",
        "x = max([[1], [2]])",
        "x = dict([[(1, 2), 3]])",
        "x = {(1, 2): 3}",
        "x = {**[(1, 2)]}",
        "x = len(print())",
        "len = 3\nx = len([1])",
        "x = 10**99",
        "x = (-8) ** 0.5",
        "x = [1, 2]\nx[0:1] = [3]",
        "x = (1, 2)\nx[0] = 3",
        "x += 'a' * 3",
        "x = sorted([2, 1])",
        "x = [c for c in 'ab']",
        "x = [c for c in [1, 2] if c]",
        "x = [0 for a in range(9999) for b in range(9999)]",
    ],
)
def test_what_is_no_description_of_values_is_refused(text):
    with pytest.raises(InputError, match="would have to be run"):
        evaluate_text(text, "text")


@pytest.mark.parametrize(
    "text",
    [
        "x = []\nx += [x]",
        "x = {}\nx['x'] = x",
        "x = [0]\n" + "x = [x, x]\n" * 40,
        "x = dict()\n" + "x = dict(a=x, b=x)\n" * 40,
        "x = [0] * 9999\nx = [x] * 9999",
    ],
)
def test_short_texts_of_endless_values_are_refused(text, monkeypatch):
    monkeypatch.setattr(python_values, "_MOST_VALUES", 20_000)
    with pytest.raises(InputError, match="more values than a config has, or a list that holds itself"):
        evaluate_text(text, "text")


@pytest.mark.parametrize(
    "text", ["x = [1][2]", "x = {'a': 1}['b']", "x, y = 1, 2, 3", "x = dict(a=1)\nx.b.c = 1"]
)
def test_values_that_do_not_exist_are_told(text):
    with pytest.raises(InputError, match=r"line \d: has no value .*correct it"):
        evaluate_text(text, "text")


def test_items_of_a_base_can_be_assigned_to(tmp_path):
    (tmp_path / "base.py").write_text("p = [dict(a=1), dict(a=2)]\nd = dict(p=p, q=1)\n")
    (tmp_path / "mine.py").write_text(
        "_base_ = ['base.py']\n_base_.p[0].a = 5\n_base_['d']['q'] = 6\nr = _base_.p[1:]\n"
    )
    # As in mmengine, a list that two names of a base shared is two lists in a file above.
    assert read_python_config(tmp_path / "mine.py") == {
        "p": [{"a": 5}, {"a": 2}],
        "d": {"p": [{"a": 1}, {"a": 2}], "q": 6},
        "r": [{"a": 2}],
    }


# ---- mmdet::


def _package(folder, monkeypatch, name="mmdet"):
    """An installed package that would fail if it was imported, with configs in it."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop(name, None)
    return tree(folder / name / ".mim" / "configs")


def test_bases_of_an_installed_package(tmp_path, monkeypatch):
    _package(tmp_path / "site", monkeypatch)
    path = tmp_path / "mine.py"
    path.write_text("_base_ = 'mmdet::htc/htc.py'\nmodel = dict(test_cfg=dict(rcnn=dict(max_per_img=7)))")
    assert config_from_mmdet(path).model.cascade.max_detections == 7
    path.write_text("_base_ = ['mmdet::htc/nothing.py']")
    with pytest.raises(InputError, match=r"there is no .*nothing\.py; correct _base_"):
        read_python_config(path)


def test_bases_without_the_package_and_the_way_out_that_the_message_names(tmp_path, monkeypatch):
    monkeypatch.setattr("htc_lab.interop.python_config.find_spec", lambda name: None)
    path = tmp_path / "mine.py"
    path.write_text("_base_ = 'mmdet::htc/htc.py'")
    with pytest.raises(
        InputError, match=r"mmdet is not installed here; give the folder of its configs"
    ) as error:
        config_from_mmdet(path)
    assert "--mmdet-configs FOLDER, or configs= in Python" in str(error.value)
    folder = tree(tmp_path / "configs").parent
    assert config_from_mmdet(path, configs=folder).model == PRESETS["htc_r50_1x"]
    assert config_from_mmdet(str(path), configs=str(folder)).schedule == ONE_X
    with pytest.raises(InputError, match="give the folder that has it"):
        config_from_mmdet(path, configs=tmp_path)


@pytest.mark.parametrize("name", ["a.b::c.py", "::c.py", "no such::c.py"])
def test_odd_names_of_packages_are_not_looked_up(tmp_path, name):
    (tmp_path / "mine.py").write_text(f"_base_ = '{name}'")
    with pytest.raises(InputError, match="is not installed here"):
        read_python_config(tmp_path / "mine.py")


# ---- dumped configs

_WHERE = {
    "HybridTaskCascade": "mmdet.models.detectors.htc",
    "HybridTaskCascadeRoIHead": "mmdet.models.roi_heads.htc_roi_head",
    "SGD": "torch.optim.sgd",
    "nms": "mmcv.ops",
    "RoIAlign": "mmcv.ops",
    "LinearLR": "mmengine.optim.scheduler.lr_scheduler",
    "LoadImageFromFile": "mmcv.transforms.loading",
    "OptimWrapper": "mmengine.optim.optimizer.optimizer_wrapper",
}


def _dumped(value):
    """As mmengine's Config.dump writes the types of a config in Python's own style."""
    if isinstance(value, dict):
        made = {key: _dumped(item) for key, item in value.items()}
        kind = made.get("type")
        if kind == "BN":
            made["type"] = "torch.nn.BatchNorm2d"
        elif isinstance(kind, str):
            made["type"] = f"{_WHERE.get(kind, 'mmdet.models.somewhere')}.{kind}"
        return made
    return [_dumped(item) for item in value] if isinstance(value, list | tuple) else value


def test_what_a_refusal_asks_for_is_read(tmp_path):
    """A config with read_base is refused with "write the values out"; what that writes is taken."""
    models = tree(tmp_path)
    lazy = models / "lazy.py"
    lazy.write_text("from mmengine.config import read_base\nwith read_base():\n    from .htc import *\n")
    with pytest.raises(
        InputError, match=r"line 1: .*write the values out \(Config\.fromfile\(FILE\)\.dump\(NEW_FILE\)"
    ):
        config_from_mmdet(lazy)
    values = {name: _dumped(value) for name, value in read_python_config(models / "htc.py").items()}
    dumped = models / "dumped.py"
    dumped.write_text("\n".join(f"{name} = {value!r}" for name, value in values.items()))
    assert "mmdet.models.detectors.htc.HybridTaskCascade" in dumped.read_text()
    found = config_from_mmdet(dumped)
    assert (found.model, found.schedule, found.unsupported) == (PRESETS["htc_r50_1x"], ONE_X, ())


def test_types_of_others_keep_their_package():
    config = {
        "type": "mmdet.FPN",
        "a": [{"type": "mine.FPN"}, {"resize_type": "mmcv.transforms.Resize"}],
        "_scope_": "mmdet",
    }
    assert plain_types(config) == {"type": "FPN", "a": [{"type": "mine.FPN"}, {"resize_type": "Resize"}]}
