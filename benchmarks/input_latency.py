"""From an input event to the frame that shows its answer, in a real Chromium, by the browser's own account.

The browser traces each event from the moment it came in, through the page's script, style, layout and paint,
and the compositor's raster and draw, to the presentation of the frame: the whole of what a person waits for.
Events are real ones, of mouse and keyboard, and come at any time of the screen's cadence.
"""

import random
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

_BARE = """<!doctype html><title>bare</title>
<button style="width: 300px; height: 40px; background: white">A button that changes its colour</button>
<script>
const button = document.querySelector('button');
const flip = () => { button.style.background = button.style.background === 'white' ? 'silver' : 'white'; };
button.addEventListener('click', flip);
addEventListener('keydown', flip);
</script>"""

_ANSWERED = ("KEY_PRESSED", "MOUSE_RELEASED")
_FRAME, _INPUT = "ProxyMain::BeginMainFrame", "WidgetBaseInputHandler::OnHandleInputEvent"

Act = Callable[[int], None]


def bare(tab: Page) -> None:
    """Make the tab a page that answers any key, and a click on its button, with one change of colour: what
    remains is the browser's own."""
    tab.set_content(_BARE)
    tab.locator("button").focus()


def latencies(tab: Page, act: Act, count: int, seed: int = 0) -> list[float]:
    """Milliseconds from input to presented frame.

    Args:
        tab: the page, at rest.
        act: gives it the i-th input, one key pressed or one click.
        count: of inputs.
        seed: of the pauses between them, 350 to 400 ms.

    Raises:
        RuntimeError: this browser doesn't trace what is looked for.
    """
    events = _traced(tab, "input.scrolling", act, count, seed)
    found = [(end - begin) / 1000 for begin, end, _ in _answers(events)]
    if not found:
        raise RuntimeError("this Chromium's trace has no latency of input events")
    return found


def processor_ms(tab: Page, act: Act, count: int, seed: int = 0) -> list[float]:
    """Processor milliseconds of the page's main thread for each input: its handlers, and the frame.

    What is traced in such detail takes longer than what is not: times are those of :func:`latencies`.
    """
    events = _traced(tab, "input.scrolling,cc", act, count, seed)
    work = [e for e in events if e["name"] in (_FRAME, _INPUT) and e["ph"] == "X"]
    found = []
    for begin, end, process in _answers(events):
        mine = sorted(
            (e for e in work if e["pid"] == process and begin <= e["ts"] <= end), key=lambda e: e["ts"]
        )
        frame = next((i for i, e in enumerate(mine) if e["name"] == _FRAME), len(mine))
        found.append(sum(e.get("tdur", 0) for e in mine[: frame + 1]) / 1000)
    return found


def _traced(tab: Page, categories: str, act: Act, count: int, seed: int) -> list[dict[str, Any]]:
    pause = random.Random(seed)
    session = tab.context.new_cdp_session(tab)
    events: list[dict[str, Any]] = []
    ended: list[Any] = []
    session.on("Tracing.dataCollected", lambda part: events.extend(part["value"]))
    session.on("Tracing.tracingComplete", lambda said: ended.append(said))
    session.send("Tracing.start", {"categories": categories, "transferMode": "ReportEvents"})
    for i in range(count):
        act(i)
        # What one input sets moving has come to rest before the next.
        tab.wait_for_timeout(350 + 50 * pause.random())
    session.send("Tracing.end")
    while not ended:
        tab.wait_for_timeout(50)
    session.detach()
    return sorted(events, key=lambda e: e.get("ts", 0))


def _answers(events: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    """Begin, end (µs) and process of each input that a frame answered: such a frame has a commit."""
    running: dict[tuple[int, str], tuple[int, set[str]]] = {}
    found = []
    for event in events:
        if "id2" not in event:
            continue
        key = (event["pid"], str(event["id2"]))
        if event["name"] == "EventLatency" and event["ph"] == "b":
            if event["args"]["event_latency"]["event_type"] in _ANSWERED:
                running[key] = (event["ts"], set())
        elif event["name"] == "EventLatency" and key in running:
            begin, steps = running.pop(key)
            if "Commit" in steps:
                found.append((begin, event["ts"], event["pid"]))
        elif key in running:
            running[key][1].add(event["name"])
    return found
