"""Names that come from data are text, whatever they hold: in the exported page and in a notebook's widget."""

import dataclasses
from pathlib import Path

import nbformat
from playwright.sync_api import Browser, Page

from htc_lab.explorer.pack import make_pack
from htc_lab.web.export import to_html
from tests.browser.lab import run_all_cells, serve
from tests.explorer.made_pack import made_runs

IMAGE = "<img src=x onerror=\"window.ran='image'\">"
SCRIPT = "</script><script>window.ran='script'</script>"
STYLE = "</style><svg onload=\"window.ran='svg'\">"
QUOTED = "\"' onmouseover=window.ran='quoted' x='${window.ran='template'}`"
TITLE = f"a {SCRIPT}{IMAGE}.png"
NAMES = (IMAGE, SCRIPT, STYLE, QUOTED)


def evil_pack() -> bytes:
    """Every class, semantic class, model and title is called something that wants to run."""
    runs = made_runs()
    names = tuple(f"{NAMES[i % len(NAMES)]}{i}" for i in range(len(runs.class_names)))
    models = tuple(
        dataclasses.replace(run, name=f"{NAMES[i % len(NAMES)]}{i}") for i, run in enumerate(runs.runs)
    )
    runs = dataclasses.replace(runs, class_names=names, semantic_names=names + names, runs=models)
    return make_pack(runs, TITLE, {"image": repr(TITLE), "models": repr(SCRIPT)})


def assert_nothing_ran(page: Page) -> None:
    assert page.evaluate("window.ran") is None
    assert (
        page.locator(
            ".htc-explorer img[src=x], .htc-explorer svg[onload], .htc-explorer [onmouseover]"
        ).count()
        == 0
    )


def use(page: Page, root: str = ".htc-explorer") -> None:
    """Bring up every place that shows a name: each object's life, semantic map, comparison, code."""
    explorer = page.locator(root).first
    explorer.locator(".marks").wait_for()
    page.wait_for_timeout(300)
    for button in explorer.get_by_role("switch").all() + explorer.get_by_role("checkbox").all():
        if button.is_visible() and button.is_enabled():
            button.click()
    marks = explorer.locator(".marks")
    box = marks.bounding_box()
    assert box is not None
    for x in range(1, 8):
        for y in range(1, 8):
            marks.hover(position={"x": box["width"] * x / 8, "y": box["height"] * y / 8}, force=True)
        marks.click(position={"x": box["width"] * x / 8, "y": box["height"] / 2}, force=True)
    page.wait_for_timeout(300)


def watched(browser: Browser, elsewhere: list[str], home: str) -> Page:
    page = browser.new_page(viewport={"width": 1366, "height": 900}, accept_downloads=True)
    allowed = ("file:", "blob:", "data:", home)
    page.on("request", lambda r: None if r.url.startswith(allowed) else elsewhere.append(r.url))
    page.on("websocket", lambda s: None if home in s.url.replace("ws:", "http:") else elsewhere.append(s.url))
    return page


def test_the_exported_page_shows_names_as_text(browser: Browser, tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "page.html", list[str]()
    path.write_text(to_html(evil_pack(), title=TITLE), encoding="utf-8")
    page = watched(browser, elsewhere, "file:")
    page.goto(path.as_uri())
    use(page)
    shown = page.locator(".htc-explorer").inner_text()
    assert "<img src=x" in shown
    assert TITLE in page.title()
    assert_nothing_ran(page)
    # A page that the browser itself exports is as harmless as the one it was.
    with page.expect_download() as got:
        page.get_by_role("button", name="Export HTML").click()
    again = tmp_path / "again.html"
    got.value.save_as(again)
    page.goto(again.as_uri())
    use(page)
    assert_nothing_ran(page)
    page.close()
    assert elsewhere == []


def test_an_address_cannot_bring_code_into_an_export(browser: Browser, tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "page.html", list[str]()
    path.write_text(to_html(evil_pack()), encoding="utf-8")
    page = watched(browser, elsewhere, "file:")
    keys = ["B", "A", "off", "stage", "thr", "obj", "show", "ref", "life", "split", "x"]
    for i, key in enumerate([*keys, "all"]):
        evil = [f"{each}={SCRIPT}{IMAGE}" for each in (keys if key == "all" else [key])]
        # The query makes it a page that is loaded again, and not a change of the one before.
        page.goto(f"{path.as_uri()}?{i}#B=1111&{'&'.join(evil)}")
        page.locator(".htc-explorer .marks").wait_for()
        page.wait_for_timeout(100)
        assert_nothing_ran(page)
        with page.expect_download() as got:
            page.get_by_role("button", name="Export HTML").click()
        again = tmp_path / "again.html"
        got.value.save_as(again)
        page.goto(f"{again.as_uri()}?{i}")
        page.locator(".htc-explorer .marks").wait_for()
        page.wait_for_timeout(100)
        assert_nothing_ran(page)
    page.close()
    assert elsewhere == []


def test_the_widget_shows_names_as_text(browser: Browser, tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", list[str]()
    root.mkdir()
    (root / "pack.bin").write_bytes(evil_pack())
    cell = (
        "from pathlib import Path\nfrom htc_lab.explorer.widget import StageExplorer\n"
        f"StageExplorer(Path('pack.bin').read_bytes(), title={TITLE!r})"
    )
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}},
    )
    nbformat.write(notebook, root / "names.ipynb")
    with serve(root, tmp_path / "home") as served:
        address = served.format("names.ipynb")
        page = watched(browser, elsewhere, address.split("/lab/")[0])
        run_all_cells(page, address, seconds=120)
        use(page)
        assert "<img src=x" in page.locator(".htc-explorer").inner_text()
        assert_nothing_ran(page)
        page.close()
    assert elsewhere == []
