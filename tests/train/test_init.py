"""Fine-tuning: ``--init`` from the command line and in Python, and starts that failed."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from htc_lab import InputError
from htc_lab.ablation.ladder import config_for, train_dataset
from htc_lab.checkpoint.files import load, save_model
from htc_lab.cli import main
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.interop.mmdet_checkpoint import save_mmdet
from htc_lab.model import build_model
from htc_lab.train.loop import TrainOptions, train
from tests.data.folders import write_split_tree
from tests.training_fixtures import SCHEDULE

QUIET = TrainOptions(progress=False, checkpoint_every=2)
SHORT = dataclasses.replace(SCHEDULE, steps=2)


@pytest.fixture(scope="module")
def dataset(data, config):
    return train_dataset(data, semantic_classes(data), config, SCHEDULE)


@pytest.fixture
def init(tmp_path, config):
    """A checkpoint of two classes for data of six."""
    given = build_model(dataclasses.replace(config, classes=2), 7)
    save_model(given, tmp_path / "given.safetensors")
    return tmp_path / "given.safetensors"


def card(run: Path):
    return json.loads((run / "config.json").read_text())


def test_the_start_is_recorded_and_a_resume_does_not_need_the_file(tmp_path, capsys, config, dataset, init):
    run, options = tmp_path / "run", dataclasses.replace(QUIET, init=init)

    class Stop(Exception):
        pass

    def stop(step, metrics):
        if step == 3:
            raise Stop

    whole = train(tmp_path / "whole", config, SCHEDULE, dataset, options)
    said = capsys.readouterr().err
    assert f"start from {init}:" in said
    assert "roi_head.bbox_head.{0,1,2}.fc_cls: (3, 24) in the checkpoint, (7, 24) here" in said
    with pytest.raises(Stop):
        train(run, config, SCHEDULE, dataset, options, stop)
    assert card(run)["init"] == str(init)
    kept = card(run)["start"]
    assert set(kept["reshaped"]) == {
        "roi_head.bbox_head.{0,1,2}.fc_cls",
        "roi_head.mask_head.{0,1,2}.conv_logits",
    }
    assert len(kept["sha256"]) == 64
    init.unlink()
    capsys.readouterr()
    # Whether or not it is told once more what it was started from.
    resumed = train(run, config, SCHEDULE, dataset, QUIET)
    assert "start from" not in capsys.readouterr().err
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert card(run)["start"] == kept
    train(run, config, SCHEDULE, dataset, options)
    with pytest.raises(InputError, match="field 'init' differs"):
        train(run, config, SCHEDULE, dataset, dataclasses.replace(QUIET, init="classroom/htc"))


def test_a_start_that_failed_does_not_block_the_next_one(tmp_path, config, dataset, init):
    run = tmp_path / "run"
    (tmp_path / "bad.pth").write_bytes(b"PK no checkpoint")
    for bad, says in (("bad.pth", "damaged"), ("gone.pth", "no such checkpoint")):
        with pytest.raises(InputError, match=says):
            train(run, config, SHORT, dataset, dataclasses.replace(QUIET, init=tmp_path / bad))
    assert [path.name for path in run.iterdir()] == ["run.lock"]
    train(run, config, SHORT, dataset, dataclasses.replace(QUIET, init=init))
    assert card(run)["init"] == str(init)


def test_nor_does_one_that_failed_before_its_first_checkpoint(tmp_path, config, dataset):
    run = tmp_path / "run"
    wild = dataclasses.replace(SCHEDULE, steps=30, lr=1e30, warmup_steps=0, clip_norm=0.0)
    with pytest.raises(InputError, match="start a new run with a lower --lr"):
        train(run, config, wild, dataset, dataclasses.replace(QUIET, checkpoint_every=100))
    (run / "samples").mkdir()
    (run / "skipped.jsonl").write_text('{"step": 1, "image_id": 3, "why": "torn"}\n')
    train(run, config, SHORT, dataset, QUIET)
    assert card(run)["schedule"]["lr"] == SHORT.lr
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    assert not (run / "skipped.jsonl").exists()
    assert not (run / "samples").exists()
    # A file that isn't of a start is somebody's, and so is what stands beside it.
    (run / "checkpoint.safetensors").unlink()
    (run / "evaluation.json").write_text("{}")
    with pytest.raises(InputError, match="field 'schedule' differs"):
        train(run, config, SCHEDULE, dataset, QUIET)


def test_fine_tuning_from_the_command_line(tmp_path, capsys):
    """Two classes of one's own, from the shipped model of six, by way of a .pth."""
    write_split_tree(tmp_path / "data")
    save_mmdet(load("classroom/htc"), tmp_path / "c.pth")
    words = ["train", "--data", str(tmp_path / "data"), "--run", str(tmp_path / "r"), "--steps", "1"]
    words += ["--batch", "1"]
    (tmp_path / "data" / "train" / "1.png").rename(tmp_path / "1.png")
    with pytest.raises(SystemExit):
        main([*words, "--init", str(tmp_path / "c.pth")])
    (tmp_path / "1.png").rename(tmp_path / "data" / "train" / "1.png")
    with pytest.raises(SystemExit):
        main([*words, "--init", "nowhere.pth"])
    capsys.readouterr()
    main([*words, "--init", str(tmp_path / "c.pth")])
    said = capsys.readouterr().err
    assert "roi_head.bbox_head.{0,1,2}.fc_cls: (7, 128) in the checkpoint, (3, 128) here" in said
    assert load(tmp_path / "r").class_names == ("fig", "nut")


def test_data_that_cannot_be_read_does_not_block_the_folder(tmp_path, config):
    write_split_tree(tmp_path / "data")
    data = find_data(tmp_path / "data")
    semantic = semantic_classes(data)
    own, run = config_for(config, data, semantic), tmp_path / "run"
    for path in (tmp_path / "data" / "train").iterdir():
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="training images cannot be read"):
        train(run, own, SHORT, train_dataset(data, semantic, own, SHORT), QUIET)
    for path in (tmp_path / "data" / "train").iterdir():
        Image.new("RGB", (32, 24), (60, 120, 9)).save(path)
    longer = dataclasses.replace(SHORT, steps=3)
    train(run, own, longer, train_dataset(data, semantic, own, longer), QUIET)
    assert not (run / "skipped.jsonl").exists()
