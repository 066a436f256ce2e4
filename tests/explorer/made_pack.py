"""Packs for the tests: of models small enough to run in milliseconds, and of traces made from the truth."""

import dataclasses

import torch

from htc_lab.config import HTC, INTERLEAVED, MASK_FLOW, PLAIN_CASCADE, Toggles
from htc_lab.data.dataset import Sample
from htc_lab.explorer.bits import ALL_BITS, bits_of, can_serve, toggles_of_bits
from htc_lab.explorer.runs import ModelRun, PictureRuns, run_models
from htc_lab.model import HybridTaskCascade
from htc_lab.trace import StageTrace
from tests.plots.made_trace import CLASS_NAMES, made_sample, made_trace
from tests.unit.tiny import lively, picture, truth, with_toggles

RUNGS = {"plain": PLAIN_CASCADE, "interleaved": INTERLEAVED, "flow": MASK_FLOW, "htc": HTC}


def tiny_models(names: tuple[str, ...] = tuple(RUNGS)) -> dict[str, HybridTaskCascade]:
    """Fresh tiny models whose boxes move, by rung."""
    return {name: lively(with_toggles(RUNGS[name]), seed=i) for i, name in enumerate(names)}


def tiny_sample() -> Sample:
    return Sample(picture(1), truth(1), 1, (64, 64))


def tiny_runs(names: tuple[str, ...] = tuple(RUNGS)) -> PictureRuns:
    return run_models(tiny_models(names), tiny_sample(), ("a", "b", "c", "sky", "sea"))


def grown(trace: StageTrace, count: int, seed: int = 0) -> StageTrace:
    """The same trace with ``count`` detections whose masks are noise, which nothing can compress."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.arange(count) % len(trace.detected)
    noise = [torch.randn(count, 28, 28, generator=generator) for _ in range(4)]
    records = tuple(
        dataclasses.replace(
            record, mask_boxes=record.mask_boxes[which], mask_logits=soft, final_mask_logits=soft
        )
        for record, soft in zip(trace.stages, noise[:3], strict=True)
    )
    return dataclasses.replace(
        trace,
        stages=records,
        detected=trace.detected[which],
        labels=trace.labels[which],
        scores=trace.scores[which],
        boxes=trace.boxes[which],
        mask_probabilities=noise[3].sigmoid(),
    )


def made_runs(toggles: dict[str, Toggles] | None = None, sample: Sample | None = None) -> PictureRuns:
    """Runs made from a scene's truth: every object found, each rung's masks a little sharper."""
    sample = sample or made_sample(3)
    runs = []
    for i, (name, own) in enumerate((toggles or RUNGS).items()):
        wanted = [bits for bits in ALL_BITS if can_serve(own, bits)] if own == HTC else [bits_of(own)]
        traces = {bits: made_trace(sample, toggles_of_bits(bits), seed=i) for bits in wanted}
        semantic = sample.targets.semantic if own.semantic else None
        runs.append(ModelRun(name, own, traces, semantic))
    return PictureRuns(sample.image, sample.targets, tuple(runs), CLASS_NAMES, ())
