"""``htc_lab.explore``, the widget's kernel side, the command, and the exported page's text."""

import itertools
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import htc_lab
from htc_lab.cli import main
from htc_lab.config import HTC, INTERLEAVED, MASK_FLOW, PLAIN_CASCADE
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.errors import InputError
from htc_lab.explorer.bits import bits_of, toggles_of_bits
from htc_lab.explorer.pack import kept, make_pack
from htc_lab.explorer.pack_format import read_pack
from htc_lab.explorer.widget import StageExplorer
from htc_lab.web.export import WEB, browser_files, script, to_html
from tests.explorer.made_pack import made_runs, tiny_models, tiny_sample
from tests.interop.files import write
from tests.unit.tiny import assert_same, lively, picture, with_toggles


@pytest.fixture(scope="module")
def explorer() -> StageExplorer:
    return StageExplorer.from_models(tiny_models(("plain", "htc")), tiny_sample(), title="<tiny>")


def test_a_call_takes_words_or_a_state_string() -> None:
    models = tiny_models(("plain", "htc"))
    given = htc_lab.explore(
        tiny_sample(), models, toggles=MASK_FLOW, compare=INTERLEAVED, stage=2, threshold=0.4, hide=["open"]
    )
    assert given.state.startswith(
        f"B={bits_of(MASK_FLOW)}&A={bits_of(INTERLEAVED)}&split=0.50&off=t&stage=2&thr=0.40"
    )
    again = htc_lab.explore(tiny_sample(), models, state=given.state, hide=["open"])
    assert (again.state, again.hide, again.pack) == (given.state, ["open"], given.pack)
    assert read_pack(given.pack).index["code"] == {}


def test_an_idea_that_is_hidden_is_not_on_either() -> None:
    start = htc_lab.explore(tiny_sample(), tiny_models(("plain", "htc")), hide=["semantic"])
    assert start.state.startswith(f"B={bits_of(MASK_FLOW)}&")


def test_python_says_names_where_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "it's.png"
    Image.fromarray(picture(1).permute(1, 2, 0).numpy()).save(path)
    code = read_pack(htc_lab.explore(path, "classroom/htc").pack).index["code"]
    assert code == {"models": "{'classroom/htc': 'classroom/htc'}", "image": repr(str(path))}


def test_a_state_that_is_none_is_refused(explorer: StageExplorer) -> None:
    before = explorer.state
    with pytest.raises(InputError, match="stage"):
        explorer.state = "stage=9"
    assert explorer.state == before
    with pytest.raises(InputError, match="not a knob"):
        StageExplorer(explorer.pack, hide=["everything"])


def test_a_dropped_picture_is_packed_with_progress() -> None:
    explorer = StageExplorer.from_models(tiny_models(("plain", "htc")), tiny_sample())
    told: list[str] = []
    explorer.observe(lambda change: told.append(change["new"].get("text", "")), names="status")
    path = WEB.parents[1] / "docs" / "stages.png"
    explorer._heard(None, {"kind": "picture", "name": "stages.png"}, [memoryview(path.read_bytes())])
    assert (told[0], told[-2:]) == ("Reading stages.png…", ["Packing…", ""])
    percents = [int(text.removeprefix("Running the models: ").removesuffix(" %")) for text in told[1:-2]]
    assert percents == sorted(set(percents))
    assert (percents[0], percents[-1]) == (0, 100)
    # No part of the work is long beside the whole.
    assert max(after - before for before, after in itertools.pairwise(percents)) <= 10
    index = read_pack(explorer.pack).index
    assert (index["title"], index["truth"], index["code"]) == ("stages.png", None, {})


def test_a_file_that_is_no_picture_is_named_and_nothing_changes(explorer: StageExplorer) -> None:
    before = explorer.pack
    explorer._heard(None, {"kind": "picture", "name": "notes.txt"}, [memoryview(b"no picture")])
    assert explorer.status["failed"]
    assert explorer.status["text"].startswith("notes.txt: cannot be read as a picture")
    assert explorer.pack == before


