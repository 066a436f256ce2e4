"""The stage explorer's figures: ``python -m benchmarks.explorer [--json]``.

Toggle to painted: in an exported page in a headless Chromium, from a key or a mouse button, really pressed,
to the frame on the screen that shows it (:mod:`benchmarks.input_latency`), in turns with a bare page that
changes one colour: what that takes is the browser's and the machine's own. The processor time of the page's
main thread tells more where other work keeps the machine busy. Own image: from its pixels to the finished
pack, models loaded already.
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
from benchmarks.input_latency import bare, latencies, processor_ms
from htc_lab.checkpoint.files import load, shipped_models
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.explorer.pack import make_pack
from htc_lab.explorer.pack_format import read_pack
from htc_lab.explorer.runs import run_models
from htc_lab.web.export import to_html
from tests.browser.lab import browse

_TURNS = 5
_KEYS = "ifbm"


@dataclass
class Options:
    """Measure toggles, pack and page."""

    models: tuple[str, ...] = ()
    """Checkpoints or run folders; default: all classroom models that come with the lab."""
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
        **{
            f"{name}_ms_{word}": round(float(np.percentile(values, share)), 1)
            for name, values in times.items()
            for word, share in (("median", 50), ("p95", 95))
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
    }
    show(figures, options.json)


def _seconds_of_pack(models: dict[str, Any], image: torch.Tensor) -> float:
    began = time.perf_counter()
    make_pack(run_models(models, image))
    return time.perf_counter() - began


def _toggle(page: str, count: int, width: int) -> dict[str, list[float]]:
    """Milliseconds of each toggle until it is on screen, the same of a bare page, and of processor time."""
    with tempfile.TemporaryDirectory() as folder, browse() as browser:
        path = Path(folder) / "explorer.html"
        path.write_text(page, encoding="utf-8")
        tab, plain = (browser.new_page(viewport={"width": width, "height": 900}) for _ in range(2))
        bare(plain)
        tab.goto(path.as_uri())
        tab.locator(".htc-explorer .swatch").first.wait_for()
        tab.locator(".htc-explorer").focus()
        latencies(tab, lambda i: _press(tab, ".idea", i), 16)
        times: dict[str, list[float]] = {"painted": [], "bare": []}
        for turn in range(_TURNS):
            for name, each, target in (("painted", tab, ".idea"), ("bare", plain, "button")):
                each.bring_to_front()
                times[name] += latencies(
                    each, lambda i, each=each, target=target: _press(each, target, i), count // _TURNS, turn
                )
        tab.bring_to_front()
        return times | {"cpu": processor_ms(tab, lambda i: _press(tab, ".idea", i), max(16, count // 4))}


def _press(tab: Page, target: str, i: int) -> None:
    """The i-th toggle, in turns by the keyboard and by the mouse."""
    if i % 2:
        tab.keyboard.press(_KEYS[i // 2 % len(_KEYS)])
        return
    switches = tab.locator(f"{target}:not([aria-disabled=true])")
    switches.nth(i // 2 % switches.count()).hover()
    # The mouse has come to rest there before it is pressed, and a finger takes its time.
    tab.wait_for_timeout(200)
    tab.mouse.down()
    tab.wait_for_timeout(60)
    tab.mouse.up()


if __name__ == "__main__":
    main(tyro.cli(Options))
