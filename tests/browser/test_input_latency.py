"""The benchmark's account of input events, in the Chromium that is here."""

from playwright.sync_api import Browser

from benchmarks.input_latency import bare, latencies, processor_ms


def test_each_key_and_click_is_followed_to_the_frame_that_answers_it(browser: Browser) -> None:
    tab = browser.new_page()
    bare(tab)
    colours: list[str] = []

    def act(i: int) -> None:
        if i % 2:
            tab.keyboard.press("i")
        else:
            tab.locator("button").click()
        colours.append(tab.locator("button").evaluate("e => e.style.background"))

    found = latencies(tab, act, 4)
    assert colours == ["silver", "white", "silver", "white"]
    assert len(found) == 4
    assert min(found) > 0
    work = processor_ms(tab, act, 2)
    assert len(work) == 2
    assert min(work) > 0
    tab.close()
