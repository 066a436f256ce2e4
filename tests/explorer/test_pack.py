import dataclasses
import io
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from htc_lab.config import HTC, INTERLEAVED, PLAIN_CASCADE, Toggles
from htc_lab.errors import InputError
from htc_lab.evaluate.identity import Identities
from htc_lab.explorer.bits import ALL_BITS, answers, bits_of, can_serve, toggles_of_bits, whole_bits
from htc_lab.explorer.pack import LEAST_SCORE, kept, make_pack, quantise
from htc_lab.explorer.pack_format import BlockWriter, OpenPack, read_pack
from htc_lab.explorer.runs import ModelRun, PictureRuns, run_models
from htc_lab.structures import Targets
from tests.explorer.made_pack import grown, made_runs, tiny_models, tiny_runs, tiny_sample
from tests.plots.made_trace import CLASS_NAMES, made_sample, made_trace
from tests.unit.tiny import lively, picture

HTC_SERVES = [bits for bits in ALL_BITS if can_serve(HTC, bits)]


@pytest.fixture(scope="module")
def runs() -> PictureRuns:
    return tiny_runs()


@pytest.fixture(scope="module")
def opened(runs: PictureRuns) -> OpenPack:
    return read_pack(make_pack(runs, "tiny"))


def run_of(opened: OpenPack, model: int, bits: str) -> dict:
    return next(r for r in opened.index["runs"] if (r["model"], r["bits"]) == (model, bits))


# ---- the format


def test_blocks_come_back_as_they_were_and_equal_ones_once() -> None:
    writer = BlockWriter()
    arrays = [
        np.arange(7, dtype=np.uint8),
        np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
        np.array([[-3], [300]], dtype=np.int16),
        np.zeros((0, 4), dtype=np.float32),
    ]
    numbers = [writer.add(array) for array in arrays]
    assert writer.add(arrays[1].copy()) == numbers[1]
    assert writer.add(arrays[1].reshape(3, 2)) not in numbers
    back = read_pack(writer.finish({"title": "ä <b>"}))
    assert back.index["title"] == "ä <b>"
    for number, array in zip(numbers, arrays, strict=True):
        assert back.blocks[number].dtype == array.dtype
        np.testing.assert_array_equal(back.blocks[number], array)
    assert all(offset % 4 == 0 for offset, _, _ in back.index["blocks"])


@pytest.mark.parametrize("spoil", [lambda d: b"PNG" + d, lambda d: d[:4] + b"\x09" + d[5:], lambda d: d[:-9]])
def test_what_is_no_whole_pack_is_refused_in_one_line(spoil) -> None:
    writer = BlockWriter()
    writer.add(np.arange(100, dtype=np.uint8))
    with pytest.raises(InputError, match="make it again") as error:
        read_pack(spoil(writer.finish({})))
    assert "\n" not in str(error.value)


# ---- what is in it


def test_every_number_comes_back_exactly(runs: PictureRuns, opened: OpenPack) -> None:
    for m, run in enumerate(runs.runs):
        for bits, trace in run.traces.items():
            entry, keep = run_of(opened, m, bits), kept(trace)
            rois = trace.detected[keep]
            assert entry["count"] == len(keep) > 0
            block = opened.blocks.__getitem__
            np.testing.assert_array_equal(block(entry["labels"]), trace.labels[keep])
            np.testing.assert_array_equal(block(entry["scores"][0]), trace.proposals.scores[rois])
            np.testing.assert_array_equal(block(entry["scores"][4]), trace.scores[keep])
            np.testing.assert_array_equal(block(entry["boxes"][0]), trace.proposals.rois.boxes[rois])
            for t, record in enumerate(trace.stages):
                np.testing.assert_array_equal(block(entry["scores"][t + 1]), trace.stage_scores(t)[keep])
                np.testing.assert_array_equal(block(entry["boxes"][t + 1]), record.boxes[rois])
                np.testing.assert_array_equal(block(entry["mask_boxes"][t]), record.mask_boxes[keep])
                soft = record.mask_logits[keep].sigmoid()
                np.testing.assert_array_equal(block(entry["masks"][t]), quantise(soft))
                assert np.abs(block(entry["masks"][t]) / 255 - soft.numpy()).max() <= 0.5 / 255 + 1e-6
            np.testing.assert_array_equal(block(entry["masks"][3]), quantise(trace.mask_probabilities[keep]))
            np.testing.assert_array_equal(block(entry["mask_boxes"][3]), trace.boxes[keep])


def test_picture_truth_and_map_come_back(runs: PictureRuns, opened: OpenPack) -> None:
    index, blocks = opened.index, opened.blocks
    pixels = np.array(Image.open(io.BytesIO(blocks[index["image"]["block"]].tobytes())).convert("RGB"))
    np.testing.assert_array_equal(pixels, runs.image.permute(1, 2, 0))
    targets = runs.targets
    assert targets is not None
    np.testing.assert_array_equal(blocks[index["truth"]["boxes"]], targets.boxes)
    np.testing.assert_array_equal(blocks[index["truth"]["labels"]], targets.labels)
    flat = np.unpackbits(blocks[index["truth"]["masks"]])[: targets.masks.numel()]
    np.testing.assert_array_equal(flat.reshape(targets.masks.shape), targets.masks)
    assert [m["semantic"] is None for m in index["models"]] == [True, True, True, False]
    np.testing.assert_array_equal(blocks[index["models"][3]["semantic"]], runs.runs[3].semantic)
    assert index["semantic_classes"] == ["a", "b", "c", "sky", "sea"]


