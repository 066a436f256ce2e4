"""The still figure shows what the pack holds for a state: the same boxes, pixels and figures."""

import dataclasses
import io

import matplotlib.colors
import numpy as np
import pytest
import torch
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from PIL import Image

import htc_lab
from htc_lab.config import HTC, MASK_FLOW, PLAIN_CASCADE
from htc_lab.explorer.bits import bits_of, whole_bits
from htc_lab.explorer.figure import state_figure
from htc_lab.explorer.lookup import side_of, sides_of, true_masks
from htc_lab.explorer.pack import make_pack, quantise
from htc_lab.explorer.pack_format import OpenPack, read_pack
from htc_lab.explorer.state import ExplorerState
from htc_lab.explorer.widget import StageExplorer
from htc_lab.layers.pasting import paste
from htc_lab.plots.figure import Picture
from tests.explorer.made_pack import made_runs, tiny_models, tiny_sample


@pytest.fixture(scope="module")
def pack() -> bytes:
    return make_pack(made_runs(), "scene 3")


@pytest.fixture(scope="module")
def opened(pack: bytes) -> OpenPack:
    return read_pack(pack)


def masks_drawn(axes) -> dict[int, np.ndarray]:
    """By thing: the pixels that are tinted."""
    named = [image for image in axes.images if str(image.get_label()).startswith("mask ")]
    return {int(image.get_label().split()[1]): np.asarray(image.get_array())[..., 3] > 0 for image in named}


def boxes_drawn(axes) -> np.ndarray:
    patches = [p for p in axes.patches if isinstance(p, Rectangle)]
    return np.asarray(
        [[p.get_x(), p.get_y(), p.get_x() + p.get_width(), p.get_y() + p.get_height()] for p in patches]
    )


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [bits_of(PLAIN_CASCADE), bits_of(MASK_FLOW), whole_bits("1011")])
def test_the_figure_draws_the_boxes_and_pixels_of_the_trace(pack: bytes, bits: str, stage: int) -> None:
    runs = made_runs()
    model = {bits_of(PLAIN_CASCADE): 0, bits_of(MASK_FLOW): 2}.get(bits, 3)
    trace = runs.runs[model].traces[bits]
    soft, where = trace.mask_probabilities, trace.boxes
    boxes = trace.boxes
    if stage < 4:
        record = trace.stages[stage - 1]
        soft, where, boxes = record.mask_logits.sigmoid(), record.mask_boxes, record.boxes[trace.detected]
    figure = state_figure(pack, f"B={bits}&stage={stage}&thr=0&show=masks.boxes")
    axes = figure.axes[0]
    height, width = runs.image.shape[1:]
    stored = paste(torch.from_numpy(quantise(soft)).float() / 255, where, height, width).numpy()
    drawn = masks_drawn(axes)
    assert len(drawn) == len(stored) > 3
    for thing, pixels in drawn.items():
        # Made runs find every true object, in the truth's order.
        np.testing.assert_array_equal(pixels, stored[thing])
    np.testing.assert_allclose(boxes_drawn(axes)[::-1], boxes.numpy(), atol=1e-4)


def test_the_threshold_leaves_out_what_the_browser_leaves_out(opened: OpenPack) -> None:
    state = ExplorerState(threshold=0.6)
    run = opened.index["runs"][opened.index["answers"]["trained_without"][bits_of(HTC)][0]]
    scores = opened.blocks[run["scores"][4]]
    side = side_of(opened, state, bits_of(HTC))
    assert [each.score for each in side.objects] == pytest.approx([s for s in scores if s >= 0.6])
    assert 0 < len(side.objects) < len(scores)
    at_proposals = side_of(opened, dataclasses.replace(state, stage=0), bits_of(HTC))
    assert len(at_proposals.objects) == len(side.objects)
    assert all(each.mask is None for each in at_proposals.objects)


def test_both_meanings_of_off_are_told_apart(opened: OpenPack) -> None:
    trained = side_of(opened, ExplorerState(bits=bits_of(MASK_FLOW)), bits_of(MASK_FLOW))
    cut = side_of(
        opened, ExplorerState(bits=bits_of(MASK_FLOW), off_means="switched_off"), bits_of(MASK_FLOW)
    )
    assert trained.title == "+ Mask flow, trained so"
    assert cut.title == "+ Mask flow, switched off in HTC"
    assert trained.run != cut.run
    assert side_of(opened, ExplorerState(), whole_bits("0100")).title == "Mask flow, switched off in HTC"


def test_compared_sides_stand_beside_each_other_and_their_ap_too(pack: bytes, opened: OpenPack) -> None:
    state = ExplorerState(compare=bits_of(PLAIN_CASCADE), bits=bits_of(HTC), stage=2)
    assert [side.bits for side in sides_of(opened, state)] == [bits_of(PLAIN_CASCADE), bits_of(HTC)]
    figure = state_figure(pack, state)
    assert [axes.get_title(loc="left").split(",")[0] for axes in figure.axes] == [
        "A  Plain cascade",
        "B  HTC",
        "Mask AP on this picture",
    ]
    heights = [bar.get_height() for bar in figure.axes[2].patches]
    wanted = [ap for side in sides_of(opened, state) for ap in side.ap or []]
    assert heights == pytest.approx(wanted)


