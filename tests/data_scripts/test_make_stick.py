"""``data_scripts/make_stick.sh``: what it refuses, and that the script it writes for the class is whole."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "data_scripts" / "make_stick.sh"

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="the script is for a POSIX shell")


def test_a_python_without_pip_is_one_line(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    found = subprocess.run(
        ["sh", str(SCRIPT), str(stick)],
        cwd=ROOT,
        env={**os.environ, "PYTHON": shutil.which("false") or "/bin/false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert re.fullmatch(
        r"error: \S+false has no pip; choose another Python: PYTHON=\S+ sh .*\n", found.stderr
    )
    assert not stick.exists()


def test_the_script_for_the_class_installs_the_pins_before_the_lab_and_asks_no_index(tmp_path: Path) -> None:
    """Run on a stick without wheels, with a Python that writes down what it is asked."""
    (written,) = re.findall(r"<<'EOF'\n(.*?)\nEOF\n", SCRIPT.read_text(), re.DOTALL)
    stick, place = tmp_path / "my stick", tmp_path / "class"
    for folder in (stick / "notebooks", stick / "data" / "classroom", stick / "results", place):
        folder.mkdir(parents=True)
    (stick / "install.sh").write_text(written)
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\necho "$@" >> "$CALLS"\n'
        'if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; fi\n'
    )
    python.chmod(0o755)
    calls = tmp_path / "calls"
    subprocess.run(
        ["sh", str(stick / "install.sh")],
        cwd=place,
        env={**os.environ, "PYTHON": str(python), "CALLS": str(calls)},
        check=True,
        capture_output=True,
    )
    venv, pins, lab = calls.read_text().splitlines()
    assert venv == "-m venv htc-lab/venv"
    assert "--no-index" in pins
    assert pins.endswith(f"--find-links {stick}/wheels -r {stick}/constraints.txt")
    assert lab.endswith("htc-lab")
    assert (place / "htc-lab" / "notebooks").is_dir()
    assert (place / "htc-lab" / "data" / "classroom").is_dir()
    assert (place / "htc-lab" / "results").is_dir()
