"""``htc-lab predict``."""

import functools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from htc_lab.commands.flags import TOGGLES_WORDS, say, toggles_of, usable_device
from htc_lab.commands.predictor_flags import (
    AS_CONFIGURED,
    ONE_VIEW,
    Checkpoints,
    DetectionsKept,
    Views,
    load_predictor,
)
from htc_lab.errors import InputError
from htc_lab.files import one_or_all
from htc_lab.wording import counted


def predict(
    images: Annotated[tuple[Path, ...], tyro.conf.Positional],
    checkpoint: Checkpoints = (),
    out: Path = Path("predictions"),
    score: float = 0.3,
    toggles: Annotated[
        str | None, tyro.conf.arg(help=f"Run with these ideas instead of the model's own: {TOGGLES_WORDS}.")
    ] = None,
    device: str = "cpu",
    bf16: bool = False,
    looks: Views = ONE_VIEW,
    kept: DetectionsKept = AS_CONFIGURED,
    json: bool = False,
) -> dict[str, Any] | None:
    """Find objects in pictures; write each picture with boxes and masks drawn in.

    Args:
        images: picture files, no two with the same name.
        checkpoint: a run folder, a .safetensors file, or a shipped model's name (if not given:
            classroom/htc). Give it several times to merge what several models find.
        out: folder for the pictures (PNG).
        score: lowest score of a detection that is shown, 0 to 1.
        device: cpu or cuda.
        bf16: convolutions and linear layers in bfloat16: faster, slightly less exact.
        looks: several views of each picture, merged.
        kept: what becomes a detection.
        json: print the detections as one JSON object.
    """
    chosen, tuned = toggles_of(toggles), kept.tuning()
    if not images:
        raise InputError("predict: no picture given; name at least one file")
    if not 0 <= score <= 1:
        raise InputError(f"--score {score}: must be between 0 and 1")
    targets = _targets(images, out)

    from PIL import Image

    from htc_lab.data.dataset import read_image
    from htc_lab.files import write_atomically
    from htc_lab.plots.drawing import draw_detections

    checkpoints = checkpoint or ("classroom/htc",)
    predictor = load_predictor(checkpoints, usable_device(device), looks, tuned, chosen, bf16)
    found = []
    for path, target in zip(images, targets, strict=True):
        image = read_image(path)
        began = time.perf_counter()
        detections = predictor.predict([image])[0]
        seconds = time.perf_counter() - began
        detections = detections.above(score)
        picture = Image.fromarray(draw_detections(image, detections, predictor.class_names))
        write_atomically(target, functools.partial(picture.save, format="PNG"))
        say(f"{path}: {counted(len(detections), 'object')} in {seconds:.2f} s -> {target}", json)
        objects = [
            {"class": predictor.class_names[label], "score": value, "box": box}
            for label, value, box in zip(
                detections.labels.tolist(), detections.scores.tolist(), detections.boxes.tolist(), strict=True
            )
        ]
        found.append({"image": str(path), "picture": str(target), "seconds": seconds, "objects": objects})
    return {"checkpoint": one_or_all(checkpoints), "pictures": found} if json else None


def _targets(images: Sequence[Path], out: Path) -> list[Path]:
    """Where each drawn picture goes, in order.

    Raises:
        InputError: one would overwrite a picture that was given, or two would be written to the same file.
    """
    taken: dict[Path, Path] = {}
    given = {os.path.realpath(path): path for path in images}
    for path in images:
        target = out / f"{path.stem}.png"
        own = given.get(os.path.realpath(target))
        if own is not None:
            raise InputError(
                f"--out {out}: the drawing of {path} would overwrite {own}; choose another folder"
            )
        other = taken.setdefault(target, path)
        if other is not path:
            raise InputError(
                f"{path}: would be written to {target}, and so would {other}; use two calls, each with "
                "its own --out"
            )
    return list(taken)
