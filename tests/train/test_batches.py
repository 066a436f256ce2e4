"""What a step sees: shared out without loss, alike in shape, and whole although a picture is torn."""

import json
import shutil
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data._utils.pin_memory import pin_memory

from htc_lab import InputError
from htc_lab.data.dataset import CocoDataset, Sample
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.distributed import ALONE, LostPeer, Team, _own_device, processes
from htc_lab.model import build_model
from htc_lab.schedule import Schedule
from htc_lab.structures import Targets
from htc_lab.train.batches import BatchOfStep, Share, batches, seeded
from htc_lab.train.run_folder import RunLog, too_many
from htc_lab.train.step import GradientStep
from tests.train.test_train import assert_equal, weights
from tests.train.two_processes import tiny, train_tiny
from tests.unit.tiny import assert_same


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_the_shares_of_all_are_the_batch(size, parts, each):
    batch = size * parts * each
    shares = [Share(rank, size, parts).places(batch) for rank in range(size)]
    assert sorted(place for share in shares for place in share) == list(range(batch))
    # Part by part, the ranks' images stand in the order one process would take them in.
    for p in range(parts):
        part = [place for share in shares for place in share[p * each : (p + 1) * each]]
        assert part == list(range(p * size * each, (p + 1) * size * each))


class Shapes(CocoDataset):
    """As much of a data set as the choice of images looks at."""

    def __init__(self, upright: list[bool]) -> None:
        self.images = [
            {"id": i, "height": 9 if is_upright else 5, "width": 7} for i, is_upright in enumerate(upright)
        ]

    def get(self, i, generator):
        nothing = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), BLACK[:0])
        return Sample(BLACK, nothing, i, (9, 9))


BLACK = torch.zeros(3, 9, 9, dtype=torch.uint8)


