"""The stage explorer's figures: ``python -m benchmarks.explorer [--json]``.

Toggle to painted: in an exported page in a headless Chromium, from the click to the end of the frame it falls
in, after style, layout and paint; and the processor time of that frame on the page's main thread, which tells
more where other work keeps the machine busy. Own image: from its pixels to the finished pack, models loaded
already.
"""

import os
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from playwright.sync_api import Page

from benchmarks.figures import show
from htc_lab.course.scenes import classroom_samples
from htc_lab.engine.checkpoint import load, shipped_models
from htc_lab.explorer.blob import read_pack
from htc_lab.explorer.export import to_html
from htc_lab.explorer.pack import make_pack
from htc_lab.explorer.runs import run_models
from tests.browser.lab import browse

_TOGGLES = """async count => {
    const frame = () => new Promise(done => requestAnimationFrame(done));
    const nodes = [...document.querySelectorAll('.idea:not([aria-disabled=true])')];
    const script = [], painted = [];
    for (let i = 0; i < count; i++) {
        // The boxes of one toggle have come to rest before the next.
        await new Promise(done => setTimeout(done, 300));
        await frame();
        const channel = new MessageChannel();
        const after = new Promise(done => { channel.port1.onmessage = () => done(performance.now()); });
        const began = performance.now();
        performance.mark('toggle');
        nodes[i % nodes.length].click();
        script.push(performance.now() - began);
        channel.port2.postMessage(0);
        painted.push(await after - began);
    }
    return { script, painted };
}"""


@dataclass
class Options:
    """Measure toggles, pack and page."""

    models: tuple[str, ...] = ()
    """Checkpoints; default: all classroom models that come with the lab."""
    scene: int = 9
    """Classroom test scene."""
    toggles: int = 200
    """How many switches are flipped."""
    repeats: int = 5
    """How often a pack is made; the median counts."""
    threads: int = 2
    """Threads of torch."""
    width: int = 1366
    """Of the browser's window, px."""
    json: bool = False
    """Print one JSON object."""


def main(options: Options) -> None:
    """Measure and print."""
    torch.set_num_threads(options.threads)
    names = options.models or tuple(n for n in shipped_models() if n.startswith("classroom/"))
    models = {name: load(name) for name in names}
    sample = classroom_samples(1, first=options.scene)[0]
    make_pack(run_models(models, sample.image))
    seconds = [_seconds_of_pack(models, sample.image) for _ in range(options.repeats)]
    began = time.perf_counter()
    pack = make_pack(run_models(models, sample))
    with_truth = time.perf_counter() - began
    page = to_html(pack)
    index = read_pack(pack).index
    times = _toggle(page, options.toggles, options.width)
    figures = {
        "models": len(models),
        "settings": len(index["runs"]),
        "detections": max(run["count"] for run in index["runs"]),
        "own_image_seconds": round(float(np.median(seconds)), 2),
        "with_truth_seconds": round(with_truth, 2),
        "pack_kib": round(len(pack) / 1024),
        "kib_per_setting": round(len(pack) / 1024 / len(index["runs"]), 1),
        "html_mib": round(len(page.encode()) / 1024**2, 2),
        "toggles": options.toggles,
        "script_ms_median": round(float(np.median(times["script"])), 1),
        "script_ms_p95": round(float(np.percentile(times["script"], 95)), 1),
        "painted_ms_median": round(float(np.median(times["painted"])), 1),
        "painted_ms_p95": round(float(np.percentile(times["painted"], 95)), 1),
        "frame_cpu_ms_median": round(float(np.median(times["cpu"])), 1),
        "frame_cpu_ms_p95": round(float(np.percentile(times["cpu"], 95)), 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
    }
    show(figures, options.json)


def _seconds_of_pack(models: dict[str, Any], image: torch.Tensor) -> float:
    began = time.perf_counter()
    make_pack(run_models(models, image))
    return time.perf_counter() - began


def _toggle(page: str, count: int, width: int) -> dict[str, list[float]]:
    """Milliseconds of each toggle: in the explorer's own code, until it is painted, and of processor time."""
    with tempfile.TemporaryDirectory() as folder, browse() as browser:
        path = Path(folder) / "explorer.html"
        path.write_text(page, encoding="utf-8")
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.goto(path.as_uri())
        tab.locator(".htc-explorer .marks").wait_for()
        tab.wait_for_timeout(500)
        tab.evaluate(_TOGGLES, 16)
        times: dict[str, list[float]] = tab.evaluate(_TOGGLES, count)
        # In a pass of its own: what is traced takes longer.
        return times | {"cpu": _cpu_of_frames(tab, max(16, count // 4))}


def _cpu_of_frames(tab: Page, count: int) -> list[float]:
    """Processor milliseconds of the main thread in each frame that a toggle falls in."""
    session = tab.context.new_cdp_session(tab)
    events: list[dict[str, Any]] = []
    ended: list[Any] = []
    session.on("Tracing.dataCollected", lambda part: events.extend(part["value"]))
    session.on("Tracing.tracingComplete", lambda said: ended.append(said))
    session.send("Tracing.start", {"categories": "cc,blink.user_timing", "transferMode": "ReportEvents"})
    tab.evaluate(_TOGGLES, count)
    session.send("Tracing.end")
    while not ended:
        tab.wait_for_timeout(50)
    marks = [(e["pid"], e["tid"], e["ts"]) for e in events if e["name"] == "toggle"]
    return [
        e["tdur"] / 1000
        for e in events
        if e["name"] == "ProxyMain::BeginMainFrame"
        and any(
            (pid, tid) == (e["pid"], e["tid"]) and 0 <= ts - e["ts"] <= e.get("dur", 0)
            for pid, tid, ts in marks
        )
    ]


if __name__ == "__main__":
    main(tyro.cli(Options))
