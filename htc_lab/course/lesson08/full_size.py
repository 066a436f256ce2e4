"""08: the full-size models: their parts, what a picture costs, and a rehearsal of ``reproduce``."""

import dataclasses
import time
from pathlib import Path

import torch
from IPython.display import Markdown
from torch import nn

from htc_lab.ablation.reproduce import Contestant, Reproduction, at_score_threshold, reproduce
from htc_lab.checkpoint.filling import empty_model
from htc_lab.data.coco import read_coco
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import Split, find_data, find_images
from htc_lab.model import build_model
from htc_lab.predictors import ModelPredictor
from htc_lab.presets import PRESETS
from htc_lab.wording import counted, signed

PAPER_TABLE = (
    ("Cascade Mask R-CNN", "R-50", "cascade_r50_20e", 41.9, 36.5),
    ("HTC", "R-50", "htc_r50_20e", 43.3, 38.3),
    ("HTC", "R-101", "htc_r101_20e", 44.8, 39.6),
    ("HTC", "X-101 32x4d", "htc_x101_32x4d_20e", 46.1, 40.5),
    ("HTC", "X-101 64x4d", "htc_x101_64x4d_20e", 47.0, 41.4),
    ("HTC + DCN, multi-scale", "X-101 64x4d", "htc_x101_64x4d_dcn_ms_20e", 50.4, 43.8),
)
"""Method, backbone, preset, box and mask AP on val2017 as the reference (mmdet 3.3.0) publishes them."""


def published() -> Markdown:
    """The published AP of the presets."""
    lines = ["| method | backbone | preset | box AP | mask AP |", "|---|---|---|---|---|"]
    lines += [f"| {m} | {b} | `{preset}` | {box} | {mask} |" for m, b, preset, box, mask in PAPER_TABLE]
    return Markdown("\n".join(lines))


def millions(preset: str) -> dict[str, float]:
    """The number of parameters of each part of a preset, in millions."""
    model = empty_model(PRESETS[preset])
    heads = model.roi_head
    parts: dict[str, nn.Module] = {
        "backbone": model.backbone,
        "FPN": model.neck,
        "RPN": model.rpn_head,
        "box heads": heads.bbox_head,
        "mask heads": heads.mask_head,
    }
    if heads.semantic_head is not None:
        parts["semantic branch"] = heads.semantic_head
    return {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in parts.items()}


@torch.inference_mode()
def seconds_a_part(preset: str, height: int, width: int) -> dict[str, float]:
    """How long each of the three calls takes on this machine, in s, for a noise image and random weights."""
    model = build_model(PRESETS[preset], seed=0).eval()
    image = torch.randint(256, (3, height, width), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    began = time.perf_counter()
    features = model.features_of([image])
    encoded = time.perf_counter()
    proposals = model.propose(features)
    proposed = time.perf_counter()
    model.cascade(features, proposals, per_stage_view=False)
    done = time.perf_counter()
    return {"encode": encoded - began, "propose": proposed - encoded, "cascade": done - proposed}


def val_of(root: Path) -> CocoDataset:
    """The val split of a data folder; in COCO's own tree, the pictures of train2017 may be missing.

    Raises:
        InputError: the data is broken, or pictures are missing.
    """
    annotations = Path(root) / "annotations" / "instances_val2017.json"
    if not annotations.is_file():
        return CocoDataset(find_data(root).val)
    coco = read_coco(annotations)
    folder, coco, _ = find_images(Path(root), "val", coco, None)
    return CocoDataset(Split("val", coco, folder, None))


def rehearse(dataset: CocoDataset, out: Path, images: int = 4, short: int = 200) -> Reproduction:
    """Everything ``htc-lab reproduce`` does, on a few downscaled pictures and with random weights.

    This finds a wrong path, a full disk or an unreadable picture within a minute; its AP means nothing.

    Args:
        dataset: with its truth.
        out: folder for the detections, as for ``htc-lab reproduce``.
        images: how many pictures, taken from the start.
        short: the shorter side, in px, to which the pictures are scaled for the models.
    """
    coco = dataset.split.coco
    few = coco.subset([image["id"] for image in coco.images[:images]])
    part = CocoDataset(dataclasses.replace(dataset.split, coco=few))
    contestants = []
    for role, preset in (("cascade", "cascade_r50_20e"), ("htc", "htc_r50_20e")):
        config = PRESETS[preset]
        small = dataclasses.replace(config.image, short=short, long=2 * short)
        config = dataclasses.replace(config, classes=len(few.class_names), image=small)
        model = build_model(config, seed=0)
        model.class_names = few.class_names
        predictor = ModelPredictor(at_score_threshold(model, 0.001))
        contestants.append(Contestant(role, predictor, ("random",)))
    return reproduce(contestants, part, out, progress=False, tell=lambda _: None)


def reproduction_table(outcome: Reproduction) -> Markdown:
    """The AP of both models and the gain with its interval."""
    lines = [f"| {counted(outcome.images, 'picture')} | box AP | mask AP |", "|---|---|---|"]
    for role, title in (("cascade", "Cascade Mask R-CNN"), ("htc", "HTC")):
        box, mask = (outcome.statistics[role][kind]["AP"] for kind in ("bbox", "segm"))
        lines.append(f"| {title} | {box:.1f} | {mask:.1f} |")
    gains = (outcome.gains[kind] for kind in ("bbox", "segm"))
    cells = " | ".join(f"{signed(gain.value)} [{signed(gain.low)}, {signed(gain.high)}]" for gain in gains)
    return Markdown("\n".join([*lines, f"| gain, 95 % interval | {cells} |", "", outcome.verdict()]))
