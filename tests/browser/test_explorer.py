"""The stage explorer in a real browser: the exported page by itself."""

import dataclasses
from pathlib import Path

import torch
from PIL import Image
from playwright.sync_api import Browser, expect

import htc_lab
from htc_lab.config import HTC, INTERLEAVED, MASK_FLOW, PLAIN_CASCADE
from htc_lab.explorer.bits import bits_of, whole_bits
from htc_lab.explorer.pack import make_pack
from htc_lab.ideas import IDEAS
from htc_lab.web.export import to_html
from tests.browser.opened import HANDLE, Opened, drawn, settle, state, switch, until
from tests.explorer.made_pack import made_runs
from tests.plots.made_trace import made_sample

# ---- controls


def test_each_control_answers_the_mouse(opened: Opened, made: bytes) -> None:
    page = opened(made)
    first = drawn(page)
    switch(page, "Mask information flow").click()
    assert state(page)["B"] == whole_bits("1011")
    expect(switch(page, "Mask information flow")).to_have_attribute("aria-checked", "false")
    page.get_by_role("radio", name="Plain cascade", exact=True).click()
    assert state(page)["B"] == bits_of(PLAIN_CASCADE)
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
    assert state(page)["A"] == bits_of(PLAIN_CASCADE)
    page.get_by_role("radio", name="A", exact=True).click()
    page.get_by_role("radio", name="+ Mask flow", exact=True).click()
    assert (state(page)["A"], state(page)["B"]) == (bits_of(MASK_FLOW), bits_of(HTC))
    page.get_by_role("button", name="Swap A and B").click()
    assert (state(page)["A"], state(page)["B"]) == (bits_of(HTC), bits_of(MASK_FLOW))
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
        *(
            ("i", "B", whole_bits("0111")),
            ("f", "B", whole_bits("0011")),
            ("b", "B", whole_bits("0001")),
            ("m", "B", bits_of(PLAIN_CASCADE)),
            ("h", "B", bits_of(HTC)),
        ),
        *(
            ("p", "B", bits_of(PLAIN_CASCADE)),
            ("ArrowLeft", "stage", "3"),
            ("0", "stage", "0"),
            ("ArrowRight", "stage", "1"),
        ),
        *(
            ("]", "obj", "1"),
            ("[", "obj", "0"),
            (".", "thr", "0.35"),
            (",", "thr", "0.30"),
            ("c", "A", bits_of(PLAIN_CASCADE)),
        ),
        *(("t", "show", "masks.boxes.labels.truth"), ("d", "show", "masks.boxes.labels.truth.difference")),
        *(
            ("h", "B", bits_of(HTC)),
            ("x", "A", bits_of(HTC)),
            ("x", "A", bits_of(PLAIN_CASCADE)),
            ("4", "stage", "4"),
        ),
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
    assert state(page)["B"] == bits_of(MASK_FLOW)
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
        page.locator(".tiles canvas").evaluate(
            "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
        )
        > 30
    )


