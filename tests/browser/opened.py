"""Exported pages in a browser, watched: none may complain or ask for anything elsewhere."""

import time
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page

from htc_lab.web.export import to_html

HANDLE = "document.querySelector('.htc-explorer').htcExplorer"


class Opened:
    """Opens packs as exported pages.

    Attributes:
        folder: where the pages lie.
        pages: those that are open.
        complaints: what they wrote to the console.
        elsewhere: addresses they asked for.
    """

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser, self.folder = browser, folder
        self.pages: list[Page] = []
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []

    def __call__(
        self,
        pack: bytes,
        state: str = "",
        *,
        hide: tuple[str, ...] = (),
        width: int = 1366,
        dark: bool = False,
        touch: bool = False,
    ) -> Page:
        path = self.folder / f"page{len(self.pages)}.html"
        path.write_text(to_html(pack, "", hide), encoding="utf-8")
        page = self.browser.new_page(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            has_touch=touch,
        )
        self.pages.append(page)
        page.on(
            "console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "request",
            lambda r: None if r.url.startswith(("file:", "blob:", "data:")) else self.elsewhere.append(r.url),
        )
        page.goto(f"file://{path}{'#' + state if state else ''}")
        page.locator(".htc-explorer .marks").wait_for()
        until(page, f"{HANDLE} !== undefined")
        settle(page)
        return page


def until(page: Page, condition: str) -> None:
    """Wait for what an expression says; the page's own policy forbids the browser to do so by itself."""
    end = time.monotonic() + 10
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def settle(page: Page) -> None:
    """Until boxes have glided and the panel is drawn."""
    page.wait_for_timeout(300)


def state(page: Page) -> dict[str, str]:
    return dict(part.split("=") for part in page.evaluate(f"{HANDLE}.state").split("&"))


def drawn(page: Page) -> str:
    """What is on the picture, as a data address."""
    return str(page.locator(".marks").evaluate("canvas => canvas.toDataURL()"))


def switch(page: Page, name: str) -> Locator:
    return page.get_by_role("switch", name=name)
