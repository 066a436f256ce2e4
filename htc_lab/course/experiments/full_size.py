"""08: the full-size models: their parts, and what a training costs."""

import time

import torch
from IPython.display import Markdown

from htc_lab.engine.checkpoint import empty_model
from htc_lab.model import build_model
from htc_lab.presets import PRESETS

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
    """The published figures of the presets."""
    lines = ["| method | backbone | preset | box AP | mask AP |", "|---|---|---|---|---|"]
    lines += [f"| {m} | {b} | `{preset}` | {box} | {mask} |" for m, b, preset, box, mask in PAPER_TABLE]
    return Markdown("\n".join(lines))


def millions(preset: str) -> dict[str, float]:
    """Parameters of a preset's parts, in millions."""
    model = empty_model(PRESETS[preset])
    heads = model.roi_head
    parts = {
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
    """How long the three calls take for one picture of noise, with random weights, on this machine."""
    model = build_model(PRESETS[preset], seed=0).eval()
    image = torch.randint(256, (3, height, width), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    began = time.perf_counter()
    features = model.encode([image])
    encoded = time.perf_counter()
    proposals = model.propose(features)
    proposed = time.perf_counter()
    model.cascade(features, proposals, per_stage_view=False)
    done = time.perf_counter()
    return {"encode": encoded - began, "propose": proposed - encoded, "cascade": done - proposed}
