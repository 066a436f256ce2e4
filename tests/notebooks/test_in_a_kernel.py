"""``check`` in a real kernel: whatever an answer does, the notebook goes on."""

from pathlib import Path

import nbformat
import pytest

from htc_lab.course.grading.limits import CAN_FORK
from tests.notebooks.conftest import Run

CELLS = [
    "import os\nfrom htc_lab.course.checking import check, yours_or_ours\nkept = 1",
    "def fuse(x, previous, flow):\n    while True:\n        pass\n\n\ncheck('04.2', seconds=1.0)",
    "def fuse(x, previous, flow):\n    os._exit(3)\n\n\ncheck('04.2')",
    "def fuse(x, previous, flow):\n    global kept\n    kept = 2\n    return x.bananas\n\n\ncheck('04.2')",
    "fuse = lambda x, previous, flow: x if previous is None else x + flow(previous)\ncheck('04.2')",
    "yours_or_ours('04.2') is fuse, kept",
]


@pytest.mark.skipif(not CAN_FORK, reason="a crash ends the kernel where there is no child process")
def test_hanging_and_crashing_answers_leave_the_kernel_alive(run_in: Run, tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    cells = run_in(notebook, tmp_path).cells
    shown = [cell.outputs[-1]["data"]["text/plain"] for cell in cells[1:]]
    assert "did not finish" in shown[0]
    assert "ended the process" in shown[1]
    assert "has no attribute 'bananas'" in shown[2]
    assert "Your line: `return x.bananas`" in shown[2]
    assert "passed" in shown[3]
    assert shown[4] == "(True, 1)"
