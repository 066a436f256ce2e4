"""Trainings in trouble: ``python -m tests.faults.trouble FOLDER`` makes each and prints how it ended.

A scenario is a function of the small training and an empty folder; what it returns is looked at by
``test_trouble.py``.
"""

import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from htc_lab.checkpoint.files import CHECKPOINT, load, read_run
from htc_lab.course.lesson07.figures import show_batch
from htc_lab.data.transforms import TrainTransform
from htc_lab.errors import InputError
from htc_lab.train.stopped_batch import read_batch
from tests.faults import system
from tests.faults.killing import assert_same_state, curve
from tests.faults.small import QUIET, Small, child, ended, of_steps, small

STEPS = 4
SHORT = of_steps(STEPS)
ROOM = 1 << 20


class Stop(Exception):
    """Ends a training after a step."""


class Scene:
    """A folder for a scenario, and children that train in it."""

    def __init__(self, setup: Small, folder: Path) -> None:
        self.setup, self.folder, self.run = setup, folder, folder / "run"
        self.alone = folder.parent / "alone"

    def tried(self, work: Callable[[], Any]) -> dict[str, Any]:
        """Do it in a child: its exit code, and what refused it."""
        said = self.folder.parent / f"{self.folder.name}.said"
        said.write_text("")
        # A child that has given up its rights writes there too.
        said.chmod(0o666)
        code = ended(child(work, said))
        return {"code": code, "said": said.read_text()}

    def train(self, **more: Any) -> None:
        """The training."""
        self.setup.train(self.run, **{"schedule": SHORT, **more})

    def goes_on(self) -> bool:
        """Whether the same command, without the trouble, ends as one that had none."""
        if self.tried(self.train)["code"] != 0:
            return False
        assert_same_state(self.run, self.alone)
        return curve(self.run) == curve(self.alone)

    def step(self) -> int:
        """Of the checkpoint, which must load."""
        load(self.run)
        return read_run(self.run / CHECKPOINT)[2]


def after(step: int, do: Callable[[], Any]) -> Callable[[int, dict[str, float]], None]:
    """A callback that does something after a step."""

    def on_step(number: int, _: dict[str, float]) -> None:
        if number == step:
            do()

    return on_step


def stop() -> None:
    """End the training here."""
    raise Stop


def no_room_for_a_checkpoint(scene: Scene) -> dict[str, Any]:
    limit = after(2, lambda: system.largest_file(ROOM))
    found = scene.tried(lambda: scene.train(on_step=limit))
    left = sorted(path.name for path in scene.run.iterdir())
    return {**found, "step": scene.step(), "left": left, "goes_on": scene.goes_on()}


def no_room_for_a_line(scene: Scene) -> dict[str, Any]:
    options = dataclasses.replace(QUIET, checkpoint_every=2)
    limit = after(2, lambda: system.largest_file((scene.run / "metrics.jsonl").stat().st_size + 10))
    found = scene.tried(lambda: scene.train(on_step=limit, options=options))
    return {**found, "step": scene.step(), "goes_on": scene.goes_on()}


def full_disk(scene: Scene) -> dict[str, Any]:
    """One checkpoint fits, an old and a new one don't; then there is room again."""
    result = scene.folder / "result.json"
    disk = scene.folder / "disk"
    disk.mkdir()
    scene.run = disk / "run"

    def work() -> None:
        try:
            system.own_mounts()
            system.small_disk(disk, 3000)
        except system.NotHere as reason:
            result.write_text(json.dumps({"not_here": str(reason)}))
            return
        found = scene.tried(scene.train)
        step = scene.step()
        again = scene.tried(scene.train)
        left = sorted(path.name for path in scene.run.iterdir())
        system.larger_disk(disk, 30000)
        found |= {"again": again, "step": step, "left": left, "goes_on": scene.goes_on()}
        result.write_text(json.dumps(found))

    assert ended(child(work)) == 0
    return json.loads(result.read_text())


def read_only_folder(scene: Scene) -> dict[str, Any]:
    """By its mode: a new run, one that has begun, and a finished one, which may be read."""
    closed = scene.folder / "closed"
    closed.mkdir(mode=0o755)
    begun, finished = closed / "begun", closed / "finished"
    scene.tried(lambda: scene.setup.train(begun, SHORT, on_step=after(2, stop)))
    scene.tried(lambda: scene.setup.train(finished, SHORT))
    for folder in (begun, finished, closed):
        folder.chmod(0o555)
        for file in folder.iterdir():
            if file.is_file():
                file.chmod(0o444)
    found = {}
    for name, run in (("new", closed / "new"), ("begun", begun), ("finished", finished)):

        def work(run: Path = run) -> None:
            system.as_nobody()
            scene.setup.train(run, SHORT)

        found[name] = scene.tried(work)
    for folder in (begun, finished, closed):
        folder.chmod(0o755)
    scene.run = begun
    (begun / "run.lock").chmod(0o644)
    return {**found, "step": scene.step(), "goes_on": scene.goes_on()}


def read_only_disk(scene: Scene) -> dict[str, Any]:
    scene.tried(lambda: scene.train(on_step=after(2, stop)))
    result = scene.folder / "result.json"

    def work() -> None:
        try:
            system.own_mounts()
            system.read_only(scene.run)
        except system.NotHere as reason:
            result.write_text(json.dumps({"not_here": str(reason)}))
            return
        result.write_text(json.dumps(scene.tried(scene.train)))

    assert ended(child(work)) == 0
    return {**json.loads(result.read_text()), "goes_on": scene.goes_on()}


def a_file_in_the_way(scene: Scene) -> dict[str, Any]:
    scene.run.write_text("not a folder")
    found = scene.tried(scene.train)
    scene.run = scene.run / "run"
    return {**found, "below": scene.tried(scene.train)}


