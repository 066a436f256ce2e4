"""The stage explorer in a real browser: the exported page by itself, and the widget in a real JupyterLab."""

import base64
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

import htc_lab
from htc_lab.explorer.export import to_html
from htc_lab.explorer.pack import kept, make_pack, quantise
from htc_lab.explorer.runs import PictureRuns, run_models
from htc_lab.layers.pasting import paste
from tests.browser.lab import browse, run_all_cells, serve
from tests.explorer.made_pack import made_runs
from tests.plots.made_trace import made_sample

HANDLE = "document.querySelector('.htc-explorer').htcExplorer"
HALF_STEP = 0.5 / 255


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browse() as opened:
        yield opened


@pytest.fixture(scope="module")
def made() -> bytes:
    return make_pack(made_runs(), "scene 3", {"image": "3", "models": ""})


@pytest.fixture(scope="module")
def real_runs() -> PictureRuns:
    """The shipped model on a classroom scene."""
    return run_models({"classroom/htc": htc_lab.load("classroom/htc")}, made_sample(9))


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator["Opened"]:
    """Opens exported pages; afterwards none of them may have complained or asked for anything elsewhere."""
    pages = Opened(browser, tmp_path)
    yield pages
    for page in pages.pages:
        page.close()
    assert pages.complaints == []
    assert pages.elsewhere == []


class Opened:
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
    ) -> Page:
        path = self.folder / f"page{len(self.pages)}.html"
        path.write_text(to_html(pack, "", hide), encoding="utf-8")
        page = self.browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
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


# ---- pixels


def test_the_browser_pastes_the_pixels_of_the_library(opened: Opened, real_runs: PictureRuns) -> None:
    page = opened(make_pack(real_runs))
    height, width = real_runs.image.shape[1:]
    differ = rounded = pixels = masks = 0
    for number, trace in enumerate(real_runs.runs[0].traces.values()):
        if number % 4:
            continue
        keep = kept(trace)
        for stage in range(1, 5):
            soft, boxes = trace.mask_probabilities, trace.boxes
            if stage < 4:
                soft, boxes = (
                    trace.stages[stage - 1].mask_logits.sigmoid(),
                    trace.stages[stage - 1].mask_boxes,
                )
            found = page.evaluate(
                f"""([run, stage, count]) => [...Array(count).keys()].map(row => {{
                    const p = {HANDLE}.pixels(run, stage, row);
                    return [p.left, p.top, p.wide, p.tall, btoa(String.fromCharCode(...p.inside))];
                }})""",
                [number, stage, len(keep)],
            )
            theirs = torch.zeros((len(keep), height, width), dtype=torch.bool)
            for row, (left, top, wide, tall, inside) in enumerate(found):
                window = torch.tensor(list(base64.b64decode(inside)), dtype=torch.bool).reshape(tall, wide)
                theirs[row, top : top + tall, left : left + wide] = window
            ours = paste(soft[keep], boxes[keep], height, width)
            surely = paste(soft[keep], boxes[keep], height, width, 0.5 + HALF_STEP + 1e-5)
            perhaps = paste(soft[keep], boxes[keep], height, width, 0.5 - HALF_STEP - 1e-5)
            stored = paste(torch.from_numpy(quantise(soft[keep])) / 255, boxes[keep], height, width)
            rounded += int((stored != theirs).sum())
            assert not (theirs & ~perhaps).any()
            assert not (surely & ~theirs).any()
            differ, pixels, masks = (
                differ + int((ours != theirs).sum()),
                pixels + int(ours.sum()),
                masks + len(keep),
            )
    assert masks > 60
    # What is left against the library on the stored masks is float32 against float64 at exactly one half.
    assert rounded < 0.0002 * pixels
    assert differ < 0.02 * pixels


# ---- controls


