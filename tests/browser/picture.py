"""Screenshots of the stage explorer: ``python -m tests.browser.picture --help``."""

import functools
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro
from PIL import Image
from playwright.sync_api import Browser

from htc_lab.explorer.explore import find
from htc_lab.explorer.pack import make_pack
from htc_lab.explorer.runs import run_models
from htc_lab.files import write_atomically
from htc_lab.web.export import to_html
from tests.browser.lab import browse
from tests.browser.opened import settle


@dataclass(frozen=True)
class Shot:
    """One screenshot.

    Attributes:
        state: what is set.
        width, height: of the window, px; a page that is taller is shown whole.
        dark: on a system with a dark theme.
    """

    state: str = ""
    width: int = 1366
    height: int = 768
    dark: bool = False


DOCS = {
    "explorer": Shot(),
    "explorer_compare": Shot("B=1111&A=0000&split=0.52&stage=4&thr=0.30&obj=1&show=masks.boxes.labels"),
    "explorer_difference": Shot(
        "B=1111&stage=3&thr=0.30&obj=0&show=boxes.labels.truth.difference&ref=prev", dark=True
    ),
}
"""The pictures in ``docs/``."""


def take(browser: Browser, page: Path, shot: Shot, out: Path) -> None:
    """Draw a page as the browser shows it, in 256 colours."""
    scheme = "dark" if shot.dark else "light"
    tab = browser.new_page(
        viewport={"width": shot.width, "height": shot.height}, color_scheme=scheme, reduced_motion="reduce"
    )
    tab.on("pageerror", lambda error: print(f"error: {error}"))
    tab.goto(f"{page.as_uri()}#{shot.state}" if shot.state else page.as_uri())
    tab.locator(".htc-explorer .swatch").first.wait_for()
    settle(tab)
    picture = Image.open(io.BytesIO(tab.screenshot(full_page=True)))
    tab.close()
    light = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    write_atomically(out, functools.partial(light.save, format="PNG", optimize=True))
    print(f"{out}: {light.width} x {light.height} px, {out.stat().st_size // 1024} KiB")


def main(
    out: Path | None = None,
    scene: int = 10,
    models: tuple[str, ...] = (),
    hide: tuple[str, ...] = (),
    shot: Shot = Shot(),
) -> None:
    """Draw the explorer of a classroom test scene: the pictures of the docs, or one of your own.

    Args:
        out: the PNG to write; default: those in docs/.
        scene: its number.
        models: checkpoints; default: all classroom models that come with the lab.
        hide: knobs to leave out.
        shot: of the picture to write.
    """
    shown = find(scene, {name: name for name in models} or None)
    page = to_html(make_pack(run_models(shown.models, shown.picture), shown.title, shown.code), "", hide)
    docs = {Path("docs") / f"{name}.png": each for name, each in DOCS.items()}
    with tempfile.TemporaryDirectory() as folder, browse() as browser:
        path = Path(folder) / "explorer.html"
        path.write_text(page, encoding="utf-8")
        for place, each in (docs if out is None else {out: shot}).items():
            take(browser, path, each, place)


if __name__ == "__main__":
    tyro.cli(main)