def test_a_picture_without_truth_has_no_verdicts() -> None:
    pack = read_pack(make_pack(run_models(tiny_models(("htc",)), picture(2))))
    assert pack.index["truth"] is None
    assert all(run["truth"] is None for run in pack.index["runs"])
    assert pack.index["things"]["true"] == 0


def test_nothing_found_is_a_pack_too() -> None:
    model = lively()
    with torch.no_grad():
        for head in model.roi_head.bbox_head:
            head.fc_cls.bias[-1] += 1e4
    pack = read_pack(make_pack(run_models({"htc": model}, tiny_sample())))
    assert {run["count"] for run in pack.index["runs"]} == {0}
    assert pack.blocks[pack.index["runs"][0]["masks"][0]].shape == (0, 28, 28)


def test_twenty_objects_of_noise_take_at_most_100_kib_a_setting() -> None:
    sample = made_sample(3)
    traces = {
        bits: grown(made_trace(sample, toggles_of_bits(bits)), 20, seed=i)
        for i, bits in enumerate(HTC_SERVES)
    }
    runs = PictureRuns(sample.image, sample.targets, (ModelRun("htc", HTC, traces, None),), CLASS_NAMES, ())
    assert len(make_pack(runs)) <= len(HTC_SERVES) * 100 * 1024


def test_interleaving_at_test_time_shares_all_but_the_view(opened: OpenPack) -> None:
    on, off = run_of(opened, 3, bits_of(HTC)), run_of(opened, 3, whole_bits("0111"))
    assert on["masks"][3] == off["masks"][3]
    assert on["boxes"] == off["boxes"]
    assert on["scores"] == off["scores"]
    assert on["mask_boxes"][0] == on["boxes"][1]
    assert off["mask_boxes"][0] == off["boxes"][0]
    assert on["masks"][0] != off["masks"][0]


def test_equal_runs_give_equal_bytes(runs: PictureRuns) -> None:
    assert make_pack(runs, "x") == make_pack(runs, "x")


# ---- which model answers


def test_without_a_truth_the_pack_is_the_same_from_fewer_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htc_lab.explorer.runs.MOST_DETECTIONS", 4)
    sample, models = tiny_sample(), tiny_models(("htc",))
    few, whole = run_models(models, sample.image), run_models(models, sample)
    assert len(few.runs[0].traces[bits_of(HTC)].labels) == 4
    assert len(whole.runs[0].traces[bits_of(HTC)].labels) > 4
    ours, theirs = (read_pack(make_pack(dataclasses.replace(each, targets=None))) for each in (few, whole))
    for run, same in zip(ours.index["runs"], theirs.index["runs"], strict=True):
        assert run["count"] == same["count"] == 4
        for number, other in zip(run["masks"], same["masks"], strict=True):
            # Sums over another number of RoIs may round otherwise.
            assert np.abs(ours.blocks[number].astype(int) - theirs.blocks[other].astype(int)).max() <= 1


def test_with_eight_models_every_combination_of_three_ideas_is_one_trained_so() -> None:
    trained = [Toggles(i, f, s, s) for i, f, s in product((False, True), repeat=3)]
    found = answers(trained, "trained_without")
    assert set(found) == set(HTC_SERVES)
    for i, toggles in enumerate(trained):
        answer = found[bits_of(toggles)]
        assert (answer.model, answer.trained) == (i, True)
    # Where only one of the semantic fusions is on, no model was trained so, and that is said.
    assert not any(a.trained for bits, a in found.items() if bits[2] != bits[3])
    assert {a.model for bits, a in found.items() if bits[2] != bits[3]} == {7}
    cut = answers(trained, "switched_off")
    assert {a.model for a in cut.values()} == {7}
    assert [bits for bits, a in cut.items() if a.trained] == [bits_of(HTC)]


def test_a_plain_model_alone_answers_only_what_its_weights_can() -> None:
    assert set(answers([PLAIN_CASCADE], "trained_without")) == {bits_of(PLAIN_CASCADE), bits_of(INTERLEAVED)}


def test_models_of_other_classes_can_not_share_a_picture() -> None:
    models = tiny_models(("plain", "htc"))
    models["htc"].class_names = ("x", "y", "z")
    with pytest.raises(InputError, match="'htc' and 'plain' differ in their class names"):
        run_models(models, picture(1))


# ---- which object is which


def test_an_object_keeps_its_number_over_settings_stages_and_models() -> None:
    sample = made_sample(3)
    opened = read_pack(make_pack(made_runs(sample=sample)))
    n = len(sample.targets.boxes)
    assert opened.index["things"]["true"] == n
    for run in opened.index["runs"]:
        assert opened.blocks[run["things"]].tolist() == list(range(n))


