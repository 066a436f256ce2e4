"""How an mmdet config trains a model: the :class:`Schedule`."""

import dataclasses
from typing import Any

from htc_lab.interop.fields import Fields
from htc_lab.interop.mmdet_pipeline import data_set
from htc_lab.interop.mmdet_rates import rate_fields, weight_fields
from htc_lab.schedule import Schedule

_OPTIMIZERS = {"SGD": False, "AdamW": True}
# torch's, where a config doesn't say.
_USUAL_DECAY = {"SGD": 0.0, "AdamW": 0.01}
_START = (
    "is not followed; get that file and start the training from it with htc-lab train --init FILE "
    "(in Python: TrainOptions(init=FILE))"
)
_WRAPPERS = ("OptimWrapper", "AmpOptimWrapper")
_CONSTRUCTORS = ("DefaultOptimWrapperConstructor", "DefaultOptimizerConstructor")
# They check, report or save, and leave the training as it is; the last two do what any training here does.
_IDLE_HOOKS = (
    "CheckInvalidLossHook",
    "CheckpointHook",
    "DetVisualizationHook",
    "IterTimerHook",
    "LoggerHook",
    "MemoryProfilerHook",
    "NumClassCheckHook",
    "RuntimeInfoHook",
    "DistSamplerSeedHook",
    "ParamSchedulerHook",
)
# How many GPUs the batch of mmdet's own configs is for: 8, or 16 with one image each.
_GPUS = (8, 16)


def schedule(fields: Fields) -> Schedule:
    """Epochs, batch, optimiser and learning rate.

    mmdet's batch is that of one GPU, and the number of GPUs isn't in the config. So the batch is taken from
    ``auto_scale_lr``, which says what batch the learning rate is for; where that doesn't fit 8 or 16 GPUs, or
    is absent, it is told.
    """
    found = _with_batch(fields, Schedule())
    if fields.has("train_dataloader"):
        found = _with_data(fields, found)
    if fields.has("optim_wrapper"):
        found = _with_optimizer(fields, found)
    else:
        fields.tell("optim_wrapper", f"is absent: trained by SGD at {found.lr}, this lab's default")
    if fields.has("train_cfg"):
        found = _with_length(fields, found)
    else:
        fields.tell("train_cfg", f"is absent: trained for {found.epochs} epochs, this lab's default")
    if fields.get("model.backbone.norm_cfg.type", "BN") == "SyncBN":
        found = dataclasses.replace(found, sync_norm=True)
    usual = fields.get("default_hooks", None)
    hooks = [f"custom_hooks.{i}" for i in range(fields.length("custom_hooks"))]
    hooks += [f"default_hooks.{name}" for name in (usual if isinstance(usual, dict) else ())]
    for at in hooks:
        if fields.has(at) and fields.get(f"{at}.type", None) not in _IDLE_HOOKS:
            fields.cannot(at, "no hooks")
    for name in ("load_from", "resume_from"):
        if fields.has(name):
            fields.tell(name, _START)
    return found


def _with_batch(fields: Fields, found: Schedule) -> Schedule:
    own = "train_dataloader.batch_size"
    of_gpu = fields.integer(own) if fields.has(own) else None
    base = "auto_scale_lr.base_batch_size"
    if not fields.has(base):
        if of_gpu is None:
            fields.tell(own, f"is absent: trained with a batch of {found.batch}, this lab's default")
            return found
        total = max(1, of_gpu * _GPUS[0])
        fields.tell(
            own,
            f"is that of one GPU; taken as {total} for 8 GPUs, since the config doesn't say how many. If it "
            "is for N images in all, set batch=N and lr_batch=N in the schedule",
        )
        return dataclasses.replace(found, batch=total, lr_batch=total)
    total = fields.integer(base)
    scaled = fields.switch("auto_scale_lr.enable", False)
    if of_gpu is not None and not scaled and all(of_gpu * gpus != total for gpus in _GPUS):
        fields.tell(
            own,
            f"is that of one GPU; the learning rate is taken to be for a batch of {total}, as "
            "auto_scale_lr says, and follows the batch. If it is for N images in all, set batch=N and "
            "lr_batch=N in the schedule",
        )
    return dataclasses.replace(found, batch=total, lr_batch=total)


