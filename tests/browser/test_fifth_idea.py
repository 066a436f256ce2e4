"""A pack with an idea more than the paper has: the explorer shows whatever the pack tells it."""

import json
import re
import struct

import pytest
from playwright.sync_api import expect

from tests.browser.opened import HANDLE, Opened, settle, state, switch
from tests.browser.test_places import unseen

FIFTH = {
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


def with_fifth(pack: bytes) -> bytes:
    """The pack with one more idea, which changes nothing of what the models say."""
    magic, version, length = _HEAD.unpack_from(pack)
    index = json.loads(pack[_HEAD.size : _HEAD.size + length])
    index["ideas"].append(FIFTH)
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
def five(made: bytes) -> bytes:
    return with_fifth(made)


def test_it_has_a_switch_a_key_and_words(opened: Opened, five: bytes) -> None:
    page = opened(five)
    expect(page.get_by_role("switch")).to_have_count(5)
    assert state(page)["B"] == "11110"
    added = switch(page, FIFTH["name"])
    expect(added).to_contain_text(FIFTH["says"])
    expect(added).to_contain_text(FIFTH["equation"])
    page.locator(".htc-explorer").focus()
    page.keyboard.press("e")
    assert state(page)["B"] == "11111"
    expect(added).to_have_attribute("aria-checked", "true")
    expect(page.locator(".badge")).to_contain_text("no model was trained so")
    added.click()
    assert state(page)["B"] == "11110"
    expect(page.locator(".badge")).to_have_text("trained so")
    page.keyboard.press("p")
    assert state(page)["B"] == "00000"
    page.keyboard.press("h")
    assert state(page)["B"] == "11110"
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("semantic to masks, box feature")
    page.keyboard.press("Escape")


def test_python_and_titles_name_it(opened: Opened, five: bytes) -> None:
    page = opened(five, "B=11111&A=00000")
    expect(page.locator(".tag.right .title")).to_have_text("Interleaved + Mask flow + Semantic + Box feature")
    code = page.evaluate(f"{HANDLE}.python()")
    assert "compare=htc_lab.PLAIN_CASCADE" in code
    toggles = "interleaved=True, mask_flow=True, semantic_box=True, semantic_mask=True, box_feature=True"
    assert f"toggles=htc_lab.Toggles({toggles})" in code


def test_a_state_of_before_it_was_there_leaves_it_off(opened: Opened, five: bytes) -> None:
    page = opened(five, "B=1010&A=1100")
    assert (state(page)["B"], state(page)["A"]) == ("10100", "11000")
    page.evaluate(f"{HANDLE}.setState('B=111111')")
    assert state(page)["B"] == "11110"


def test_its_wire_runs_beside_the_one_of_the_same_way(opened: Opened, five: bytes) -> None:
    page = opened(five, "B=10001")
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
    assert FIFTH["wires"][0]["words"] in label
    switch(page, FIFTH["name"]).click()
    settle(page)
    # A toggle does not move the wire of another idea.
    assert between() == [[xs[0]] for xs in both]
    label = page.locator(".wiring > svg").get_attribute("aria-label") or ""
    assert FIFTH["wires"][0]["words"] not in label
    switch(page, "Interleaved").click()
    switch(page, FIFTH["name"]).click()
    settle(page)
    assert between() == [[xs[1]] for xs in both]


def test_it_can_be_hidden(opened: Opened, five: bytes) -> None:
    page = opened(five, hide=("box_feature",))
    expect(page.get_by_role("switch")).to_have_count(4)
    page.locator(".htc-explorer").focus()
    page.keyboard.press("e")
    assert state(page)["B"] == "11110"


@pytest.mark.parametrize(
    "size", [(400, 900), (760, 900), (1366, 768), (1280, 720), (1100, 1000), (1920, 1080)]
)
def test_five_switches_fit_their_place(opened: Opened, five: bytes, size: tuple[int, int]) -> None:
    page = opened(five)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for i in range(5):
        box = page.locator(".idea").nth(i).bounding_box()
        assert box
        assert box["width"] >= 150
        assert page.locator(".idea").nth(i).evaluate("e => e.scrollWidth <= e.clientWidth")
    if size[0] >= 1100:
        assert unseen(page, "html") == []
