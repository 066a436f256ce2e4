"""Wall clock of ``evaluate`` with each engine on the same synthetic scenes, and the ratio.

python -m benchmarks.evaluation [--json] [--images N] [--repeats N]
"""

import argparse
import json
import platform
import statistics
import time
from typing import Any, get_args

import numpy as np
import torch

from htc_lab.evaluate.coco_ap import Engine, Kind, encode_masks, evaluate

SIDE = 256
CATEGORIES = 8
OBJECTS = 8
DETECTIONS = 40


def make_scenes(images: int, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Discs as ground truth, and detections of them: moved, resized, some of the wrong class."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id in range(1, images + 1):
        discs = rng.uniform((20, 20, 4), (SIDE - 20, SIDE - 20, 60), (OBJECTS, 3))
        labels = rng.integers(1, CATEGORIES + 1, OBJECTS)
        for number, shape in enumerate(_shapes(discs, labels, image_id), start=len(annotations) + 1):
            area = shape["bbox"][2] * shape["bbox"][3] * np.pi / 4
            annotations.append({**shape, "id": number, "area": float(area), "iscrowd": 0})
        source = rng.integers(0, OBJECTS, DETECTIONS)
        guesses = discs[source] + rng.normal(0, (3, 3, 2), (DETECTIONS, 3))
        guesses[:, 2] = np.maximum(guesses[:, 2], 2)
        wrong = rng.random(DETECTIONS) < 0.2
        classes = np.where(wrong, rng.integers(1, CATEGORIES + 1, DETECTIONS), labels[source])
        scores = rng.random(DETECTIONS)
        results += [
            {**shape, "score": float(score)}
            for shape, score in zip(_shapes(guesses, classes, image_id), scores, strict=True)
        ]
    truth = {
        "images": [{"id": n, "height": SIDE, "width": SIDE} for n in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": n, "name": f"class {n}"} for n in range(1, CATEGORIES + 1)],
    }
    return truth, results


def _shapes(discs: np.ndarray, labels: np.ndarray, image_id: int) -> list[dict[str, Any]]:
    x, y, radius = torch.from_numpy(discs).float().unbind(1)
    grid = torch.arange(SIDE)
    masks = (grid - x[:, None, None]) ** 2 + (grid[:, None] - y[:, None, None]) ** 2 < radius[
        :, None, None
    ] ** 2
    boxes = torch.stack((x - radius, y - radius, 2 * radius, 2 * radius), dim=1).tolist()
    return [
        {"image_id": image_id, "category_id": int(label), "bbox": box, "segmentation": code}
        for label, box, code in zip(labels, boxes, encode_masks(masks), strict=True)
    ]


def measure(images: int, repeats: int) -> dict[str, Any]:
    """Median seconds by kind and engine, the engines taking turns so that the machine's moods hit both."""
    truth, results = make_scenes(images)
    figures: dict[str, Any] = {"images": images, "detections": len(results), "repeats": repeats}
    figures["machine"] = f"{platform.machine()}, {torch.get_num_threads()} threads"
    for kind in get_args(Kind):
        seconds: dict[Engine, list[float]] = {engine: [] for engine in get_args(Engine)}
        values = {}
        for _ in range(repeats):
            for engine, taken in seconds.items():
                start = time.perf_counter()
                values[engine] = evaluate(truth, results, kind, engine)
                taken.append(time.perf_counter() - start)
        medians = {engine: statistics.median(taken) for engine, taken in seconds.items()}
        figures[kind] = {
            "seconds": medians,
            "ratio": medians["pycocotools"] / medians["hotcoco"],
            "equal": values["pycocotools"] == values["hotcoco"],
            "AP": values["hotcoco"]["AP"],
        }
    figures["seconds"] = figures["segm"]["seconds"]["hotcoco"]
    figures["vs_torchvision"] = None
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--images", type=int, default=500, help="how many scenes (default 500)")
    parser.add_argument("--repeats", type=int, default=3, help="runs a median is taken of (default 3)")
    arguments = parser.parse_args()
    figures = measure(arguments.images, arguments.repeats)
    if arguments.json:
        print(json.dumps(figures))
        return
    print(f"{figures['images']} images, {figures['detections']} detections, {figures['machine']}")
    for kind in get_args(Kind):
        row = figures[kind]
        times = ", ".join(f"{engine} {taken:.3f} s" for engine, taken in row["seconds"].items())
        print(f"{kind}: {times}: {row['ratio']:.1f} times; equal: {row['equal']} (AP {row['AP']:.2f})")


if __name__ == "__main__":
    main()
