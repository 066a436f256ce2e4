"""Models run over one picture: a trace for each setting of the switches the explorer can be asked for."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from tqdm.auto import tqdm

from htc_lab.config import CascadeConfig, Toggles
from htc_lab.data.classroom.scenes import SCENE_STUFF, SCENE_THINGS
from htc_lab.data.dataset import Sample, read_image
from htc_lab.data.transforms import resize_image
from htc_lab.errors import InputError
from htc_lab.explorer.bits import answers, bits_of, toggles_of_bits
from htc_lab.explorer.stage_session import Picture, StageSession
from htc_lab.model import HybridTaskCascade
from htc_lab.predictors import ModelPredictor
from htc_lab.stage_results import Choice
from htc_lab.structures import Features, Proposals, RoIs, Targets
from htc_lab.trace import StageRecord, StageTrace

LEAST_SCORE = 0.05
"""Detections that score below this at every stage are left out of a pack."""

MOST_DETECTIONS = 40

_MAP_SIDE = 320
"""Longest side of a semantic map, px: it is drawn as a soft tint, so a finer one would show no more."""

_PHOTO_SIDE = 1280

Progress = Callable[[int, int], None]
"""Called with the number of parts that are done and their total; all parts take about the same time."""


_PATIENCE = 2.0
"""Seconds a person waits without being told how far the work is."""


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A bar for work that takes more than a few seconds."""
    with tqdm(desc=title, delay=_PATIENCE, leave=False) as bar:

        def tell(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        yield tell


def worth_showing(scores: Float[Tensor, "views D"]) -> Int[Tensor, " kept"]:
    """Places of the detections a pack holds, given their scores at every stage and in the result."""
    return torch.nonzero(scores.amax(dim=0) >= LEAST_SCORE).squeeze(1)[:MOST_DETECTIONS]


@dataclass(frozen=True)
class ModelRun:
    """One model on the picture.

    Attributes:
        name: as the person calls it.
        trained: the ideas it was trained with.
        traces: by bits of the ideas that were on.
        semantic: (h, w) class indices of what the semantic branch sees; None without the branch.
        cascade: the thresholds its detections were picked with.
    """

    name: str
    trained: Toggles
    traces: dict[str, StageTrace]
    semantic: UInt8[Tensor, "h w"] | None
    cascade: CascadeConfig = field(default_factory=CascadeConfig)


@dataclass(frozen=True)
class PictureRuns:
    """All that the pack of one picture is made from.

    Attributes:
        image: (3, H, W) uint8, at the size the models saw it.
        targets: its truth at that size; None without one.
        runs: one for each model.
        class_names: of the labels, the same for all models.
        semantic_names: of the semantic classes; empty if they are not known.
        photo: the picture to look at, if there is a finer one than the models saw; same aspect ratio.
    """

    image: UInt8[Tensor, "3 H W"]
    targets: Targets | None
    runs: tuple[ModelRun, ...]
    class_names: tuple[str, ...]
    semantic_names: tuple[str, ...]
    photo: UInt8[Tensor, "3 h w"] | None = None


def run_models(
    models: Mapping[str, HybridTaskCascade],
    picture: Picture,
    semantic_names: tuple[str, ...] = (),
    progress: Progress = lambda done, of: None,
) -> PictureRuns:
    """Run every model with the ideas it was trained with, and the richest one with every other setting too.

    Args:
        models: by name.
        picture: a sample (with its truth), an image (3, H, W) uint8 or a path.
        semantic_names: of the semantic classes, if the models have such a branch.
        progress: called at the beginning and after each part of the work.

    Raises:
        InputError: no model, models that can't be compared, or a picture that can't be read.
    """
    if isinstance(picture, str | Path):
        picture = read_image(Path(picture))
    session = StageSession(models, [picture])
    _check_alike(session.models)
    names = list(session.models)
    trained = [model.config.toggles for model in session.models.values()]
    wanted: dict[int, set[str]] = {i: {bits_of(toggles)} for i, toggles in enumerate(trained)}
    for bits, answer in answers(trained, "switched_off").items():
        wanted[answer.model].add(bits)
    image, targets = session.picture(names[0], 0)
    settings = [
        {bits: toggles_of_bits(bits, own) for bits in sorted(wanted[i])} for i, own in enumerate(trained)
    ]
    total = sum(1 + len(mine) for mine in settings)
    done = itertools.count(1)
    progress(0, total)

    def step() -> None:
        progress(next(done), total)

    # Without a truth there is no AP, and what is not shown needs no mask.
    choose = worth_showing if targets is None else None
    runs = [
        _run(name, ModelPredictor(session.models[name]), image, mine, choose, step)
        for name, mine in zip(names, settings, strict=True)
    ]
    class_names = session.models[names[0]].class_names
    known = semantic_names or _known_names(session.models[names[0]])
    return PictureRuns(image, targets, tuple(runs), class_names, known, _photo(picture))


def _photo(picture: Sample | Tensor) -> Tensor:
    """The picture as it was given, but no larger than a screen can show."""
    pixels = picture.image if isinstance(picture, Sample) else picture
    if max(pixels.shape[1:]) > _PHOTO_SIDE:
        pixels = resize_image(pixels, _PHOTO_SIDE, _PHOTO_SIDE)[0]
    return pixels


def _check_alike(models: Mapping[str, HybridTaskCascade]) -> None:
    """What must agree for models to be shown on one picture."""
    names = list(models)
    first = models[names[0]]
    for name in names[1:]:
        model = models[name]
        for what, mine, other in (
            ("class names", model.class_names, first.class_names),
            ("number of stages", model.config.toggles.stages, first.config.toggles.stages),
            ("test size (config.image)", model.config.image, first.config.image),
        ):
            if mine != other:
                raise InputError(
                    f"models: '{name}' and '{names[0]}' differ in their {what}, so one picture can't show "
                    "both; give models trained on the same data with the same preset"
                )


def _run(
    name: str,
    predictor: ModelPredictor,
    image: Tensor,
    settings: Mapping[str, Toggles],
    choose: Choice | None,
    step: Callable[[], None],
) -> ModelRun:
    """Args: see ``ModelPredictor.under``; settings by their bits."""
    with torch.inference_mode():
        found = predictor.under(settings.values(), image, choose, step)
        traces = {bits: _on_cpu(found.traces[toggles]) for bits, toggles in settings.items()}
        semantic = _semantic_map(found.features)
    config = predictor.model.config
    return ModelRun(name, config.toggles, traces, semantic, config.cascade)


def _on_cpu(value: Any) -> Any:
    """A trace with all its tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, tuple):
        return tuple(_on_cpu(each) for each in value)
    if isinstance(value, StageTrace | StageRecord | Proposals | RoIs):
        fields = {field.name: _on_cpu(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value


def _semantic_map(features: Features) -> Tensor | None:
    """What the semantic branch says of each pixel, on a grid with the picture's aspect ratio."""
    if features.semantic_logits is None:
        return None
    padded = features.levels[0].shape[-2] * 4, features.levels[0].shape[-1] * 4
    height, width = features.sizes[0]
    scale = _MAP_SIDE / max(height, width)
    size = [max(1, round(side * scale)) for side in padded]
    soft = F.interpolate(features.semantic_logits, size, mode="bilinear", align_corners=False)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    return soft[0].argmax(dim=0)[:rows, :columns].to(torch.uint8).cpu()


def _known_names(model: HybridTaskCascade) -> tuple[str, ...]:
    """Names of the semantic classes if they are those of the classroom scenes."""
    names = (*SCENE_THINGS, *SCENE_STUFF)
    fits = model.class_names == tuple(SCENE_THINGS) and model.config.semantic.classes == len(names)
    return names if fits else ()
