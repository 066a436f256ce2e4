"""Configs of mmdet 1 and 2 in mmdet 3's layout, so that everything else reads one layout.

Values stay what they are; only where they are and what they are called changes. For messages, each path that
moved is kept with the one it has in the file.
"""

from dataclasses import dataclass, field
from typing import Any

from htc_lab.errors import InputError
from htc_lab.interop.fields import shown
from htc_lab.interop.mmdet1_layout import from_first, with_pipeline

_OLD_TRAINING = ("data", "optimizer", "optimizer_config", "lr_config", "runner", "total_epochs")
_NEW_TRAINING = ("train_dataloader", "val_dataloader", "test_dataloader", "optim_wrapper", "param_scheduler")
_LOADERS = {"train": "train_dataloader", "val": "val_dataloader", "test": "test_dataloader"}
_INSTEAD = {
    "train_dataloader": "data.train",
    "train_dataloader.batch_size": "data.samples_per_gpu",
    "test_dataloader": "data.test",
    "optim_wrapper": "optimizer",
    "train_cfg": "runner",
}
# Of CocoDataset before mmdet 3, where no config sets it.
_LEAST_SIDE = 32
_HALF_HOOKS = ("Fp16OptimizerHook", "GradientCumulativeFp16OptimizerHook")
# How gradients are sent and checked, which changes nothing that is computed.
_SENDING = ("type", "use_fp16", "coalesce", "bucket_size_mb", "detect_anomalous_params")
_HOOKS = ("OptimizerHook", "GradientCumulativeOptimizerHook", "DistOptimizerHook", *_HALF_HOOKS)


@dataclass
class Layout:
    """A config in mmdet 3's layout.

    Attributes:
        values: the config.
        where: what messages call its file.
        written: paths that are elsewhere in the file, and where.
        old: whether the training's part was laid out as in mmdet 1 or 2.
        first: whether the model was laid out as in mmdet 1.
    """

    values: dict[str, Any]
    where: str
    written: dict[str, str] = field(default_factory=dict)
    old: bool = False
    first: bool = False

    def move(self, old: str, new: str, value: Any) -> None:
        """Set the value at a path (its dicts are made) that the file has elsewhere."""
        *above, last = new.split(".")
        holder = self.values
        for name in above:
            holder = holder.setdefault(name, {})
            if not isinstance(holder, dict):
                raise InputError(f"{self.where}: {name} must be a dict; correct it")
        holder[last] = value
        if old != new:
            self.written[new] = old


def in_third_layout(values: dict[str, Any], where: str) -> Layout:
    """The config as mmdet 3 would have it; ``values`` is changed.

    Raises:
        InputError: it mixes the layouts, or a part of it isn't the dict it should be.
    """
    layout = Layout(values, where)
    model = values["model"]
    if not isinstance(model, dict):
        raise InputError(f"{where}: model must be a dict; correct it")
    for name in ("train_cfg", "test_cfg"):
        outside = values.get(name)
        if isinstance(outside, dict) and outside.keys() & {"rpn", "rcnn"}:
            del values[name]
            layout.move(name, f"model.{name}", outside)
    if "bbox_head" in model and "roi_head" not in model:
        layout.first = True
        from_first(model, where, layout.written)
    _weights(layout, model)
    new = [name for name in _NEW_TRAINING if name in values]
    if new:
        if isinstance(values.get("data"), dict):
            raise InputError(
                f"{where}: 'data' is laid out as in mmdet 2 and '{new[0]}' as in mmdet 3; leave one of "
                "them out"
            )
    elif any(name in values for name in _OLD_TRAINING):
        layout.old = True
        layout.written |= _INSTEAD
        _dicts(values, where, *(name for name in _OLD_TRAINING if name not in ("total_epochs", "lr_config")))
        _data(layout, values.pop("data", None) or {}, where)
        _optimizer(layout, values)
        _length(layout, values, where)
        _rates(layout, values.pop("lr_config", None), where)
    return layout


def _dicts(values: dict[str, Any], where: str, *names: str) -> None:
    for name in names:
        if values.get(name) is not None and not isinstance(values[name], dict):
            raise InputError(f"{where}: {name} must be a dict; correct it")


def _weights(layout: Layout, model: dict[str, Any]) -> None:
    """``pretrained``, of the model or of its backbone, as an ``init_cfg``."""
    backbone = model.get("backbone")
    if not isinstance(backbone, dict):
        return
    for holder, at in ((model, "model"), (backbone, "model.backbone")):
        start = holder.pop("pretrained", None)
        if start is not None and not backbone.get("init_cfg"):
            backbone["init_cfg"] = {"type": "Pretrained"}
            layout.move(f"{at}.pretrained", "model.backbone.init_cfg.checkpoint", start)