def test_without_truth_the_same_roi_is_the_same_object(runs: PictureRuns) -> None:
    blind = PictureRuns(runs.image, None, runs.runs, runs.class_names, ())
    opened = read_pack(make_pack(blind))
    seen: dict[tuple[int, int, int], int] = {}
    again = 0
    for m, run in enumerate(blind.runs):
        for bits, trace in run.traces.items():
            keep = kept(trace)
            things = opened.blocks[run_of(opened, m, bits)["things"]].tolist()
            assert len(set(things)) == len(things)
            for roi, label, thing in zip(
                trace.detected[keep].tolist(), trace.labels[keep].tolist(), things, strict=True
            ):
                again += (m, roi, label) in seen
                assert seen.setdefault((m, roi, label), thing) == thing
    assert again > 10


def test_an_object_that_is_called_something_else_stays_itself() -> None:
    targets = Targets(
        torch.tensor([[10.0, 10, 30, 30], [50, 50, 90, 90]]),
        torch.tensor([0, 1]),
        torch.zeros(2, 99, 99, dtype=torch.uint8),
    )
    things = Identities(targets)
    rois, scores = torch.tensor([4, 7, 9]), torch.tensor([0.9, 0.5, 0.1])
    boxes = torch.tensor([[11.0, 10, 30, 31], [52, 50, 90, 92], [10, 12, 30, 30]])
    # The second is of another class; the third is where the first is, and the first has taken that object.
    numbers = things.of("a", rois, torch.tensor([0, 2, 2]), boxes, scores, np.array([0, -1, -1]))
    assert numbers == [0, 1, 2]
    # Another model's RoIs: by class and place.
    swapped = things.of("b", rois, torch.tensor([2, 1, 0]), boxes[[2, 1, 0]], scores, np.array([-1, 1, -1]))
    assert swapped == [2, 1, 0]
    assert things.ranks() == [0, 1, 2]


def test_numbers_are_without_gaps_and_true_objects_come_first(opened: OpenPack) -> None:
    things = opened.index["things"]
    used = {t for run in opened.index["runs"] for t in opened.blocks[run["things"]].tolist()}
    assert used <= set(range(len(things["labels"])))
    assert used | set(range(things["true"])) == set(range(len(things["labels"])))


# ---- beside the truth


def test_perfect_masks_are_found_with_full_ap() -> None:
    sample = made_sample(3)
    opened = read_pack(make_pack(made_runs({"htc": HTC}, sample)))
    truth = run_of(opened, 0, bits_of(HTC))["truth"]
    n = len(sample.targets.boxes)
    assert opened.blocks[truth["match"]][3].tolist() == list(range(n))
    assert opened.blocks[truth["error"]][3].tolist() == [0] * n
    assert opened.blocks[truth["mask_iou"]][3].min() > 0.8
    boxes = opened.blocks[truth["box_iou"]]
    assert (boxes[3] > boxes[0]).all()
    assert truth["ap"][3] > 80
    assert truth["ap"][3] > truth["ap"][0]


def test_errors_are_told_apart() -> None:
    sample = made_sample(3)
    trace = made_trace(sample)
    n = len(sample.targets.boxes)
    labels = sample.targets.labels.clone()
    labels[0] = (labels[0] + 1) % len(CLASS_NAMES)
    masks = sample.targets.masks.clone()
    masks[1] = 0
    moved = Targets(sample.targets.boxes, labels, masks, sample.targets.semantic)
    runs = PictureRuns(
        sample.image, moved, (ModelRun("m", HTC, {bits_of(HTC): trace}, None),), CLASS_NAMES, ()
    )
    opened = read_pack(make_pack_of_one(runs))
    errors = opened.blocks[opened.index["runs"][0]["truth"]["error"]][3].tolist()
    assert errors == [2, 4] + [0] * (n - 2)


def make_pack_of_one(runs: PictureRuns) -> bytes:
    """A pack of a model that ran with nothing but its own ideas."""
    run = runs.runs[0]
    every = {bits: run.traces[bits_of(HTC)] for bits in HTC_SERVES}
    whole = ModelRun(run.name, run.trained, every, run.semantic)
    return make_pack(PictureRuns(runs.image, runs.targets, (whole,), runs.class_names, ()))


def test_what_scores_low_everywhere_is_left_out() -> None:
    trace = made_trace(made_sample(3))
    assert len(kept(trace)) == len(trace.detected)
    quiet = [record.class_logits.clone() for record in trace.stages]
    for logits in quiet:
        logits[0, -1] = 20
    records = tuple(dataclasses.replace(r, class_logits=q) for r, q in zip(trace.stages, quiet, strict=True))
    scores = trace.scores.clone()
    scores[0] = LEAST_SCORE / 2
    low = dataclasses.replace(trace, stages=records, scores=scores)
    assert 0 not in kept(low).tolist()
    assert len(kept(low)) == len(trace.detected) - 1