def test_boxes_glide_to_their_place_and_stand_still_for_who_asks(opened: Opened, made: bytes) -> None:
    page = opened(made, "B=1111&stage=0")
    # The test is the clock: on a slow machine the browser may draw nothing between first and last frame.
    moved = page.evaluate(
        """() => {
            const canvas = document.querySelector('.marks'), shots = [], asked = [];
            const real = [window.requestAnimationFrame, performance.now];
            window.requestAnimationFrame = step => asked.push(step);
            performance.now = () => 1000;
            const tick = now => {
                for (const step of asked.splice(0)) step(now);
                shots.push(canvas.toDataURL());
            };
            document.querySelector('.stop[data-stage="4"]').click();
            for (const now of [1000, 1090, 1400]) tick(now);
            [window.requestAnimationFrame, performance.now] = real;
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


PRESS_AT_RANDOM = """async ([seed, count]) => {
    const root = document.querySelector('.htc-explorer');
    const random = n => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
    const keys = [...'ifbm01234tsdcx],.ph'];
    const press = key => root.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
    const frame = () => new Promise(done => requestAnimationFrame(done));
    for (let i = 0; i < count; i++) {
        press(keys[random(keys.length)]);
        if (i % 10 === 0) await frame();
    }
    root.htcExplorer.setState('B=1111&off=t&stage=4&thr=0.30&obj=0&show=masks.boxes.labels');
    await frame(); await frame();
}"""


def test_a_thousand_toggles_leave_no_trace(opened: Opened, made: bytes) -> None:
    page = opened(made)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    held = []
    # Outlines and drawn texts are kept once made: the first toggles make them.
    for seed, count in ((7, 400), (8, 1000)):
        page.evaluate(PRESS_AT_RANDOM, [seed, count])
        settle(page)
        session.send("HeapProfiler.collectGarbage")
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        metrics["elements"] = page.locator(".htc-explorer *").count()
        held.append(metrics)
    for name in ("elements", "Documents", "JSEventListeners"):
        assert held[1][name] == held[0][name], name
    assert held[1]["Nodes"] < held[0]["Nodes"] + 100
    assert held[1]["JSHeapUsedSize"] < held[0]["JSHeapUsedSize"] + 1024**2


def test_fingers_do_what_the_mouse_does(opened: Opened, made: bytes) -> None:
    page = opened(made, "B=1111&A=0000&obj=1", touch=True)
    switch(page, "Interleaved").tap()
    assert state(page)["B"] == whole_bits("0111")
    page.locator(".swatch").nth(2).tap()
    assert state(page)["obj"] == "2"
    session = page.context.new_cdp_session(page)
    box = page.locator(".divider").bounding_box()
    assert box
    x, y = box["x"] + 22, box["y"] + 60
    for kind, points in (
        ("touchStart", [{"x": x, "y": y}]),
        ("touchMove", [{"x": x - 60, "y": y}]),
        ("touchMove", [{"x": x - 120, "y": y}]),
        ("touchEnd", []),
    ):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    until(page, f"Number({HANDLE}.state.match(/split=([0-9.]+)/)[1]) < 0.45")


# ---- state and sharing


def test_a_link_opens_as_it_was_left(opened: Opened, made: bytes) -> None:
    text = (
        f"B={whole_bits('1101')}&A={bits_of(INTERLEAVED)}"
        "&split=0.30&off=s&stage=2&thr=0.45&obj=2&show=masks.labels.truth&ref=prev&life=box"
    )
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
    page = opened(made, f"B=9&stage=99&thr=x&show=ghosts&A={'1' * (len(IDEAS) + 1)}")
    assert state(page) == {"B": bits_of(HTC), "off": "t", "stage": "4", "thr": "0.30", "obj": "0", "show": ""}


def test_a_link_with_fewer_bits_leaves_the_other_ideas_off(opened: Opened, made: bytes) -> None:
    page = opened(made, "B=11&A=1")
    assert (state(page)["B"], state(page)["A"]) == (bits_of(MASK_FLOW), bits_of(INTERLEAVED))


def test_the_copied_python_gives_the_same_picture(opened: Opened) -> None:
    text = (
        f"B={whole_bits('1010')}&A={bits_of(MASK_FLOW)}"
        "&split=0.30&off=s&stage=2&thr=0.45&obj=2&show=masks.truth&life=box"
    )
    shown = htc_lab.explore(3, "classroom/htc", state=text)
    code = opened(shown.pack, text).evaluate(f"{HANDLE}.python()")
    again = eval(code.removeprefix("import htc_lab").strip(), {"htc_lab": htc_lab})
    assert again.state == text
    assert again.title == "classroom test scene 3"
    assert again.pack == shown.pack


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
    expect(page.get_by_role("switch")).to_have_count(len(IDEAS) - 2)
    for name in ("Semantic", "Truth", "Compare A|B"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    expect(page.get_by_role("radio", name="HTC", exact=True)).to_have_count(0)
    before = state(page)
    page.locator(".htc-explorer").focus()
    for key in "bmsthc.,x":
        page.keyboard.press(key)
    assert state(page) == before


def test_who_has_no_switches_is_not_told_to_switch(opened: Opened, made: bytes) -> None:
    words = "Switch an idea on"
    expect(opened(made, "B=0000").locator(".note:has(.badge)")).to_contain_text(words)
    page = opened(made, "B=0000", hide=tuple({idea.knob.split()[0] for idea in IDEAS}))
    expect(page.locator(".note:has(.badge)")).to_contain_text("what the others are compared with")
    expect(page.locator(".note:has(.badge)")).not_to_contain_text(words)


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


def test_a_lost_object_tells_how_it_was_lost(opened: Opened) -> None:
    runs = made_runs()
    trace = runs.runs[3].traces[bits_of(HTC)]
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
    last = dataclasses.replace(runs.runs[3], traces={**runs.runs[3].traces, bits_of(HTC): less})
    page = opened(make_pack(dataclasses.replace(runs, runs=(*runs.runs[:3], last))), "B=1111&obj=1")
    expect(page.locator(".object .status")).to_have_text("missed")
    expect(page.locator(".why")).to_contain_text("it scores 0.1")
    expect(page.get_by_role("img", name="Box IoU of the nearest RoI by stage: Proposals")).to_be_visible()
    expect(page.locator(".scores .score")).to_have_count(4)
    page.get_by_role("radio", name="Plain cascade", exact=True).click()
    expect(page.locator(".why")).to_be_hidden()
