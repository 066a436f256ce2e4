"""Builds the notebooks: ``python -m htc_lab.course.notebooks build [--execute] [NAME ...] | check``.

Edit ``notebooks/src/NAME.py`` (percent format); ``notebooks/NAME.ipynb`` is built from it and committed with
its outputs, so that a reader sees the pictures. The same source always gives the same cells and cell ids.
"""

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from htc_lab.course.copies import for_students
from htc_lab.errors import InputError

Change = Callable[[str, str], str]


def as_written(text: str, where: str) -> str:
    """A cell unchanged from the source, with its solution and the markers around it."""
    return text


PARAMETERS = "parameters"
MOST_BYTES = 3 * 2**19
"""A committed notebook may take up at most 1.5 MiB."""

_COMMAND = "python -m htc_lab.course.notebooks build"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_MACHINE_PATH = re.compile(r"(?<![\w./~-])/(?:home|root|Users|tmp|var|work|mnt|opt)/[\w.-]+")


def notebooks_folder() -> Path:
    """``notebooks/`` of this checkout.

    Raises:
        InputError: the package doesn't run from a checkout.
    """
    folder = Path(__file__).resolve().parents[2] / "notebooks"
    if not (folder / "src").is_dir():
        raise InputError(f"{folder / 'src'}: no such folder; run this from a checkout of the repository")
    return folder


def sources(folder: Path, names: list[str] | None = None) -> list[Path]:
    """The sources in ``folder/src``: all of them, or those named.

    Raises:
        InputError: there is no source with one of these names.
    """
    found = {path.stem: path for path in sorted((folder / "src").glob("*.py"))}
    for name in names or []:
        if name not in found:
            raise InputError(f"{folder / 'src' / name}.py: no such source; choose from {', '.join(found)}")
    return [path for name, path in found.items() if not names or name in names]


def to_notebook(source: Path, change: Change = for_students) -> NotebookNode:
    """The notebook of a source, without outputs. A cell's id depends only on its content.

    Args:
        source: a percent script.
        change: applied to each code cell, given its text and a name for messages; the default removes the
            solutions, :func:`htc_lab.course.copies.with_solutions` leaves them in.

    Raises:
        InputError: the markers of a solution don't come in pairs.
    """
    read = jupytext.read(source, fmt="py:percent")
    cells, seen = [], Counter[str]()
    for cell in read.cells:
        if cell.cell_type == "code":
            cell.source = change(cell.source, str(source))
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[digest] += 1
        make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        tags = {"tags": list(cell.metadata["tags"])} if cell.metadata.get("tags") else {}
        number = "" if seen[digest] == 1 else f"-{seen[digest]}"
        cells.append(make(cell.source, id=digest + number, metadata=tags))
    metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def with_parameters(notebook: NotebookNode, values: Mapping[str, Any]) -> NotebookNode:
    """The notebook with a cell inserted after its parameters cell that overrides some of them.

    Raises:
        InputError: no cell is tagged ``parameters``, or that cell doesn't set one of these names.
    """
    tagged = [i for i, cell in enumerate(notebook.cells) if PARAMETERS in cell.metadata.get("tags", ())]
    if not tagged:
        names = ", ".join(values)
        raise InputError(f"notebook: no cell is tagged '{PARAMETERS}'; tag the one that sets {names}")
    for name in values:
        if not re.search(rf"^{re.escape(name)}\b.*=", notebook.cells[tagged[0]].source, re.MULTILINE):
            raise InputError(f"notebook: its parameters cell doesn't set {name}; correct the name")
    lines = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    inserted = nbformat.v4.new_code_cell(lines, id="injected-parameters")
    copy = nbformat.from_dict(json.loads(json.dumps(notebook)))
    copy.cells.insert(tagged[0] + 1, inserted)
    return copy