def test_each_control_answers_the_mouse(opened: Opened, made: bytes) -> None:
    page = opened(made)
    first = drawn(page)
    switch(page, "Mask information flow").click()
    assert state(page)["B"] == "1011"
    expect(switch(page, "Mask information flow")).to_have_attribute("aria-checked", "false")
    page.get_by_role("radio", name="Plain cascade", exact=True).click()
    assert state(page)["B"] == "0000"
    expect(page.locator(".badge")).to_have_text("trained so")
    page.get_by_role("radio", name="switched off in this model").click()
    expect(page.locator(".badge")).to_contain_text("switched off in HTC")
    expect(page.locator(".idea[data-cut=true]")).to_have_count(4)
    page.get_by_role("button", name="Stage 2", exact=True).first.click()
    settle(page)
    assert state(page)["stage"] == "2"
    assert drawn(page) != first
    page.get_by_role("radio", name="HTC", exact=True).click()
    for layer, name in (
        ("Masks", "masks"),
        ("Boxes", "boxes"),
        ("Labels", "labels"),
        ("Truth", "truth"),
        ("Difference", "difference"),
    ):
        before = drawn(page)
        page.get_by_role("button", name=layer, exact=True).click()
        settle(page)
        assert drawn(page) != before
        assert (name in state(page)["show"].split(".")) == (name in ("truth", "difference"))
    page.get_by_role("button", name="Compare A|B").click()
    assert state(page)["A"] == "0000"
    page.get_by_role("radio", name="A", exact=True).click()
    page.get_by_role("radio", name="+ Mask flow", exact=True).click()
    assert (state(page)["A"], state(page)["B"]) == ("1100", "1111")
    page.get_by_role("button", name="Swap A and B").click()
    assert (state(page)["A"], state(page)["B"]) == ("1111", "1100")
    box = page.locator(".divider").bounding_box()
    assert box
    page.mouse.move(box["x"] + 22, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] - 78, box["y"] + 60, steps=4)
    page.mouse.up()
    assert float(state(page)["split"]) < 0.5
    page.locator(".swatch").nth(2).click()
    assert state(page)["obj"] == "2"
    page.get_by_role("radio", name="box", exact=True).click()
    assert state(page)["life"] == "box"


