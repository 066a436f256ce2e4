"""The explorer in its place: any width, low screens, dark and light, a real JupyterLab."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from htc_lab.config import HTC
from htc_lab.explorer.bits import bits_of, whole_bits
from htc_lab.web.export import script, styles
from tests.browser.lab import run_all_cells, serve
from tests.browser.opened import HANDLE, Opened, settle, switch, until
from tests.plots.made_trace import made_sample


def unseen(page: Page, view: str) -> list[str]:
    """What of an explorer is not on screen at once when its head is: parts of it, by class."""
    return page.evaluate(
        """view => {
            const root = document.querySelector('.htc-explorer');
            root.scrollIntoView({ block: 'start' });
            const seen = document.querySelector(view).getBoundingClientRect();
            const top = Math.max(seen.top, 0), bottom = view === 'html' ? innerHeight : seen.bottom;
            return ['.head', '.switches', '.tools', '.picture', '.scrub'].filter(name => {
                const place = root.querySelector(name).getBoundingClientRect();
                return place.top < top - 1 || place.bottom > bottom + 1;
            });
        }""",
        view,
    )


@pytest.mark.parametrize("width", [400, 760, 1100, 1600])
def test_it_fits_its_place(opened: Opened, made: bytes, width: int) -> None:
    page = opened(made, "B=1111&A=0000&stage=2&show=masks.boxes.labels.difference", width=width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture = page.locator(".picture").bounding_box()
    assert picture
    assert picture["width"] > 0.35 * width
    tall, wide = page.evaluate(f"[{HANDLE}.pack.height, {HANDLE}.pack.width]")
    assert picture["height"] / picture["width"] == pytest.approx(tall / wide, rel=0.01)
    page.set_viewport_size({"width": width + 220, "height": 900})
    settle(page)
    assert page.locator(".marks").evaluate("c => c.width / c.clientWidth") == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("size", [(1366, 768), (1280, 720), (1920, 1080), (1100, 1000)])
@pytest.mark.parametrize("text", ["", "B=0000", "B=1011&A=0000&stage=2&show=masks.boxes.labels.difference"])
def test_switches_picture_and_scrubber_are_on_screen_together(
    opened: Opened, made: bytes, size: tuple[int, int], text: str
) -> None:
    page = opened(made, text)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    settle(page)
    assert unseen(page, "html") == []
    picture = page.locator(".picture").bounding_box()
    assert picture
    assert picture["height"] > 0.5 * size[1]
    # The semantic branch brings a row of wires.
    for key in ("i", "h", "p"):
        page.locator(".htc-explorer").press(key)
        settle(page)
        after = page.locator(".picture").bounding_box()
        assert after
        assert after["height"] == picture["height"]
        assert unseen(page, "html") == []


@pytest.mark.parametrize("width", [1300, 1480, 1488, 1600, 1601, 1920])
def test_the_names_of_the_layers_stand_in_one_line(opened: Opened, made: bytes, width: int) -> None:
    page = opened(made, "B=1111&show=masks.boxes.labels.truth.semantic.difference", width=width)
    page.set_viewport_size({"width": width, "height": 1000})
    settle(page)
    tops = page.locator(".chip").evaluate_all("all => all.map(e => e.getBoundingClientRect().top)")
    assert len(tops) == 6
    assert len(set(tops)) == 1


def test_a_dark_page_is_dark_and_told_to_be_light_is_light(opened: Opened, made: bytes) -> None:
    page = opened(made, dark=True)
    root = page.locator(".htc-explorer")
    expect(root).to_have_attribute("data-dark", "true")
    page.evaluate("document.body.setAttribute('data-jp-theme-light', 'true')")
    expect(root).to_have_attribute("data-dark", "false")


def test_every_control_has_a_name_and_its_place_in_the_order_of_focus(opened: Opened, made: bytes) -> None:
    page = opened(made, "B=1111&A=0000&show=masks.difference")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('.htc-explorer :is(button, input, [role=slider], [role=img])')]
            .filter(e => e.checkVisibility() && !e.ariaHidden)
            .filter(e => !e.getAttribute('aria-label') && !e.textContent.trim() && !e.labels?.length)
            .map(e => e.outerHTML)"""
    )
    assert nameless == []
    page.locator(".htc-explorer").focus()
    order = []
    for _ in range(40):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate(
                "document.activeElement.closest('.head, .ideas, .main, .side, .foot')?.className ?? ''"
            )
        )
    places = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    assert places[:5] == ["head", "ideas", "main", "side", "foot"]


# ---- a widget's model without a kernel

