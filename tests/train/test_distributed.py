"""Two real processes: the numbers of one, and what happens when one of them is lost."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from htc_lab.cli import main
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import write_classroom
from tests.train.two_processes import (
    SCHEDULE,
    command,
    detect,
    free_port,
    norm_of_rois,
    normed,
    train_tiny,
)

WAIT = 240.0


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "scenes"
    write_classroom(root, 8, 2, 2, SceneConfig(size=64), progress=False)
    return root


@pytest.fixture(scope="module")
def torn(tmp_path_factory, scenes) -> Path:
    """The same, but one picture is no picture."""
    root = tmp_path_factory.mktemp("data") / "torn"
    shutil.copytree(scenes, root)
    (root / "train" / "000003.png").write_bytes(b"no picture")
    return root


@contextlib.contextmanager
def started(log: Path, *commands: tuple[list[str], dict[str, str]]) -> Iterator[list[subprocess.Popen]]:
    """Processes that speak into one file; what is left of them and their children is killed at the end."""
    with log.open("w") as file:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", *words],
                stdout=file,
                stderr=file,
                env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
            )
            for words, variables in commands
        ]
        try:
            yield processes
        finally:
            for process in processes:
                for pid in ranks_of(process).values():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                process.kill()
                process.wait()


def torchrun(*words: str) -> tuple[list[str], dict[str, str]]:
    place = ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    return ["torch.distributed.run", "--nproc-per-node", "2", *place, "-m", *words], {}


def by_hand(*words: str) -> list[tuple[list[str], dict[str, str]]]:
    """Each process started by itself, as Slurm's srun would."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    return [
        (list(words), {**place, "RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2"}) for rank in "01"
    ]