def _with_data(fields: Fields, found: Schedule) -> Schedule:
    loader = "train_dataloader"
    at, _ = data_set(fields, loader)
    sampler = fields.get(f"{loader}.batch_sampler", None)
    alike = isinstance(sampler, dict) and sampler.get("type") == "AspectRatioBatchSampler"
    if sampler is not None and not alike:
        fields.cannot(f"{loader}.batch_sampler", "AspectRatioBatchSampler or none")
    fields.expect(f"{loader}.sampler.type", "DefaultSampler", "InfiniteSampler")
    fields.expect(f"{loader}.sampler.shuffle", True)
    fields.expect(f"{at}.filter_cfg.filter_empty_gt", True, default=False)
    min_size = fields.integer(f"{at}.filter_cfg.min_size", 0)
    fields.note_unread(f"{loader}.sampler")
    fields.note_unread(f"{at}.filter_cfg")
    return dataclasses.replace(found, group_by_shape=alike, min_size=min_size)


def _with_optimizer(fields: Fields, found: Schedule) -> Schedule:
    at = "optim_wrapper"
    fields.expect(f"{at}.type", *_WRAPPERS)
    amp = fields.get(f"{at}.type", None) == "AmpOptimWrapper"
    # bfloat16 has float32's range and needs no scaling of the loss.
    fields.skip(f"{at}.loss_scale", f"{at}.dtype")
    if fields.has(f"{at}.constructor"):
        fields.expect(f"{at}.constructor", *_CONSTRUCTORS)
    kind = fields.text(f"{at}.optimizer.type")
    if kind not in _OPTIMIZERS:
        fields.cannot(f"{at}.optimizer.type", f"only {' or '.join(_OPTIMIZERS)}")
    clip = 0.0
    if fields.has(f"{at}.clip_grad"):
        fields.expect(f"{at}.clip_grad.type", "norm")
        if fields.get(f"{at}.clip_grad.type", "norm") == "norm":
            clip = fields.number(f"{at}.clip_grad.max_norm")
        fields.expect(f"{at}.clip_grad.norm_type", 2)
    parts = fields.integer(f"{at}.accumulative_counts", 1)
    if parts > 1:
        fields.tell(f"{at}.accumulative_counts", f"is taken as {parts} parts of the batch of {found.batch}")
    changed: dict[str, Any] = {
        "lr": fields.number(f"{at}.optimizer.lr", 1e-3),
        "weight_decay": fields.number(f"{at}.optimizer.weight_decay", _USUAL_DECAY.get(kind, 0.0)),
        "adaptive": _OPTIMIZERS.get(kind, False),
        "clip_norm": clip,
        "amp": amp,
        "accumulate": parts,
    }
    if kind == "SGD":
        changed["momentum"] = fields.number(f"{at}.optimizer.momentum", 0.0)
        fields.expect(f"{at}.optimizer.nesterov", False)
        fields.expect(f"{at}.optimizer.dampening", 0)
    elif kind == "AdamW":
        betas = fields.numbers(f"{at}.optimizer.betas", 2, (0.9, 0.999))
        changed["betas"] = (betas[0], betas[1])
        fields.expect(f"{at}.optimizer.eps", 1e-8)
        fields.expect(f"{at}.optimizer.amsgrad", False)
    changed |= weight_fields(fields, f"{at}.paramwise_cfg")
    fields.note_unread(at)
    return dataclasses.replace(found, **changed)


def _with_length(fields: Fields, found: Schedule) -> Schedule:
    fields.expect("train_cfg.type", "EpochBasedTrainLoop", "IterBasedTrainLoop")
    by_epoch = fields.get("train_cfg.type", "EpochBasedTrainLoop") != "IterBasedTrainLoop"
    name = "train_cfg.max_epochs" if by_epoch else "train_cfg.max_iters"
    length = fields.integer(name)
    if length <= 0:
        raise fields.wrong(name, "above 0")
    rates = rate_fields(fields, length, by_epoch, found.lr)
    if not by_epoch:
        return dataclasses.replace(found, steps=length, **rates)
    times = data_set(fields, "train_dataloader")[1] if fields.has("train_dataloader") else 1
    return dataclasses.replace(found, epochs=length * times, **rates)