def _data(layout: Layout, data: dict[str, Any], where: str) -> None:
    for split, loader in _LOADERS.items():
        if split not in data:
            continue
        with_pipeline(data[split], testing=split != "train")
        layout.move(f"data.{split}", f"{loader}.dataset", data[split])
        settings = data.get(f"{split}_dataloader")
        size = settings.get("samples_per_gpu") if isinstance(settings, dict) else None
        if split == "train":
            _training_data(layout, data, size)
    _normalising(layout, where)


def _training_data(layout: Layout, data: dict[str, Any], size: Any) -> None:
    loader = layout.values["train_dataloader"]
    at = "data.train_dataloader.samples_per_gpu"
    for name in ("samples_per_gpu", "imgs_per_gpu"):
        if size is None and data.get(name) is not None:
            size, at = data[name], f"data.{name}"
    if size is not None:
        layout.move(at, "train_dataloader.batch_size", size)
    # Upright pictures and the others came in batches of their own.
    loader["batch_sampler"] = {"type": "AspectRatioBatchSampler"}
    inner, path, old = loader["dataset"], "train_dataloader.dataset", "data.train"
    while isinstance(inner, dict) and isinstance(inner.get("dataset"), dict):
        inner, path, old = inner["dataset"], f"{path}.dataset", f"{old}.dataset"
    if isinstance(inner, dict):
        inner["filter_cfg"] = {"min_size": _LEAST_SIDE}
        kept = inner.pop("filter_empty_gt", True)
        layout.move(f"{old}.filter_empty_gt", f"{path}.filter_cfg.filter_empty_gt", kept)


def _steps(dataset: Any) -> list[tuple[str, dict[str, Any]]]:
    """The steps of a data set's pipeline, those inside of others too, with their paths."""
    at = ""
    while isinstance(dataset, dict) and isinstance(dataset.get("dataset"), dict):
        dataset, at = dataset["dataset"], f"{at}.dataset"
    found = []
    pipeline = dataset.get("pipeline") if isinstance(dataset, dict) else None
    for i, step in enumerate(pipeline if isinstance(pipeline, list | tuple) else ()):
        if isinstance(step, dict):
            found.append((f"{at}.pipeline.{i}", step))
            inside = step.get("transforms")
            for j, inner in enumerate(inside if isinstance(inside, list | tuple) else ()):
                if isinstance(inner, dict):
                    found.append((f"{at}.pipeline.{i}.transforms.{j}", inner))
    return found


def _normalising(layout: Layout, where: str) -> None:
    """``Normalize`` and ``Pad``, which were steps of the pipelines, as the model's ``data_preprocessor``."""
    found: dict[str, tuple[str, Any]] = {}
    for split, loader in (("train", "train_dataloader"), ("test", "test_dataloader")):
        dataset = layout.values.get(loader, {}).get("dataset")
        typed = [(at, step) for at, step in _steps(dataset) if isinstance(step.get("type"), str)]
        steps = {step["type"]: (f"data.{split}{at}", step) for at, step in typed}
        names = [step["type"] for _, step in typed]
        if "Pad" in names and "Normalize" in names and names.index("Pad") < names.index("Normalize"):
            raise InputError(
                f"{where}: data.{split}.pipeline pads pictures before it normalises them, so that the border "
                "is no zero; put Pad behind Normalize"
            )
        if not steps:
            continue
        at, norm = steps.get("Normalize", (f"data.{split}.pipeline", {}))
        pad_at, pad = steps.get("Pad", (f"data.{split}.pipeline", {}))
        values = {
            "mean": (f"{at}.mean", norm.get("mean", [0.0, 0.0, 0.0])),
            "std": (f"{at}.std", norm.get("std", [1.0, 1.0, 1.0])),
            "bgr_to_rgb": (f"{at}.to_rgb", norm.get("to_rgb", True) if norm else False),
            "pad_size_divisor": (f"{pad_at}.size_divisor", pad.get("size_divisor") or 1),
        }
        if found and {k: v for k, (_, v) in values.items()} != {k: v for k, (_, v) in found.items()}:
            raise InputError(
                f"{where}: data.train.pipeline and data.test.pipeline normalise or pad pictures in different "
                "ways; make Normalize and Pad the same in both"
            )
        found = found or values
        if split == "train":
            _shrinking(layout, *steps.get("SegRescale", ("data.train.pipeline.SegRescale", {})))
    if found and "data_preprocessor" not in layout.values["model"]:
        layout.values["model"]["data_preprocessor"] = {"type": "DetDataPreprocessor"}
        for name, (old, value) in found.items():
            layout.move(old, f"model.data_preprocessor.{name}", value)


def _shrinking(layout: Layout, at: str, step: dict[str, Any]) -> None:
    """``SegRescale``, which shrank the semantic maps that mmdet 3 shrinks in the head."""
    head = layout.values["model"].get("roi_head")
    if isinstance(head, dict) and isinstance(head.get("semantic_head"), dict):
        path = "model.roi_head.semantic_head.seg_scale_factor"
        layout.move(f"{at}.scale_factor", path, step.get("scale_factor", 1))


