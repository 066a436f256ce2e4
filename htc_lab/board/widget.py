"""``htc_lab.dashboard``: trainings as they run, in a notebook whose kernel stays free."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from htc_lab.board.process import start, stop, wait_for_end, words_of
from htc_lab.board.report import Place, report_of
from htc_lab.errors import InputError
from htc_lab.web.export import board_script, board_styles

_PERIOD = 1.0


class Dashboard(anywidget.AnyWidget):
    """Losses, AP and sample pictures of one run folder or several, with buttons to stop and to resume.

    Make one with :func:`dashboard`. Everything it shows is in the folders: another dashboard, in another
    kernel, shows the same and has the same buttons.

    Attributes:
        report: what is on screen (:mod:`htc_lab.board.report`).
        pictures: the newest sample picture of each run: ``{"step": int, "png": bytes}``.
    """

    _esm = board_script()
    _css = board_styles()

    report = traitlets.Dict().tag(sync=True)
    pictures = traitlets.Dict().tag(sync=True)

    def __init__(self, folders: Sequence[Path], command: list[str] | None = None) -> None:
        """See :func:`dashboard`."""
        self._places = [Place(folder, command) for folder in folders]
        # The thread that looks and a button may act at the same time.
        self._looking = threading.Lock()
        self._closed = threading.Event()
        super().__init__()
        self.look()
        self.on_msg(self._heard)
        threading.Thread(target=self._keep_looking, daemon=True, name="htc-lab dashboard").start()

    def __repr__(self) -> str:
        runs = [
            f"{run['name']}: {run['state']}, step {run['step']}"
            + (f" of {run['steps']}" if run["steps"] else "")
            for run in self.report["runs"]
        ]
        return f"Training dashboard ({'; '.join(runs) or 'nothing trained yet'})"

    def look(self) -> None:
        """Read the folders now; the dashboard does so by itself every second."""
        with self._looking:
            for place in self._places:
                place.look()
            new = report_of(self._places)
            if new != self.report:
                self.report = new
            self._show_newest()

    def _show_newest(self) -> None:
        newest = dict(self.pictures)
        readers = [reader for place in self._places for reader in place.readers]
        for run, reader in zip(self.report["runs"], readers, strict=True):
            samples = reader.samples()
            if samples and newest.get(run["name"], {}).get("step") != samples[-1][0]:
                step, path = samples[-1]
                newest[run["name"]] = {"step": step, "png": path.read_bytes()}
        if newest.keys() != self.pictures.keys() or any(
            newest[name]["step"] != self.pictures[name]["step"] for name in newest
        ):
            self.pictures = newest

    def _keep_looking(self) -> None:
        while not self._closed.wait(_PERIOD):
            try:
                self.look()
            except OSError:
                # A folder that is being deleted or copied: the next look will see the result.
                continue

    def close(self) -> None:
        """Stop looking; the training goes on."""
        self._closed.set()
        super().close()

    def start(self, place: int = 0) -> None:
        """Start the training of a folder, or resume it: the same command again.

        Raises:
            InputError: its command is not known, or something is already training there.
        """
        chosen = self._places[place]
        if chosen.command is None:
            raise InputError(
                f"{chosen.folder}: it is not known how it was started; give "
                "dashboard(…, command='train --data …')"
            )
        start(chosen.folder, chosen.command)
        self.look()

    def stop(self, place: int = 0, wait: float = 0.0) -> bool:
        """Ask the training of a folder to end after its current step, with the checkpoint written.

        Args:
            place: which of the given folders, from 0.
            wait: how many seconds to wait, at most, for it to end.

        Returns:
            Whether nothing is training there any more.
        """
        running = self._places[place].trainer
        if running is None:
            return True
        if running.here:
            raise InputError("this kernel trains it; interrupt the kernel to stop it")
        stop(running)
        ended = wait_for_end(running, wait)
        self.look()
        return ended

    def _heard(self, _: Any, message: dict[str, Any], __: list[Any]) -> None:
        """A button pressed in the browser, or a request for an earlier sample picture."""
        kind = message.get("kind")
        try:
            if kind == "start":
                self.start(int(message["place"]))
            elif kind == "stop":
                self.stop(int(message["place"]))
            elif kind == "sample":
                self._send_sample(str(message["run"]), int(message["step"]))
        except InputError as error:
            self.send({"kind": "said", "text": str(error)})

    def _send_sample(self, name: str, step: int) -> None:
        readers = [reader for place in self._places for reader in place.readers]
        for run, reader in zip(self.report["runs"], readers, strict=True):
            found = dict(reader.samples()).get(step) if run["name"] == name else None
            if found is not None:
                self.send({"kind": "sample", "run": name, "step": step}, [found.read_bytes()])


def dashboard(
    runs: str | Path | Sequence[str | Path],
    command: str | Sequence[str] | None = None,
    *,
    start: bool = False,
) -> Dashboard:
    """Watch trainings, and start, stop or resume them, while the notebook stays free.

    Args:
        runs: a run folder, a folder of run folders (an ablation's), or several of either.
        command: what trains there, after ``htc-lab``, e.g. ``"train --data data/classroom --eval-every 50"``;
            ``--run`` (for ``ablate``: ``--out``) is added. Not needed if a dashboard started it before.
        start: start or resume at once, unless it is already training or finished.

    Raises:
        InputError: a folder doesn't exist and there is no command to fill it; a command was given for several
            folders, or names a different one.
    """
    given = [runs] if isinstance(runs, str | Path) else list(runs)
    folders = [Path(run) for run in given]
    if not folders:
        raise InputError("dashboard: no folder given; name at least one")
    words = None
    if command is not None:
        if len(folders) > 1:
            raise InputError("dashboard: a command belongs to one folder; give only one folder")
        words = words_of(command, folders[0])
    else:
        for folder in folders:
            if not folder.is_dir():
                raise InputError(f"{folder}: no such folder; give command='train --data …' to fill it")
    board = Dashboard(folders, words)
    if start and board.report["places"][0]["state"] not in ("running", "finished"):
        board.start()
    return board
