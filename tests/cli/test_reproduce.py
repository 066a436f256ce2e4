"""``htc-lab reproduce`` on a small tree laid out as COCO."""

import dataclasses
import json
import shutil

import pytest

from htc_lab import HTC, PLAIN_CASCADE
from htc_lab.ablation.ladder import config_for
from htc_lab.checkpoint.files import save_model
from htc_lab.cli import main
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import write_classroom
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.presets import PRESET_RECORDS
from htc_lab.wording import signed
from tests.unit.tiny import TINY, lively

IMAGES = 5
RELEASED_CASCADE = "cascade_mask_rcnn_r50_fpn_1x_coco_20200203-9d4dcb24.safetensors"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A COCO val2017 tree and two checkpoints beside it."""
    root = tmp_path_factory.mktemp("reproduce")
    write_classroom(root / "scenes", 1, IMAGES, 1, SceneConfig(size=64), progress=False)
    (root / "coco" / "annotations").mkdir(parents=True)
    shutil.move(root / "scenes" / "val", root / "coco" / "val2017")
    source = root / "scenes" / "annotations" / "instances_val.json"
    shutil.copy(source, root / "coco" / "annotations" / "instances_val2017.json")
    write_classroom(root / "other", 1, 1, 1, SceneConfig(size=64), progress=False)
    data = find_data(root / "other")
    config = config_for(TINY, data, semantic_classes(data))
    for seed, (name, toggles) in enumerate((("cascade", PLAIN_CASCADE), ("htc", HTC))):
        model = lively(dataclasses.replace(config, toggles=toggles), seed)
        model.class_names = data.class_names
        save_model(model, root / f"{name}.safetensors")
    return root


def call(place, out, *more):
    flags = ["--coco", place / "coco", "--out", out, *more]
    for role in ("cascade", "htc"):
        if f"--{role}" not in more:
            flags += [f"--{role}", place / f"{role}.safetensors"]
    main(["reproduce", *(str(flag) for flag in flags)])


def refused(capsys, place, out, *more):
    with pytest.raises(SystemExit) as stop:
        call(place, out, *more)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_the_table_and_the_json_agree(place, tmp_path, capsys):
    call(place, tmp_path)
    printed = capsys.readouterr().out
    assert f"{IMAGES} images, both models at score > 0.001" in printed
    call(place, tmp_path, "--json")
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert f"{IMAGES} of {IMAGES} images done already" in captured.err
    assert figures["images"] == IMAGES
    htc, gain = figures["models"]["htc"], figures["gain"]["segm"]
    row = next(line for line in printed.splitlines() if line.startswith("| HTC"))
    assert row == f"| HTC | {htc['bbox']['AP']:.1f} |  | 43.2 | {htc['segm']['AP']:.1f} |  | 38.0 |"
    assert f"{signed(gain['value'])} [{signed(gain['low'])}, {signed(gain['high'])}] |  | +1.5 |" in printed
    assert figures["released"] == {"cascade": None, "htc": None}


def test_a_released_file_stands_beside_its_public_figures(place, tmp_path, capsys, monkeypatch):
    renamed = tmp_path / RELEASED_CASCADE
    shutil.copy(place / "cascade.safetensors", renamed)
    monkeypatch.setattr(
        "htc_lab.data.fetch.released.RELEASED", {"cascade_r50_1x": f"cascade_rcnn/x/{RELEASED_CASCADE}"}
    )
    call(place, tmp_path / "out", "--cascade", renamed, "--first", "2")
    printed = capsys.readouterr().out
    assert "2 images" in printed
    public = PRESET_RECORDS["cascade_r50_1x"].released
    row = next(line for line in printed.splitlines() if line.startswith("| Cascade Mask R-CNN"))
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[3] == f"{public.box_ap:.1f}"
    assert cells[6] == f"{public.mask_ap:.1f}"


def test_bad_input_is_one_line(place, tmp_path, capsys):
    assert "get_coco.py" in refused(capsys, place, tmp_path, "--coco", tmp_path)
    assert "--first 0" in refused(capsys, place, tmp_path, "--first", "0")
    assert "--score 1.5" in refused(capsys, place, tmp_path, "--score", "1.5")
    assert "none.safetensors: no such" in refused(
        capsys, place, tmp_path, "--htc", tmp_path / "none.safetensors"
    )
    images = ("--images", place / "coco" / "val2017")
    assert "knows" in refused(capsys, place, tmp_path, "--annotations", _renamed(place), *images)
    (place / "coco" / "val2017" / "000003.png").rename(place / "hidden.png")
    try:
        assert "000003.png: no such image" in refused(capsys, place, tmp_path)
    finally:
        (place / "hidden.png").rename(place / "coco" / "val2017" / "000003.png")


def _renamed(place):
    """The annotations with a class of another name."""
    tree = json.loads((place / "coco" / "annotations" / "instances_val2017.json").read_text())
    tree["categories"][0]["name"] = "something else"
    path = place / "renamed.json"
    path.write_text(json.dumps(tree))
    return path