def _optimizer(layout: Layout, values: dict[str, Any]) -> None:
    optimizer = values.pop("optimizer", None)
    hook = values.pop("optimizer_config", None) or {}
    half = values.pop("fp16", None)
    if optimizer is None:
        return
    at = "optim_wrapper"
    layout.move("optimizer", f"{at}.optimizer", optimizer)
    for name in ("paramwise_cfg", "constructor"):
        if optimizer.get(name) is not None:
            layout.move(f"optimizer.{name}", f"{at}.{name}", optimizer[name])
        optimizer.pop(name, None)
    kind = hook.get("type") or "OptimizerHook"
    half = half or kind in _HALF_HOOKS or hook.get("use_fp16")
    wrapper = ("AmpOptimWrapper" if half else "OptimWrapper") if kind in _HOOKS else kind
    layout.move("optimizer_config.type", f"{at}.type", wrapper)
    names = {"grad_clip": "clip_grad", "cumulative_iters": "accumulative_counts", "loss_scale": "loss_scale"}
    names["update_interval"] = "accumulative_counts"
    for name, value in hook.items():
        if name not in _SENDING:
            layout.move(f"optimizer_config.{name}", f"{at}.{names.get(name, name)}", value)


def _length(layout: Layout, values: dict[str, Any], where: str) -> None:
    runner, total = values.pop("runner", None) or {}, values.pop("total_epochs", None)
    epochs, steps = runner.get("max_epochs"), runner.get("max_iters")
    old = "runner.max_epochs"
    if total is not None and epochs is None and steps is None:
        epochs, old = total, "total_epochs"
    elif total is not None and total != epochs:
        raise InputError(
            f"{where}: total_epochs is {shown(total, 20)} and runner says {shown(epochs or steps, 20)}; keep "
            "one of the two"
        )
    values.pop("train_cfg", None)
    if steps is not None:
        layout.move("runner.type", "train_cfg.type", "IterBasedTrainLoop")
        layout.move("runner.max_iters", "train_cfg.max_iters", steps)
    elif epochs is not None:
        layout.move("runner.type", "train_cfg.type", "EpochBasedTrainLoop")
        layout.move(old, "train_cfg.max_epochs", epochs)


def _rates(layout: Layout, config: Any, where: str) -> None:
    """``lr_config`` as the list of schedulers that mmengine has in its place."""
    if config is None:
        return
    if not isinstance(config, dict):
        raise InputError(f"{where}: lr_config must be a dict; correct it")
    rest = dict(config)
    policy, by_epoch = rest.pop("policy", None), rest.pop("by_epoch", True)
    made: list[dict[str, Any]] = []
    if rest.get("warmup") is not None:
        made.append(_warm_up(rest))
    for name in ("warmup", "warmup_iters", "warmup_ratio", "warmup_by_epoch"):
        rest.pop(name, None)
    loop = layout.values.get("train_cfg", {})
    length = loop.get("max_epochs", loop.get("max_iters", 0))
    # mmcv took a policy's class name too.
    kind = policy.removesuffix("LrUpdaterHook").lower() if isinstance(policy, str) else policy
    if kind == "step":
        step = rest.pop("step", None)
        every = {"type": "StepLR", "step_size": step}
        made.append(every if type(step) is int else {"type": "MultiStepLR", "milestones": step})
    elif kind == "cosineannealing":
        lowest = {"eta_min": rest.pop("min_lr", None), "eta_min_ratio": rest.pop("min_lr_ratio", None)}
        made.append({"type": "CosineAnnealingLR", "T_max": length})
        made[-1] |= {name: value for name, value in lowest.items() if value is not None}
    elif kind == "poly":
        # mmengine's ends one epoch, or step, earlier.
        end = length + 1 if type(length) is int else length
        made.append({"type": "PolyLR", "eta_min": rest.pop("min_lr", 0.0), "end": end})
    elif kind != "fixed":
        made.append({"type": policy if isinstance(policy, str) else "a policy without a name"})
    if kind != "fixed":
        made[-1] |= {"by_epoch": by_epoch, **rest}
    layout.move("lr_config", "param_scheduler", made)
    for i in range(len(made)):
        layout.written[f"param_scheduler.{i}"] = "lr_config"


def _warm_up(config: dict[str, Any]) -> dict[str, Any]:
    kinds = {"linear": "LinearLR", "constant": "ConstantLR", "exp": "ExponentialWarmup"}
    kind = kinds.get(config["warmup"]) if isinstance(config["warmup"], str) else None
    return {
        "type": kind or "an unknown warm-up",
        "factor" if kind == "ConstantLR" else "start_factor": config.get("warmup_ratio", 0.1),
        "by_epoch": config.get("warmup_by_epoch", False),
        "end": config.get("warmup_iters"),
    }
