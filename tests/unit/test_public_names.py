"""What ``import htc_lab`` promises: each name where its stub says, and nothing loaded before it is needed."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import htc_lab

PLACES = {
    alias.name: node.module
    for node in ast.parse(Path(htc_lab.__file__).with_suffix(".pyi").read_text()).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}


@pytest.mark.parametrize("name", PLACES)
def test_a_name_is_that_of_its_module(name):
    assert getattr(htc_lab, name) is getattr(importlib.import_module(f"htc_lab.{PLACES[name]}"), name)


def test_all_and_dir_list_the_names_and_no_other():
    assert len(PLACES) == 29
    assert sorted(htc_lab.__all__) == sorted(PLACES)
    assert dir(htc_lab) == sorted(PLACES)


def test_an_unknown_name_is_an_attribute_error_that_says_which():
    with pytest.raises(AttributeError, match=r"htc_lab.*bananas"):
        htc_lab.bananas  # noqa: B018
    with pytest.raises(ImportError, match="bananas"):
        from htc_lab import bananas  # noqa: F401


def test_nothing_heavy_is_loaded_before_a_name_asks_for_it():
    program = (
        "import sys, htc_lab\n"
        "print([m for m in ('torch', 'numpy', 'matplotlib', 'htc_lab.config') if m in sys.modules])\n"
        "htc_lab.HTC, htc_lab.PRESETS\n"
        "print('torch' in sys.modules)\n"
        "htc_lab.RoIs\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "False", "True"]
