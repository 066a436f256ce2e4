"""How an mmdet 3 config trains and feeds a model: the :class:`Schedule`, and the pictures' sizes."""

import dataclasses
from typing import Any

from htc_lab.config import ImageConfig
from htc_lab.interop.fields import Fields
from htc_lab.schedule import Schedule

_UNRELATED = ("LoadImageFromFile", "LoadAnnotations", "PackDetInputs")
_LONGEST_SIDE = 100_000
_OPTIMIZERS = {"SGD": False, "AdamW": True}


def image_sizes(fields: Fields) -> ImageConfig:
    """Sizes and flips of the pipelines; the defaults if the config has no data."""
    image = ImageConfig()
    train = _pipeline(fields, "train_dataloader")
    for i in range(fields.length(train) if train else 0):
        at = f"{train}.{i}"
        kind = fields.text(f"{at}.type")
        if kind in ("Resize", "RandomResize", "RandomChoiceResize"):
            shorts, most = _train_sizes(fields, at, kind)
            image = dataclasses.replace(image, train_short=shorts, train_long=most)
        elif kind == "RandomFlip":
            fields.expect(f"{at}.direction", "horizontal")
            image = dataclasses.replace(image, flip=fields.number(f"{at}.prob"))
        elif kind in _UNRELATED:
            fields.skip(at)
        else:
            fields.cannot(at, "only resizing and flipping")
    test = _pipeline(fields, "test_dataloader")
    for i in range(fields.length(test) if test else 0):
        at = f"{test}.{i}"
        kind = fields.text(f"{at}.type")
        if kind == "Resize":
            fields.expect(f"{at}.keep_ratio", True, default=False)
            long, short = _scale(fields, f"{at}.scale")
            image = dataclasses.replace(image, short=short, long=long)
        elif kind in _UNRELATED:
            fields.skip(at)
        else:
            fields.cannot(at, "only resizing")
    for path in (train, test):
        if path:
            fields.note_unread(path)
    return image


def _data_set(fields: Fields, loader: str) -> tuple[str, int]:
    """The path of the data set itself, and how often an epoch goes over it."""
    at, times = f"{loader}.dataset", 1
    while fields.has(f"{at}.dataset"):
        if fields.get(f"{at}.type", None) == "RepeatDataset":
            times *= fields.integer(f"{at}.times")
        else:
            fields.cannot(f"{at}.type", "RepeatDataset around a data set, or nothing")
        at = f"{at}.dataset"
    return at, times


def _pipeline(fields: Fields, loader: str) -> str | None:
    if not fields.has(loader):
        return None
    at = f"{_data_set(fields, loader)[0]}.pipeline"
    if not fields.length(at):
        raise fields.wrong(at, "a list of steps")
    return at


def _scale(fields: Fields, path: str) -> tuple[int, int]:
    """Long and short side."""
    sides = sorted(fields.numbers(path, 2))
    if not 1 <= sides[0] <= sides[1] <= _LONGEST_SIDE:
        raise fields.wrong(path, f"a long and a short side of 1 to {_LONGEST_SIDE} px")
    return int(sides[1]), int(sides[0])


def _train_sizes(fields: Fields, at: str, kind: str) -> tuple[tuple[int, ...], int]:
    """The short sides to draw from, and the long side."""
    nested = "resize_cfg." if fields.has(f"{at}.resize_cfg") else ""
    fields.expect(f"{at}.{nested}keep_ratio", True, default=False)
    name = "scales" if kind == "RandomChoiceResize" else "scale"
    path = f"{at}.{name}"
    if kind == "Resize" or not isinstance(fields.get(f"{path}.0"), list | tuple):
        if kind != "Resize":
            fields.cannot(path, "a list of (long, short)")
        long, short = _scale(fields, path)
        return (short,), long
    sizes = [_scale(fields, f"{path}.{i}") for i in range(fields.length(path))]
    if len({long for long, _ in sizes}) > 1:
        fields.cannot(path, "one long side")
    shorts = sorted({short for _, short in sizes})
    if kind == "RandomResize":
        shorts = list(range(shorts[0], shorts[-1] + 1))
    return tuple(shorts), sizes[0][0]


