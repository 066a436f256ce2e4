"""A browser, pages in it, and a pack to open."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from htc_lab.explorer.pack import make_pack
from tests.browser.lab import browse
from tests.browser.opened import Opened
from tests.explorer.made_pack import made_runs


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browse() as opened:
        yield opened


@pytest.fixture(scope="module")
def made() -> bytes:
    """The pack of a scene under all settings, made from its truth."""
    return make_pack(made_runs(), "scene 3", {"image": "3", "models": ""})


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    """Opens exported pages; afterwards none of them may have complained or asked for anything elsewhere."""
    pages = Opened(browser, tmp_path)
    yield pages
    for page in pages.pages:
        page.close()
    assert pages.complaints == []
    assert pages.elsewhere == []