def test_layers_are_drawn_only_where_they_are_on(pack: bytes) -> None:
    empty = state_figure(pack, "show=").axes[0]
    assert (len(empty.images), len(empty.patches), len(empty.texts), len(empty.collections)) == (1, 0, 0, 0)
    assert len(state_figure(pack, "show=labels").axes[0].texts) > 0
    assert len(state_figure(pack, "show=truth").axes[0].collections) > 0
    semantic = [i for i in state_figure(pack, "show=semantic").axes[0].images if i.get_label() == "semantic"]
    assert len(semantic) == 1
    assert isinstance(semantic[0], AxesImage)


@pytest.mark.parametrize(
    ("text", "other", "words"),
    [
        ("B=1111&stage=4", "B=0000&stage=4", "plain cascade"),
        ("B=1111&stage=3&ref=prev", "B=1111&stage=2", "stage 2"),
        ("B=1111&A=1000&stage=2&ref=prev", "B=1000&stage=2", "A, + Interleaved"),
    ],
)
def test_the_difference_is_what_each_object_gained_and_lost(
    pack: bytes, opened: OpenPack, text: str, other: str, words: str
) -> None:
    mine, theirs = (
        {each.thing: each.mask for each in side_of(opened, state, state.bits).objects}
        for state in map(ExplorerState.parse, (text, other))
    )
    nothing = np.zeros(opened.index["size"], dtype=bool)
    gained = [mask & ~theirs.get(thing, nothing) for thing, mask in mine.items()]
    lost = [mask & ~mine.get(thing, nothing) for thing, mask in theirs.items()]
    figure = state_figure(pack, f"{text}&show=masks.difference")
    axes = figure.axes[-2]
    drawn = {image.get_label(): np.asarray(image.get_array())[..., -1] > 0 for image in axes.images}
    np.testing.assert_array_equal(drawn["gained"], np.any(gained, axis=0))
    np.testing.assert_array_equal(drawn["lost"], np.any(lost, axis=0))
    assert drawn["gained"].any()
    counts = (sum(int(each.sum()) for each in masks) for masks in (gained, lost))
    assert axes.get_xlabel() == "blue: gained {:,} px, orange: lost {:,} px, against {}".format(
        *counts, words
    )
    # The masks keep their outlines and give up their fill.
    assert not any(pixels.any() for label, pixels in drawn.items() if str(label).startswith("mask "))
    assert len(axes.collections) > 0


def test_the_proposals_have_no_difference(pack: bytes) -> None:
    axes = state_figure(pack, "stage=0&show=difference").axes[0]
    assert [image.get_label() for image in axes.images if image.get_label() == "gained"] == []
    assert "shown" in axes.get_xlabel()


def test_what_is_missed_is_counted_and_named(pack: bytes, opened: OpenPack) -> None:
    run = opened.index["runs"][opened.index["answers"]["trained_without"][bits_of(HTC)][0]]
    found = opened.blocks[run["truth"]["match"]][-1]
    shown = found[opened.blocks[run["scores"][4]] >= 0.6]
    missed = sorted(set(range(opened.index["things"]["true"])) - set(shown.tolist()))
    assert side_of(opened, ExplorerState(threshold=0.6), bits_of(HTC)).missed == missed != []
    axes = state_figure(pack, "B=1111&stage=4&thr=0.6&show=labels.truth").axes[0]
    assert sum(text.get_text().startswith("missed: ") for text in axes.texts) == len(missed)
    assert axes.get_xlabel().endswith(f", {len(missed)} missed")
    proposals = state_figure(pack, "B=1111&stage=0&thr=0.6&show=labels.truth").axes[0]
    assert not any(
        "missed" in text for text in (proposals.get_xlabel(), *(t.get_text() for t in proposals.texts))
    )


def test_labels_lie_in_the_picture_and_beside_each_other(pack: bytes) -> None:
    figure = state_figure(pack, "B=1111&stage=4&thr=0.3&show=labels")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    picture = axes.get_window_extent()
    labels = [text.get_window_extent() for text in axes.texts]
    assert len(labels) > 2
    for label in labels:
        assert picture.x0 <= label.x0
        assert label.x1 <= picture.x1
        assert picture.y0 <= label.y0
        assert label.y1 <= picture.y1
        assert not any(label is not other and label.overlaps(other) for other in labels)


def test_objects_have_the_browser_s_colours(pack: bytes) -> None:
    patch = state_figure(pack, "show=boxes").axes[0].patches[-1]
    assert matplotlib.colors.to_hex(patch.get_edgecolor()) == "#56b4e9"


def test_the_truth_comes_back(opened: OpenPack) -> None:
    np.testing.assert_array_equal(true_masks(opened), made_runs().targets.masks.numpy() > 0)


def test_without_truth_there_is_no_ap() -> None:
    figure = state_figure(make_pack(dataclasses.replace(made_runs(), targets=None)))
    assert len(figure.axes) == 1
    assert "no truth" in figure.axes[0].get_xlabel()


def test_a_call_gives_a_figure_where_widgets_can_not_run() -> None:
    figure = htc_lab.explore(tiny_sample(), tiny_models(("plain", "htc")), toggles=HTC, stage=1, static=True)
    assert isinstance(figure, Picture)
    with Image.open(io.BytesIO(figure._repr_png_())) as picture:
        assert picture.width > 500
    explorer = StageExplorer.from_models(tiny_models(("plain", "htc")), tiny_sample(), title="tiny")
    assert explorer.figure().axes[0].get_title(loc="left") == "HTC, trained so"
    plain = explorer._repr_mimebundle_()[0]["text/plain"]
    assert "explorer.figure()" in plain
