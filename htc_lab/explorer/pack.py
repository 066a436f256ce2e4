"""Traces of one picture over models and switches as one pack, from which a browser answers every toggle.

Pure: no widget, no file. The numbers that depend on a setting (matches, IoU, AP) are computed here once; the
browser only looks them up. Soft masks are stored in 8 bits, boxes and scores in float32.
"""

import dataclasses
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from htc_lab.config import Toggles
from htc_lab.evaluate.identity import Identities
from htc_lab.explorer.bits import LADDER_RUNGS, answers, bits_of, richest, title_of
from htc_lab.explorer.judge import Verdict, judge, masks_of
from htc_lab.explorer.lost import Lost, find_lost
from htc_lab.explorer.pack_format import BlockWriter
from htc_lab.explorer.runs import LEAST_SCORE, PictureRuns, worth_showing
from htc_lab.ideas import IDEAS, Idea
from htc_lab.structures import Targets
from htc_lab.trace import StageTrace

MOST_PROPOSALS = 300
_TOP_CLASSES = 3
_SMALL = 320 * 320


def quantise(probabilities: Float[Tensor, "n h w"]) -> UInt8[np.ndarray, "n h w"]:
    """0..1 in 255 steps, to the nearest."""
    return (probabilities * 255).round().to(torch.uint8).cpu().numpy()


def kept(trace: StageTrace) -> Tensor:
    """Places in the trace of the detections a pack holds, best first."""
    return worth_showing(
        torch.stack([*(trace.stage_scores(t) for t in range(len(trace.stages))), trace.scores])
    )


def encode_picture(image: UInt8[Tensor, "3 H W"]) -> bytes:
    """The picture as WebP: without loss if it is small, else at quality 90."""
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    out = io.BytesIO()
    small = pixels.shape[0] * pixels.shape[1] <= _SMALL
    Image.fromarray(pixels).save(out, "WEBP", lossless=small, quality=90, method=4)
    return out.getvalue()


def make_pack(
    picture: PictureRuns,
    title: str = "picture",
    code: Mapping[str, Any] | None = None,
) -> bytes:
    """The pack of one picture (format: :mod:`htc_lab.explorer.pack_format`).

    Args:
        picture: what the models said of it.
        title: what the picture is called.
        code: how Python names what is shown, for "Copy as Python": ``{"image": "3", "models": "{...}"}``.
    """
    blocks = BlockWriter()
    targets = picture.targets
    truth_codes = None if targets is None else masks_of(targets)
    things = Identities(targets)
    runs: list[tuple[int, str, StageTrace, Tensor, Verdict | None, list[int]]] = []
    entries: dict[tuple[int, str], int] = {}
    for m, run in enumerate(picture.runs):
        for bits, trace in run.traces.items():
            keep = kept(trace)
            verdict = None
            if targets is not None and truth_codes is not None:
                verdict = judge(trace, keep, targets, truth_codes)
            numbers = things.of(
                run.name,
                trace.detected[keep],
                trace.labels[keep],
                trace.boxes[keep],
                trace.scores[keep],
                None if verdict is None else verdict.match[-1],
            )
            entries[m, bits] = len(runs)
            runs.append((m, bits, trace, keep, verdict, numbers))
    rank = np.asarray(things.ranks(), dtype=np.int16)
    labels = np.empty(len(rank), dtype=np.int16)
    labels[rank] = [thing.label for thing in things.things]
    trained = [run.trained for run in picture.runs]
    return blocks.finish(
        {
            "title": title,
            "size": list(picture.image.shape[1:]),
            "stages": trained[0].stages,
            "floor": LEAST_SCORE,
            "ideas": [_idea_entry(idea) for idea in IDEAS],
            "rungs": [dataclasses.asdict(rung) for rung in LADDER_RUNGS],
            "image": {"mime": "image/webp", "block": blocks.add_bytes(encode_picture(_photo(picture)))},
            "classes": list(picture.class_names),
            "semantic_classes": list(picture.semantic_names),
            "things": {"labels": labels.tolist(), "true": 0 if targets is None else len(targets.boxes)},
            "truth": None if targets is None else _truth_entry(blocks, targets),
            "models": [_model_entry(blocks, picture, m) for m in range(len(trained))],
            "base": richest(trained),
            "runs": [
                _run_entry(blocks, m, bits, trace, keep, verdict, rank[numbers])
                | {"lost": _lost_entry(blocks, picture, m, trace, keep, rank[numbers])}
                for m, bits, trace, keep, verdict, numbers in runs
            ],
            "answers": {
                means: _answer_entries(trained, means, entries)
                for means in ("trained_without", "switched_off")
            },
            "code": dict(code or {}),
        }
    )


def _idea_entry(idea: Idea) -> dict[str, Any]:
    """What a browser needs of an idea: its switch, words and wires."""
    words = ("field", "key", "knob", "short", "name", "equation", "says", "cut")
    return {name: getattr(idea, name) for name in words} | {
        "wires": [dataclasses.asdict(wire) for wire in idea.wires]
    }


