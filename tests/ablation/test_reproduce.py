"""Two checkpoints over the same pictures: resumable, never mixed, and compared as they should be."""

import dataclasses
import json

import pytest

from htc_lab import HTC, PLAIN_CASCADE, InputError
from htc_lab.ablation.reproduce import (
    DETECTIONS,
    SOURCE,
    Contestant,
    at_score_threshold,
    reproduce,
)
from htc_lab.checkpoint.files import load, save_model
from htc_lab.config_json import to_dict
from htc_lab.data.dataset import CocoDataset
from htc_lab.evaluate.coco_ap import evaluate
from htc_lab.evaluate.inference import truth_of
from htc_lab.predictors import ModelPredictor
from tests.unit.tiny import lively


@pytest.fixture(scope="module")
def dataset(data):
    return CocoDataset(data.test)


@pytest.fixture(scope="module")
def pair(tmp_path_factory, config, data):
    """A cascade and an HTC with weights of different seeds, as files."""
    folder = tmp_path_factory.mktemp("checkpoints")
    contestants = []
    for seed, (role, toggles) in enumerate((("cascade", PLAIN_CASCADE), ("htc", HTC))):
        model = lively(dataclasses.replace(config, toggles=toggles), seed)
        model.class_names = data.class_names
        path = folder / f"{role}.safetensors"
        save_model(model, path)
        predictor = ModelPredictor(at_score_threshold(load(path), 0.001))
        contestants.append(Contestant(role, predictor, (str(path),)))
    return contestants


def run(pair, dataset, out):
    return reproduce(pair, dataset, out, progress=False, tell=lambda line: None)


def test_the_figures_are_those_of_the_detections(pair, dataset, tmp_path):
    outcome = run(pair, dataset, tmp_path)
    truth = truth_of(dataset)
    for role in ("cascade", "htc"):
        lines = [json.loads(line) for line in (tmp_path / role / DETECTIONS).read_text().splitlines()]
        assert [line["image_id"] for line in lines] == dataset.image_ids
        found = [entry for line in lines for entry in line["results"]]
        assert found, "the pair should find something"
        for kind in ("bbox", "segm"):
            assert outcome.statistics[role][kind] == evaluate(truth, found, kind)
    gain = outcome.gains["segm"]
    difference = outcome.statistics["htc"]["segm"]["AP"] - outcome.statistics["cascade"]["segm"]["AP"]
    assert gain.value == pytest.approx(difference, abs=1e-9)
    assert outcome.images == len(dataset)
    assert json.loads((tmp_path / "results.json").read_text())["images"] == len(dataset)
    assert "HTC" in outcome.verdict()


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_stopped_run_goes_on_and_ends_alike(pair, dataset, tmp_path, monkeypatch, cut):
    whole = run(pair, dataset, tmp_path / "whole")
    out = tmp_path / "stopped"
    run(pair, dataset, out)
    path = out / "htc" / DETECTIONS
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:cut])

    seen = []
    predict = ModelPredictor.predict
    monkeypatch.setattr(
        ModelPredictor, "predict", lambda self, images: seen.append(1) or predict(self, images)
    )
    again = run(pair, dataset, out)
    assert len(seen) == len(dataset) - 2
    assert again == whole
    assert path.read_bytes() == b"".join(lines)


def test_a_folder_of_other_detections_is_refused(pair, dataset, tmp_path):
    run(pair, dataset, tmp_path)
    before = (tmp_path / "htc" / DETECTIONS).read_bytes()
    cascade, htc = pair
    predictor = ModelPredictor(at_score_threshold(htc.predictor.model, 0.3))
    other = dataclasses.replace(htc, predictor=predictor)
    with pytest.raises(InputError, match=rf"{SOURCE}: config differ.*--out"):
        run([cascade, other], dataset, tmp_path)
    swapped = dataclasses.replace(htc, checkpoints=cascade.checkpoints)
    with pytest.raises(InputError, match="checkpoint, checkpoint_sha256 differ"):
        run([cascade, swapped], dataset, tmp_path)
    (tmp_path / "htc" / SOURCE).unlink()
    with pytest.raises(InputError, match="missing beside"):
        run(pair, dataset, tmp_path)
    assert (tmp_path / "htc" / DETECTIONS).read_bytes() == before


def test_a_broken_line_is_named(pair, dataset, tmp_path):
    run(pair, dataset, tmp_path)
    path = tmp_path / "cascade" / DETECTIONS
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], "{broken}\n", *lines[2:]]))
    with pytest.raises(InputError, match="line 2 is broken"):
        run(pair, dataset, tmp_path)


def test_the_threshold_changes_nothing_else(pair):
    model = pair[1].predictor.model
    twin = at_score_threshold(model, 0.25)
    ours, theirs = to_dict(model.config), to_dict(twin.config)
    assert theirs["cascade"].pop("score_threshold") == 0.25
    assert ours["cascade"].pop("score_threshold") == 0.001
    assert ours == theirs
    assert all(
        (a == b).all() for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True)
    )
    for threshold in (-0.1, 1.0):
        with pytest.raises(InputError, match="--score"):
            at_score_threshold(model, threshold)
