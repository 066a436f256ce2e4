"""A pack with an idea more than the lab has: the explorer shows whatever the pack tells it."""

import json
import re
import struct

import pytest
from playwright.sync_api import expect

from htc_lab.config import HTC, INTERLEAVED, MASK_FLOW, PLAIN_CASCADE
from htc_lab.explorer.bits import bits_of, whole_bits
from htc_lab.explorer.pack import make_pack
from htc_lab.explorer.runs import run_models
from htc_lab.ideas import IDEAS
from htc_lab.toggles import EVERY_IDEA
from tests.browser.opened import HANDLE, Opened, drawn, settle, state, switch
from tests.browser.test_places import unseen
from tests.explorer.made_pack import tiny_sample
from tests.unit.tiny import lively, with_toggles

ADDED = {
    "field": "box_feature",
    "key": "E",
    "knob": "box_feature",
    "short": "Box feature",
    "name": "Box feature to the mask head",
    "equation": "eq. 7",
    "says": "Each mask head also sees its box head’s feature",
    "cut": "",
    "wires": [
        {
            "source": "box",
            "target": "mask",
            "on": True,
            "first_stage": 1,
            "words": "each mask head also sees its box head’s feature",
        }
    ],
}
_HEAD = struct.Struct("<4sII")


def with_added(pack: bytes) -> bytes:
    """The pack with one more idea, which changes nothing of what the models say."""
    magic, version, length = _HEAD.unpack_from(pack)
    index = json.loads(pack[_HEAD.size : _HEAD.size + length])
    index["ideas"].append(ADDED)
    for entry in (*index["rungs"], *index["models"], *index["runs"]):
        entry["bits"] += "0"
    index["answers"] = {
        means: {
            bits + bit: [run, trained * (bit == "0")]
            for bits, (run, trained) in found.items()
            for bit in "01"
        }
        for means, found in index["answers"].items()
    }
    text = json.dumps(index, ensure_ascii=False).encode()
    return _HEAD.pack(magic, version, len(text)) + text + pack[_HEAD.size + length :]


@pytest.fixture(scope="module")
def more(made: bytes) -> bytes:
    return with_added(made)


def test_it_has_a_switch_a_key_and_words(opened: Opened, more: bytes) -> None:
    page = opened(more)
    expect(page.get_by_role("switch")).to_have_count(len(IDEAS) + 1)
    assert state(page)["B"] == bits_of(HTC) + "0"
    added = switch(page, ADDED["name"])
    expect(added).to_contain_text(ADDED["says"])
    expect(added).to_contain_text(ADDED["equation"])
    page.locator(".htc-explorer").focus()
    page.keyboard.press("e")
    assert state(page)["B"] == bits_of(HTC) + "1"
    expect(added).to_have_attribute("aria-checked", "true")
    expect(page.locator(".badge")).to_contain_text("no model was trained so")
    added.click()
    assert state(page)["B"] == bits_of(HTC) + "0"
    expect(page.locator(".badge")).to_have_text("trained so")
    page.keyboard.press("p")
    assert state(page)["B"] == bits_of(PLAIN_CASCADE) + "0"
    page.keyboard.press("h")
    assert state(page)["B"] == bits_of(HTC) + "0"
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text(f"{IDEAS[-1].short.lower()}, box feature")
    page.keyboard.press("Escape")


def test_python_and_titles_name_it(opened: Opened, more: bytes) -> None:
    page = opened(more, f"B={bits_of(HTC)}1&A={bits_of(PLAIN_CASCADE)}0")
    expect(page.locator(".tag.right .title")).to_have_text("Interleaved + Mask flow + Semantic + Box feature")
    code = page.evaluate(f"{HANDLE}.python()")
    assert "compare=htc_lab.PLAIN_CASCADE" in code
    toggles = ", ".join(f"{idea.field}={idea in HTC.ideas}" for idea in IDEAS)
    assert toggles.startswith("interleaved=True, mask_flow=True, semantic_box=True, semantic_mask=True")
    assert f"toggles=htc_lab.Toggles({toggles}, box_feature=True)" in code