def ranks_of(launcher: subprocess.Popen) -> dict[int, int]:
    """Process id of each rank that torchrun has started."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == launcher.pid:
                variables = dict(v.partition("=")[::2] for v in (folder / "environ").read_text().split("\0"))
                if "RANK" in variables:
                    found[int(variables["RANK"])] = int(folder.name)
    return found


def until(what, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + WAIT
    while not what():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)


def lines(run: Path) -> list[dict[str, float]]:
    path = run / "metrics.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return [{k: v for k, v in line.items() if k != "seconds"} for line in found]


@pytest.fixture(scope="module")
def two(tmp_path_factory, scenes, torn) -> Path:
    """What two processes did, all in one start of them."""
    out = tmp_path_factory.mktemp("two")
    log = out / "log.txt"
    words = ("tests.train.two_processes", str(scenes), str(torn), str(out))
    with started(log, torchrun(*words)) as (launcher,):
        until(lambda: "gave no answer" in log.read_text(), launcher, log)
        # torchrun would wait half a minute for a stopped process to end by itself.
        os.kill(ranks_of(launcher)[1], signal.SIGKILL)
        assert launcher.wait(WAIT) != 0
    return out


def seen(two: Path, rank: int) -> dict:
    return json.loads((two / f"seen{rank}.json").read_text())


def assert_same_curve(one: Path, other: Path, tolerance: float) -> None:
    ours, theirs = lines(one), lines(other)
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=tolerance, abs=tolerance)


def test_two_processes_train_like_one_with_the_whole_batch(tmp_path, scenes, two):
    one = train_tiny(scenes, tmp_path / "plain", SCHEDULE)
    assert_same_curve(two / "plain", tmp_path / "plain", 1e-4)
    sums = {n: float(v.double().sum()) for n, v in one.state_dict().items()}
    assert seen(two, 0)["sums"] == seen(two, 1)["sums"] == pytest.approx(sums, rel=1e-4, abs=1e-4)


def test_a_batch_in_parts_is_shared_the_same_way(tmp_path, scenes, two):
    train_tiny(scenes, tmp_path / "parts", dataclasses.replace(SCHEDULE, accumulate=2))
    assert_same_curve(two / "parts", tmp_path / "parts", 1e-4)
    whole, parts = lines(two / "plain")[0], lines(two / "parts")[0]
    # The same images, the same samples: only the means are taken in two halves.
    assert whole != parts
    assert whole["loss"] == pytest.approx(parts["loss"], rel=0.2)


def test_bfloat16_is_close(two):
    ours, theirs = lines(two / "amp"), lines(two / "plain")
    assert len(ours) == 2
    assert ours[0]["loss"] != theirs[0]["loss"]
    assert ours[0]["loss"] == pytest.approx(theirs[0]["loss"], rel=0.01)


def test_synchronised_norms_see_the_whole_batch(tmp_path, scenes, two):
    train_tiny(scenes, tmp_path / "norms", SCHEDULE, config=normed(scenes))
    assert_same_curve(two / "norms", tmp_path / "norms", 1e-3)
    assert lines(two / "norms")[0] != lines(two / "plain")[0]


def test_a_process_without_a_roi_takes_part(two):
    alone, first, other = norm_of_rois(), seen(two, 0)["norm"], seen(two, 1)["norm"]
    for name, values in alone.items():
        assert first[name] == pytest.approx(values, rel=1e-4, abs=1e-4), name
    assert other["out"] == other["rois"] == []
    # What is learned of the batch is the same everywhere; the weights' gradients are of each one's own RoIs.
    assert other["mean"] == first["mean"]
    assert other["var"] == first["var"]
    assert other["weight"] == other["bias"] == [0, 0, 0]


def test_a_torn_picture_is_named_once_and_replaced_for_all(tmp_path, torn, two, capsys):
    train_tiny(torn, tmp_path / "torn", SCHEDULE)
    assert_same_curve(two / "torn", tmp_path / "torn", 1e-4)
    errors = {two / "torn": (two / "log.txt").read_text(), tmp_path / "torn": capsys.readouterr().err}
    for run, said in errors.items():
        (skipped,) = [json.loads(line) for line in (run / "skipped.jsonl").read_text().splitlines()]
        assert skipped["image_id"] == 3
        assert "000003.png: cannot be read as a picture" in skipped["why"]
        assert said.count("image 3 replaced") == 1


def test_evaluation_shared_by_two_equals_one_exactly(scenes, two):
    one = detect(scenes)
    assert len(one.final) > 8
    assert seen(two, 0)["final"] == one.final
    assert seen(two, 0)["by_stage"] == one.by_stage
    assert seen(two, 1)["final"] == []


def test_what_cannot_work_is_refused_in_both(two):
    said = seen(two, 0)["said"]
    assert said == seen(two, 1)["said"]
    assert said["odd"].startswith(
        "SharedError: --batch 3: is the batch of all processes together, and 2 proc"
    )
    assert said["parts"].endswith("give a multiple of 8")
    assert "batch norm is frozen" in said["frozen"]
    assert "on GPUs only" in said["cpu"]
    assert "the loss is" in said["wild"]


def test_the_commands_speak_once(capsys, scenes, two):
    text = (two / "log.txt").read_text()
    assert text.count("10 steps done") == 1
    assert text.count("error: --batch 5: is the batch of all processes") == 1
    assert (two / "code0").read_text() == (two / "code1").read_text() == "2"
    assert not (two / "never").exists()
    theirs, _ = json.JSONDecoder().raw_decode(text, text.index("{\n"))
    capsys.readouterr()
    main(["eval", "--data", str(scenes), "--checkpoint", str(two / "whole"), "--split", "train", "--json"])
    ours = json.loads(capsys.readouterr().out)
    assert theirs.pop("seconds") != ours.pop("seconds")
    assert theirs == ours


def test_a_silent_process_is_not_waited_for(two):
    text = (two / "log.txt").read_text()
    (said,) = [line for line in text.splitlines() if "another process was killed or gave no answer" in line]
    assert said.startswith("error: process 0 of 2: another process was killed or gave no answer for 3 s (")
    assert said.endswith("start the same command again, and the run goes on from its last checkpoint")
    assert lines(two / "hung") == lines(two / "plain")[:2]


def test_after_a_kill_the_same_command_goes_on_as_if_nothing_had_happened(tmp_path, scenes, two):
    run, log = tmp_path / "run", tmp_path / "log.txt"
    words = ["htc_lab", *command("train", scenes, run)]
    with started(log, *by_hand(*words)) as (first, second):
        until(lambda: len(lines(run)) >= 3, first, log)
        second.kill()
        assert first.wait(WAIT) == 2
    assert "error: process 0 of 2: another process was killed" in log.read_text()
    assert 3 <= len(lines(run)) < 10
    with started(log, *by_hand(*words)) as both:
        assert [process.wait(WAIT) for process in both] == [0, 0], log.read_text()
    assert lines(run) == lines(two / "whole")
    assert [line["step"] for line in lines(run)] == list(range(1, 11))
