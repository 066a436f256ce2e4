"""The numbers of a training."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval
from typing_extensions import Doc

from htc_lab.ranges import Count, Positive, Share, Weight


@dataclass(frozen=True)
class Schedule:
    """How a model is trained."""

    epochs: Annotated[int, Interval(ge=1, le=10**9), Doc("passes over the data")] = 12
    steps: Annotated[
        Annotated[int, Interval(ge=1, le=10**12)] | None,
        Doc("optimiser steps, where the training is not counted in epochs"),
    ] = None
    batch: Annotated[Count, Doc("images a step")] = 16
    lr: Annotated[Weight, Doc("learning rate for lr_batch images; it is scaled with the batch")] = 0.02
    lr_batch: Annotated[Count, Doc("the batch the learning rate belongs to")] = 16
    adaptive: Annotated[
        bool,
        # A short training needs it: under SGD the heads of stages 2 and 3, whose losses weigh 0.5 and 0.25,
        # learn more slowly in proportion.
        Doc("AdamW instead of the paper's SGD with momentum"),
    ] = False
    momentum: Annotated[Share, Doc("of SGD")] = 0.9
    weight_decay: Annotated[Weight, Doc("pull of every weight towards 0")] = 1e-4
    decay_at: Annotated[
        tuple[Share, ...], Doc("shares of the training after which the learning rate is divided by `decay`")
    ] = (8 / 12, 11 / 12)
    decay: Annotated[Positive, Doc("what the learning rate is divided by")] = 10.0
    warmup_steps: Annotated[
        int, Interval(ge=0, le=10**12), Doc("steps of the linear rise at the beginning")
    ] = 500
    warmup_from: Annotated[Share, Doc("where it begins, as a share of the learning rate")] = 0.001
    clip_norm: Annotated[
        float, Interval(ge=0, le=1e12), Doc("largest gradient norm; 0 leaves gradients alone")
    ] = 0.0
    min_size: Annotated[
        int,
        Interval(ge=0, le=1_000_000),
        Doc("images whose shorter side is below this (px), and images without objects, are left out"),
    ] = 32
    accumulate: Annotated[
        Count,
        Doc("parts in which the batch is taken; their gradients are averaged: less memory, same step"),
    ] = 1
    amp: Annotated[bool, Doc("forward passes in bfloat16 where that is safe; weights stay float32")] = False
    sync_norm: Annotated[
        bool,
        Doc("batch norm, where it is not frozen, takes its statistics over the images of all processes"),
    ] = False
    group_by_shape: Annotated[
        bool,
        Doc("upright images and the others come in batches of their own, so that little is padded"),
    ] = True
