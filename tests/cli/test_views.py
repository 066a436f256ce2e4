"""Views, ensembles and the settings of detections, as flags of predict, eval and reproduce."""

import dataclasses
import json

import pytest

from htc_lab.ablation.ladder import config_for
from htc_lab.checkpoint.files import load, save_model
from htc_lab.cli import main
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import write_classroom
from htc_lab.data.dataset import read_image
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.merged_predictor import predictor_of
from htc_lab.views import parse_views
from tests.unit.tiny import TINY, lively


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Scenes and three models of them; the third keeps detections above another score."""
    root = tmp_path_factory.mktemp("views")
    write_classroom(root / "scenes", 1, 2, 2, SceneConfig(size=64), progress=False)
    data = find_data(root / "scenes")
    config = config_for(TINY, data, semantic_classes(data))
    for seed, name in enumerate(("a", "b", "strict")):
        cascade = dataclasses.replace(config.cascade, score_threshold=0.3 if name == "strict" else 0.01)
        model = lively(dataclasses.replace(config, cascade=cascade), seed)
        model.class_names = data.class_names
        save_model(model, root / f"{name}.safetensors")
    return root


@pytest.fixture
def picture(place):
    return min((place / "scenes" / "val").glob("*.png"))


def call(capsys, *arguments):
    capsys.readouterr()
    main([*map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    assert stop.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def checkpoints(place, *names):
    return [word for name in names for word in ("--checkpoint", place / f"{name}.safetensors")]


def test_predict_merges_views_and_models(capsys, tmp_path, place, picture):
    files = checkpoints(place, "a", "b")
    flags = ("--views", "own", "48x96", "flip", "--merge", "detections", "--score", "0", "--out", tmp_path)
    found = call(capsys, "predict", picture, *files, *flags)
    assert found["checkpoint"] == [str(files[1]), str(files[3])]
    models = [load(place / f"{name}.safetensors") for name in ("a", "b")]
    predictor = predictor_of(models, parse_views(["own", "48x96", "flip"]), "detections")
    wanted = predictor.predict([read_image(picture)])[0]
    assert len(wanted) > 0
    assert [each["score"] for each in found["pictures"][0]["objects"]] == wanted.scores.tolist()
    assert [each["box"] for each in found["pictures"][0]["objects"]] == wanted.boxes.tolist()


def test_a_checkpoint_before_the_picture_does_not_swallow_it(capsys, tmp_path, place, picture):
    found = call(capsys, "predict", *checkpoints(place, "a"), picture, "--score", "0", "--out", tmp_path)
    assert found["checkpoint"] == str(place / "a.safetensors")
    assert found["pictures"][0]["objects"]


def test_settings_of_detections(capsys, tmp_path, place, picture):
    always = ("predict", picture, *checkpoints(place, "a"), "--score", "0", "--out", tmp_path)

    def scores(*flags):
        return [each["score"] for each in call(capsys, *always, *flags)["pictures"][0]["objects"]]

    usual = scores()
    assert scores("--max-detections", "2") == usual[:2]
    least = usual[2]
    assert scores("--score-threshold", least) == [score for score in usual if score > least]
    many = ("--max-detections", "500")
    assert len(scores(*many, "--soft-nms", "linear")) > len(scores(*many)) > len(usual)


def test_eval_of_views_and_of_two_models(capsys, place):
    scenes = ("eval", "--data", place / "scenes")
    one = call(capsys, *scenes, *checkpoints(place, "a"))
    views = call(capsys, *scenes, *checkpoints(place, "a"), "--views", "flip")
    both = call(capsys, *scenes, *checkpoints(place, "a", "b"), "--merge", "roi")
    for figures in (one, views, both):
        assert figures["images"] == 2
        assert len(figures["stage_mask_ap"]) == 4
    assert both["checkpoint"] == [str(place / "a.safetensors"), str(place / "b.safetensors")]


def test_bad_input_is_one_line(capsys, place, picture):
    one = ("predict", picture, *checkpoints(place, "a"))
    assert "view 0x96: sides must be from 1" in refused(capsys, *one, "--views", "0x96")
    assert "--views photo.jpg: is no view" in refused(capsys, *one, "--views", "flip", "photo.jpg")
    assert "--views own flip, or a second --checkpoint" in refused(capsys, *one, "--merge", "roi")
    assert "--max-detections 0: must be" in refused(capsys, *one, "--max-detections", "0")
    assert "--score-threshold nan: must be" in refused(capsys, *one, "--score-threshold", "nan")
    said = refused(capsys, *one, *checkpoints(place, "strict"))
    assert f"{place}/strict.safetensors and {place}/a.safetensors: cascade.score_threshold is 0.3 and" in said
    assert "--score-threshold" in said
    said = refused(capsys, *one, "--checkpoint", "classroom/htc")
    assert "classroom/htc and" in said


def test_reproduce_with_views_goes_on_and_does_not_mix(capsys, tmp_path, place):
    scenes = place / "scenes"
    flags = ["--coco", scenes, "--annotations", scenes / "annotations" / "instances_val.json"]
    flags += ["--images", scenes / "val", "--out", tmp_path, "--htc", place / "b.safetensors"]
    flags += ["--cascade", place / "a.safetensors", "--cascade", place / "strict.safetensors"]
    first = call(capsys, "reproduce", *flags, "--views", "flip")
    source = json.loads((tmp_path / "cascade" / "source.json").read_text())
    assert source["checkpoint"] == ["a.safetensors", "strict.safetensors"]
    assert len(set(source["checkpoint_sha256"])) == 2
    assert source["config"]["views"] == ["own", "own flip"]
    assert first["images"] == 2
    # A field that the config of a later lab has, and this folder's hasn't.
    del source["config"]["models"][0]["cascade"]["soft_nms"]
    (tmp_path / "cascade" / "source.json").write_text(json.dumps(source))
    assert call(capsys, "reproduce", *flags, "--views", "flip") == first
    assert "config differ from this call's" in refused(capsys, "reproduce", *flags, "--views", "own", "48x96")
