"""06: the ladder, trained in a separate process and watched from the notebook."""

import time
from pathlib import Path

from tqdm.auto import tqdm

from htc_lab.ablation.ladder import Ladder
from htc_lab.ablation.rung_result import RungResult
from htc_lab.ablation.side_by_side import at_once_here
from htc_lab.board.process import trainer
from htc_lab.board.reading import RunReader
from htc_lab.board.widget import Dashboard, dashboard
from htc_lab.train.loop import steps_of

LOOKS = 4
"""How often each training is evaluated along the way, for the dashboard's curves and sample pictures."""

_LOOK_IMAGES = 32
_PERIOD = 0.5


def train_beside(ladder: Ladder, data: str | Path | None, size: str) -> Dashboard:
    """Start or resume ``htc-lab ablate`` for a ladder, and watch it.

    Nothing is started if all rungs are done or a process is already training in the ladder's folder.

    Args:
        ladder: opened with the same data and size.
        data: as passed to ``open_ladder``; None: the classroom scenes.
        size: tiny, quick or classroom.
    """
    every = max(1, steps_of(ladder.schedule, ladder.train_images) // LOOKS)
    command = ["ablate", "--seeds", *map(str, ladder.seeds), "--device", ladder.device]
    command += ["--eval-every", str(every), "--eval-images", str(_LOOK_IMAGES)]
    command += [] if size == "classroom" else [f"--{size}"]
    if size != "tiny" and ladder.device == "cpu":
        # All cores: the trainings give way whenever the notebook computes.
        command += ["--at-once", str(at_once_here(len(ladder.rungs) * len(ladder.seeds)))]
    command += [] if data is None else ["--data", str(data)]
    board = dashboard(ladder.out, command)
    undone = any(len(ladder.finished_seeds(name)) < len(ladder.seeds) for name in ladder.rungs)
    if undone and not _trains(ladder):
        board.start()
    return board


def _trains(ladder: Ladder) -> bool:
    runs = [ladder.run_folder(name, seed) for name in ladder.rungs for seed in ladder.seeds]
    return trainer(ladder.out, runs) is not None


def finished_rung(ladder: Ladder, name: str) -> RungResult:
    """A rung's result: waits while another process trains the ladder, and trains the rung here if none does.

    Args:
        ladder: the one passed to :func:`train_beside`.
        name: of a rung.

    Raises:
        InputError: as :meth:`Ladder.run_rung`.
    """
    readers = [RunReader(ladder.run_folder(name, seed)) for seed in ladder.seeds]
    steps = steps_of(ladder.schedule, ladder.train_images) * len(readers)
    with tqdm(total=steps, desc=name, unit="step", leave=False) as bar:
        while len(ladder.finished_seeds(name)) < len(readers) and _trains(ladder):
            for reader in readers:
                reader.read()
            bar.update(sum(reader.steps[-1][0] for reader in readers if reader.steps) - bar.n)
            time.sleep(_PERIOD)
    return ladder.run_rung(name)
