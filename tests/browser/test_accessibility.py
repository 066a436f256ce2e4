"""axe-core on the explorer and the dashboard, in every mode, light and dark."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from htc_lab.explorer.pack import make_pack
from htc_lab.web.export import to_html
from tests.board.folders import make_run
from tests.browser.board_picture import page_of
from tests.browser.opened import settle
from tests.explorer.made_pack import made_runs

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
EVERYTHING = "masks.boxes.labels.truth.difference"
WIDE, LOW, PHONE = (1440, 1000), (1366, 768), (400, 900)

STATES: dict[str, tuple[str, tuple[str, ...], tuple[int, int]]] = {
    "HTC": ("B=1111", (), WIDE),
    "low screen": ("B=1111", (), LOW),
    "phone": ("B=1011&A=0000&show=masks.boxes.labels", (), PHONE),
    "proposals": ("B=0000&stage=0&show=boxes", (), WIDE),
    "switched off": ("B=0100&off=s&stage=3", (), WIDE),
    "split": ("B=1110&A=0000&stage=2&show=masks.boxes.labels.truth&life=box", (), WIDE),
    "difference": (f"B=1111&stage=2&show={EVERYTHING}&ref=prev", (), WIDE),
    "split and difference": (f"B=1111&A=1000&stage=4&show={EVERYTHING}.semantic", (), LOW),
    "missed": ("B=1111&thr=0.95&obj=2&show=masks.boxes.labels.truth", (), WIDE),
    "hidden knobs": ("B=1000", ("semantic", "compare", "off_means", "presets", "threshold"), WIDE),
}
AFTER: dict[str, Callable[[Page], None]] = {
    "help": lambda page: page.keyboard.press("?"),
    "code": lambda page: page.get_by_role("button", name="Copy as Python").click(),
    "busy": lambda page: page.evaluate(
        "document.querySelector('.htc-explorer').htcExplorer.busy('photo.jpg: cannot be read', true)"
    ),
}


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong: rule, and where."""
    # The rest of its answer is megabytes of what is right.
    options: dict[str, Any] = {"runOnly": RULES, "resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{each['id']}: {node['html'][:160]} {node['failureSummary']}"
        for each in found
        for node in each["nodes"]
    ]


@pytest.fixture(scope="module", params=["light", "dark"])
def show(request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: Any) -> Iterator[Callable]:
    """Opens a page in a scheme; axe-core is a script that the page's own policy would not let in."""
    folder = tmp_path_factory.mktemp("pages")
    context = browser.new_context(bypass_csp=True, color_scheme=request.param)

    def shown(text: str, size: tuple[int, int], state: str = "") -> Page:
        path = folder / "page.html"
        path.write_text(text, encoding="utf-8")
        page = context.new_page()
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.goto(f"{path.as_uri()}#{state}" if state else path.as_uri())
        page.locator(".htc-lab h2").wait_for()
        settle(page)
        return page

    yield shown
    context.close()


@pytest.mark.parametrize("name", STATES)
def test_the_explorer_passes_axe(show: Callable[..., Page], made: bytes, name: str) -> None:
    state, hide, size = STATES[name]
    page = show(to_html(made, "", hide), size, state)
    assert violations(page) == []
    page.close()


@pytest.mark.parametrize("name", AFTER)
def test_what_the_explorer_answers_with_passes_axe(show: Callable[..., Page], made: bytes, name: str) -> None:
    page = show(to_html(made), WIDE)
    page.locator(".htc-explorer").focus()
    AFTER[name](page)
    page.wait_for_timeout(100)
    assert violations(page) == []
    page.close()


def test_a_picture_without_truth_passes_axe(show: Callable[..., Page]) -> None:
    page = show(to_html(make_pack(dataclasses.replace(made_runs(), targets=None))), WIDE)
    assert violations(page) == []
    page.close()


@pytest.mark.parametrize("size", [(1180, 800), (480, 800)])
def test_the_dashboard_passes_axe(show: Callable[..., Page], tmp_path: Path, size: tuple[int, int]) -> None:
    make_run(tmp_path / "first", 40, evaluated=(10, 20, 30, 40))
    make_run(tmp_path / "second", 25, evaluated=(10, 20))
    page = show(page_of((tmp_path / "first", tmp_path / "second", tmp_path / "none")), size)
    assert violations(page) == []
    page.close()
