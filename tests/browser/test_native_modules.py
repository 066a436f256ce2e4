"""The browser's files as they are: Chromium loads them from a server as modules with their own imports."""

import base64
import functools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from playwright.sync_api import Browser, Page, expect

from htc_lab.web.export import BOARD_STYLES, EXPLORER_STYLES, WEB, browser_files
from tests.browser.opened import HANDLE, settle

_HEAD = "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Modules</title>"
_STYLE = "<link rel='stylesheet' href='/{}'>"


class _Quiet(SimpleHTTPRequestHandler):
    """Serves the files and says nothing of it."""

    # Of some systems' tables JavaScript is missing.
    extensions_map: ClassVar = {**SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a server of the browser's files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(WEB))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in which nothing may go wrong."""
    page, complaints = browser.new_page(viewport={"width": 1366, "height": 900}), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    yield page
    page.close()
    assert complaints == []


def show(page: Page, address: str, body: str) -> None:
    """Show a page of the server's own origin."""
    page.route(f"{address}/page.html", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.goto(f"{address}/page.html")


def test_each_file_is_a_module(page: Page, address: str) -> None:
    show(page, address, f"{_HEAD}</head><body></body></html>")
    files = [path.relative_to(WEB).as_posix() for path in browser_files() if path.suffix == ".js"]
    assert len(files) > 30
    loaded = page.evaluate(
        """files => Promise.all(
            files.map(file => import('/' + file).then(() => file, error => `${file}: ${error}`))
        )""",
        files,
    )
    assert loaded == files


def test_the_explorer_runs_from_its_files(page: Page, address: str, made: bytes) -> None:
    settings = json.dumps({"state": "B=1100&A=0000", "hide": []})
    show(
        page,
        address,
        f"{_HEAD}{''.join(map(_STYLE.format, EXPLORER_STYLES))}</head><body><main class='htc-page'></main>"
        f"<script type='application/json' class='htc-settings'>{settings}</script>"
        f"<script type='text/plain' class='htc-pack'>{base64.b64encode(made).decode('ascii')}</script>"
        "<script type='module'>import { start } from '/explorer/places.js'; start();</script></body></html>",
    )
    page.locator(".htc-explorer .swatch").first.wait_for()
    page.locator(".htc-explorer").focus()
    for key in "ifbmx0123tsdph4].,[c?":
        page.keyboard.press(key)
        settle(page)
    page.keyboard.press("Escape")
    page.locator(".marks").hover()
    page.get_by_role("switch", name="Interleaved").hover()
    for name in ("Play the stages", "Copy as Python", "Share state", "Save PNG", "Export HTML"):
        page.get_by_role("button", name=name).click()
        settle(page)
    expect(page.locator(".said")).to_contain_text("Saved")
    page.locator(".divider").or_(page.locator(".marks")).first.click()
    page.set_viewport_size({"width": 1700, "height": 1000})
    settle(page)
    page.evaluate(
        f"{HANDLE}.busy('photo.jpg: cannot be read', true); {HANDLE}.setHidden(['semantic']); {HANDLE}.end()"
    )


def test_the_dashboard_runs_from_its_files(page: Page, address: str) -> None:
    run = {
        "name": "htc_seed0", "state": "running", "step": 2, "steps": 4, "seconds_left": 5, "samples": [2],
        "curves": [[1, 2], [2.0, 1.0]],
        "evaluations": [
            {"step": 2, "mask": 10.0, "box": 11.0, "final": False, "images": 3, "stages": [9.0, 10.0]},
        ],
    }  # fmt: skip
    place = {"name": "htc_seed0", "state": "running", "words": "", "command": None, "stoppable": True,
             "startable": False, "begun": True}  # fmt: skip
    data = json.dumps({"report": {"places": [place], "runs": [run], "curves": ["loss"]}, "pictures": {}})
    show(
        page,
        address,
        f"{_HEAD}{''.join(map(_STYLE.format, BOARD_STYLES))}</head><body><main></main><script type='module'>"
        f"import board from '/board/board.js'; const data = {data};"
        "const model = { get: name => data[name], on() {}, off() {}, send() {} };"
        "board.render({ model, el: document.querySelector('main') });</script></body></html>",
    )
    expect(page.get_by_role("img", name="Loss (all) over the steps: htc_seed0 1")).to_be_visible()
    expect(page.get_by_role("img", name="Mask AP over the steps: htc_seed0 10.0 at step 2")).to_be_visible()
    page.get_by_role("radio", name="box AP").click()
    expect(page.get_by_role("img", name="Box AP over the steps: htc_seed0 11.0 at step 2")).to_be_visible()
    page.get_by_role("button", name="Stop the training of htc_seed0").click()
    expect(page.locator(".said")).to_contain_text("Stopping")
