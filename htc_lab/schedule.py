"""The numbers of a training."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval
from typing_extensions import Doc

from htc_lab.ranges import Count, Positive, Share, Weight

Warmup = Literal["linear", "constant", "exponential"]
Curve = Literal["steps", "cosine", "polynomial"]


@dataclass(frozen=True)
class PartRates:
    """What the learning rate and the weight decay of a part of the model are multiplied by."""

    part: Annotated[
        str, Doc("a text in the weight's name (`backbone.layer1`); the longest one that is in it counts")
    ]
    lr: Annotated[Weight, Doc("factor of the learning rate")] = 1.0
    decay: Annotated[Weight, Doc("factor of the weight decay")] = 1.0


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
    betas: Annotated[tuple[Share, Share], Doc("of AdamW: memory of the gradients, and of their squares")] = (
        0.9,
        0.999,
    )
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
    cached_features: Annotated[
        bool,
        Doc(
            "the frozen backbone's maps of each whole picture are computed once and kept in 16 bits, and "
            "training starts from them"
        ),
    ] = False
    crop: Annotated[
        int,
        Interval(ge=0, le=100_000),
        Doc("side of the square that is taken of the cached features, a multiple of 32 px; 0: all of them"),
    ] = 0
    group_by_shape: Annotated[
        bool,
        Doc("upright images and the others come in batches of their own, so that little is padded"),
    ] = True
    warmup: Annotated[
        Warmup, Doc("rising evenly, all at once after the warm-up, or by the same factor at every step")
    ] = "linear"
    curve: Annotated[
        Curve, Doc("how the rate falls: at `decay_at`, or along a curve, which ignores `decay_at`")
    ] = "steps"
    curve_from: Annotated[Share, Doc("share of the training at which the curve begins")] = 0.0
    curve_to: Annotated[
        float,
        Interval(ge=0, le=1000),
        Doc("share of the training at which the curve ends; above 1 the training ends on the way"),
    ] = 1.0
    curve_end: Annotated[Share, Doc("what the curve ends at, as a share of the learning rate")] = 0.0
    power: Annotated[float, Interval(ge=0, le=100), Doc("exponent of a polynomial curve")] = 1.0
    curve_levels: Annotated[
        int, Interval(ge=0, le=10**9), Doc("rates on the curve: one an epoch, say; 0: one for each step")
    ] = 0
    parts: Annotated[tuple[PartRates, ...], Doc("parts that learn at rates of their own")] = ()
    bias_lr: Annotated[Weight, Doc("factor of the biases' learning rate, those of norms aside")] = 1.0
    bias_decay: Annotated[Weight, Doc("factor of the biases' weight decay, those of norms aside")] = 1.0
    norm_decay: Annotated[Weight, Doc("factor of the weight decay of norms")] = 1.0
