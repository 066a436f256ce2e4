"""ImageNet weights of timm's backbones: some come with the lab, the others are downloaded by timm."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from htc_lab.config import ImageConfig, TimmBackboneConfig
from htc_lab.errors import InputError, in_one_line
from htc_lab.layers.timm_backbone import built

BACKBONES = Path(__file__).resolve().parent.parent / "models" / "photos" / "backbones"
NAME = "backbone"
"""The field of a file's metadata that says whose weights they are."""

# On the scale 0..255; less than this, a network doesn't notice (TensorFlow's 127 is timm's 127.5).
_CLOSE = 1.0


def timm_weights(backbone: TimmBackboneConfig, image: ImageConfig) -> dict[str, Tensor]:
    """The backbone's entries in the model's state dict, float32.

    Raises:
        InputError: there are none, or they can't be fetched; they are of another network; or they were
            trained on pictures that were normalised otherwise.
    """
    _require_its_normalisation(backbone.name, image)
    kept = BACKBONES / f"{backbone.name}.safetensors"
    weights = _read(kept, backbone.name) if kept.is_file() else _downloaded(backbone.name)
    return {
        f"backbone.body.{entry}": v.float() if v.is_floating_point() else v for entry, v in weights.items()
    }


def _require_its_normalisation(name: str, image: ImageConfig) -> None:
    import timm

    for field in ("mean", "std"):
        shares: Any = timm.get_pretrained_cfg_value(name, field)
        wanted = [255 * value for value in shares]
        have = getattr(image, field)
        if any(abs(a - b) > _CLOSE for a, b in zip(wanted, have, strict=True)):
            shown = ", ".join(f"{value:.4g}" for value in wanted)
            raise InputError(
                f"image.{field}: is {list(have)}, but the ImageNet weights of {name} want [{shown}]; set "
                "that, or backbone.pretrained=False"
            )


def _read(path: Path, name: str) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            whose = (file.metadata() or {}).get(NAME)
            weights = {entry: file.get_tensor(entry) for entry in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({in_one_line(error)}); install the lab again") from None
    with torch.device("meta"):
        wanted = built(name).state_dict()
    if whose != name or {e: v.shape for e, v in weights.items()} != {e: v.shape for e, v in wanted.items()}:
        raise InputError(
            f"{path}: holds weights of {whose or 'an unknown network'}, not of {name}; install the lab "
            "again, or write it with data_scripts/make_photo_backbone.py"
        )
    return weights


def _downloaded(name: str) -> dict[str, Tensor]:
    have = ", ".join(sorted(path.stem for path in BACKBONES.glob("*.safetensors")))
    try:
        return built(name, pretrained=True).state_dict()
    except InputError:
        raise
    # No network, no such file, a damaged one, a full disk: everything timm and what it downloads with raise.
    except Exception as error:
        raise InputError(
            f"backbone.name: the ImageNet weights of {name} can't be fetched ({in_one_line(error)}); connect "
            f"to the internet, start from a checkpoint with --init, or take {have}, which comes with the lab"
        ) from None
