"""The JupyterLab that ``make lab`` starts: on this machine alone, and not without its token."""

import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.browser.lab import _own_environment

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")

pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def _status(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_make_lab_listens_here_alone_and_asks_for_its_token(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert MAKE is not None
    shown = subprocess.run(
        [MAKE, "-n", "lab", "NO_BROWSER=1", f"PORT={port}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (line,) = re.findall(r"-m jupyterlab (.*?)\s*$", shown.replace("\\\n", " "), re.MULTILINE)
    flags = [flag.replace("root_dir=.", f"root_dir={tmp_path}") for flag in line.split()]
    # A person's own settings must not open it to others.
    environment = _own_environment(tmp_path / "home")
    settings = Path(environment["JUPYTER_CONFIG_DIR"])
    settings.mkdir(parents=True)
    (settings / "jupyter_server_config.py").write_text("c.ServerApp.ip = '0.0.0.0'\n")
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *flags],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + 90
        token = None
        while token is None and time.monotonic() < end and server.poll() is None:
            found = re.search(rf"http://(\S+):{port}/lab\S*token=(\w+)", log.read_text(errors="replace"))
            token = found[2] if found else None
            time.sleep(0.2)
        assert token, log.read_text(errors="replace")[-2000:]
        here = f"http://127.0.0.1:{port}/api/contents"
        assert _status(here) == 403
        assert _status(f"{here}?token=wrong") == 403
        assert _status(f"{here}?token={token}") == 200
        assert len(token) >= 32
        listening = Path("/proc/net/tcp")
        if listening.is_file():
            places = [
                row.split()[1] for row in listening.read_text().splitlines()[1:] if row.split()[3] == "0A"
            ]
            assert [place for place in places if int(place.split(":")[1], 16) == port] == [
                f"0100007F:{port:04X}"
            ]
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