def two_at_once(scene: Scene, workers: int = 0) -> dict[str, Any]:
    """The second is refused, the first is killed, the third begins at once."""
    reached = scene.folder / "reached"

    def wait() -> None:
        reached.touch()
        time.sleep(600)

    options = dataclasses.replace(QUIET, workers=workers)
    first = child(lambda: scene.train(on_step=after(2, wait), options=options))
    while not reached.exists():
        time.sleep(0.01)
    second = scene.tried(scene.train)
    os.kill(first, signal.SIGKILL)
    ended(first)
    return {**second, "first": first, "goes_on": scene.goes_on()}


def two_at_once_with_readers(scene: Scene) -> dict[str, Any]:
    return two_at_once(scene, workers=1)


def other_clocks(scene: Scene) -> dict[str, Any]:
    """The clock jumps back and forth during the training, and the files are from the past and the future."""

    def work(on_step: Callable[[int, dict[str, float]], None] | None = None) -> None:
        jumps = iter([4e9, 1.0, 2e9, 3.0] * 100_000)
        time.time = lambda: next(jumps)
        scene.train(on_step=on_step)

    scene.tried(lambda: work(after(2, stop)))
    for year, path in zip((0, 4_000_000_000, 1, 3_900_000_000), sorted(scene.run.iterdir()), strict=False):
        os.utime(path, (year, year))
    found = scene.tried(work)
    assert_same_state(scene.run, scene.alone)
    return {**found, "goes_on": curve(scene.run) == curve(scene.alone)}


def no_number(scene: Scene) -> dict[str, Any]:
    """Weights so large that the next loss is none."""
    wild = dataclasses.replace(SHORT, steps=30, lr=1e30, warmup_steps=0, clip_norm=0.0)
    options = dataclasses.replace(QUIET, checkpoint_every=100)
    found = scene.tried(lambda: scene.train(schedule=wild, options=options))
    (path,) = scene.run.glob("stopped_at_step_*.safetensors")
    batch = read_batch(path)
    return {
        **found,
        "file": str(path),
        "ids": [sample.image_id for sample in batch.samples],
        "shapes": [list(sample.image.shape) for sample in batch.samples],
        "objects": [len(sample.targets.boxes) for sample in batch.samples],
        "losses": batch.losses,
        "step": batch.step,
        "picture": len(show_batch(path)._repr_png_()),
    }


def no_number_in_the_weights(scene: Scene) -> dict[str, Any]:
    """The loss is fine, the step is not: such weights must not become the checkpoint."""
    wild = dataclasses.replace(SHORT, lr=3e38, lr_batch=SHORT.batch, warmup_steps=0, clip_norm=0.0)
    found = scene.tried(lambda: scene.train(schedule=wild))
    return {**found, "left": sorted(path.name for path in scene.run.iterdir())}


def no_memory(scene: Scene) -> dict[str, Any]:
    """It runs out after two steps; the run goes on with the batch in parts."""
    config = scene.setup.config
    image = dataclasses.replace(config.image, train_short=(512,), train_long=512)
    # Wider than the tiny one: its maps are what needs the memory.
    config = dataclasses.replace(config, image=image, backbone=dataclasses.replace(config.backbone, width=16))
    dataset = scene.setup.dataset
    before, dataset.transform = dataset.transform, TrainTransform(image.train_short, image.train_long)
    setup = Small(config, dataset)
    scene.tried(lambda: setup.train(scene.run, SHORT, on_step=after(2, stop)))

    def work() -> None:
        system.memory_left(24)
        setup.train(scene.run, SHORT)

    found = scene.tried(work)
    found["step"] = scene.step()
    parts = dataclasses.replace(SHORT, accumulate=2)
    found["in_parts"] = scene.tried(lambda: setup.train(scene.run, parts))["code"]
    found["resumed_with"] = json.loads((scene.run / "config.json").read_text())["resumed_with"]
    dataset.transform = before
    return found


def lost_reader(scene: Scene) -> dict[str, Any]:
    """The process that reads images is killed, as the system does where memory is short."""

    def kill() -> None:
        for pid in system.children():
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)

    # More steps than the reader has read ahead.
    long = of_steps(12)
    options = dataclasses.replace(QUIET, workers=1)
    found = scene.tried(lambda: scene.train(schedule=long, options=options, on_step=after(2, kill)))
    return {**found, "step": scene.step()}


SCENARIOS: tuple[Callable[[Scene], dict[str, Any]], ...] = (
    no_room_for_a_checkpoint,
    no_room_for_a_line,
    full_disk,
    read_only_folder,
    read_only_disk,
    a_file_in_the_way,
    two_at_once,
    two_at_once_with_readers,
    other_clocks,
    no_number,
    no_number_in_the_weights,
    no_memory,
    lost_reader,
)


def main(folder: Path, names: list[str]) -> dict[str, Any]:
    """Make every trouble; how each ended."""
    torch.set_num_threads(1)
    setup = small(folder / "scenes")
    assert ended(child(lambda: setup.train(folder / "alone", SHORT))) == 0
    found = {}
    for scenario in SCENARIOS:
        if not names or scenario.__name__ in names:
            place = folder / scenario.__name__
            place.mkdir(mode=0o755)
            began = time.monotonic()
            try:
                found[scenario.__name__] = scenario(Scene(setup, place))
            except (AssertionError, InputError, OSError) as error:
                found[scenario.__name__] = {"code": None, "said": f"{type(error).__name__}: {error}"}
            found[scenario.__name__]["seconds"] = round(time.monotonic() - began, 1)
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:])))
