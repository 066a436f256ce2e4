"""One picture with eight models: every combination of the three ideas, each trained so."""

import dataclasses

import pytest
from playwright.sync_api import expect

from htc_lab.explorer.bits import ALL_BITS, bits_of, can_serve, title_of, toggles_of_bits, whole_bits
from htc_lab.explorer.pack import make_pack
from htc_lab.explorer.runs import PictureRuns
from htc_lab.toggles import BESIDE_THE_LADDER, HTC, RUNGS
from htc_lab.web.export import to_html
from tests.browser.opened import HANDLE, Opened, settle, state, switch
from tests.explorer.made_pack import grown, made_runs

EIGHT = RUNGS | BESIDE_THE_LADDER
TRAINED = {bits_of(toggles) for toggles in EIGHT.values()}


@pytest.fixture(scope="module")
def eight() -> PictureRuns:
    return made_runs(EIGHT)


def test_the_page_is_under_three_mib_even_where_no_mask_can_be_compressed(eight: PictureRuns) -> None:
    runs = tuple(
        dataclasses.replace(
            run, traces={bits: grown(trace, 20, seed=seed) for bits, trace in run.traces.items()}
        )
        for seed, run in enumerate(eight.runs)
    )
    page = to_html(make_pack(dataclasses.replace(eight, runs=runs)))
    assert len(page.encode()) < 3 * 1024 * 1024


def test_each_setting_says_which_of_its_two_meanings_it_shows(opened: Opened, eight: PictureRuns) -> None:
    page = opened(make_pack(eight))
    badge, cut = page.locator(".badge"), page.locator(".idea[data-cut=true]")
    assert len(TRAINED) == 8
    for bits in (bits for bits in ALL_BITS if can_serve(HTC, bits)):
        page.evaluate(f"{HANDLE}.setState('B={bits}&off=t')")
        if bits in TRAINED:
            expect(badge).to_have_text("trained so")
            expect(cut).to_have_count(0)
        else:
            gone = "Semantic → boxes" if bits[2] == "0" else "Semantic → masks"
            expect(badge).to_contain_text("no model was trained so")
            expect(badge).to_contain_text(gone)
        page.evaluate(f"{HANDLE}.setState('B={bits}&A={bits}&off=t&show=')")
        so = "trained so" if bits in TRAINED else "switched off"
        expect(page.locator(".tag.right")).to_have_text(f"B{title_of(bits)}, {so}")
        page.evaluate(f"{HANDLE}.setState('B={bits}&off=s')")
        expect(cut).to_have_count(len({*HTC.ideas} - {*toggles_of_bits(bits).ideas}))
        expect(badge).to_contain_text("trained so" if bits == bits_of(HTC) else "switched off in HTC")


def test_a_switch_shows_another_checkpoint_and_the_other_meaning_the_same_one(
    opened: Opened, eight: PictureRuns
) -> None:
    page = opened(make_pack(eight), "B=1111&show=boxes")
    picture = page.locator(".marks")
    seen = {}
    for means, label in (("t", "trained without it"), ("s", "switched off in this model")):
        page.get_by_role("radio", name=label).click()
        switch(page, "Mask information flow").click()
        settle(page)
        assert state(page)["B"] == whole_bits("1011")
        seen[means] = picture.evaluate("canvas => canvas.toDataURL()")
        switch(page, "Mask information flow").click()
    # The made models differ in their boxes, the settings of one of them do not.
    assert seen["t"] != seen["s"]
