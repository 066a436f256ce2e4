"""Memory of notebook kernels with the explorer open: ``python -m benchmarks.kernels [--json]``.

Real kernels, spoken to as JupyterLab's page does: toggles and dropped pictures come as messages of the
widget. The last one opened is watched for growth; the others show what kernels on one machine share.
"""

import io
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tyro
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from PIL import Image

from benchmarks.memory import Growth, mib_of
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.explorer.bits import ALL_BITS, OffMeans
from htc_lab.explorer.state import ExplorerState
from htc_lab.measured_on import describe_machine

_WAIT = 600.0
_SIZES = ((480, 360), (640, 480), (800, 600), (512, 512), (360, 480))
_CLASS = 30


@dataclass
class Options:
    """How much is done."""

    toggles: int = 200
    """States the page sends."""
    pictures: int = 20
    """Pictures of her own that a person drops on the explorer."""
    kernels: int = 3
    """Open at once, each with an explorer."""
    cell: str = "import htc_lab\nview = htc_lab.explore(9)\nview"
    """What a student runs; ``view`` is the explorer."""
    json: bool = False
    """Print one JSON object."""


class Student:
    """A kernel, and the page that shows its explorer.

    Attributes:
        pid: of the kernel's process.
    """

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._client = client
        self.pid = int(manager.provisioner.pid)  # type: ignore[union-attr]
        self._comm = ""

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell; what the kernel said."""
        return self._until_idle(self._client.execute(code, store_history=True))

    def open_explorer(self, cell: str) -> None:
        """Run the cell and find its widget."""
        opened = [m["content"] for m in self.run(cell) if m["header"]["msg_type"] == "comm_open"]
        self._comm = next(c["comm_id"] for c in opened if ["pack"] in c["data"].get("buffer_paths", []))

    def set_state(self, state: str) -> None:
        """As a click on a switch does."""
        self._tell({"method": "update", "state": {"state": state}, "buffer_paths": []})

    def drop(self, name: str, data: bytes) -> None:
        """As a file dropped on the explorer does."""
        self._tell({"method": "custom", "content": {"kind": "picture", "name": name}}, [data])

    def _tell(self, data: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        message = self._client.session.msg("comm_msg", {"comm_id": self._comm, "data": data})
        message["buffers"] = buffers or []
        self._client.shell_channel.send(message)
        self._until_idle(message["header"]["msg_id"])

    def _until_idle(self, number: str) -> list[dict[str, Any]]:
        """What is said about a message until the kernel has done with it."""
        said: list[dict[str, Any]] = []
        while True:
            message = self._client.get_iopub_msg(timeout=_WAIT)
            if message["parent_header"].get("msg_id") != number:
                continue
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            if kind == "status" and content["execution_state"] == "idle":
                return said
            said.append(message)


@contextmanager
def student() -> Iterator[Student]:
    """A kernel in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(cwd=folder)
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=_WAIT)
            yield Student(manager, client)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def own_pictures() -> list[bytes]:
    """Photo-like files of several sizes."""
    files = []
    for sample, size in zip(classroom_samples(len(_SIZES), first=40), _SIZES, strict=True):
        file = io.BytesIO()
        Image.fromarray(sample.image.permute(1, 2, 0).numpy()).resize(size).save(file, format="JPEG")
        files.append(file.getvalue())
    return files


def watch(who: Student, toggles: int, pictures: int) -> dict[str, Any]:
    """Growth over toggles and over pictures."""
    began = time.perf_counter()
    over_toggles = Growth(max(1, toggles // 50), who.pid)
    for done in range(1, toggles + 1):
        off_means: OffMeans = "switched_off" if done % 2 else "trained_without"
        bits = ALL_BITS[done % len(ALL_BITS)]
        who.set_state(str(ExplorerState(bits=bits, off_means=off_means, stage=done % 5, selected=done % 7)))
        over_toggles.see(done)
    over_pictures = Growth(1, who.pid)
    files = own_pictures()
    for done in range(1, pictures + 1):
        who.drop(f"own{done}.jpg", files[done % len(files)])
        over_pictures.see(done)
    # Refused states and pictures would cost no memory either.
    who.run(f"assert view.title == 'own{pictures}.jpg' and view.status == {{}}, (view.title, view.status)")
    who.run(f"assert 'B={bits}' in view.state, view.state")
    return {
        "toggles": over_toggles.figures(),
        "pictures": over_pictures.figures(),
        "seconds": round(time.perf_counter() - began),
    }


def measure(options: Options) -> dict[str, Any]:
    """Run the benchmark: figures by name."""
    return {**_open(options, []), "machine": describe_machine()}


def _open(options: Options, others: list[Student]) -> dict[str, Any]:
    """Open the kernels one in the other, so that all are there at the end; the last one is watched."""
    with student() as who:
        empty = mib_of(who.pid)
        who.run("import htc_lab, torch; from htc_lab.explorer.widget import StageExplorer")
        imported = mib_of(who.pid)
        who.open_explorer(options.cell)
        if len(others) + 1 < options.kernels:
            return _open(options, [*others, who])
        opened = mib_of(who.pid)
        growth = watch(who, options.toggles, options.pictures)
        used = mib_of(who.pid)
        shared = used["rss"] - used["private"]
        return {
            "kernels": len(others) + 1,
            "empty": empty,
            "imported": imported,
            "explorer_open": opened,
            "after_pictures": used,
            **growth,
            "class_of_30_mib": {
                "explorer_open": round(_CLASS * opened["private"] + opened["rss"] - opened["private"]),
                "after_pictures": round(_CLASS * used["private"] + shared),
            },
        }


def main(options: Options) -> None:
    """Measure and print."""
    figures = measure(options)
    if options.json:
        print(json.dumps(figures))
        return
    for name in ("empty", "imported", "explorer_open", "after_pictures"):
        words = ", ".join(f"{kind} {mib:.0f}" for kind, mib in figures[name].items())
        print(f"{name:>15}: {words} MiB")
    for name in ("toggles", "pictures"):
        f = figures[name]
        print(
            f"{name:>15}: {f['done']} done; {f['mib_warm']} MiB after warming up, {f['mib_end']} at the end, "
            f"{f['mib_largest']} at most; {f['mib_per_1000'] / 1000:+.3f} MiB each"
        )
    print(
        f"    class of 30: {figures['class_of_30_mib']} MiB, of {figures['kernels']} kernels' private memory"
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
