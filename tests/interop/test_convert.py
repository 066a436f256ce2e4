"""``htc-lab convert``, both ways."""

import json

import pytest
import torch

from htc_lab.checkpoint.files import load, save_model
from htc_lab.cli import main
from htc_lab.config import INTERLEAVED, PLAIN_CASCADE
from tests.interop.configs import tree
from tests.interop.files import assert_holds, model, write


def test_theirs_to_ours_and_back(tmp_path, capsys):
    made = model(PLAIN_CASCADE)
    source = write(tmp_path / "mine.pth", {"state_dict": made.state_dict()}, "legacy")
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.pth"
    main(["convert", "--checkpoint", str(source), "--out", str(ours), "--toggles", "interleaved", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["entries"] == len(made.state_dict())
    assert said["parameters"] == sum(p.numel() for p in made.parameters())
    assert load(ours).config.toggles == INTERLEAVED
    assert json.loads(ours.with_suffix(".json").read_text())["converted_from"] == "mine.pth"
    main(["convert", "--checkpoint", str(ours), "--out", str(theirs)])
    assert "mine, " in capsys.readouterr().out
    content = torch.load(theirs, weights_only=True)["state_dict"]
    assert content.keys() == made.state_dict().keys()
    assert all(torch.equal(content[name], value) for name, value in made.state_dict().items())
    assert_holds(load(theirs), made.state_dict())


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--out", "x.onnx"], "must end in .safetensors"),
        (["--out", "x.pth", "--half"], "--half"),
        (["--out", "x.pth", "--toggles", "wrong"], "is not a toggle"),
        (["--out", "x.pth", "--toggles", "htc"], "leave out toggles and config"),
        (["--out", "x.pth", "--config", "nowhere.py"], "nowhere.py: cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, capsys, monkeypatch, flags, says):
    monkeypatch.chdir(tmp_path)
    save_model(model(), tmp_path / "m.safetensors")
    with pytest.raises(SystemExit) as stop:
        main(["convert", "--checkpoint", "m.safetensors", *flags])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.json", "m.safetensors"]


def test_a_config_of_another_model_is_told_by_the_entries(tmp_path, capsys):
    source = write(tmp_path / "mine.pth", model().state_dict())
    config = str(tree(tmp_path / "configs") / "htc.py")
    with pytest.raises(SystemExit):
        main(["convert", "--checkpoint", str(source), "--config", config, "--out", str(tmp_path / "x.pth")])
    line = capsys.readouterr().err
    assert "missing" in line
    assert "of another shape" in line