def schedule(fields: Fields) -> Schedule:
    """Epochs, batch, optimiser and learning rate; our defaults for what the config doesn't say.

    mmdet's batch is that of one GPU, and the number of GPUs isn't in the config. So the batch is taken from
    ``auto_scale_lr``, which says what batch the learning rate is for.
    """
    found = Schedule()
    if fields.has("auto_scale_lr"):
        total = fields.integer("auto_scale_lr.base_batch_size")
        found = dataclasses.replace(found, batch=total, lr_batch=total)
    if fields.has("train_dataloader"):
        found = _with_data(fields, found)
    if fields.has("optim_wrapper"):
        found = _with_optimizer(fields, found)
    if fields.has("train_cfg"):
        found = _with_length(fields, found)
    if fields.get("model.backbone.norm_cfg.type", "BN") == "SyncBN":
        found = dataclasses.replace(found, sync_norm=True)
    for i in range(fields.length("custom_hooks")):
        fields.cannot(f"custom_hooks.{i}", "no hooks")
    return found


def _with_data(fields: Fields, found: Schedule) -> Schedule:
    at, _ = _data_set(fields, "train_dataloader")
    sampler = fields.get("train_dataloader.batch_sampler", None)
    alike = isinstance(sampler, dict) and sampler.get("type") == "AspectRatioBatchSampler"
    if sampler is not None and not alike:
        fields.cannot("train_dataloader.batch_sampler", "AspectRatioBatchSampler or none")
    fields.expect("train_dataloader.sampler.type", "DefaultSampler")
    fields.expect(f"{at}.filter_cfg.filter_empty_gt", True, default=False)
    min_size = fields.integer(f"{at}.filter_cfg.min_size", 0)
    return dataclasses.replace(found, group_by_shape=alike, min_size=min_size)


def _with_optimizer(fields: Fields, found: Schedule) -> Schedule:
    at = "optim_wrapper"
    fields.expect(f"{at}.type", "OptimWrapper", "AmpOptimWrapper")
    amp = fields.get(f"{at}.type", None) == "AmpOptimWrapper"
    # bfloat16 has float32's range and needs no scaling of the loss.
    fields.skip(f"{at}.loss_scale", f"{at}.dtype")
    kind = fields.text(f"{at}.optimizer.type")
    if kind not in _OPTIMIZERS:
        fields.cannot(f"{at}.optimizer.type", f"only {' or '.join(_OPTIMIZERS)}")
    clip = 0.0
    if fields.has(f"{at}.clip_grad"):
        clip = fields.number(f"{at}.clip_grad.max_norm")
        fields.expect(f"{at}.clip_grad.norm_type", 2)
    parts = fields.integer(f"{at}.accumulative_counts", 1)
    changed: dict[str, Any] = {
        "lr": fields.number(f"{at}.optimizer.lr"),
        "weight_decay": fields.number(f"{at}.optimizer.weight_decay", 0.0),
        "adaptive": _OPTIMIZERS.get(kind, False),
        "clip_norm": clip,
        "amp": amp,
        "accumulate": parts,
    }
    if kind == "SGD":
        changed["momentum"] = fields.number(f"{at}.optimizer.momentum", 0.0)
    elif kind == "AdamW":
        fields.expect(f"{at}.optimizer.betas", (0.9, 0.999))
    fields.note_unread(at)
    return dataclasses.replace(found, **changed)


def _with_length(fields: Fields, found: Schedule) -> Schedule:
    fields.expect("train_cfg.type", "EpochBasedTrainLoop")
    if fields.get("train_cfg.type", "EpochBasedTrainLoop") != "EpochBasedTrainLoop":
        return found
    epochs = fields.integer("train_cfg.max_epochs")
    if epochs <= 0:
        raise fields.wrong("train_cfg.max_epochs", "above 0")
    times = _data_set(fields, "train_dataloader")[1] if fields.has("train_dataloader") else 1
    warmup, decay = 0, tuple[float, ...]()
    for i in range(fields.length("param_scheduler")):
        at = f"param_scheduler.{i}"
        kind = fields.text(f"{at}.type")
        if kind == "LinearLR" and not fields.switch(f"{at}.by_epoch", True):
            warmup = fields.integer(f"{at}.end")
            fields.expect(f"{at}.start_factor", 0.001, default=1 / 3)
            fields.expect(f"{at}.end_factor", 1.0)
            fields.expect(f"{at}.begin", 0)
        elif kind == "MultiStepLR" and fields.switch(f"{at}.by_epoch", True):
            decay = tuple(m / epochs for m in fields.numbers(f"{at}.milestones") if m < epochs)
            fields.expect(f"{at}.gamma", 0.1)
            fields.expect(f"{at}.begin", 0)
            fields.skip(f"{at}.end")
        else:
            fields.cannot(at, "a linear warm-up by steps, then division by ten at given epochs")
        fields.note_unread(at)
    return dataclasses.replace(found, epochs=epochs * times, warmup_steps=warmup, decay_at=decay)