_WIDGET = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Widget</title><style>{css}</style></head><body>
<main></main><script type="module">
{script}
const pack = Uint8Array.from(atob('{pack}'), c => c.charCodeAt(0));
const values = {{ pack: new DataView(pack.buffer), state: '', hide: [], status: {{}} }};
const heard = {{}};
window.kernel = {{
  saved: [],
  get state() {{ return values.state; }},
  says(state) {{ values.state = state; heard['change:state'](); }},
}};
const model = {{
  get: name => values[name], set(name, value) {{ values[name] = value; }}, send() {{}},
  on(type, act) {{ heard[type] = act; }}, off(type) {{ delete heard[type]; }},
  save_changes() {{ window.kernel.saved.push(values.state); }},
}};
window.closeWidget = render({{ model, el: document.querySelector('main') }});
</script></body></html>
"""


@pytest.fixture
def widget(browser: Browser, made: bytes, tmp_path: Path) -> Iterator[Page]:
    """An explorer as anywidget renders it; ``kernel`` in the page stands for the other side of its model."""
    text = _WIDGET.format(css=styles(), script=script(), pack=base64.b64encode(made).decode("ascii"))
    (tmp_path / "widget.html").write_text(text, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1366, "height": 900})
    page.goto((tmp_path / "widget.html").as_uri())
    until(page, f"{HANDLE} !== undefined")
    yield page
    page.close()


def test_what_a_kernel_echoes_does_not_take_back_what_a_person_did_since(widget: Page) -> None:
    """Three clicks at once; after each the kernel repeats what stood before it."""
    stood, saved_at_once = widget.evaluate(
        f"""() => {{
            const stood = [];
            for (const node of [...document.querySelectorAll('[role=switch]')].slice(0, 3)) {{
                const before = {HANDLE}.state;
                node.click();
                kernel.says(before);
                stood.push([before, {HANDLE}.state, kernel.state]);
            }}
            return [stood, kernel.saved.length];
        }}"""
    )
    states = [stood[0][0], *(after for _, after, _ in stood)]
    assert len(set(states)) == 4
    assert [before for before, _, _ in stood] == states[:3]
    assert states[3].startswith(f"B={whole_bits('0001')}&")
    # The kernel hears of the last of them alone, although what it said stood in the model meanwhile.
    assert saved_at_once == 0
    until(widget, "kernel.saved.length > 0")
    settle(widget)
    assert widget.evaluate("kernel.saved") == [states[3]]
    assert widget.evaluate("kernel.state") == states[3]


def test_what_a_kernel_says_by_itself_is_shown_and_not_sent_back(widget: Page) -> None:
    wanted = f"B={whole_bits('0000')}&stage=2"
    widget.evaluate("state => kernel.says(state)", wanted)
    assert widget.evaluate(f"{HANDLE}.state").startswith(f"B={whole_bits('0000')}&")
    expect(switch(widget, "Interleaved")).to_have_attribute("aria-checked", "false")
    settle(widget)
    assert widget.evaluate("kernel.saved") == []
    # After a person's change has reached it, the kernel is listened to again.
    switch(widget, "Interleaved").click()
    until(widget, "kernel.saved.length === 1")
    widget.evaluate("state => kernel.says(state)", wanted)
    expect(switch(widget, "Interleaved")).to_have_attribute("aria-checked", "false")


def test_a_widget_that_is_closed_saves_nothing_more(widget: Page) -> None:
    widget.evaluate("() => { document.querySelector('[role=switch]').click(); closeWidget(); }")
    settle(widget)
    assert widget.evaluate("kernel.saved") == []


# ---- in a notebook


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("lab")
    (place / "root").mkdir()
    cells = [
        "import htc_lab\nfirst = htc_lab.explore(9, 'classroom/htc', toggles=htc_lab.MASK_FLOW)\nfirst",
        "second = htc_lab.explore(3, 'classroom/htc', hide=['compare'])\nsecond",
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=kernel
    )
    nbformat.write(notebook, place / "root" / "explorer.ipynb")
    with serve(place / "root", place / "home") as served:
        yield served.format("explorer.ipynb")


def test_two_explorers_in_a_notebook(browser: Browser, lab: str, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    run_all_cells(page, lab, seconds=120)
    first, second = page.locator(".htc-explorer").first, page.locator(".htc-explorer").last
    expect(second.locator(".sub")).to_contain_text("classroom test scene 3", timeout=30_000)
    expect(first.get_by_role("switch", name="Semantic → boxes")).to_have_attribute("aria-checked", "false")
    expect(second.get_by_role("switch", name="Semantic → boxes")).to_have_attribute("aria-checked", "true")

    # Letters that are commands of the notebook are the explorer's while the focus is in it.
    cells = page.locator(".jp-Cell").count()
    first.get_by_role("switch", name="Interleaved").click()
    for key in ("b", "d", "d", "m"):
        page.keyboard.press(key)
    assert page.locator(".jp-Cell").count() == cells
    assert first.evaluate("e => e.htcExplorer.state").startswith(f"B={whole_bits('0111')}&")
    assert second.evaluate("e => e.htcExplorer.state").startswith(f"B={bits_of(HTC)}&")

    path = tmp_path / "my scene.png"
    Image.fromarray(np.ascontiguousarray(made_sample(5).image.permute(1, 2, 0))).save(path)
    first.locator("input[type=file]").set_input_files(path)
    expect(first.locator(".sub")).to_contain_text("my scene.png", timeout=60_000)
    expect(first.locator(".figure")).to_contain_text("no truth for this picture")
    assert first.evaluate("e => e.htcExplorer.state").startswith(f"B={whole_bits('0111')}&")
    (tmp_path / "notes.jpg").write_text("no picture")
    first.locator("input[type=file]").set_input_files(tmp_path / "notes.jpg")
    expect(first.locator(".busy")).to_contain_text("notes.jpg: cannot be read as a picture", timeout=30_000)
    first.get_by_role("button", name="Back to the picture").click()
    expect(first.locator(".busy")).to_be_hidden()

    for size in ((1366, 768), (1280, 720)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        # JupyterLab lays its panels out some time after the window has changed.
        end = time.monotonic() + 10
        while unseen(page, ".jp-WindowedPanel-outer") and time.monotonic() < end:
            page.wait_for_timeout(100)
        assert unseen(page, ".jp-WindowedPanel-outer") == []

    with page.expect_download(timeout=30_000) as got:
        second.get_by_role("button", name="Export HTML").click()
    assert got.value.path().stat().st_size < 3 * 1024 * 1024
    page.close()
