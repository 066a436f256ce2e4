"""Checkpoint files, broken: the weights that were saved, or one line; and nothing in them ever runs."""

import contextlib
import io
import json
import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from htc_lab.checkpoint.files import load, read_run, save_model, save_run
from htc_lab.config import HTC, PLAIN_CASCADE
from htc_lab.interop.mmdet_checkpoint import save_mmdet
from htc_lab.interop.torch_file import open_torch_file
from htc_lab.interop.unpickling import read_pickle
from htc_lab.model import HybridTaskCascade
from tests.fuzz.mutate import ODD, broken_bytes, broken_tree
from tests.fuzz.outcome import examples, fresh, outcome, times
from tests.interop.files import Calls, model, write


@pytest.fixture(scope="module")
def small() -> HybridTaskCascade:
    return model(HTC)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, small: HybridTaskCascade) -> Path:
    """Every kind of file the lab reads, of one tiny model."""
    folder = tmp_path_factory.mktemp("saved")
    save_model(small, folder / "own.safetensors")
    save_run(folder / "run.safetensors", small, {"x": torch.zeros(3)}, 7)
    save_mmdet(small, folder / "theirs.pth")
    legacy = {"meta": {"epoch": 3}, "state_dict": dict(small.state_dict())}
    write(folder / "old.pth", legacy, "legacy")
    return folder


def assert_whole(found: HybridTaskCascade) -> None:
    """A model that came out of a broken file is complete and holds numbers."""
    for name, value in found.state_dict().items():
        assert not value.is_meta, name
        if value.is_floating_point():
            assert value.dtype == torch.float32, name
            assert value.isfinite().all(), name
    assert len(found.class_names) == found.config.classes


@pytest.mark.parametrize("name", ["own.safetensors", "run.safetensors", "theirs.pth", "old.pth"])
def test_broken_files(name: str, saved: Path, tmp_path: Path) -> None:
    data = (saved / name).read_bytes()
    for seed in range(times(40)):
        path = fresh(tmp_path, name, broken_bytes(data, random.Random(seed)))
        found = outcome(lambda path=path: load(path), path)
        if found is not None:
            assert_whole(found)


@pytest.mark.parametrize("name", ["own.safetensors", "run.safetensors", "theirs.pth", "old.pth"])
def test_truncations(name: str, saved: Path, tmp_path: Path) -> None:
    data = (saved / name).read_bytes()
    draw = random.Random(name)
    for length in [0, 1, 2, 7, 8, 9, len(data) - 1, *(draw.randrange(len(data)) for _ in range(times(20)))]:
        path = fresh(tmp_path, name, data[:length])
        assert outcome(lambda path=path: load(path), path) is None, length


# ---- the small pickles and headers in front of the weights, where a changed byte changes most


def _small_files(folder: Path) -> list[bytes]:
    content = {"state_dict": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}, "meta": {"n": 1}}
    return [write(folder / f"{form}.pth", content, form).read_bytes() for form in ("zip", "legacy")]


@pytest.mark.parametrize("part", range(2))
def test_broken_torch_files(part: int, tmp_path: Path) -> None:
    def read(path: Path) -> dict[str, Tensor]:
        with open_torch_file(path) as file:
            found = file.content["state_dict"] if isinstance(file.content, dict) else {}
            found = found if isinstance(found, dict) else {}
            return {
                str(name): file.tensor(record, str(name))
                for name, record in found.items()
                if type(record).__name__ == "TensorRecord"
            }

    data = _small_files(tmp_path)[part]
    for seed in range(times(500)):
        path = fresh(tmp_path, "a.pth", broken_bytes(data, random.Random(f"{part} {seed}")))
        try:
            outcome(lambda path=path: read(path), path)
        except KeyError:
            # The file is sound and says something else.
            continue


def test_headers_that_say_something_else(saved: Path, tmp_path: Path) -> None:
    """Sound safetensors files whose metadata are odd."""
    tensors = load_file(saved / "own.safetensors")
    sound = json.loads((saved / "own.json").read_text())
    for seed in range(times(40)):
        draw = random.Random(seed)
        header = {"config": json.dumps(sound["config"]), "class_names": json.dumps(sound["class_names"])}
        if draw.random() < 0.7:
            header["config"] = json.dumps(broken_tree(sound["config"], draw))
        else:
            header[draw.choice(("config", "class_names"))] = draw.choice(
                (
                    "",
                    "[",
                    "null",
                    "3",
                    "[" * 50_000,
                    "[1, 2, 3]",
                    '"abc"',
                    '{"a": 1, "b": 2, "c": 3}',
                    "9" * 5000,
                )
            )
        path = tmp_path / "a.safetensors"
        save_file(tensors, path, metadata=header)
        found = outcome(lambda path=path: load(path), path.name if "network" in header else "")
        if found is not None:
            assert_whole(found)


