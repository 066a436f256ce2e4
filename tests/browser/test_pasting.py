"""Masks as the browser pastes them, against the library, pixel by pixel."""

import base64

import pytest
import torch

import htc_lab
from htc_lab.explorer.pack import kept, make_pack, quantise
from htc_lab.explorer.runs import PictureRuns, run_models
from htc_lab.layers.pasting import paste
from tests.browser.opened import HANDLE, Opened
from tests.plots.made_trace import made_sample

HALF_STEP = 0.5 / 255


@pytest.fixture(scope="module")
def real_runs() -> PictureRuns:
    """The shipped model on a classroom scene."""
    return run_models({"classroom/htc": htc_lab.load("classroom/htc")}, made_sample(9))


def test_the_browser_pastes_the_pixels_of_the_library(opened: Opened, real_runs: PictureRuns) -> None:
    page = opened(make_pack(real_runs))
    height, width = real_runs.image.shape[1:]
    differ = rounded = pixels = masks = 0
    for number, trace in enumerate(real_runs.runs[0].traces.values()):
        if number % 4:
            continue
        keep = kept(trace)
        for stage in range(1, 5):
            soft, boxes = trace.mask_probabilities, trace.boxes
            if stage < 4:
                soft, boxes = (
                    trace.stages[stage - 1].mask_logits.sigmoid(),
                    trace.stages[stage - 1].mask_boxes,
                )
            found = page.evaluate(
                f"""([run, stage, count]) => [...Array(count).keys()].map(row => {{
                    const p = {HANDLE}.pixels(run, stage, row);
                    return [p.left, p.top, p.wide, p.tall, btoa(String.fromCharCode(...p.inside))];
                }})""",
                [number, stage, len(keep)],
            )
            theirs = torch.zeros((len(keep), height, width), dtype=torch.bool)
            for row, (left, top, wide, tall, inside) in enumerate(found):
                window = torch.tensor(list(base64.b64decode(inside)), dtype=torch.bool).reshape(tall, wide)
                theirs[row, top : top + tall, left : left + wide] = window
            ours = paste(soft[keep], boxes[keep], height, width)
            surely = paste(soft[keep], boxes[keep], height, width, 0.5 + HALF_STEP + 1e-5)
            perhaps = paste(soft[keep], boxes[keep], height, width, 0.5 - HALF_STEP - 1e-5)
            stored = paste(torch.from_numpy(quantise(soft[keep])) / 255, boxes[keep], height, width)
            rounded += int((stored != theirs).sum())
            assert not (theirs & ~perhaps).any()
            assert not (surely & ~theirs).any()
            differ, pixels, masks = (
                differ + int((ours != theirs).sum()),
                pixels + int(ours.sum()),
                masks + len(keep),
            )
    assert masks > 60
    # What is left against the library on the stored masks is float32 against float64 at exactly one half.
    assert rounded < 0.0002 * pixels
    assert differ < 0.02 * pixels
