"""What a busy machine costs: the lab's work on a free machine and beside a program that burns a core.

python -m benchmarks.busy [--works NAME ...] [--seconds S] [--processes 1 2] [--json]

Each task is timed in turns in three ways: as the lab shares the cores (:mod:`htc_lab.threads`), with torch's
threads left as they come, and on one thread. All three take turns in the same process, because two processes
running the same code differ by more than the effect measured here. The benchmark makes the load itself: a
process that computes without end. With two processes, the same task runs twice at once. ``vs_default`` is the
lab's median time over torch's own, ``vs_one_thread`` the lab's over that on one thread.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

import htc_lab
from benchmarks.ablation import Options as LadderOptions
from benchmarks.ablation import measure as measure_ladder
from benchmarks.figures import show
from benchmarks.pictures import picture
from benchmarks.train_step import Options as StepOptions
from benchmarks.train_step import Step
from htc_lab.checkpoint.files import load, shipped_models
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.explorer.runs import run_models
from htc_lab.measured_on import describe_machine
from htc_lab.presets import preset
from htc_lab.threads import on_free_cores, share_cores

_ROOT = Path(__file__).parents[1]
_SETTLE = 2.5
"""Seconds of work before a turn is timed: the lab looks every 0.2 s, a training at the last two seconds."""

WAYS = ("lab", "default", "one thread")


@dataclass
class Options:
    """Time each work, free and busy, in one process and in two at once."""

    works: tuple[str, ...] = ("predict", "toggle", "train_step", "pack", "full_inference", "full_train_step")
    """Of these, and ladder."""
    seconds: float = 3.0
    """How long a turn repeats its work at least; a work that takes longer is done twice, a ladder once."""
    processes: tuple[int, ...] = (1, 2)
    """How many processes do the same at once."""
    loads: tuple[str, ...] = ("free", "busy")
    """With the machine free, or with a core of it burnt."""
    ways: tuple[str, ...] = WAYS
    """Of these."""
    rounds: int = 4
    """How often the ways take turns."""
    work: str = ""
    """Used by the benchmark itself: do this work here, a turn for each line that comes in."""
    json: bool = False
    """Print one JSON object."""


def _prepare(name: str) -> Callable[[], Any]:
    """The work, ready to be repeated."""
    if name == "ladder":
        return lambda: measure_ladder(LadderOptions())
    if name == "full_train_step":
        return Step(StepOptions())
    if name == "full_inference":
        large, scene = htc_lab.build_model(preset("htc_r50_1x"), seed=0).eval(), picture(800, 1344)
        return lambda: large.predict([scene])
    samples = classroom_samples(4)
    if name == "pack":
        models = {shipped: load(shipped).eval() for shipped in shipped_models()}
        return lambda: run_models(models, samples[0].image)
    model = load("classroom/htc").eval()
    if name == "predict":
        return lambda: model.predict([samples[0].image])
    if name == "toggle":
        features = model.features_of([samples[0].image])
        proposals = model.propose(features)
        return lambda: model.cascade(features, proposals, htc_lab.HTC)
    assert name == "train_step"
    images, targets = [s.image for s in samples], [s.targets for s in samples]

    def step() -> None:
        model.train().zero_grad(set_to_none=True)
        losses = model.losses(images, targets, generator=torch.Generator().manual_seed(0))
        htc_lab.total_loss(losses).backward()

    return step


def _turn(name: str, run: Callable[[], Any], way: str, seconds: float) -> list[float]:
    """Times of the work's repetitions in one of the three ways."""
    threads = torch.get_num_threads()
    sharing = share_cores()
    if sharing is not None:
        sharing.paused = way != "lab"
    with ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled("train" in name or name == "ladder"))
        if way == "one thread":
            torch.set_num_threads(1)
        times: list[float] = []
        if name != "ladder":
            began = time.perf_counter()
            while time.perf_counter() - began < _SETTLE:
                run()
        if way == "lab" and "train" in name:
            stack.enter_context(on_free_cores())
        began = time.perf_counter()
        while not times or (name != "ladder" and (len(times) < 2 or time.perf_counter() - began < seconds)):
            at = time.perf_counter()
            run()
            times.append(time.perf_counter() - at)
    torch.set_num_threads(threads)
    return times


def _take_turns(name: str, seconds: float) -> None:
    """A turn for each line of stdin, which names its way."""
    run = _prepare(name)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_turn(name, run, line.strip(), seconds)), flush=True)


@contextmanager
def _load(busy: bool) -> Iterator[None]:
    """A process beside that burns one core."""
    if not busy:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as burning:
        try:
            yield
        finally:
            burning.kill()


@contextmanager
def _started(work: str, processes: int, seconds: float) -> Iterator[list[subprocess.Popen[str]]]:
    """So many processes, ready to take turns."""
    command = [sys.executable, "-m", "benchmarks.busy", "--work", work, "--seconds", str(seconds)]
    clean = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "HTC_LAB_SHARE_CORES")}
    with ExitStack() as stack:
        all_of_them = [
            stack.enter_context(
                subprocess.Popen(
                    command, cwd=_ROOT, env=clean, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(processes)
        ]
        for each in all_of_them:
            _line_of(each)
        yield all_of_them
        for each in all_of_them:
            assert each.stdin is not None
            each.stdin.close()


def _line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a process of the benchmark ended with code {process.wait()}; see above")
    return line


def _times(processes: list["subprocess.Popen[str]"], way: str) -> list[float]:
    """A turn of all processes at once."""
    for each in processes:
        assert each.stdin is not None
        each.stdin.write(way + "\n")
        each.stdin.flush()
    return [seconds for each in processes for seconds in json.loads(_line_of(each))]


def measure(options: Options) -> dict[str, Any]:
    """Run the benchmark: figures by work, load and number of processes."""
    table: dict[str, Any] = {}
    for work in options.works:
        for processes in options.processes:
            times = {(load, way): list[float]() for load in options.loads for way in options.ways}
            with _started(work, processes, options.seconds) as started:
                for turn in range(options.rounds):
                    first = turn % len(options.ways)
                    for load_name in options.loads:
                        with _load(load_name == "busy"):
                            for way in options.ways[first:] + options.ways[:first]:
                                times[load_name, way] += _times(started, way)
            for load_name in options.loads:
                ms = {way: 1e3 * statistics.median(times[load_name, way]) for way in options.ways}
                row = {way: round(value, 1) for way, value in ms.items()}
                ratios = {
                    f"vs_{way.replace(' ', '_')}": round(ms["lab"] / ms[way], 3)
                    for way in options.ways
                    if way != "lab" and "lab" in ms
                }
                name = f"{work}, {load_name}, {processes} at once"
                table[name] = row | ratios
                print(name, table[name], file=sys.stderr, flush=True)
    shown = next(iter(next(iter(table.values())).values()))
    return {"seconds": shown / 1e3, "vs_torchvision": None, **table, "machine": describe_machine()}


if __name__ == "__main__":
    options = tyro.cli(Options)
    if options.work:
        _take_turns(options.work, options.seconds)
    else:
        show(measure(options), options.json)
