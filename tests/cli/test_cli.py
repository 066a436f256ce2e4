"""The commands as a person calls them: what works, and one line with exit code 2 for what can't."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from htc_lab.cli import main
from htc_lab.config import RUNGS
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import write_classroom
from htc_lab.ideas import IDEAS

# Too gentle to move the heads: every class keeps a score above the threshold, so there is something to draw.
SHORT = ("--steps", "2", "--batch", "2", "--lr", "0.000001")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "scenes"
    write_classroom(root, 4, 2, 2, SceneConfig(size=64), progress=False)
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory, scenes) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    main(["train", "--data", str(scenes), "--run", str(folder), *SHORT])
    return folder


def call(capsys, *arguments: str):
    """Run a command in this process: what it printed as JSON."""
    capsys.readouterr()
    main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments: str) -> str:
    """Run a command that must be refused: its one line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code == 2
    streams = capsys.readouterr()
    assert "Traceback" not in streams.err
    line = streams.err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    return line


def test_help_answers_without_torch():
    code = (
        "import sys; from htc_lab.cli import main\n"
        "try: main(['ablate', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'pydantic'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout
    assert "--semantic" in done.stdout


@pytest.mark.parametrize("command", ["train", "eval", "predict", "convert"])
def test_help_names_every_rung_and_idea(capsys, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    # Words are wrapped in a frame; none of these names is long enough to be broken.
    said = capsys.readouterr().out
    for name in (*RUNGS, *(idea.field for idea in IDEAS), "stages=N", "last_mask"):
        assert name in said


def test_train_then_eval_then_predict(capsys, tmp_path, scenes, run):
    assert (run / "checkpoint.safetensors").is_file()
    figures = call(capsys, "eval", "--data", str(scenes), "--checkpoint", str(run), "--split", "test")
    assert figures["images"] == 2
    assert len(figures["segm"]) == len(figures["bbox"]) == 12
    assert len(figures["stage_mask_ap"]) == 4
    picture = scenes / "test" / "000001.png"
    out = tmp_path / "out"
    found = call(capsys, "predict", str(picture), "--checkpoint", str(run), "--out", str(out), "--score", "0")
    assert found["pictures"][0]["objects"]
    assert np.asarray(Image.open(out / "000001.png")).std() > 0


def test_train_goes_on_with_a_finished_run(capsys, scenes, run):
    figures = call(capsys, "train", "--data", str(scenes), "--run", str(run), *SHORT)
    assert figures["last_step"] == {}


def test_data_show_counts(capsys, scenes):
    figures = call(capsys, "data", "show", "--data", str(scenes))
    assert figures["images"] == {"train": 4, "val": 2, "test": 2}
    assert figures["semantic_classes"] == 12


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--data", "nowhere", "--run", "r"], "nowhere: no such folder"),
        (["train", "--data", "DATA", "--run", "r", "--preset", "resnet"], "--preset resnet: no such preset"),
        (
            ["train", "--data", "DATA", "--run", "r", "--toggles", "flow"],
            "--toggles flow: 'flow' is not a toggle",
        ),
        (["train", "--data", "DATA", "--run", "r", "--toggles", "htc+stages=9"], "is not a toggle"),
        (["train", "--data", "DATA", "--run", "r", "--toggles", "none+stages=9"], "Toggles.stages is 9"),
        (["train", "--data", "DATA", "--run", "r", "--steps", "0"], "--steps 0: must be above 0"),
        (["train", "--data", "DATA", "--run", "r", "--device", "gpu"], "--device gpu: cannot be used"),
        (["eval", "--data", "DATA", "--checkpoint", "nothing"], "nothing: no such checkpoint"),
        (["predict", "--checkpoint", "RUN"], "no picture given"),
        (["predict", "absent.jpg", "--checkpoint", "RUN"], "absent.jpg: no such image"),
        (["predict", "absent.jpg", "--checkpoint", "RUN", "--score", "2"], "--score 2"),
        (["ablate", "--quick", "--val-json", "v.json"], "--val-json: needs --data"),
        (["ablate", "--quick", "--data", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_wrong_words_are_refused(capsys, tmp_path, monkeypatch, scenes, run, arguments, says):
    monkeypatch.chdir(tmp_path)
    filled = [str(scenes) if a == "DATA" else str(run) if a == "RUN" else a for a in arguments]
    assert says in refused(capsys, *filled)
    assert list(tmp_path.iterdir()) == []


def test_a_toggle_the_weights_cannot_serve_is_refused(capsys, tmp_path, scenes):
    folder = str(tmp_path / "plain")
    words = ["--data", str(scenes), "--steps", "1", "--batch", "1", "--toggles", "plain_cascade"]
    main(["train", "--run", folder, *words])
    line = refused(capsys, "eval", "--data", str(scenes), "--checkpoint", folder, "--toggles", "htc")
    assert "Toggles.mask_flow" in line
    assert "switch it off" in line


def broken(root: Path, change) -> None:
    path = root / "annotations" / "instances_train.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (
            lambda r: (r / "annotations" / "instances_train.json").write_text('{"images": ['),
            "instances_train.json",
        ),
        (lambda r: (r / "train" / "000001.png").unlink(), "000001.png"),
        (lambda r: broken(r, lambda t: t["annotations"][0].update(category_id=99)), "category_id"),
        (lambda r: Image.new("L", (9, 9)).save(r / "stuffthingmaps" / "train" / "000001.png"), "000001.png"),
        (lambda r: broken(r, lambda t: t["images"][0].update(width=65)), "[64, 65]; make them agree"),
        (lambda r: broken(r, lambda t: t["annotations"][0].update(bbox=[0, 0, -4, 4])), "bbox"),
    ],
    ids=[
        "broken json",
        "image absent",
        "unknown category",
        "map of wrong size",
        "image of wrong size",
        "box",
    ],
)
def test_broken_data_are_named(capsys, tmp_path, harm, says):
    root = tmp_path / "scenes"
    write_classroom(root, 2, 1, 1, SceneConfig(size=64), progress=False)
    harm(root)
    words = ["--data", str(root), "--run", str(tmp_path / "run"), "--steps", "2", "--batch", "2"]
    assert says in refused(capsys, "train", *words)


def test_ap_of_pictures_without_objects_is_refused_not_printed(capsys, tmp_path):
    root = tmp_path / "scenes"
    write_classroom(root, 1, 1, 1, SceneConfig(size=64), progress=False)
    path = root / "annotations" / "instances_val.json"
    tree = json.loads(path.read_text())
    for row in tree["annotations"]:
        row["iscrowd"] = 1
    path.write_text(json.dumps(tree))
    line = refused(capsys, "eval", "--data", str(root), "--checkpoint", "classroom/htc")
    assert f"{path}: no object in 1 image to evaluate on" in line
