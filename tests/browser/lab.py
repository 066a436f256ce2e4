"""A real JupyterLab and a real Chromium for the tests, apart from anything of the person who runs them."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

START_SECONDS = 120
_ERROR = '[data-mime-type="application/vnd.jupyter.error"]'

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def find_chromium() -> str:
    """Path of the system's Chromium; without one the tests fail, and say how to get it."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name)
        if found:
            return found
    raise AssertionError(
        "no Chromium on the PATH: install it (Debian: apt install chromium; Fedora: dnf install chromium; "
        "macOS: brew install --cask chromium) and run the tests again"
    )


def _own_environment(home: Path) -> dict[str, str]:
    """The environment without the person's Jupyter settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON"))}
    home.mkdir(parents=True, exist_ok=True)
    return {
        **kept,
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(root: Path, home: Path) -> Iterator[str]:
    """JupyterLab on ``root``; gives an address with braces for a notebook's path, without earlier tabs."""
    port, token = _free_port(), secrets.token_hex(16)
    log = home.parent / "lab.log"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.port={port}"]
    command += [
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}",
    ]
    command += ["--LabApp.news_url=None", "--allow-root"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=_own_environment(home), cwd=root, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait(server, f"http://127.0.0.1:{port}/api/status?token={token}", log)
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?reset&token={token}"
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(server: subprocess.Popen, address: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(f"JupyterLab did not answer:\n{log.read_text(errors='replace')[-3000:]}")


@contextmanager
def browse() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def run_all_cells(page: Page, address: str, seconds: float) -> None:
    """Open a notebook, run all its cells, and wait until the last one is done without an error."""
    page.goto(address, timeout=1000 * START_SECONDS)
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=120_000)
    # Asked to run before its kernel is there, JupyterLab opens a dialog instead.
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    # Prompts read [*] while a cell waits or runs and [n] afterwards.
    page.wait_for_function(
        """error => {
            const panel = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)');
            const prompts = [...panel.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
            const done = prompts.length > 0 && prompts.every(p => /[0-9]/.test(p.textContent));
            return done || document.querySelector(error) !== null;
        }""",
        arg=_ERROR,
        timeout=1000 * seconds,
    )
    errors = page.locator(_ERROR).all_inner_texts()
    assert not errors, errors[0]