def test_checkpoints_of_mmdet_are_explored_under_their_own_names(tmp_path: Path) -> None:
    image = picture(1)
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "photo.png")
    bits = {"cascade_mask_rcnn_r50": bits_of(PLAIN_CASCADE), "htc_r50": bits_of(HTC)}
    paths = {}
    for name, on in bits.items():
        state = lively(with_toggles(toggles_of_bits(on))).state_dict()
        content = {"meta": {"CLASSES": ("cat", "dog", "cup")}, "state_dict": state}
        paths[name] = write(tmp_path / f"{name}.pth", content)
    explorer = htc_lab.explore(tmp_path / "photo.png", paths)
    opened = read_pack(explorer.pack)
    index = opened.index
    assert index["classes"] == ["cat", "dog", "cup"]
    assert {model["name"]: model["bits"] for model in index["models"]} == bits
    assert (
        index["answers"]["trained_without"][bits_of(PLAIN_CASCADE)]
        != index["answers"]["switched_off"][bits_of(PLAIN_CASCADE)]
    )
    for name, on in bits.items():
        model = htc_lab.load(paths[name])
        features = model.encode([image])
        trace = model.cascade(features, model.propose(features), model.config.toggles)
        run = index["runs"][index["answers"]["trained_without"][on][0]]
        assert run["count"] == len(kept(trace))
        np.testing.assert_array_equal(opened.blocks[run["boxes"][-1]], trace.boxes[kept(trace)].detach())
    explorer.show(image, "again")
    assert read_pack(explorer.pack).index["title"] == "again"


def test_the_readmes_calls_give_the_scores_of_the_explorer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the picture has not the size that the network sees."""
    readme = (WEB.parents[1] / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    pixels = classroom_samples(1, first=1)[0].image.permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    said: dict[str, Any] = {}
    exec(snippet, said)
    trace, found = said["trace"], said["found"]
    assert trace.sizes != trace.pictures == [pixels.shape[:2]]
    opened = read_pack(htc_lab.explore("picture.png", "classroom/htc").pack)
    for bits, mine in ((bits_of(HTC), trace), (bits_of(PLAIN_CASCADE), said["plain"])):
        run = opened.index["runs"][opened.index["answers"]["switched_off"][bits][0]]
        assert run["count"] == len(kept(mine)) > 0
        for stage in range(3):
            ours = mine.stage_scores(stage)[kept(mine)]
            np.testing.assert_array_equal(opened.blocks[run["scores"][stage + 1]], ours)
        np.testing.assert_array_equal(opened.blocks[run["scores"][4]], mine.scores[kept(mine)])
        np.testing.assert_array_equal(opened.blocks[run["boxes"][-1]], mine.boxes[kept(mine)])
    assert_same(found, said["model"].predict([said["image"]])[0])
    assert float(found.scores.max()) > 0.8


def test_an_explorer_without_models_takes_no_pictures(explorer: StageExplorer) -> None:
    with pytest.raises(InputError, match="from_models"):
        StageExplorer(explorer.pack).show(picture(2))


def test_the_page_holds_everything_and_asks_for_nothing(explorer: StageExplorer, tmp_path: Path) -> None:
    page = explorer.save_html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert set(re.findall(r"https?://[^\s'\"]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "&lt;tiny&gt;" in page
    assert "</script>" not in script()
    assert page.count("</script>") == 3


def test_a_state_can_not_end_the_element_it_stands_in() -> None:
    page = to_html(make_pack(made_runs()), "</script><b>", ["open"])
    assert "</script><b>" not in page
    settings = re.search(r'class="htc-settings">(.*?)</script>', page)
    assert settings is not None
    assert json.loads(settings[1]) == {"state": "</script><b>", "hide": ["open"]}


def test_no_markup_is_ever_made_from_data() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(WEB.rglob("*.js")))
    for way in ("innerHTML", "outerHTML =", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert way not in text


def test_the_command_writes_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "out.html"
    which = ["--scene", "3", "--checkpoint", "classroom/htc"]
    main(["explore", *which, "--html", str(page), "--state", "B=1100", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert figures["html_bytes"] == page.stat().st_size < 3 * 1024 * 1024
    assert figures["pack_bytes"] < 16 * 100 * 1024
    assert figures["models"] == ["classroom/htc"]
    assert f'"state": "B={bits_of(MASK_FLOW)}&off=t' in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give a picture file, or --scene"),
        (["--scene", "-1"], "scene -1"),
        (["--scene", "1", "--hide", "all"], "'all' is not a knob"),
        (["nothing.png"], "nothing.png: no such image"),
        (["--scene", "1", "--state", "B=2"], "bits is '2'"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["explore", *arguments, "--html", str(tmp_path / "x.html")])
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert "\n" not in error
    assert not (tmp_path / "x.html").exists()


def test_the_browser_s_files_are_packaged() -> None:
    root = WEB.parents[1]
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "htc_lab"
    ]
    packaged = {path for pattern in patterns for path in (root / "htc_lab").glob(pattern)}
    there = {path for ending in ("js", "css") for path in WEB.rglob(f"*.{ending}")}
    assert set(browser_files()) == there
    assert there <= packaged
