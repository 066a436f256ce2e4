"""Checkpoints: safetensors files with the config inside and a JSON file beside; mmdet's are read, too."""

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from htc_lab.checkpoint.packing import pack, unpack
from htc_lab.checkpoint.pretrained import CLASSROOM_BASE, SHIPPED
from htc_lab.config import ModelConfig, Toggles
from htc_lab.config_json import model_config_from_dict, to_dict
from htc_lab.errors import InputError, in_one_line
from htc_lab.files import write_atomically, write_json
from htc_lab.interop.mmdet_checkpoint import read_mmdet
from htc_lab.model import HybridTaskCascade
from htc_lab.process_settings import set_up_process
from htc_lab.wording import counted

CHECKPOINT = "checkpoint.safetensors"
_WEIGHTS = "model."
_OPTIMIZER = "optimizer."


def save_model(
    model: HybridTaskCascade,
    path: Path,
    *,
    half: bool = False,
    packed: bool = False,
    about: dict[str, Any] | None = None,
) -> None:
    """Write weights and config to ``path``, and a JSON file beside it for people to read.

    Args:
        model: what to save.
        path: must end in ``.safetensors``.
        half: store floating-point weights in 16 bits (they are loaded as float32 again).
        packed: store the large ones in 8 bits instead (:mod:`htc_lab.checkpoint.packing`).
        about: additional entries for the JSON file: seed, data, AP.

    Raises:
        InputError: the path can't be written to.
    """
    tensors = {}
    for name, value in model.state_dict().items():
        value = value.detach().cpu().contiguous()
        tensors[name] = value.half() if half and value.is_floating_point() else value
    write_tensors(path, pack(tensors) if packed else tensors, _header(model, {}))
    card = {"config": to_dict(model.config), "class_names": list(model.class_names), **(about or {})}
    write_json(path.with_suffix(".json"), card)


def save_run(path: Path, model: HybridTaskCascade, optimizer: dict[str, Tensor], step: int) -> None:
    """Write a training's whole state as one file, so that weights and optimiser can't disagree."""
    tensors = {_WEIGHTS + n: v.detach().cpu().contiguous() for n, v in model.state_dict().items()}
    tensors |= {_OPTIMIZER + n: v.detach().cpu().contiguous() for n, v in optimizer.items()}
    write_tensors(path, tensors, _header(model, {"step": str(step)}))