def _photo(picture: PictureRuns) -> Tensor:
    return picture.image if picture.photo is None else picture.photo


def _answer_entries(
    trained: list[Toggles], off_means: Any, entries: Mapping[tuple[int, str], int]
) -> dict[str, list[int]]:
    """By bits: the run that answers, and 1 where its model was trained so."""
    found = answers(trained, off_means)
    return {bits: [entries[a.model, bits], int(a.trained)] for bits, a in found.items()}


def _truth_entry(blocks: BlockWriter, targets: Targets) -> dict[str, Any]:
    """Boxes, labels, and masks of one bit a pixel."""
    return {
        "boxes": blocks.add(targets.boxes.numpy().astype(np.float32)),
        "labels": blocks.add(targets.labels.numpy().astype(np.int16)),
        "masks": blocks.add(np.packbits(targets.masks.numpy().reshape(-1) > 0)),
    }


def _model_entry(blocks: BlockWriter, picture: PictureRuns, m: int) -> dict[str, Any]:
    run = picture.runs[m]
    bits = bits_of(run.trained)
    proposals = next(iter(run.traces.values())).proposals
    return {
        "name": run.name,
        "bits": bits,
        "title": title_of(bits),
        "semantic": None if run.semantic is None else blocks.add(run.semantic.numpy()),
        "proposals": blocks.add(proposals.rois.boxes[:MOST_PROPOSALS].cpu().numpy()),
        "objectness": blocks.add(proposals.scores[:MOST_PROPOSALS].cpu().numpy()),
    }


def _run_entry(
    blocks: BlockWriter,
    model: int,
    bits: str,
    trace: StageTrace,
    keep: Tensor,
    verdict: Verdict | None,
    things: np.ndarray,
) -> dict[str, Any]:
    """Views 1 to T are the stages, T + 1 the mean; boxes have one row more in front, the proposals."""
    rois, records = trace.detected[keep], trace.stages
    stages = (record.boxes[rois] for record in records[:-1])
    boxes = [trace.proposals.rois.boxes[rois], *stages, trace.boxes[keep]]
    scores = [
        trace.proposals.scores[rois],
        *(trace.stage_scores(t)[keep] for t in range(len(records))),
        trace.scores[keep],
    ]
    soft = [*(record.mask_logits[keep].sigmoid() for record in records), trace.mask_probabilities[keep]]
    where = [*(record.mask_boxes[keep] for record in records), trace.boxes[keep]]
    logits = [record.class_logits[rois] for record in records]
    every = [each.softmax(dim=1)[:, :-1] for each in [*logits, torch.stack(logits).mean(dim=0)]]
    most = min(_TOP_CLASSES, every[-1].shape[1])
    top = every[-1].topk(most, dim=1).indices
    return {
        "model": model,
        "bits": bits,
        "count": len(keep),
        "things": blocks.add(things.astype(np.int16)),
        "labels": blocks.add(trace.labels[keep].cpu().numpy().astype(np.int16)),
        "boxes": [blocks.add(each.cpu().numpy()) for each in boxes],
        "scores": [blocks.add(each.float().cpu().numpy()) for each in scores],
        "masks": [blocks.add(quantise(each)) for each in soft],
        "mask_boxes": [blocks.add(each.cpu().numpy()) for each in where],
        "classes": blocks.add(top.cpu().numpy().astype(np.int16)),
        "class_scores": [blocks.add(each.gather(1, top).float().cpu().numpy()) for each in every],
        "truth": None if verdict is None else _verdict_entry(blocks, verdict),
    }


def _lost_entry(
    blocks: BlockWriter, picture: PictureRuns, m: int, trace: StageTrace, keep: Tensor, things: np.ndarray
) -> dict[str, Any] | None:
    """The true objects that no detection of the run stands for; things have the truth's numbers first."""
    targets = picture.targets
    if targets is None or not len(trace.proposals.rois.boxes):
        return None
    objects = [k for k in range(len(targets.boxes)) if k not in set(things.tolist())]
    lost: Lost = find_lost(trace, targets, objects, picture.runs[m].cascade)
    places = {place: int(thing) for place, thing in zip(keep.tolist(), things, strict=True)}
    return {
        "things": blocks.add(lost.truth),
        "why": blocks.add(lost.why),
        "nearest": blocks.add(lost.nearest),
        "boxes": [blocks.add(each) for each in lost.boxes],
        "box_iou": blocks.add(lost.box_iou),
        "scores": blocks.add(lost.scores),
        "called": blocks.add(lost.called),
        "called_score": blocks.add(lost.called_score),
        "by": blocks.add(np.asarray([places.get(int(place), -1) for place in lost.by], dtype=np.int16)),
    }


def _verdict_entry(blocks: BlockWriter, verdict: Verdict) -> dict[str, Any]:
    return {
        "match": blocks.add(verdict.match),
        "error": blocks.add(verdict.error),
        "reference": blocks.add(verdict.reference),
        "mask_iou": blocks.add(verdict.mask_iou),
        "box_iou": blocks.add(verdict.box_iou),
        "ap": [None if ap is None else round(ap, 2) for ap in verdict.ap],
    }
