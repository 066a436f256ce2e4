"""Both notebooks in a real JupyterLab, in a real browser."""

import hashlib
from collections.abc import Iterator

import nbformat
import pytest
from playwright.sync_api import Browser, Page, expect

from htc_lab.course.notebooks import notebooks_folder, to_notebook, with_parameters
from tests.browser.lab import browse, run_all_cells, serve
from tests.notebooks.test_notebooks import TINY

PICTURE = ".htc-lab-stage-view img"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab on a folder with the notebooks at their tiny size; put a path in for the braces."""
    place = tmp_path_factory.mktemp("lab")
    (place / "root" / "notebooks").mkdir(parents=True)
    for name, values in TINY.items():
        notebook = with_parameters(to_notebook(notebooks_folder() / "src" / f"{name}.py"), values)
        nbformat.write(notebook, place / "root" / "notebooks" / f"{name}.ipynb")
    with serve(place / "root", place / "home") as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browse() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield opened
    opened.close()


def shown(page: Page) -> str:
    """A digest of the bytes of the stage view's picture."""
    numbers = page.locator(PICTURE).evaluate(
        "async img => [...new Uint8Array(await (await fetch(img.src)).arrayBuffer())]"
    )
    assert bytes(numbers[:2]) == b"\xff\xd8"
    return hashlib.sha256(bytes(numbers)).hexdigest()


def wait_for_another(page: Page, source: str) -> None:
    """Wait until the picture's address is no longer ``source``."""
    page.wait_for_function("([css, old]) => document.querySelector(css).src !== old", arg=[PICTURE, source])


def test_the_tour_answers_a_toggle(page: Page, address: str) -> None:
    run_all_cells(page, address.format("notebooks/00_tour.ipynb"), seconds=120)
    page.locator(PICTURE).scroll_into_view_if_needed()
    view = page.locator(".htc-lab-stage-view")
    words = view.get_by_role("status")
    first, source = shown(page), page.locator(PICTURE).get_attribute("src")

    view.get_by_text("Mask information flow", exact=True).click()
    wait_for_another(page, source)
    expect(words).to_contain_text("switched off in a model trained with it")
    without_flow, source = shown(page), page.locator(PICTURE).get_attribute("src")
    assert without_flow != first

    view.get_by_role("button", name="Proposals").click()
    wait_for_another(page, source)
    expect(words).to_contain_text("no class yet, no masks")
    assert shown(page) not in (first, without_flow)


def test_the_ablation_runs_and_shows_its_table(page: Page, address: str) -> None:
    run_all_cells(page, address.format("notebooks/06_ablation.ipynb"), seconds=180)
    last = page.locator(".jp-RenderedMarkdown table").filter(has_text="Semantic branch").last
    expect(last).to_contain_text("Plain cascade")
    assert page.locator(".jp-OutputArea img").count() >= 9
    assert page.locator(PICTURE).count() == 1