def execute(
    notebook: NotebookNode, folder: Path, timeout: int = 3600, kernel: KernelManager | None = None
) -> NotebookNode:
    """Run all cells and store their outputs in the notebook.

    Args:
        notebook: changed in place.
        folder: where the notebook is, and the working directory of a new kernel.
        timeout: for a single cell, in seconds.
        kernel: a running one, which is left running; default: a new one, which is shut down afterwards.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    NotebookClient(
        notebook,
        km=kernel,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        record_timing=False,
    ).execute()
    return notebook


def cleaned(notebook: NotebookNode, root: Path) -> NotebookNode:
    """The notebook without the outputs that need a running kernel and without this machine's paths.

    A widget is replaced by its picture if it has one, and removed if not (progress bars); ``root``, the
    checkout, becomes ``.``. Changes the notebook in place.
    """
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            kept = [output for output in map(_without_widget, cell.outputs) if output is not None]
            cell.outputs = [_map_text(output, lambda text: text.replace(str(root), ".")) for output in kept]
    # What the kernel reports about itself (its exact Python version) differs from machine to machine.
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def _without_widget(output: NotebookNode) -> NotebookNode | None:
    data = output.get("data")
    if data is None or _WIDGET not in data:
        return output
    del data[_WIDGET]
    return output if any(kind.startswith("image/") for kind in data) else None


def _map_text(value: Any, change: Any, kind: str = "") -> Any:
    """The same structure with ``change`` applied to every text in it, except pictures."""
    if isinstance(value, str):
        return value if kind in ("image/png", "image/jpeg") else change(value)
    if isinstance(value, Mapping):
        return NotebookNode({name: _map_text(inner, change, name) for name, inner in value.items()})
    if isinstance(value, list):
        return [_map_text(inner, change, kind) for inner in value]
    return value


def _content(notebook: NotebookNode) -> list[tuple[str, str, str, str]]:
    """What a notebook gets from its source: type, id, text and tags of each cell."""
    return [
        (cell.cell_type, cell.id, cell.source, ",".join(cell.metadata.get("tags", ())))
        for cell in notebook.cells
    ]


def _code(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def _take_outputs(notebook: NotebookNode, old: NotebookNode) -> None:
    """Take over the outputs of an earlier execution, unless a line of code has changed since."""
    if _code(notebook) != _code(old):
        return
    before = [cell for cell in old.cells if cell.cell_type == "code"]
    after = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell, earlier in zip(after, before, strict=True):
        cell.outputs, cell.execution_count = earlier.outputs, earlier.execution_count


def build(folder: Path, names: list[str] | None = None, run: bool = False) -> list[Path]:
    """Build the notebooks from their sources.

    Args:
        folder: ``notebooks/``.
        names: which ones; default: all.
        run: execute them. Otherwise a notebook keeps its outputs if none of its code has changed, and loses
            them if some has.

    Returns:
        The files written.
    """
    written = []
    for source in sources(folder, names):
        target = folder / f"{source.stem}.ipynb"
        notebook = to_notebook(source)
        if run:
            execute(notebook, folder)
            cleaned(notebook, folder.parent)
        elif target.is_file():
            _take_outputs(notebook, nbformat.read(target, as_version=4))
        nbformat.validate(notebook)
        nbformat.write(notebook, target)
        written.append(target)
    return written


def check(folder: Path) -> list[str]:
    """What is wrong with the notebooks, one line each; empty if nothing is."""
    wrong = []
    stems = {source.stem for source in sources(folder)}
    for target in sorted(folder.glob("*.ipynb")):
        if target.stem not in stems:
            wrong.append(f"{target}: has no source; write {folder / 'src' / target.stem}.py or delete it")
    for source in sources(folder):
        target = folder / f"{source.stem}.ipynb"
        if not target.is_file():
            wrong.append(
                f"{target}: is missing; run python -m htc_lab.course.notebooks build --execute {source.stem}"
            )
            continue
        notebook = nbformat.read(target, as_version=4)
        if _content(notebook) != _content(to_notebook(source)):
            wrong.append(
                f"{target}: differs from {source}; run python -m htc_lab.course.notebooks build {source.stem}"
            )
        wrong += [f"{target}: {problem}" for problem in _problems_of_outputs(notebook, target)]
    return wrong


def _problems_of_outputs(notebook: NotebookNode, target: Path) -> list[str]:
    problems = []
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if any(cell.execution_count is None for cell in cells):
        problems.append("was not executed; build it with --execute")
    if target.stat().st_size > MOST_BYTES:
        problems.append(
            f"takes up {target.stat().st_size / 2**20:.1f} MiB, more than 1.5; make its outputs smaller"
        )
    found: set[str] = set()
    for cell in cells:
        for output in cell.outputs:
            if output.output_type == "error":
                problems.append(f"a cell failed: {output.ename}: {output.evalue}")
            _map_text(output, lambda text: found.update(_MACHINE_PATH.findall(text)))
    if found:
        problems.append(f"its outputs contain paths of this machine: {', '.join(sorted(found))}")
    return problems


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns the exit code: 0, 1 if ``check`` found something, 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m htc_lab.course.notebooks", description=__doc__.split("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="build notebooks/*.ipynb from notebooks/src/*.py")
    building.add_argument("names", nargs="*", metavar="NAME", help="which ones, e.g. 00_tour (default: all)")
    building.add_argument("--execute", action="store_true", help="run them and keep the outputs")
    commands.add_parser("check", help="fail if a notebook differs from its source or was not executed")
    given = parser.parse_args(arguments)
    try:
        folder = notebooks_folder()
        if given.command == "build":
            for path in build(folder, given.names, given.execute):
                print(path)
            return 0
        wrong = check(folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