def test_each_key_does_what_the_help_says(opened: Opened, made: bytes) -> None:
    page = opened(made)
    page.locator(".htc-explorer").focus()
    for key, name, value in (
        *(("i", "B", "0111"), ("f", "B", "0011"), ("b", "B", "0001"), ("m", "B", "0000"), ("h", "B", "1111")),
        *(("p", "B", "0000"), ("ArrowLeft", "stage", "3"), ("0", "stage", "0"), ("ArrowRight", "stage", "1")),
        *(
            ("]", "obj", "1"),
            ("[", "obj", "0"),
            (".", "thr", "0.35"),
            (",", "thr", "0.30"),
            ("c", "A", "0000"),
        ),
        *(("t", "show", "masks.boxes.labels.truth"), ("d", "show", "masks.boxes.labels.truth.difference")),
        *(("h", "B", "1111"), ("x", "A", "1111"), ("x", "A", "0000"), ("4", "stage", "4")),
    ):
        page.keyboard.press(key)
        assert state(page)[name] == value, key
    page.keyboard.press("s")
    assert "semantic" in state(page)["show"]
    page.locator(".divider").focus()
    page.keyboard.press("End")
    assert state(page)["split"] == "0.98"
    page.get_by_role("slider", name="Stage").focus()
    page.keyboard.press("ArrowLeft")
    assert state(page)["stage"] == "3"
    page.get_by_role("radio", name="HTC", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    assert state(page)["B"] == "1100"
    expect(page.get_by_role("radio", name="+ Mask flow")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_clicking_an_object_follows_its_life(opened: Opened, made: bytes) -> None:
    # The smallest object lies on top: a pixel of its mask is its own.
    targets = made_sample(3).targets
    smallest = int(targets.masks.flatten(1).sum(dim=1).argmin())
    rows, columns = torch.nonzero(targets.masks[smallest], as_tuple=True)
    middle = [(float(each[len(each) // 2]) + 0.5) / 128 for each in (columns, rows)]
    page = opened(made, f"B=1111&obj={(smallest + 1) % len(targets.boxes)}")
    place = page.locator(".marks").bounding_box()
    assert place
    page.mouse.click(place["x"] + middle[0] * place["width"], place["y"] + middle[1] * place["height"])
    assert state(page)["obj"] == str(smallest)
    settle(page)
    expect(page.locator(".object .status")).to_contain_text("mask IoU ")
    expect(page.get_by_role("img", name="Mask IoU by stage: Stage 1 ")).to_be_visible()
    expect(page.get_by_role("img", name="28 by 28 soft mask, Mean")).to_be_visible()
    assert (
        page.locator(".tile").first.evaluate(
            "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
        )
        > 30
    )


def test_boxes_glide_to_their_place_and_stand_still_for_who_asks(opened: Opened, made: bytes) -> None:
    page = opened(made, "B=1111&stage=0")
    moved = page.evaluate(
        """async () => {
            const canvas = document.querySelector('.marks'), shots = [];
            document.querySelector('.stop[data-stage="4"]').click();
            shots.push(canvas.toDataURL());
            await new Promise(done => setTimeout(done, 90));
            shots.push(canvas.toDataURL());
            await new Promise(done => setTimeout(done, 300));
            shots.push(canvas.toDataURL());
            return new Set(shots).size;
        }"""
    )
    assert moved == 3
    page.emulate_media(reduced_motion="reduce")
    page.keyboard.press("0")
    page.get_by_role("button", name="Stage 3", exact=True).first.click()
    at_once = drawn(page)
    settle(page)
    assert drawn(page) == at_once


def test_play_runs_through_the_stages_and_stops(opened: Opened, made: bytes) -> None:
    page = opened(made)
    page.get_by_role("button", name="Play the stages").click()
    assert state(page)["stage"] == "0"
    until(page, f"{HANDLE}.state.includes('stage=1')")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Play the stages")).to_be_visible()


def test_a_thousand_toggles_leave_no_trace(opened: Opened, made: bytes) -> None:
    page = opened(made)
    sizes = page.evaluate(
        """async () => {
            const root = document.querySelector('.htc-explorer');
            const nodes = () => root.querySelectorAll('*').length;
            let seed = 7;
            const random = n => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
            const keys = [...'ifbm01234tsdcx],.ph'];
            const press = key => root.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
            const frame = () => new Promise(done => requestAnimationFrame(done));
            const counts = [];
            for (let i = 0; i < 1000; i++) {
                press(keys[random(keys.length)]);
                if (i % 10 === 0) await frame();
                if (i === 200 || i === 999) {
                    root.htcExplorer.setState('B=1111&off=t&stage=4&thr=0.30&obj=0&show=masks.boxes.labels');
                    await frame(); await frame();
                    counts.push(nodes());
                }
            }
            return counts;
        }"""
    )
    assert sizes[0] == sizes[1]


# ---- state and sharing


def test_a_link_opens_as_it_was_left(opened: Opened, made: bytes) -> None:
    text = "B=1101&A=1000&split=0.30&off=s&stage=2&thr=0.45&obj=2&show=masks.labels.truth&ref=prev&life=box"
    page = opened(made, text)
    assert page.evaluate(f"{HANDLE}.state") == text
    first = drawn(page)
    page.keyboard.press("Tab")
    switch(page, "Interleaved").click()
    settle(page)
    assert drawn(page) != first
    until(page, f"location.hash === '#' + {HANDLE}.state")
    page.evaluate(f"location.hash = '{text}'")
    settle(page)
    assert drawn(page) == first


def test_nonsense_in_a_link_is_left_out(opened: Opened, made: bytes) -> None:
    page = opened(made, "B=9&stage=99&thr=x&show=ghosts&A=11")
    assert state(page) == {"B": "1111", "off": "t", "stage": "4", "thr": "0.30", "obj": "0", "show": ""}


def test_the_copied_python_gives_the_same_state(opened: Opened, made: bytes) -> None:
    text = "B=1010&A=1100&split=0.30&off=s&stage=2&thr=0.45&obj=2&show=masks.truth&life=box"
    code = opened(made, text).evaluate(f"{HANDLE}.python()")
    given = dict(htc_lab=htc_lab)
    explorer = eval(code.removeprefix("import htc_lab").strip(), given)
    assert explorer.state == text
    assert explorer.title == "classroom test scene 3"


def test_the_picture_and_the_page_are_saved(opened: Opened, made: bytes) -> None:
    page = opened(made, "B=1100&stage=2&thr=0.30&obj=1&show=masks.truth", hide=("presets",))
    with page.expect_download() as got:
        page.get_by_role("button", name="Save PNG").click()
    with Image.open(got.value.path()) as picture:
        colours = picture.convert("RGB").getcolors(1 << 24)
        assert picture.format == "PNG"
        assert picture.width >= 900
        assert colours is not None
        assert len(colours) > 1000
    with page.expect_download() as got:
        page.get_by_role("button", name="Export HTML").click()
    again = opened.folder / "again.html"
    got.value.save_as(again)
    copy = opened.browser.new_page()
    opened.pages.append(copy)
    copy.goto(f"file://{again}")
    until(copy, f"{HANDLE} !== undefined")
    assert copy.evaluate(f"{HANDLE}.state") == page.evaluate(f"{HANDLE}.state")
    expect(copy.get_by_text("Preset")).to_be_hidden()


# ---- what is hidden, missing or strange


def test_hidden_knobs_are_gone_with_their_keys(opened: Opened, made: bytes) -> None:
    page = opened(made, "B=1100", hide=("semantic", "compare", "threshold", "truth"))
    expect(page.get_by_role("switch")).to_have_count(2)
    for name in ("Semantic", "Truth", "Compare A|B"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    expect(page.get_by_role("radio", name="HTC", exact=True)).to_have_count(0)
    before = state(page)
    page.locator(".htc-explorer").focus()
    for key in "bmsthc.,x":
        page.keyboard.press(key)
    assert state(page) == before


def test_names_are_text_whatever_they_hold(opened: Opened) -> None:
    evil = "<img src=x onerror=alert(1)>"
    runs = made_runs()
    runs = dataclasses.replace(runs, class_names=tuple(evil + name for name in runs.class_names))
    page = opened(make_pack(runs, f"</script>{evil}"))
    assert page.locator(".htc-explorer img").count() == 0
    expect(page.locator(".sub")).to_contain_text(evil)
    expect(page.locator("h3").first).to_contain_text(evil)


def test_without_truth_there_is_no_ap_and_no_iou(opened: Opened) -> None:
    page = opened(make_pack(dataclasses.replace(made_runs(), targets=None)))
    expect(page.locator(".figure")).to_contain_text("no truth for this picture")
    expect(page.get_by_role("button", name="Truth", exact=True)).to_be_disabled()
    expect(page.locator(".bars")).to_be_hidden()
    expect(page.get_by_role("img", name="Score by stage")).to_be_visible()
    switch(page, "Semantic → masks").click()
    expect(page.locator(".note")).not_to_contain_text("IoU")


def test_a_broken_page_says_so(browser: Browser, tmp_path: Path, made: bytes) -> None:
    (tmp_path / "broken.html").write_text(to_html(made[:4] + b"\x07" + made[5:]))
    page = browser.new_page()
    page.goto(f"file://{tmp_path / 'broken.html'}")
    expect(page.get_by_role("alert")).to_contain_text("another version of the lab")
    page.close()


# ---- places


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


def unseen(page: Page, view: str) -> list[str]:
    """What of an explorer is not on screen at once when its head is: parts of it, by class."""
    return page.evaluate(
        """view => {
            const root = document.querySelector('.htc-explorer');
            root.scrollIntoView({ block: 'start' });
            const seen = document.querySelector(view).getBoundingClientRect();
            const top = Math.max(seen.top, 0), bottom = view === 'html' ? innerHeight : seen.bottom;
            return ['.head', '.four', '.tools', '.picture', '.scrub'].filter(name => {
                const place = root.querySelector(name).getBoundingClientRect();
                return place.top < top - 1 || place.bottom > bottom + 1;
            });
        }""",
        view,
    )


@pytest.mark.parametrize("size", [(1366, 768), (1280, 720), (1920, 1080), (1100, 1000)])
@pytest.mark.parametrize("text", ["", "B=1011&A=0000&stage=2&show=masks.boxes.labels.difference"])
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
    switch(page, "Interleaved").click()
    settle(page)
    after = page.locator(".picture").bounding_box()
    assert after
    assert after["height"] == picture["height"]


def test_a_lost_object_tells_how_it_was_lost(opened: Opened) -> None:
    runs = made_runs()
    trace = runs.runs[3].traces["1111"]
    keep = torch.arange(len(trace.detected)) != 1
    stages = tuple(
        dataclasses.replace(
            record,
            class_logits=record.class_logits.index_fill(0, torch.tensor([1]), 0.0),
            mask_boxes=record.mask_boxes[keep],
            mask_logits=record.mask_logits[keep],
            final_mask_logits=record.final_mask_logits[keep],
        )
        for record in trace.stages
    )
    fields = ("detected", "labels", "scores", "boxes", "mask_probabilities")
    less = dataclasses.replace(trace, stages=stages, **{name: getattr(trace, name)[keep] for name in fields})
    last = dataclasses.replace(runs.runs[3], traces={**runs.runs[3].traces, "1111": less})
    page = opened(make_pack(dataclasses.replace(runs, runs=(*runs.runs[:3], last))), "B=1111&obj=1")
    expect(page.locator(".object .status")).to_have_text("missed")
    expect(page.locator(".why")).to_contain_text("it scores 0.1")
    expect(page.get_by_role("img", name="Box IoU of the nearest RoI by stage: Proposals")).to_be_visible()
    expect(page.locator(".scores .score")).to_have_count(4)
    page.get_by_role("radio", name="Plain cascade", exact=True).click()
    expect(page.locator(".why")).to_be_hidden()


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
    assert first.evaluate("e => e.htcExplorer.state").startswith("B=0111&")
    assert second.evaluate("e => e.htcExplorer.state").startswith("B=1111&")

    path = tmp_path / "my scene.png"
    Image.fromarray(np.ascontiguousarray(made_sample(5).image.permute(1, 2, 0))).save(path)
    first.locator("input[type=file]").set_input_files(path)
    expect(first.locator(".sub")).to_contain_text("my scene.png", timeout=60_000)
    expect(first.locator(".figure")).to_contain_text("no truth for this picture")
    assert first.evaluate("e => e.htcExplorer.state").startswith("B=0111&")
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
