"""Released checkpoints, verified by the hash in their names."""

import hashlib
from pathlib import Path

import pytest

from htc_lab.data.fetch import released
from htc_lab.data.fetch.download import Patience
from htc_lab.data.fetch.released import RELEASED, get_checkpoints, hash_in_name, released_name
from htc_lab.errors import InputError
from htc_lab.presets import PRESETS
from tests.data_scripts.run import run
from tests.data_scripts.server import Page, Server, noise

QUICK = Patience(attempts=3, pause=0.0, timeout=5.0)
BODY = noise(50_000)


def test_every_preset_with_a_release_is_there() -> None:
    unreleased = {"classroom", "photos", "htc_without_semantic_r50_1x", "htc_senet154_dcn_syncbn_ms_20e"}
    assert RELEASED.keys() == PRESETS.keys() - unreleased
    for preset, path in RELEASED.items():
        folder, name = path.split("/")[1:]
        assert name.startswith(folder)
        assert path.startswith("htc/" if preset.startswith("htc") else "cascade_rcnn/cascade_mask_rcnn_")
        assert preset.rpartition("_")[2] in name
        assert hash_in_name(path).algorithm == "sha256"
    assert hash_in_name(RELEASED["htc_r50_1x"]).value == "7332cf16"


def test_a_file_that_keeps_what_its_name_promises(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"htc/a/a_2020-{hashlib.sha256(BODY).hexdigest()[:8]}.pth"
    monkeypatch.setitem(released.RELEASED, "htc_r50_1x", path)
    server.pages[f"/{path}"] = Page(BODY, drop_after=20_000, drops=2)
    (found,) = get_checkpoints(["htc_r50_1x"], tmp_path, mirror=server.url, patience=QUICK, progress=False)
    assert found == tmp_path / path.rpartition("/")[2]
    assert found.read_bytes() == BODY
    asked = len(server.asked)
    get_checkpoints(["htc_r50_1x"], tmp_path, mirror=server.url, progress=False)
    assert len(server.asked) == asked
    found.write_bytes(BODY[:-1])
    with pytest.raises(InputError, match=r"\.pth: has the sha256 \w{8}, not \w{8}; delete it"):
        get_checkpoints(["htc_r50_1x"], tmp_path, mirror=server.url, progress=False)


def test_a_file_that_does_not(server: Server, tmp_path: Path) -> None:
    server.pages["/" + RELEASED["htc_r50_1x"]] = Page(BODY)
    done = run("get_checkpoints.py", "htc_r50_1x", "--to", tmp_path, "--mirror", server.url)
    assert done.returncode == 2
    assert "htc_r50_fpn_1x_coco_20200317-7332cf16.pth: what it serves has the sha256" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_list_and_wrong_names(tmp_path: Path) -> None:
    (tmp_path / released_name("htc_r50_20e")).write_bytes(bytes(2_000_000))
    done = run("get_checkpoints.py", "--list", "--to", tmp_path)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == len(RELEASED)
    assert f"htc_r50_fpn_20e_coco_20200319-fe28c577.pth  2 MB, in {tmp_path}" in done.stdout
    with pytest.raises(InputError, match="classroom: no checkpoint was released for it; take one of cascade"):
        get_checkpoints(["classroom"], tmp_path)
    with pytest.raises(InputError, match="doesn't end in 8 digits"):
        hash_in_name("http://a/latest.pth")