def _header(model: HybridTaskCascade, more: dict[str, str]) -> dict[str, str]:
    return {
        "config": json.dumps(to_dict(model.config)),
        "class_names": json.dumps(list(model.class_names)),
        **more,
    }


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Write a safetensors file, atomically.

    Raises:
        InputError: the path can't be written to.
    """
    write_atomically(path, lambda temporary: _save(tensors, temporary, header))


def _save(tensors: dict[str, Tensor], path: Path, header: dict[str, str]) -> None:
    """Like ``save_file``, but a full disk raises an OSError, as it does with every other writer."""
    try:
        save_file(tensors, path, metadata=header)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from None


def read_run(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
    """Weights, optimiser state and step from a file that ``save_run`` wrote.

    Raises:
        InputError: the file is broken or has no training state.
    """
    tensors, header = _read(path)
    if "step" not in header:
        raise InputError(f"{path}: has a model but no training state; start a new run with --init {path}")
    weights = {n.removeprefix(_WEIGHTS): v for n, v in tensors.items() if n.startswith(_WEIGHTS)}
    optimizer = {n.removeprefix(_OPTIMIZER): v for n, v in tensors.items() if n.startswith(_OPTIMIZER)}
    if not re.fullmatch("[0-9]{1,15}", header["step"]):
        raise InputError(f"{path}: metadata field 'step' is {header['step']:.20}; use another checkpoint")
    return weights, optimizer, int(header["step"])


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); get or retrain it") from None


def shipped_models() -> list[str]:
    """The names of shipped models, which ``load`` accepts without a path."""
    files = [p for p in SHIPPED.rglob("*.safetensors") if p != CLASSROOM_BASE]
    return sorted(p.relative_to(SHIPPED).with_suffix("").as_posix() for p in files)


def _find(where: str | Path) -> Path:
    path = Path(where)
    # The system refuses to look for a name that is too long, or in a folder without permission.
    with contextlib.suppress(OSError):
        if path.is_dir() and (path / CHECKPOINT).is_file():
            return path / CHECKPOINT
        if path.is_file():
            return path
        if str(where) in shipped_models():
            return SHIPPED / f"{where}.safetensors"
    raise InputError(
        f"{str(where)[:300]}: no such checkpoint; give a .safetensors file, a run folder, a .pth of mmdet, "
        f"or one of: {', '.join(shipped_models())}"
    )


def load(
    where: str | Path,
    device: torch.device | str = "cpu",
    toggles: Toggles | None = None,
    config: ModelConfig | None = None,
) -> HybridTaskCascade:
    """A trained model, in eval mode.

    Args:
        where: a ``.safetensors`` file, a run folder, the name of a shipped model ("classroom/htc"), or a
            checkpoint of mmdet 2 or 3 (any other suffix): HTC or Cascade Mask R-CNN with a ResNet or ResNeXt.
        device: where its weights go.
        toggles: for an mmdet file: what the shapes of the weights don't show, namely whether it was trained
            interleaved and whether the semantic feature goes to boxes, masks or both. Default: what the
            config text in the file says; without one, the toggles of the published models.
        config: for an mmdet file: its model config (:func:`htc_lab.config_from_mmdet` converts an mmdet
            config). Default: inferred from the shapes.

    Nothing in a file is executed, whatever it contains.

    Raises:
        InputError: the file is missing or damaged, or its weights don't fit the config; the message names the
            first entries that differ.
    """
    set_up_process()
    path = _find(where)
    if path.suffix != ".safetensors":
        found = read_mmdet(path, toggles, config)
        fix = "it has another architecture, or is cut off: give a whole file of a Cascade Mask R-CNN or HTC"
        model = empty_model(found.config)
        fill(model, found.weights, str(path), fix)
        model.class_names = found.class_names
        return model.to(device).eval()
    if toggles is not None or config is not None:
        raise InputError(
            f"{path}: already says which model it is; leave out toggles and config, and pass other toggles "
            "to predict() or cascade()"
        )
    tensors, header = _read(path)
    tensors = unpack(tensors, str(path))
    if "config" not in header:
        raise InputError(
            f"{path}: metadata has no 'config', so it is not a checkpoint of this lab; give one that is"
        )
    config = model_config_from_dict(_json(header["config"], path, "config"), f"{path}: config")
    weights = {
        name.removeprefix(_WEIGHTS): value.float() if value.is_floating_point() else value
        for name, value in tensors.items()
        if not name.startswith(_OPTIMIZER)
    }
    model = empty_model(config)
    fill(model, weights, str(path))
    names = _json(header.get("class_names", "[]"), path, "class_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: metadata field 'class_names' is not a list of names; save it again")
    if len(names) != config.classes:
        raise InputError(
            f"{path}: class_names has {counted(len(names), 'name')} for "
            f"{counted(config.classes, 'class', 'classes')}; save it again"
        )
    model.class_names = tuple(names)
    return model.to(device).eval()


def _json(text: str, path: Path, field: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: metadata field '{field}' is not JSON ({error}); get the file again"
        ) from None


def empty_model(config: ModelConfig) -> HybridTaskCascade:
    """The network without weights, to be filled by :func:`fill`: no time is spent on initialising them."""
    try:
        with torch.device("meta"):
            return HybridTaskCascade(config)
    except InputError:
        raise
    # Values that are each in range may still not fit together, such as groups that don't divide a width.
    except (ValueError, RuntimeError, TypeError, ArithmeticError) as error:
        raise InputError(
            f"config of {config.name:.60}: no network can be built from it ({in_one_line(error)}); correct it"
        ) from None


def fill(
    model: HybridTaskCascade,
    weights: dict[str, Tensor],
    source: str,
    fix: str = "it belongs to another config",
) -> None:
    """Load weights into the model; they must match it exactly.

    Args:
        model: on any device, including "meta" (without data).
        weights: by the model's own names.
        source: what the message calls them.
        fix: what to do about it, as the message ends.

    Raises:
        InputError: entries are missing, left over, or have another shape; the message names the first few.
    """
    wanted = model.state_dict()
    missing = sorted(set(wanted) - set(weights))
    left_over = sorted(set(weights) - set(wanted))
    differ = [
        f"{n} {_kind(weights[n])} for {_kind(wanted[n])}"
        for n in sorted(set(wanted) & set(weights))
        if wanted[n].shape != weights[n].shape
        or wanted[n].is_floating_point() != weights[n].is_floating_point()
    ]
    complaints = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("left over", left_over), ("of another shape", differ))
        if names
    ]
    if complaints:
        raise InputError(f"{source}: entries {'; '.join(complaints)}; {fix}")
    # Weights on "meta" are only shapes, without values.
    numbers = {n: v for n, v in weights.items() if v.is_floating_point() and not v.is_meta}
    spoilt = [n for n, v in numbers.items() if not v.isfinite().all()]
    if spoilt:
        raise InputError(
            f"{source}: {counted(len(spoilt), 'entry', 'entries')} with values that are not finite "
            f"({', '.join(spoilt[:3])}): "
            "its training diverged or the file is damaged; use an earlier checkpoint"
        )
    model.load_state_dict(weights, assign=True)


def _kind(value: Tensor) -> str:
    return f"{tuple(value.shape)}{'' if value.is_floating_point() else ' of whole numbers'}"