def test_a_batch_for_a_gpu_is_pinned_whole(monkeypatch):
    """Without a GPU no memory can be pinned: that each tensor would be is seen from its copy."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    source = BatchOfStep(Shapes([True] * 4), 2, 3, seed=0)
    assert not batches(source, 0, 0).pin_memory
    assert batches(source, 0, 0, "cuda:1").pin_memory
    batch = source[0]
    pinned = pin_memory(batch)
    assert_same(batch, pinned)
    for ours, theirs in zip(batch.samples, pinned.samples, strict=True):
        for part in ("boxes", "labels", "masks"):
            assert getattr(ours.targets, part) is not getattr(theirs.targets, part)
        assert ours.image is not theirs.image


def ids(batch) -> list[int]:
    return [sample.image_id for sample in batch.samples]


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 5), st.integers(0, 99))
def test_batches_are_alike_and_every_image_has_its_turn(upright, batch, seed):
    steps = 40
    source = BatchOfStep(Shapes(upright), batch, steps, seed, alike=True)
    chosen = [ids(source[step]) for step in range(steps)]
    assert all(len({upright[i] for i in samples}) == 1 and len(samples) == batch for samples in chosen)
    for kind in {*upright}:
        turns = Counter({i: 0 for i, u in enumerate(upright) if u == kind})
        turns.update(i for samples in chosen for i in samples if upright[i] == kind)
        assert max(turns.values()) - min(turns.values()) <= 1
        wanted = steps * upright.count(kind) / len(upright)
        assert abs(sum(turns.values()) / batch - wanted) < 1


def test_one_shape_alone_comes_in_the_order_without_grouping():
    plain = BatchOfStep(Shapes([True] * 7), 3, 5, 1)
    alike = BatchOfStep(Shapes([True] * 7), 3, 5, 1, alike=True)
    assert [ids(plain[i]) for i in range(5)] == [ids(alike[i]) for i in range(5)]


def test_two_processes_see_the_batch_of_one(scenes):
    folder = find_data(scenes)
    dataset = CocoDataset(folder.train, semantic_classes(folder))
    whole = BatchOfStep(dataset, 4, 3, 5)[2]
    halves = [BatchOfStep(dataset, 4, 3, 5, Share(rank, 2))[2] for rank in range(2)]
    assert ids(whole) == [i for half in halves for i in ids(half)]


def test_means_over_shares_weighed_by_their_counts_are_the_mean_over_all(scenes):
    """What makes two processes one, without processes; the semantic mean over valid pixels included."""
    config = tiny(scenes)
    folder = find_data(scenes)
    samples = BatchOfStep(CocoDataset(folder.train, semantic_classes(folder)), 4, 1, 5)[0].samples
    model = build_model(config, 0).train()

    def losses(first: int, last: int) -> tuple[dict[str, float], dict[str, int]]:
        here = samples[first:last]
        draws = [seeded(7, place) for place in range(first, last)]
        found = model.losses([s.image for s in here], [s.targets for s in here], None, draws, (96, 96))
        return {n: float(v.detach()) for n, v in found.items()}, found.counts

    (whole, everything), (a, of_a), (b, of_b) = losses(0, 4), losses(0, 1), losses(1, 4)
    assert whole.keys() == everything.keys()
    for name, value in whole.items():
        assert of_a[name] + of_b[name] == everything[name], name
        shared = (a[name] * of_a[name] + b[name] * of_b[name]) / max(everything[name], 1)
        assert shared == pytest.approx(value, rel=1e-4, abs=1e-6), name
    assert any(of_a[name] * 3 != of_b[name] for name in whole)


@pytest.fixture
def torn(tmp_path, scenes):
    """Data of which two of six pictures are none."""
    root = tmp_path / "torn"
    shutil.copytree(scenes, root)
    (root / "train" / "000002.png").write_bytes(b"no picture")
    Image.new("RGB", (9, 9)).save(root / "train" / "000005.png")
    return root


def test_training_goes_on_without_torn_pictures_and_resumes_the_same(tmp_path, torn, capsys):
    whole = train_tiny(torn, tmp_path / "whole")
    skipped = [json.loads(line) for line in (tmp_path / "whole" / "skipped.jsonl").read_text().splitlines()]
    assert sorted(line["image_id"] for line in skipped) == [2, 5]
    said = capsys.readouterr().err
    assert said.count("image 2 replaced") == said.count("image 5 replaced") == 1

    class Stop(Exception):
        pass

    def stop_after_four(step, metrics):
        if step == 4:
            raise Stop

    with pytest.raises(Stop):
        train_tiny(torn, tmp_path / "cut", on_step=stop_after_four)
    assert_equal(weights(whole), weights(train_tiny(torn, tmp_path / "cut")))
    assert len((tmp_path / "cut" / "skipped.jsonl").read_text().splitlines()) == 2


def test_too_many_torn_pictures_stop_the_training_with_one_line(tmp_path, torn):
    (torn / "train" / "000001.png").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"^3 of 6 training images cannot be read \(.*skipped.jsonl\); the last"
    ):
        train_tiny(torn, tmp_path / "run")


@pytest.mark.parametrize(
    ("unreadable", "images", "stops"),
    [(1, 2, True), (1, 3, False), (10, 100, False), (11, 100, True), (11, 2000, False), (21, 2000, True)],
)
def test_how_many_are_too_many(unreadable, images, stops):
    assert too_many(unreadable, images) is stops


class NoLog(RunLog):
    """Nothing is unreadable here."""

    def __init__(self) -> None:
        pass

    def new(self, unreadable) -> bool:
        return False


def test_a_batch_in_parts_gives_the_mean_of_their_gradients(scenes):
    config = tiny(scenes)
    folder = find_data(scenes)
    dataset = CocoDataset(folder.train, semantic_classes(folder))

    def gradient(parts: int, share: Share) -> tuple[float, torch.Tensor]:
        model = build_model(config, 0).train()
        step = GradientStep(model, Schedule(batch=2, accumulate=parts), 0, ALONE)
        found = step.backward(0, BatchOfStep(dataset, 2, 1, 0, share)[0], NoLog())
        return found["loss"], model.neck.fpn_convs[0].conv.weight.grad

    loss, slope = gradient(2, Share(parts=2))
    losses, slopes = zip(*(gradient(1, Share(i, 2)) for i in range(2)), strict=True)
    assert loss == pytest.approx(sum(losses) / 2, rel=1e-6)
    torch.testing.assert_close(slope, sum(slopes) / 2)


def test_one_process_is_a_team_that_says_nothing():
    team = Team()
    assert team.sums([1.5]) == [1.5]
    assert team.gather("x") == team.collect("x") == ["x"]
    with processes("cuda:1") as (alone, device):
        assert alone.size == 1
        assert device == "cuda:1"
    with pytest.raises(RuntimeError, match="out of memory"), team.listening():
        raise RuntimeError("out of memory")
    several = Team(1, 2, patience=7.0)
    with pytest.raises(LostPeer, match=r"process 1 of 2: .* no answer for 7 s"), several.listening():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:144] Connection closed by peer")
    with pytest.raises(RuntimeError, match="out of memory"), several.listening():
        raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR is missing"),
    ],
)
def test_a_broken_launch_is_named(monkeypatch, variables, says):
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=says), processes("cpu"):
        pass


def test_each_process_takes_a_gpu_of_its_own():
    with pytest.raises(InputError, match=r"--device cuda: 99 processes on this machine, but \d+ GPUs; give"):
        _own_device("cuda", 0, 99)
    with pytest.raises(InputError, match="one GPU each; give --device cuda"):
        _own_device("cuda:1", 0, 2)
    assert _own_device("cpu", 1, 2) == "cpu"