def test_a_state_of_before_it_was_there_leaves_it_off(opened: Opened, more: bytes) -> None:
    page = opened(more, "B=1010&A=1100")
    assert (state(page)["B"], state(page)["A"]) == (whole_bits("1010") + "0", bits_of(MASK_FLOW) + "0")
    page.evaluate(f"{HANDLE}.setState('B={'1' * (len(IDEAS) + 2)}')")
    assert state(page)["B"] == bits_of(HTC) + "0"


def test_its_wire_runs_beside_the_one_of_the_same_way(opened: Opened, more: bytes) -> None:
    page = opened(more, f"B={bits_of(INTERLEAVED)}1")
    nodes = page.locator(".wiring > svg rect").evaluate_all(
        "all => all.map(r => r.getBBox()).map(b => [b.x, b.width])"
    )
    columns = sorted({(x, x + width) for x, width in nodes})[1:4]

    def between() -> list[list[float]]:
        """For each stage, where wires run straight down from its box head to its mask head."""
        paths = page.locator(".wiring > svg path[marker-end]").evaluate_all(
            "all => all.map(p => p.getAttribute('d'))"
        )
        xs = [float(d[1]) for d in (re.fullmatch(r"M([\d.]+) [\d.]+V[\d.]+", path) for path in paths) if d]
        return [sorted(x for x in xs if left < x < right) for left, right in columns]

    both = between()
    assert [len(xs) for xs in both] == [2, 2, 2]
    assert all(xs[1] - xs[0] >= 10 for xs in both)
    label = page.locator(".wiring > svg").get_attribute("aria-label") or ""
    assert ADDED["wires"][0]["words"] in label
    switch(page, ADDED["name"]).click()
    settle(page)
    # A toggle does not move the wire of another idea.
    assert between() == [[xs[0]] for xs in both]
    label = page.locator(".wiring > svg").get_attribute("aria-label") or ""
    assert ADDED["wires"][0]["words"] not in label
    switch(page, "Interleaved").click()
    switch(page, ADDED["name"]).click()
    settle(page)
    assert between() == [[xs[1]] for xs in both]


def test_it_can_be_hidden(opened: Opened, more: bytes) -> None:
    page = opened(more, hide=("box_feature",))
    expect(page.get_by_role("switch")).to_have_count(len(IDEAS))
    page.locator(".htc-explorer").focus()
    page.keyboard.press("e")
    assert state(page)["B"] == bits_of(HTC) + "0"


@pytest.mark.parametrize(
    "size", [(400, 900), (760, 900), (1366, 768), (1280, 720), (1100, 1000), (1920, 1080)]
)
def test_all_switches_fit_their_place(opened: Opened, made: bytes, size: tuple[int, int]) -> None:
    page = opened(made)
    expect(page.locator(".idea")).to_have_count(len(IDEAS))
    page.set_viewport_size({"width": size[0], "height": size[1]})
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for i in range(len(IDEAS)):
        box = page.locator(".idea").nth(i).bounding_box()
        assert box
        assert box["width"] >= 150
        assert page.locator(".idea").nth(i).evaluate("e => e.scrollWidth <= e.clientWidth")
    if size[0] >= 1100:
        assert unseen(page, "html") == []


def test_an_idea_no_model_here_has_is_said_to_lack_weights(opened: Opened, made: bytes) -> None:
    page = opened(made)
    relay = switch(page, "Feature relay")
    expect(relay).to_be_disabled()
    expect(relay).to_contain_text("No weights for it: no model here was trained with it")
    page.locator(".htc-explorer").focus()
    page.keyboard.press("r")
    assert state(page)["B"] == bits_of(HTC)


def test_the_relay_of_a_model_that_has_it(opened: Opened) -> None:
    models = {"htc": lively(with_toggles(HTC)), "relay": lively(with_toggles(EVERY_IDEA))}
    page = opened(make_pack(run_models(models, tiny_sample())), "thr=0")
    relay = switch(page, "Feature relay")
    wiring = page.locator(".wiring > svg")
    words = "each mask head is handed the feature of its box head"
    expect(relay).to_have_attribute("aria-checked", "false")
    assert words not in (wiring.get_attribute("aria-label") or "")
    before = drawn(page)
    page.locator(".htc-explorer").focus()
    page.keyboard.press("r")
    settle(page)
    assert state(page)["B"] == bits_of(EVERY_IDEA)
    expect(page.locator(".badge")).to_have_text("trained so")
    assert words in (wiring.get_attribute("aria-label") or "")
    assert drawn(page) != before
