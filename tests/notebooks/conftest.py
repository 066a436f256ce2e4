"""One kernel for many notebooks: starting one takes longer than most lessons at tiny size."""

from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbformat import NotebookNode

from htc_lab.course.notebooks import execute

Run = Callable[[NotebookNode, Path], NotebookNode]


@pytest.fixture(scope="session")
def kernel() -> Iterator[AsyncKernelManager]:
    manager = AsyncKernelManager(kernel_name="python3")
    run_sync(manager.start_kernel)()
    yield manager
    run_sync(manager.shutdown_kernel)(now=True)


@pytest.fixture
def run_in(kernel: AsyncKernelManager) -> Run:
    """Executes a notebook in a folder, with no name left of the notebook before."""

    def run(notebook: NotebookNode, folder: Path) -> NotebookNode:
        fresh = f"%reset -f\nimport os\nos.chdir({str(folder)!r})\ndel os"
        notebook.cells.insert(0, nbformat.v4.new_code_cell(fresh))
        execute(notebook, folder, timeout=300, kernel=kernel)
        del notebook.cells[0]
        return notebook

    return run
