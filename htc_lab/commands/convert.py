"""``htc-lab convert``."""

import os
from pathlib import Path
from typing import Annotated, Any

import tyro

from htc_lab.commands.flags import TOGGLES_WORDS, say, toggles_of
from htc_lab.errors import InputError


def convert(
    checkpoint: str,
    out: Path,
    toggles: Annotated[
        str | None,
        tyro.conf.arg(
            help=f"Ideas an mmdet file was trained with, if its weights don't show it: {TOGGLES_WORDS}."
        ),
    ] = None,
    config: Path | None = None,
    mmdet_configs: Path | None = None,
    half: bool = False,
    json: bool = False,
) -> dict[str, Any] | None:
    """Convert a checkpoint of mmdet (HTC or Cascade Mask R-CNN) into one of this lab, or the other way round.

    Args:
        checkpoint: an mmdet .pth file, a run folder, a .safetensors file, or a shipped model's name.
        out: the file to write: .safetensors for this lab (with a JSON sidecar), .pth for mmdet.
        config: for an mmdet file: its mmdet config (.py), instead of what the weights show; it is only read,
            never run.
        mmdet_configs: the folder of mmdet's own configs, for a config with bases like "mmdet::htc/...";
            default: that of the installed mmdet.
        half: store weights in 16 bits (.safetensors).
        json: print what was found as one JSON object.
    """
    if out.suffix not in (".safetensors", ".pth"):
        raise InputError(f"--out {out}: must end in .safetensors (this lab's format) or .pth (mmdet's)")
    if half and out.suffix == ".pth":
        raise InputError(
            f"--half: mmdet's files hold float32; leave it out, or write .safetensors instead of {out}"
        )
    if os.path.realpath(out) == os.path.realpath(checkpoint):
        raise InputError(f"--out {out}: is the checkpoint itself; choose another file")
    chosen = toggles_of(toggles)

    from htc_lab.checkpoint.files import load, save_model
    from htc_lab.interop.mmdet_checkpoint import save_mmdet
    from htc_lab.interop.mmdet_config import model_from_mmdet

    known = None if config is None else model_from_mmdet(config, mmdet_configs).model
    model = load(checkpoint, toggles=chosen, config=known)
    if out.suffix == ".pth":
        save_mmdet(model, out)
    else:
        save_model(model, out, half=half, about={"converted_from": Path(checkpoint).name})
    entries = model.state_dict()
    numbers = sum(value.numel() for value in model.parameters())
    say(f"{checkpoint}: {model.config.name}, {len(entries)} entries, {numbers:,} parameters -> {out}", json)
    if not json:
        return None
    return {
        "checkpoint": checkpoint,
        "out": str(out),
        "model": model.config.name,
        "classes": model.config.classes,
        "entries": len(entries),
        "parameters": numbers,
    }
