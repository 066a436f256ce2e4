"""The Makefile's choices: which Python, when to install again, and whose kernel."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")
STAMP = ".venv/.installed"

pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def _make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # An outer make would pass its own flags on to these.
    inherited = {
        k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"}
    }
    return subprocess.run(
        [MAKE, *arguments],
        cwd=folder,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the Makefile reads, in a folder with a space in its name."""
    folder = tmp_path / "my lab"
    folder.mkdir()
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def installed(tree: Path) -> Path:
    """The same tree as a finished installation leaves it."""
    (tree / ".venv/bin").mkdir(parents=True)
    (tree / ".venv/bin/python").symlink_to(sys.executable)
    (tree / STAMP).write_text(f"{tree.resolve()}\n")
    return tree


def _script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH without any Python or uv."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cat", "rm", "mkdir", "sed", "id"):
        (folder / name).symlink_to(shutil.which(name))
    return folder


def test_without_a_target_it_tells_the_commands(tree):
    shown = _make(tree).stdout
    assert all(f"make {target}" in shown for target in ("lab", "test", "install"))


def test_a_finished_installation_is_left_alone(installed):
    assert _make(installed, "-q", STAMP).returncode == 0


@pytest.mark.parametrize("changed", ["constraints.txt", "pyproject.toml"])
def test_changed_pins_are_installed(installed, changed):
    later = (installed / STAMP).stat().st_mtime + 10
    os.utime(installed / changed, (later, later))
    assert _make(installed, "-q", STAMP).returncode == 1


def test_a_moved_folder_is_set_up_again(installed):
    moved = installed.rename(installed.with_name("my moved lab"))
    assert _make(moved, "-q", STAMP).returncode == 1


def test_a_venv_whose_python_is_gone_is_set_up_again(installed):
    (installed / ".venv/bin/python").unlink()
    (installed / ".venv/bin/python").symlink_to("/nonexistent/python3")
    assert _make(installed, "-q", STAMP).returncode == 1


def test_no_working_python_is_one_clear_line(tree, tools):
    _script(tools / "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    _script(tools / "python3", "exit 1")
    run = _make(tree, "install", PATH=str(tools), PYTHON="")
    assert run.returncode == 2
    lines = [line for line in run.stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1
    assert lines[0].startswith("error: no working Python 3.11 to 3.14")
    assert not (tree / ".venv").exists()


def test_a_shim_that_fails_is_passed_over(tree, tools):
    """The first candidate does not run, the next does but has no ensurepip: the error names the second."""
    _script(tools / "python3.13", "exit 127")
    _script(tools / "python3.12", 'case "$2" in *ensurepip*) exit 1;; *) echo /opt/python3.12;; esac')
    _script(tools / "python3", "echo /opt/wrong")
    run = _make(tree, "install", PATH=str(tools), PYTHON="")
    assert run.returncode == 2
    assert "Setting up .venv with /opt/python3.12" in run.stdout
    assert "/opt/python3.12 cannot make virtual environments" in run.stderr


def test_the_kernel_is_the_labs_own_even_beside_a_rival(tree, tmp_path):
    rival = tmp_path / "jupyter/kernels/python3"
    rival.mkdir(parents=True)
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "rival", "language": "python"}
    (rival / "kernel.json").write_text(json.dumps(spec))
    probe = tmp_path / "probe.mk"
    probe.write_text(f"probe:\n\t@'{sys.executable}' -m jupyter kernelspec list --json\n")
    data = str(tmp_path / "jupyter")
    run = _make(
        tree, "-s", "-f", "Makefile", "-f", str(probe), "probe",
        JUPYTER_DATA_DIR=data, JUPYTER_PATH=data, JUPYTER_PREFER_ENV_PATH="0",
    )  # fmt: skip
    kernel = json.loads(run.stdout)["kernelspecs"]["python3"]
    assert Path(kernel["resource_dir"]).is_relative_to(sys.prefix)
    assert kernel["spec"]["argv"][0] in {"python", sys.executable}


def test_no_browser_only_prints_the_address(installed):
    quiet = _make(installed, "-n", "lab", NO_BROWSER="1").stdout
    opening = _make(installed, "-n", "lab", NO_BROWSER="").stdout
    assert "--no-browser" in quiet
    assert "--no-browser" not in opening
    assert "lab/tree/notebooks/00_tour.ipynb" in quiet
