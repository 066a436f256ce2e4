"""Each benchmark runs at a tiny size and says what it must; how long anything takes is nobody's test."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import (
    ablation,
    cascade,
    data_loading,
    evaluation,
    import_time,
    inference,
    scaling,
    train_step,
    views,
)
from benchmarks import scenes as scenes_benchmark
from benchmarks.figures import peak_gb, seconds_of, summary
from benchmarks.parts import MATCHING, Parts, parts_of
from benchmarks.peers import Peer, Task, against
from benchmarks.pictures import objects, picture, proposals_near
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.model import build_model
from htc_lab.presets import CLASSROOM

SMALL: dict[str, Any] = {"preset": "classroom", "height": 64, "width": 96, "repeats": 1, "peer": False}
FORWARD = {"backbone", "FPN", "RPN", "RoI pooling", "box heads", "mask heads", "semantic branch", "the rest"}
EVERYWHERE = {"seconds", "vs_torchvision", "machine"}


def _as_json(figures: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(figures, allow_nan=False))
    return read


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_inference_by_parts(precision: str) -> None:
    figures = _as_json(inference.measure(inference.Options(**SMALL, precision=precision)))
    assert {*EVERYWHERE, "spread", "gflop", "share_of_convolution_rate", "peak_gb"} <= figures.keys()
    assert figures["parts"].keys() == FORWARD | {"post-processing"}
    assert figures["gflop"] > 0.1
    assert figures["vs_torchvision"] is None


def test_views_beside_single_predictions() -> None:
    options = views.Options(
        preset="classroom", height=64, width=96, views=("own", "32x48", "flip"), repeats=1
    )
    figures = _as_json(views.measure(options))
    assert {*EVERYWHERE, "spread", "peak_gb"} <= figures.keys()
    assert figures["views"] == ["own", "own flip", "32x48", "32x48 flip"]
    assert figures["vs_single_predictions"].keys() == {"roi", "detections"}
    assert all(ratio > 0 for ratio in figures["vs_single_predictions"].values())
    kept = figures["mib_of_a_view"]
    assert 0 < kept["32x48"] < kept["own"]


def test_training_step_by_parts() -> None:
    options = train_step.Options(**SMALL, batch=2, objects=3, on_objects=20)
    figures = _as_json(train_step.measure(options))
    assert {*EVERYWHERE, "spread", "loss", "gflop", "share_of_convolution_rate", "peak_gb"} <= figures.keys()
    assert figures["gflop"] > 0.1
    assert figures["parts"].keys() == FORWARD | {MATCHING, "losses", "backward"}
    assert figures["loss"] == train_step.measure(options)["loss"]


def test_proposals_on_objects_give_the_mask_heads_work() -> None:
    def positives(on_objects: int) -> int:
        step = train_step.Step(train_step.Options(**SMALL, objects=3, on_objects=on_objects))
        draws = torch.Generator().manual_seed(0)
        counts = step.model.losses(step.images, step.targets, generator=draws).counts
        return sum(counts[f"s{t}.loss_mask"] for t in range(3))

    assert positives(40) > positives(0)


def test_toggles_on_cached_features() -> None:
    figures = _as_json(cascade.measure(cascade.Options(toggles=18, full_toggles=0)))
    assert figures.keys() >= {*EVERYWHERE, "classroom", "peak_gb"}
    assert 0 < figures["classroom"]["p50_ms"] <= figures["classroom"]["p95_ms"]
    model = build_model(CLASSROOM, seed=0)
    assert len(set(cascade.combinations(model))) == 16


def test_evaluation_engine_beside_engine() -> None:
    figures = _as_json(evaluation.measure(images=4, repeats=1))
    assert figures.keys() >= EVERYWHERE
    for kind in ("bbox", "segm"):
        assert figures[kind]["equal"]
        assert figures[kind]["ratio"] > 0
    assert figures["seconds"] == figures["segm"]["seconds"]["hotcoco"]


def test_scenes_a_second() -> None:
    figures = _as_json(scenes_benchmark.measure(scenes_benchmark.Options(images=4, workers=1)))
    assert figures.keys() >= EVERYWHERE
    assert figures["images_per_second"] > 0


def test_ladder_rung_by_rung() -> None:
    figures = _as_json(ablation.measure(ablation.Options(size="tiny")))
    assert figures.keys() >= {*EVERYWHERE, "scenes_seconds", "report_seconds"}
    assert list(figures["rungs"]) == ["plain_cascade", "interleaved", "mask_flow", "htc"]
    assert figures["seconds"] >= figures["trained_seconds"] > 0
    for rung in figures["rungs"].values():
        assert 0 < rung["seconds"] <= figures["trained_seconds"]
        assert 0 <= rung["mask_ap"] <= 100
        assert 0 <= rung["box_ap"] <= 100


def test_waiting_for_data() -> None:
    figures = _as_json(
        data_loading.measure(data_loading.Options(images=8, size=64, steps=4, batch=2, workers=(0, 1)))
    )
    assert figures.keys() >= EVERYWHERE
    assert figures["readers"].keys() == {"0", "1"}
    for row in figures["readers"].values():
        assert 0 <= row["share_of_time"] < 1
        assert row["loader_alone_images_per_second"] > 0


def test_what_an_import_loads() -> None:
    names = ("python", "import htc_lab")
    figures = _as_json(import_time.measure(import_time.Options(repeats=1, names=names)))
    assert figures.keys() >= EVERYWHERE
    assert figures["starts"].keys() == set(names)
    assert figures["heavy_at_once"] == []


def test_growth(tmp_path: Path) -> None:
    options = scaling.Options(
        out=tmp_path / "curves",
        preset="classroom",
        sides=(64, 96),
        side=64,
        proposals=(10, 40),
        detections=(5, 20),
        objects=(1, 3),
        stages=(1, 2),
        batches=(1, 2),
        workers=(0,),
        images=8,
        repeats=1,
    )
    figures = _as_json(scaling.measure(options))
    assert figures.keys() >= EVERYWHERE
    assert len(figures["curves"]) == 7
    assert {"all", "backbone"} <= figures["curves"]["image size"]["exponents"].keys()
    assert figures["curves"]["image size"]["x"] == [64 * 85, 96 * 128]
    assert (options.out / "scaling.png").stat().st_size > 10_000
    assert "### stages" in (options.out / "scaling.md").read_text(encoding="utf-8")


def test_exponents() -> None:
    points = [{"all": 0.1 * x, "square": 0.01 * x**2, "same": 0.3} for x in (2.0, 4.0, 8.0)]
    curve = scaling.Curve("size", "px", [2.0, 4.0, 8.0], points)
    assert [curve.exponent(part) for part in ("all", "square", "same")] == [1.0, 2.0, 0.0]
    assert scaling.in_words(0.0) == "stays"
    assert scaling.in_words(1.0) == "grows in proportion"


def test_each_second_counts_once_and_all_is_put_back() -> None:
    model = build_model(CLASSROOM, seed=0).eval()
    before = {name: vars(owner).get(name) for _, owner, name in parts_of(model)}
    parts = Parts()
    with parts.watching(parts_of(model)), torch.no_grad():
        model.predict([picture(64, 64)])
    assert parts.shares(1, 0.0)["the rest"] == 0.0
    whole = Parts()
    with whole.watching([("whole", model, "predict"), *parts_of(model)]), torch.no_grad():
        took = seconds_of(lambda: model.predict([picture(64, 64)]))
    assert sum(whole.seconds.values()) <= took
    assert {name: vars(owner).get(name) for _, owner, name in parts_of(model)} == before


@pytest.mark.parametrize("work", ["inference", "train_step"])
def test_a_peer_has_a_process_of_its_own(work: Any) -> None:
    with Peer("torchvision", Task(work, 64, 96, objects=2, on_objects=10)) as peer:
        peer.go()
        peer.go()
    compared = against({"seconds": 2.0}, [peer])
    assert len(peer.times) == 2
    assert compared["vs_torchvision"] == pytest.approx(2.0 / peer.figures()["seconds"], abs=2e-3)
    assert compared["peers"]["torchvision"]["peak_gb"] > 0.2
    assert compared["peers"]["torchvision"]["gflop"] > 1


def test_a_peer_that_ends_is_told() -> None:
    with pytest.raises(RuntimeError, match="the process of nobody ended with code 1"):
        Peer("nobody", Task("inference", 64, 64))


def test_the_peak_is_this_process_s_own() -> None:
    held = torch.ones(200 * 2**20 // 4)
    told = subprocess.run(
        [sys.executable, "-c", "from benchmarks.figures import peak_gb; print(peak_gb())"],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert peak_gb() > float(told.stdout)
    assert float(held[0]) == 1.0


def test_median_and_spread() -> None:
    assert summary([3.0, 1.0, 2.0]) == {"seconds": 2.0, "spread": [1.0, 3.0]}


def test_objects_are_what_their_boxes_say() -> None:
    found = objects(60, 80, 5, seed=3)
    for box, mask in zip(found.boxes, found.masks, strict=True):
        rows, columns = torch.nonzero(mask.any(1)).squeeze(1), torch.nonzero(mask.any(0)).squeeze(1)
        drawn = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert (drawn - box).abs().max() <= 1.6
    near = proposals_near(found.boxes, 60, 80, 10)
    assert pairwise_iou(near, found.boxes).max(dim=1).values.mean() > 0.6
