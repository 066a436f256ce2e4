"""The numbers of a training."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval, doc

from htc_lab.ranges import Count, Positive, Share, Weight


@dataclass(frozen=True)
class Schedule:
    """How a model is trained."""

    epochs: Annotated[int, Interval(ge=1, le=10**9), doc("passes over the data")] = 12
    steps: Annotated[
        Annotated[int, Interval(ge=1, le=10**12)] | None,
        doc("optimiser steps, where the training is not counted in epochs"),
    ] = None
    batch: Annotated[Count, doc("images a step")] = 16
    lr: Annotated[Weight, doc("learning rate for lr_batch images; it is scaled with the batch")] = 0.02
    lr_batch: Annotated[Count, doc("the batch the learning rate belongs to")] = 16
    adaptive: Annotated[
        bool,
        # A short training needs it: under SGD the heads of stages 2 and 3, whose losses weigh 0.5 and 0.25,
        # learn as much more slowly.
        doc("AdamW instead of the paper's SGD with momentum"),
    ] = False
    momentum: Annotated[Share, doc("of SGD")] = 0.9
    weight_decay: Annotated[Weight, doc("pull of every weight towards 0")] = 1e-4
    decay_at: Annotated[
        tuple[Share, ...], doc("shares of the training after which the learning rate is divided by `decay`")
    ] = (8 / 12, 11 / 12)
    decay: Annotated[Positive, doc("what the learning rate is divided by")] = 10.0
    warmup_steps: Annotated[
        int, Interval(ge=0, le=10**12), doc("steps of the linear rise at the beginning")
    ] = 500
    warmup_from: Annotated[Share, doc("where it begins, as a share of the learning rate")] = 0.001
    clip_norm: Annotated[
        float, Interval(ge=0, le=1e12), doc("largest gradient norm; 0 leaves gradients alone")
    ] = 0.0
    min_size: Annotated[
        int,
        Interval(ge=0, le=1_000_000),
        doc("images whose shorter side is below this (px), and images without objects, are left out"),
    ] = 32
    accumulate: Annotated[
        Count,
        doc("the batch is taken in so many parts, whose gradients are averaged: less memory, same step"),
    ] = 1
    amp: Annotated[
        bool, doc("forward passes in bfloat16 where that is safe; weights stay float32")
    ] = False
    sync_norm: Annotated[
        bool,
        doc("batch norm, where it is not frozen, takes its statistics over the images of all processes"),
    ] = False
    group_by_shape: Annotated[
        bool,
        doc("upright images and the others come in batches of their own, so that little is padded"),
    ] = True
