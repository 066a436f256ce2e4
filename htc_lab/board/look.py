"""A look at a model during training: AP on a few pictures, and what it finds in some of them."""

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from htc_lab.data.dataset import CocoDataset
from htc_lab.distributed import Team
from htc_lab.errors import InputError
from htc_lab.evaluate.inference import average_precision, predict_split, truth_of
from htc_lab.files import plain, write_atomically
from htc_lab.model import HybridTaskCascade
from htc_lab.plots.drawing import draw_detections
from htc_lab.predictors import ModelPredictor, Predictor
from htc_lab.train.run_folder import SAMPLES

_SAMPLE_PICTURES = 3
_SAMPLE_SIDE = 384
_SAMPLE_SCORE = 0.3


@dataclass(frozen=True)
class Look:
    """Called by the training loop every N steps; what it returns becomes a line of ``metrics.jsonl``.

    Attributes:
        run: folder of the run; pictures go into ``samples/``.
        dataset: the pictures it is measured on, at their own size, without augmentation.
    """

    run: Path
    dataset: CocoDataset

    def __call__(self, model: HybridTaskCascade, step: int, team: Team) -> dict[str, Any]:
        """Evaluate and draw.

        Args:
            model: in eval mode.
            step: how many steps it has been trained for.
            team: the processes that train together; all of them call this at the same step.

        Returns:
            ``{"evaluation": {"mask_ap", "box_ap", "stage_mask_ap", "images", "seconds"}, "samples": file}``,
            AP in points (None if there is no object to find); empty in all processes but the first.
        """
        began = time.perf_counter()
        predictor = ModelPredictor(model)
        found = predict_split(predictor, self.dataset, stages=True, progress=False, team=team)
        if not team.first:
            return {}
        ap = average_precision(truth_of(self.dataset), found)
        name = f"{SAMPLES}/step_{step:06d}.png"
        self._draw(predictor, self.run / name)
        figures = {
            "mask_ap": ap["segm"]["AP"],  # type: ignore[call-overload]
            "box_ap": ap["bbox"]["AP"],  # type: ignore[call-overload]
            "stage_mask_ap": ap["stage_mask_ap"],
            "images": len(self.dataset),
            "seconds": time.perf_counter() - began,
        }
        return {"evaluation": plain(figures), "samples": name}

    def _draw(self, predictor: Predictor, path: Path) -> None:
        """The first pictures side by side: masks, boxes and labels, the truth's outlines in white dashes."""
        drawn = []
        for i in range(min(_SAMPLE_PICTURES, len(self.dataset))):
            sample = self.dataset[i]
            found = predictor.predict([sample.image])[0].above(_SAMPLE_SCORE)
            pixels = draw_detections(
                sample.image, found, predictor.class_names, truth=sample.targets, side=_SAMPLE_SIDE
            )
            picture = Image.fromarray(pixels)
            drawn.append(picture.resize((round(picture.width * _SAMPLE_SIDE / picture.height), _SAMPLE_SIDE)))
        gap = 8
        width = sum(picture.width for picture in drawn) + gap * (len(drawn) - 1)
        sheet = Image.new("RGB", (width, _SAMPLE_SIDE), "white")
        left = 0
        for picture in drawn:
            sheet.paste(picture, (left, 0))
            left += picture.width + gap
        light = sheet.quantize(128)
        write_atomically(path, functools.partial(light.save, format="PNG"))


def look_at(run: Path, dataset: CocoDataset, images: int) -> Look:
    """A look at ``images`` pictures of a split, spread evenly over it.

    Raises:
        InputError: fewer than one picture.
    """
    if images < 1:
        raise InputError(f"--eval-images {images}: must be 1 or more")
    step = max(1, len(dataset.images) // images)
    dataset.images = dataset.images[::step][:images]
    return Look(run, dataset)
