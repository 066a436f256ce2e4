"""The scripts that make what is committed of an ablation, whole, at the smallest size."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from htc_lab import InputError, load

SCRIPTS = Path(__file__).parents[2] / "data_scripts"


def run(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script, in a folder of its own, since it makes its scenes below the current one."""
    command = [sys.executable, str(SCRIPTS / script), "--size", "tiny", "--runs", "runs/tiny", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("lab")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_models_are_packed_with_their_cards(folder):
    done = run(folder, "train_classroom_models.py", "--models", "htc", "flow_alone", "--out", "models")
    assert done.returncode == 0, done.stderr[-2000:]
    card = json.loads((folder / "models" / "htc.json").read_text())
    assert card["config"]["toggles"]["mask_flow"] is True
    assert (card["seed"], card["schedule"]["steps"], card["data"]["train_images"] > 0) == (0, 3, True)
    assert len(card["data"]["train_sha256"]) == len(card["test"]["sha256"]) == 64
    assert card["test"]["segm"].keys() == card["run"]["segm"].keys()
    assert card["run"]["seconds"] > 0
    assert card["machine"]["cores"] >= 1
    assert str(folder) not in json.dumps(card)
    assert (folder / "models" / "htc.safetensors").stat().st_size < 5_000_000
    assert load(folder / "models" / "flow_alone.safetensors").config.toggles.semantic is False
    assert load(folder / "models" / "htc.safetensors").class_names[0] == "boat"


def test_a_model_that_lost_too_much_is_refused():
    module = script("train_classroom_models")
    one, other = ({"segm": {"AP": ap}, "bbox": {"AP": 50.0}} for ap in (40.0, 39.85))
    module.refuse_loss("htc", other, one)
    with pytest.raises(InputError, match=r"htc: 8 bits cost 0\.15 points of segm AP"):
        module.refuse_loss("htc", one, other)


def test_results_are_written_from_the_runs(folder):
    done = run(folder, "write_results.py", "--page", "docs/results.md")
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((folder / "results" / "classroom_ladder.json").read_text())
    assert [rung["name"] for rung in record["rungs"]] == ["plain_cascade", "interleaved", "mask_flow", "htc"]
    assert record["command"] == "htc-lab ablate --seeds 0"
    assert "One training seed" in (folder / "docs" / "results.md").read_text()


def test_unknown_models_give_one_line(folder):
    done = run(folder, "train_classroom_models.py", "--models", "resnext")
    assert done.returncode != 0
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith("error: --models resnext: no such model; take some of")
    )
