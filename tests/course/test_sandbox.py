"""What a submission that means harm can do to the grader's machine: nothing of what is tried here."""

import os
import socket
import sys
import time
from pathlib import Path

import nbformat
import pytest

from htc_lab.course.grading.grade import Grade, Limits, grade_folder
from htc_lab.course.grading.limits import run_limited
from htc_lab.course.grading.sandbox import forbid_calls, forbid_files, library_folders

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fences are Linux's")

RIGHT = "    import torch\n    return torch.sigmoid(torch.stack(list(logits))).mean(dim=0)"
LIMITS = Limits(seconds=6.0, submission_seconds=30.0)


def graded(folder: Path, body: str) -> Grade:
    """The grade of ``mean_mask``, which first does what ``body`` says and then answers rightly."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    cell = f"def mean_mask(logits):\n{lines}\n{RIGHT}"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    (folder / "in").mkdir(exist_ok=True)
    nbformat.write(notebook, folder / "in" / "eve.ipynb")
    (grade,) = grade_folder(folder / "in", ("04.4",), LIMITS)
    return grade


@pytest.fixture
def fenced(tmp_path: Path) -> None:
    """Asks the system for its fences in a child; where it has none, the grader says so."""

    def both() -> dict[str, bool]:
        return {"both": forbid_files(library_folders(), [tmp_path]) and forbid_calls()}

    ended = run_limited(both, 20.0)
    if not (ended.value and ended.value["both"]):
        pytest.skip("this kernel has no Landlock or no seccomp for this process")


@pytest.mark.usefixtures("fenced")
def test_the_grader_says_that_the_fences_stand_and_right_answers_pass(tmp_path: Path) -> None:
    grade = graded(tmp_path, "pass")
    assert grade.fenced
    assert grade.network_cut
    assert grade.points("04.4") == 2


WRITING = (
    "open(MARK, 'w').close()",
    "import os\nos.mkdir(MARK)",
    "import os\nos.symlink('/etc', MARK)",
    "import os\nos.system(f'touch {MARK}')",
    "import subprocess\nsubprocess.run(['touch', MARK])",
    "import os\nif os.fork() == 0:\n    open(MARK, 'w').close()",
    "import os\nos.rename(SECRET, MARK)",
    "open(MARK, 'w').write(open(SECRET).read())",
    "import ctypes\nctypes.CDLL(None).creat(MARK.encode(), 0o644)",
)

REFUSED = (
    "open(SECRET).read()",
    "import os\nos.listdir(os.path.dirname(SECRET))",
    "import mmap, os\nos.open(SECRET, os.O_RDONLY)",
    "open(f'/proc/{PARENT}/environ').read()",
    "open(f'/proc/{PARENT}/mem', 'rb')",
    "open('/etc/passwd').read()",
    "import os\nos.kill(PARENT, 0)",
    "import os\nos.kill(-1, 0)",
    "import os\nos.pidfd_open(PARENT)",
    "import os\nos.fork()",
    "import os\nos.execv('/bin/true', ['true'])",
    "import os\nos.chmod(SECRET, 0)",
    "import os\nos.utime(SECRET, (0, 0))",
    "import socket\nsocket.socket()",
    "import socket\nsocket.socketpair()",
    "import resource, os\nresource.prlimit(PARENT, resource.RLIMIT_CPU, (1, 1))",
)


@pytest.mark.usefixtures("fenced")
def test_nothing_is_written_outside_its_folder(tmp_path: Path) -> None:
    """One answer tries all ways, each with a mark of its own."""
    secret, names = tmp_path / "secret", {"SECRET": str(tmp_path / "secret")}
    secret.write_text("the solutions")
    tries = [(way, names | {"MARK": str(tmp_path / f"mark{i}")}) for i, way in enumerate(WRITING)]
    body = (
        f"for way, names in {tries!r}:\n    try:\n        exec(way, names)\n    except OSError:\n        pass"
    )
    grade = graded(tmp_path, body)
    time.sleep(0.2)
    assert [WRITING[int(mark.name[4:])] for mark in tmp_path.glob("mark*")] == []
    assert secret.read_text() == "the solutions"
    assert grade.points("04.4") == 2


@pytest.mark.usefixtures("fenced")
def test_what_is_refused_fails_inside(tmp_path: Path) -> None:
    """Each way raises inside the answer, which goes on; the answer says so of one that does not."""
    secret = tmp_path / "secret"
    secret.write_text("the solutions")
    names = {"SECRET": str(secret), "PARENT": os.getpid()}
    body = (
        f"open_ways = []\nfor way in {REFUSED!r}:\n    try:\n        exec(way, {names!r})\n"
        "    except OSError:\n        continue\n    open_ways.append(way)"
    )
    (verdict,) = graded(tmp_path, f"{body}\nassert not open_ways, open_ways").verdicts.values()
    assert verdict.passed, verdict.message


def test_the_notebooks_of_others_cannot_be_read(tmp_path: Path) -> None:
    other = tmp_path / "in" / "anna.ipynb"
    other.parent.mkdir()
    other.write_text("hers")

    def read() -> dict[str, bool]:
        fences = forbid_files(library_folders(), [Path.cwd()])
        try:
            return {"fences": fences, "read": bool(other.read_text())}
        except PermissionError:
            return {"fences": fences, "read": False}

    ended = run_limited(read, 20.0, lambda: os.chdir("/proc/self/fdinfo"))
    assert ended.value is not None
    assert ended.value["fences"] != ended.value["read"]


def test_a_filter_that_stands_reaches_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def tries() -> dict[str, bool]:
            stands = forbid_calls()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=2).close()
            except OSError:
                return {"stands": stands, "reached": False}
            return {"stands": stands, "reached": True}

        ended = run_limited(tries, 20.0)
    assert ended.value is not None
    assert ended.value["reached"] != ended.value["stands"]


def test_threads_and_gradients_still_work_behind_the_fences(tmp_path: Path) -> None:
    def work() -> dict[str, float]:
        import threading

        import torch

        forbid_files(library_folders(), [tmp_path])
        forbid_calls()
        done: list[int] = []
        thread = threading.Thread(target=lambda: done.append(1))
        thread.start()
        thread.join()
        x = torch.ones(3, requires_grad=True)
        (x * 2).sum().backward()
        assert x.grad is not None
        (tmp_path / "own").write_text("x")
        return {"threads": len(done), "gradient": float(x.grad.sum())}

    ended = run_limited(work, 20.0)
    assert ended.value == {"threads": 1, "gradient": 6.0}
