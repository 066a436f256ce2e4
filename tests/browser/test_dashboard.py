"""The training dashboard in a real JupyterLab, with a real training beside it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from htc_lab.board.process import RECORD, stop, trainer, wait_for_end
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import write_classroom
from tests.board.folders import finish, make_run
from tests.browser.board_picture import page_of
from tests.browser.lab import browse, run_all_cells, serve

SECONDS = 120_000
COMMAND = "train --data scenes --steps 100000 --batch 2 --lr 1e-6 --eval-every 4 --eval-images 2"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("board") / "root"
    write_classroom(root / "scenes", 4, 2, 2, SceneConfig(size=64), progress=False)
    make_run(root / "earlier" / "plain", 40, evaluated=(10, 20, 30, 40))
    cells = [
        f"import htc_lab\nboard = htc_lab.dashboard('run', {COMMAND!r}, start=True)\nboard",
        "htc_lab.dashboard(['run', 'earlier'])",
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells], metadata=kernel)
    nbformat.write(notebook, root / "board.ipynb")
    yield root
    running = trainer(root / "run")
    if running is not None:
        stop(running, hard=True)
        wait_for_end(running, 20.0)


def pid_of(run: Path) -> int:
    return int(json.loads((run / RECORD).read_text())["pid"])


def step_of(page: Page) -> int:
    text = page.locator(".htc-board").first.locator(".run .step").first.inner_text()
    found = re.search(r"step (\d+)", text)
    assert found is not None
    return int(found[1])


def grows(page: Page) -> None:
    before = step_of(page)
    for _ in range(600):
        page.wait_for_timeout(200)
        if step_of(page) > before:
            return
    raise AssertionError(f"the dashboard stands at step {before}")


def test_a_training_is_watched_survives_its_kernel_and_is_stopped_and_resumed(place: Path) -> None:
    with serve(place, place.parent / "home") as served, browse() as browser:
        page = browser.new_page(viewport={"width": 1366, "height": 900})
        run_all_cells(page, served.format("board.ipynb"), seconds=120)
        board = page.locator(".htc-board").first
        expect(board.locator(".state")).to_have_text("training", timeout=SECONDS)
        expect(board.get_by_role("img", name="What run found after step")).to_be_visible(timeout=SECONDS)
        expect(board.get_by_role("img", name="Mask AP over the steps: run")).to_be_visible()
        # The kernel that shows it is free all the while.
        expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
        grows(page)

        first = pid_of(place / "run")
        page.get_by_role("menuitem", name="Kernel", exact=True).click()
        page.get_by_role("menuitem", name="Restart Kernel and Run All Cells…").click()
        page.get_by_role("button", name="Confirm Kernel Restart").click()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=SECONDS)
        expect(board.locator(".state")).to_have_text("training", timeout=SECONDS)
        grows(page)
        assert pid_of(place / "run") == first
        assert psutil.pid_exists(first)

        board.get_by_role("button", name="Stop the training of run").click()
        expect(board.locator(".state")).to_have_text("stopped", timeout=SECONDS)
        assert (place / "run" / "checkpoint.safetensors").is_file()
        stood = step_of(page)
        board.get_by_role("button", name="Resume the training of run").click()
        expect(board.locator(".state")).to_have_text("training", timeout=SECONDS)
        grows(page)
        assert step_of(page) > stood

        several = page.locator(".htc-board").last
        expect(several.get_by_role("radio", name=re.compile("plain, done, step 40 of 40"))).to_be_visible()
        several.get_by_role("radio", name=re.compile("plain, done")).click()
        several.get_by_role("radio", name="box AP").click()
        expect(
            several.get_by_role("img", name=re.compile("Box AP over the steps: .*plain 10.0 at"))
        ).to_be_visible()
        slider = several.get_by_role("slider", name="Step of the sample pictures")
        slider.focus()
        page.keyboard.press("Home")
        expect(several.locator(".panel").last).to_contain_text("plain, step 10")
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('.htc-board :is(button, input, [role=img])')]
                .filter(e => e.checkVisibility())
                .filter(e => !e.getAttribute('aria-label') && !e.textContent.trim())
                .map(e => e.outerHTML)"""
        )
        assert nameless == []
        assert board.evaluate("e => e.scrollWidth <= e.clientWidth")
        page.close()


def test_an_ablation_shows_its_runs_losses_and_their_last_ap(browser: Browser, tmp_path: Path) -> None:
    ladder = tmp_path / "ablation"
    for i, name in enumerate(("plain_cascade_seed0", "plain_cascade_seed1", "htc_seed0", "htc_seed1")):
        finish(make_run(ladder / name, 40), 20.0 + i)
    (tmp_path / "board.html").write_text(page_of((ladder,)), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1180, "height": 800})
    page.goto((tmp_path / "board.html").as_uri())
    expect(page.get_by_role("img", name=re.compile("Loss .*htc_seed1 .* at step 40"))).to_be_visible()
    expect(page.get_by_role("heading", name="AP after the training")).to_be_visible()
    last = "Mask AP after the training: plain_cascade 20.0, 21.0; htc 22.0, 23.0"
    expect(page.get_by_role("img", name=last)).to_be_visible()
    stages = page.get_by_role(
        "img", name=re.compile("Mask AP by stage: .*htc, Stage 1: 20.5.*htc, Mean: 22.5")
    )
    expect(stages).to_be_visible()
    expect(page.get_by_text("of several seeds, their mean")).to_be_visible()
    strokes = page.locator(".run .key path").evaluate_all("all => all.map(p => p.getAttribute('stroke'))")
    assert strokes[0] == strokes[1] != strokes[2] == strokes[3]
    page.close()


@pytest.mark.parametrize(
    ("command", "measured", "pictured"),
    [
        (
            ["train", "--eval-every", "50"],
            "To be measured every 50 steps and at the end.",
            "No sample pictures yet: they are made every 50 steps and at the end.",
        ),
        (
            ["train", "--steps", "40"],
            "A training is measured as it runs if it is started with --eval-every N.",
            "No sample pictures: a training makes them if it is started with --eval-every N.",
        ),
    ],
)
def test_before_the_first_evaluation_it_says_when_one_comes(
    browser: Browser, tmp_path: Path, command: list[str], measured: str, pictured: str
) -> None:
    run = make_run(tmp_path / "run", 5)
    (tmp_path / "board.html").write_text(page_of((run,), command), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1180, "height": 800})
    page.goto((tmp_path / "board.html").as_uri())
    expect(page.get_by_text(measured, exact=True)).to_be_visible()
    expect(page.get_by_text(pictured, exact=True)).to_be_visible()
    # An ablation that was evaluated after its trainings lacks no flag that it was given.
    finish(run, 20.0)
    (tmp_path / "board.html").write_text(page_of((run,), command), encoding="utf-8")
    page.reload()
    expect(page.get_by_role("heading", name="AP after the training")).to_be_visible()
    assert page.get_by_text("Curves over the steps need --eval-every N.").count() == ("--steps" in command)
    page.close()
