import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import htc_lab
from htc_lab.config import PLAIN_CASCADE
from htc_lab.course.lesson05.figures import show_prediction
from htc_lab.course.looked_at import look_at
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.data.classroom.scenes import SCENE_STUFF, SCENE_THINGS
from htc_lab.data.transforms import resize_sample
from htc_lab.errors import InputError
from htc_lab.merged_predictor import predictor_of
from htc_lab.model import build_model
from htc_lab.plots import (
    compare_rungs,
    show_looks,
    show_model,
    show_sample,
    show_stages,
)
from htc_lab.plots.palette import OBJECT_COLOURS
from htc_lab.presets import PRESETS
from htc_lab.report.ladder_figures import plot_ladder, plot_losses, plot_stage_ap
from htc_lab.views import parse_views
from tests.plots.made_trace import CLASS_NAMES, made_sample, made_trace


def rendered(figure: Figure) -> np.ndarray:
    """The figure's pixels, (h, w, 4)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def texts(figure: Figure) -> list[str]:
    found = [t.get_text() for t in figure.texts]
    if figure._suptitle is not None:
        found.append(figure._suptitle.get_text())
    for axes in figure.axes:
        found += [axes.get_title(loc="left"), axes.get_xlabel(), *(t.get_text() for t in axes.texts)]
    return [t for t in found if t]


def pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def result(name: str, mask_ap: list[float], box_ap: list[float]) -> dict:
    stages = [[ap - 3, ap - 1, ap - 1.5, ap] for ap in mask_ap]
    return {"name": name, "mask_ap": mask_ap, "box_ap": box_ap, "stage_mask_ap": stages}


LADDER = {
    "rungs": [
        result("plain_cascade", [30.0, 32.0], [40.0, 41.0]),
        result("interleaved", [31.0, 32.0], [40.0, 41.0]),
        result("mask_flow", [32.0, 34.0], [40.0, 42.0]),
        result("htc", [34.0, 36.0], [41.0, 43.0]),
    ]
}


def test_each_look_beside_the_mean():
    model, (sample,) = htc_lab.load("classroom/htc"), classroom_samples(1, "val", 3)
    predictor = predictor_of([model], parse_views(["own", "96x96", "flip"]), "detections")
    figure = show_looks(sample.image, predictor, sample.targets)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["own", "own flip", "96x96", "96x96 flip", "Mean"]
    seen = pictures(figure)
    assert all(not np.array_equal(each, seen[-1]) for each in seen[:-1])
    assert any("mask IoU" in text for text in texts(figure))
    both = show_looks(sample.image, predictor_of([model, model]))
    assert [axes.get_title(loc="left") for axes in both.axes] == ["model 1, own", "model 2, own", "Mean"]
    assert not any("IoU" in text for text in texts(both))


def test_stages_in_one_row_with_figures_below() -> None:
    sample = made_sample()
    figure = show_stages(sample.image, made_trace(sample), CLASS_NAMES, sample.targets)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [
        f"Proposals ({20 + len(sample.targets.boxes)})",
        "Stage 1",
        "Stage 2",
        "Stage 3",
        "Mean",
    ]
    tops = {round(axes.get_position().y0, 3) for axes in figure.axes}
    rendered(figure)
    assert len(tops) == 1
    captions = [axes.get_xlabel() for axes in figure.axes]
    assert "mask" not in captions[0]
    assert all("box IoU" in c and "mask IoU" in c for c in captions[1:])
    ious = [float(c.split()[2]) for c in captions]
    assert ious == sorted(ious)


def test_an_object_has_the_same_colour_in_every_stage() -> None:
    sample = made_sample()
    figure = show_stages(sample.image, made_trace(sample), CLASS_NAMES, sample.targets)
    for picture in pictures(figure):
        shown = {tuple(int(v) for v in c) for c in picture.reshape(-1, 3)}
        used = {k for k in range(len(sample.targets.boxes)) if OBJECT_COLOURS[k % 8] in shown}
        assert used == set(range(len(sample.targets.boxes)))


def test_fewer_stages_and_a_last_stage_alone() -> None:
    sample = made_sample()
    toggles = dataclasses.replace(PLAIN_CASCADE, stages=2, average_masks=False)
    figure = show_stages(sample.image, made_trace(sample, toggles), CLASS_NAMES)
    assert [axes.get_title(loc="left") for axes in figure.axes][-1] == "Result: stage 2 alone"
    assert len(figure.axes) == 4
    assert not any("IoU" in t for t in texts(figure))


def test_nothing_above_the_threshold() -> None:
    sample = made_sample()
    figure = show_stages(sample.image, made_trace(sample), CLASS_NAMES, sample.targets, threshold=0.99)
    assert "no object found" in texts(figure)
    rendered(figure)


def test_a_picture_of_another_size_is_refused() -> None:
    sample = made_sample()
    with pytest.raises(InputError, match="give the picture that was encoded"):
        show_stages(sample.image[:, :-1], made_trace(sample), CLASS_NAMES)


def test_the_picture_may_be_the_one_that_was_resized() -> None:
    """A trace of the picture at twice its size is shown on either of the two, with the same figures."""
    sample = made_sample()
    height, width = sample.image.shape[1:]
    trace = dataclasses.replace(made_trace(sample), pictures=[(2 * height, 2 * width)])
    large = resize_sample(sample, 2 * height, 2 * width)
    assert large.image.shape[1:] == (2 * height, 2 * width)
    n = len(sample.targets.boxes)
    told = []
    for shown in (sample, large):
        words = texts(show_stages(shown.image, trace, CLASS_NAMES, shown.targets))
        assert any(text.startswith(f"{n} of {n} objects found, 0 false.") for text in words)
        told.append([text.split(" · ")[0] for text in words if text.startswith("box IoU")])
    assert told[0] == told[1]
    assert len(told[0]) == 5


def test_show_sample_with_and_without_a_map() -> None:
    sample = made_sample()
    assert len(show_sample(sample, CLASS_NAMES).axes) == 3
    bare = dataclasses.replace(sample, targets=dataclasses.replace(sample.targets, semantic=None))
    assert len(show_sample(bare, CLASS_NAMES).axes) == 2


def test_models_side_by_side_and_one_at_its_own_size() -> None:
    torch.manual_seed(0)
    config = PRESETS["classroom"]
    small = dataclasses.replace(config, image=dataclasses.replace(config.image, short=64, long=64))
    models = {"plain_cascade": build_model(small, seed=0).eval(), "mine": build_model(small, seed=1).eval()}
    sample = made_sample()
    figure = compare_rungs(sample.image, models, CLASS_NAMES, sample.targets)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Truth", "Plain cascade", "mine"]
    assert len(show_model(models["mine"], sample).axes) == 5


def test_a_notebook_shows_figures_without_pyplot() -> None:
    png = show_sample(made_sample(), CLASS_NAMES)._repr_png_()
    assert png.startswith(b"\x89PNG")


def test_the_ladder_names_values_and_the_paper() -> None:
    figure = plot_ladder(LADDER)
    words = texts(figure)
    assert "35.0" in words
    assert "+ Mask information flow" in words
    legend = figure.axes[2].get_legend()
    assert legend is not None
    assert any("as reported in the paper (table 2)" in t.get_text() for t in legend.get_texts())
    lines = figure.axes[2].get_lines()
    assert list(lines[1].get_ydata()) == pytest.approx([0, 0.5, 2, 4])
    assert list(lines[2].get_ydata()) == pytest.approx([0, 0.2, 0.9, 1.5])
    rendered(figure)


@pytest.mark.parametrize("count", [1, 2])
def test_an_unfinished_ladder(count: int) -> None:
    results = {"rungs": LADDER["rungs"][:count]}
    rendered(plot_ladder(results))
    rendered(plot_stage_ap(results))


def test_stage_ap_is_the_mean_over_seeds() -> None:
    figure = plot_stage_ap(LADDER)
    first = figure.axes[0].get_lines()[0]
    assert list(first.get_ydata()) == pytest.approx([28, 30, 29.5])
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == [
        "stage 1",
        "stage 2",
        "stage 3",
        "mean",
    ]


def test_rungs_that_are_alike_look_alike() -> None:
    rungs = [
        {"name": name, "mask_ap": [ap], "box_ap": [ap], "stage_mask_ap": [[ap, ap, ap, ap]]}
        for name, ap in (("plain_cascade", 4.1), ("htc", 4.3))
    ]
    low, high = plot_stage_ap({"rungs": rungs}).axes[0].get_ylim()
    assert high - low == pytest.approx(2)
    assert (low + high) / 2 == pytest.approx(4.2)


@pytest.mark.parametrize("ap", [4.1, 41.0])
def test_a_bar_s_number_stands_at_its_end(ap: float) -> None:
    axes = plot_ladder({"rungs": [result("plain_cascade", [ap], [ap])]}).axes[0]
    (number,) = [text for text in axes.texts if text.get_text() == f"{ap:.1f}"]
    assert ap < number.get_position()[0] < 1.05 * ap


def metrics(folder: Path, steps: int, tail: str = "") -> Path:
    rows = [
        {"step": s + 1, "loss": 6.0 - s, "loss_rpn_cls": 1.0, "s0.loss_cls": 1.0, "s2.loss_mask": 4.0 - s}
        for s in range(steps)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + tail)
    return folder


def test_losses_by_group(tmp_path: Path) -> None:
    figure = plot_losses(metrics(tmp_path, 4))
    curves = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].get_lines()}
    assert curves["all losses"] == [6, 5, 4, 3]
    assert curves["masks"] == [4, 3, 2, 1]
    assert curves["boxes"] == [1, 1, 1, 1]
    assert "semantic" not in curves


def test_losses_of_a_run_that_is_being_written(tmp_path: Path) -> None:
    figure = plot_losses(metrics(tmp_path, 2, tail='{"step": 3, "lo'))
    assert len(figure.axes[0].get_lines()[0].get_xdata()) == 2
    rendered(plot_losses(metrics(tmp_path, 0)))


def test_a_folder_without_metrics_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metrics\.jsonl: no such file"):
        plot_losses(tmp_path)


def test_the_key_of_a_semantic_map_keeps_its_colours_in_the_file() -> None:
    scene = look_at(htc_lab.load("classroom/htc"), classroom_samples(2))[1]
    figure = show_prediction(scene, (*SCENE_THINGS, *SCENE_STUFF))
    keys = [np.multiply(patch.get_facecolor()[:3], 255) for patch in figure.legends[0].get_patches()]
    file = np.asarray(Image.open(io.BytesIO(figure._repr_png_())).convert("RGB"), dtype=float)
    there = np.unique(file.reshape(-1, 3), axis=0)
    assert len(keys) == 9
    for colour in keys:
        assert np.abs(there - colour).max(axis=1).min() <= 8
