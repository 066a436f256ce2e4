"""The batch at which a training stopped because a value was NaN or infinite, kept for inspection."""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from htc_lab.checkpoint.files import write_tensors
from htc_lab.data.dataset import Sample
from htc_lab.errors import InputError
from htc_lab.files import plain
from htc_lab.structures import Targets


@dataclass(frozen=True)
class StoppedBatch:
    """What the network received when the loss was NaN or infinite.

    Attributes:
        samples: images and targets after augmentation.
        step: from 1.
        losses: by name; None if NaN or infinite.
    """

    samples: list[Sample]
    step: int
    losses: dict[str, float | None]


def save_batch(
    run: Path, samples: list[Sample], step: int, losses: dict[str, float], rank: int | None = None
) -> Path:
    """Write the batch into the run folder.

    Args:
        run: the folder.
        samples: of this process.
        step: from 1.
        losses: of the whole batch, by name.
        rank: of this process, if there are several.

    Returns:
        The file: ``stopped_at_step_12.safetensors``, with the rank if there is one.

    Raises:
        InputError: the folder can't be written to.
    """
    tensors: dict[str, Tensor] = {}
    for i, sample in enumerate(samples):
        targets = sample.targets
        parts = {
            "image": sample.image,
            "boxes": targets.boxes,
            "labels": targets.labels,
            "masks": targets.masks,
        }
        if targets.semantic is not None:
            parts["semantic"] = targets.semantic
        tensors |= {f"{i}.{name}": value.detach().cpu().contiguous() for name, value in parts.items()}
    about = {
        "step": step,
        "losses": plain(losses),
        "images": [[sample.image_id, *sample.original_size] for sample in samples],
    }
    path = run / f"stopped_at_step_{step}{'' if rank is None else f'_process_{rank}'}.safetensors"
    write_tensors(path, tensors, {"about": json.dumps(about)})
    return path


def read_batch(path: Path | str) -> StoppedBatch:
    """Read what :func:`save_batch` wrote.

    Raises:
        InputError: no such file, or a different kind of file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            samples = [
                Sample(
                    tensors[f"{i}.image"],
                    Targets(
                        tensors[f"{i}.boxes"],
                        tensors[f"{i}.labels"],
                        tensors[f"{i}.masks"],
                        tensors.get(f"{i}.semantic"),
                    ),
                    image_id,
                    (height, width),
                )
                for i, (image_id, height, width) in enumerate(about["images"])
            ]
            return StoppedBatch(samples, about["step"], about["losses"])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: not a batch at which a training stopped ({error}); give a run folder's "
            "stopped_at_step_N.safetensors"
        ) from None