def test_entries_that_are_not_what_they_should_be(saved: Path, tmp_path: Path) -> None:
    """Missing, left over, transposed, of other types, with numbers that are none."""
    sound = load_file(saved / "own.safetensors")
    card = json.loads((saved / "own.json").read_text())
    header = {"config": json.dumps(card["config"]), "class_names": json.dumps(card["class_names"])}
    names = sorted(sound)
    for seed in range(times(20)):
        draw = random.Random(seed)
        tensors = dict(sound)
        name = draw.choice(names)
        how = draw.randrange(7)
        value = tensors[name].clone()
        if how == 0:
            del tensors[name]
        elif how == 1:
            tensors[name + ".more"] = value
        elif how == 2:
            tensors[name] = value.flatten()[:-1].contiguous() if value.dim() else value[None]
        elif how == 3:
            tensors[name] = value.to(draw.choice((torch.int64, torch.bool, torch.uint8)))
        elif how == 4:
            tensors[name] = value.to(draw.choice((torch.float64, torch.float16, torch.bfloat16)))
        elif value.is_floating_point() and value.numel():
            value.view(-1)[draw.randrange(value.numel())] = draw.choice((float("nan"), float("inf"), -1e38))
            tensors[name] = value
        path = tmp_path / "a.safetensors"
        save_file(tensors, path, metadata=header)
        found = outcome(lambda path=path: load(path), path)
        if found is not None:
            assert_whole(found)
        elif how in (5, 6):
            assert name.endswith(("weight", "bias", "running_mean", "running_var"))


def test_other_things_under_a_checkpoints_name(tmp_path: Path, saved: Path) -> None:
    things: dict[str, Any] = {
        "list": [1, 2],
        "tensor": torch.zeros(3),
        "nothing": None,
        "weights of another network": torch.nn.Conv2d(3, 4, 1).state_dict(),
        "a plain cascade": dict(model(PLAIN_CASCADE).state_dict()),
        "names that are numbers": {1: torch.zeros(1)},
        "an empty dict": {},
        "nested": {"state_dict": {"state_dict": {"a": torch.zeros(1)}}},
    }
    for name, content in things.items():
        for form in ("zip", "legacy"):
            path = write(tmp_path / "a.pth", content, form)
            found = outcome(lambda path=path: load(path), path)
            assert (found is None) == (name != "a plain cascade"), name
    for name in ("own.safetensors", "theirs.pth"):
        wrong = tmp_path / ("a.pth" if name.startswith("own") else "a.safetensors")
        wrong.write_bytes((saved / name).read_bytes())
        assert outcome(lambda wrong=wrong: load(wrong), wrong) is None
    for odd in ODD:
        if isinstance(odd, str):
            assert outcome(lambda odd=odd: load(odd)) is None or odd in ("", ".")


def test_a_training_state_with_an_odd_step(saved: Path, tmp_path: Path) -> None:
    tensors = load_file(saved / "run.safetensors")
    for step in ("7", "", "-1", "x", "1.5", "nan", "٣", "9" * 5000):
        path = tmp_path / "a.safetensors"
        save_file(tensors, path, metadata={"step": step, "config": "{}"})
        found = outcome(lambda path=path: read_run(path), path)
        assert (found is not None) == (step == "7"), step


# ---- programs in pickles


@given(st.lists(st.binary(max_size=40), max_size=3), st.integers(0, 5))
@examples(400)
def test_any_bytes_as_a_pickle_touch_nothing(parts: list[bytes], protocol: int) -> None:
    """Also between sound ones: what is read is data, whatever the bytes say."""
    data = b"\x80" + bytes([protocol]) + b"".join(parts) + b"."

    def read() -> None:
        # Whatever it raises is of no account here: the reader of files says "damaged" for all of it.
        with contextlib.suppress(Exception):
            read_pickle(io.BytesIO(data))

    outcome(read)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_no_pickle_that_names_a_function_runs_it(form: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    line = f"open({str(marker)!r}, 'w').close()"
    calls = [
        Calls(os.system, f"touch '{marker}'"),
        Calls(eval, line),
        Calls(exec, line),
        Calls(__import__, "this"),
        Calls(open, str(marker), "w"),
        Calls(os.mkdir, str(marker)),
        Calls(pickle.loads, pickle.dumps(Calls(os.mkdir, str(marker)))),
        Calls(torch.load, "x"),
        Calls(compile, line, "x", "exec"),
    ]
    for where in ("top", "meta", "entry", "key"):
        for call in calls:
            content: Any = {"meta": {}, "state_dict": {"a": torch.zeros(2)}}
            if where == "top":
                content = call
            elif where == "key":
                content["state_dict"] = {"a": call}
            else:
                content["meta" if where == "meta" else "more"] = {"x": call}
            path = write(tmp_path / "a.pth", content, form)
            assert outcome(lambda path=path: load(path), path) is None
            assert not marker.exists()
