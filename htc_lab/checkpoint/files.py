"""Checkpoints: safetensors files with the config inside and a JSON file beside; mmdet's are read, too."""

import contextlib
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from htc_lab.checkpoint.filling import empty_model, fill
from htc_lab.checkpoint.packing import pack, unpack
from htc_lab.checkpoint.pretrained import CLASSROOM_BASE, SHIPPED
from htc_lab.checkpoint.timm_pretrained import BACKBONES
from htc_lab.config import ModelConfig, Toggles
from htc_lab.config_json import model_config_from_dict, to_dict
from htc_lab.errors import InputError
from htc_lab.files import write_atomically, write_json
from htc_lab.interop.mmdet_checkpoint import read_mmdet, read_mmdet_weights
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
    # In the file's memory a tensor begins wherever the header's length puts it, and some kernels round
    # otherwise there than in memory of their own. A resumed run must have the bits of one that never stopped.
    tensors = {name: value.clone() for name, value in tensors.items()}
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
    files = [p for p in SHIPPED.rglob("*.safetensors") if p != CLASSROOM_BASE and p.parent != BACKBONES]
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
        for note in found.notes:
            print(f"note: {path}: {note}", file=sys.stderr)
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
    weights, header = _read_model(path)
    if "config" not in header:
        raise InputError(
            f"{path}: metadata has no 'config', so it is not a checkpoint of this lab; give one that is"
        )
    config = model_config_from_dict(_json(header["config"], path, "config"), f"{path}: config")
    model = empty_model(config)
    fill(model, weights, str(path))
    names = _class_names(header, path)
    if len(names) != config.classes:
        raise InputError(
            f"{path}: class_names has {counted(len(names), 'name')} for "
            f"{counted(config.classes, 'class', 'classes')}; save it again"
        )
    model.class_names = names
    return model.to(device).eval()


def _read_model(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights in a file of this lab, by name and as float32, and what its header says."""
    tensors, header = _read(path)
    weights = {
        name.removeprefix(_WEIGHTS): value.float() if value.is_floating_point() else value
        for name, value in unpack(tensors, str(path)).items()
        if not name.startswith(_OPTIMIZER)
    }
    return weights, header


def _class_names(header: dict[str, str], path: Path) -> tuple[str, ...]:
    names = _json(header.get("class_names", "[]"), path, "class_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: metadata field 'class_names' is not a list of names; save it again")
    return tuple(names)


@dataclass(frozen=True)
class NamedWeights:
    """The weights in a checkpoint, whatever network they are of.

    Attributes:
        path: the file.
        weights: by the reference's names, float32.
        class_names: of the classes they were trained for; empty if the file doesn't say.
        notes: what was chosen, converted or left aside, one sentence each.
        config_text: mmdet's config of their training; empty if the file has none.
    """

    path: Path
    weights: dict[str, Tensor]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    config_text: str = ""


def read_weights(where: str | Path) -> NamedWeights:
    """The weights that a training can start from.

    Args:
        where: as for :func:`load`. A file of ``torch.save`` may be of any detector that names its weights as
            mmdet does.

    Raises:
        InputError: the file is missing or damaged, or holds no weights by name.
    """
    path = _find(where)
    if path.suffix != ".safetensors":
        found = read_mmdet_weights(path)
        return NamedWeights(path, found.weights, found.said_classes, found.notes, found.config_text)
    weights, header = _read_model(path)
    return NamedWeights(path, weights, _class_names(header, path))


def _json(text: str, path: Path, field: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: metadata field '{field}' is not JSON ({error}); get the file again"
        ) from None
