"""A training that starts from a checkpoint of other classes, stages or ideas: what fits is kept.

An entry fits if the model has one of the same name and shape. So a model for other classes keeps everything
but its last layers, one with a stage more everything but that stage. What doesn't fit starts as a fresh model
does, and is named.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from htc_lab.checkpoint.files import NamedWeights, read_weights
from htc_lab.checkpoint.filling import kind_of, require_finite
from htc_lab.config import BackboneConfig, ModelConfig, SENetConfig, TimmBackboneConfig
from htc_lab.errors import InputError
from htc_lab.files import sha256_of
from htc_lab.interop.config_text import with_config_text
from htc_lab.interop.mmdet_checkpoint import as_the_file_says
from htc_lab.model import HybridTaskCascade
from htc_lab.wording import counted

# Less of a backbone's convolutions than this is chance: it is another backbone.
_SAME_BACKBONE = 0.5
_BATCHES = "num_batches_tracked"
_CLASS_LAYER = "roi_head.bbox_head.0.fc_cls.weight"


@dataclass(frozen=True)
class Start:
    """What of a model came from a checkpoint.

    Attributes:
        source: the file.
        sha256: of the file.
        kept: how many entries of the model.
        entries: how many it has.
        reshaped: layers that start fresh because the checkpoint's have another shape: name -> both shapes.
        absent: layers that start fresh because the checkpoint has none.
        left_aside: layers of the checkpoint that the model doesn't have.
        notes: what else there is to know, one sentence each.
    """

    source: Path
    sha256: str
    kept: int
    entries: int
    reshaped: dict[str, str]
    absent: tuple[str, ...]
    left_aside: tuple[str, ...]
    notes: tuple[str, ...]

    def describe(self) -> str:
        """All of it for people, a line for each layer."""
        lines = [f"start from {self.source}: {self.kept} of the model's {self.entries} weights kept"]
        if self.reshaped or self.absent:
            lines[0] += "; these layers start fresh:"
        lines += [f"  {layer}: {shapes}" for layer, shapes in self.reshaped.items()]
        lines += [f"  {layer}: the checkpoint has none" for layer in self.absent]
        if self.left_aside:
            lines.append(f"not used of the checkpoint: {', '.join(self.left_aside)}")
        return "\n".join(lines + [f"note: {note}" for note in self.notes])

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return vars(self) | {"source": str(self.source)}


def start_from(model: HybridTaskCascade, where: str | Path, class_names: Collection[str] = ()) -> Start:
    """Put the weights of a checkpoint that fit into a model; all others stay as they are.

    Args:
        model: with fresh weights.
        where: a run folder, a ``.safetensors`` file, the name of a shipped model, or a ``.pth`` of mmdet or
            of a trainer around it.
        class_names: of the classes that the model will be trained for.

    Raises:
        InputError: the checkpoint is missing or damaged, or has another backbone.
    """
    found = read_weights(where)
    source = str(found.path)
    notes = list(found.notes)
    if found.config_text:
        notes += _other_pictures(model, found)
    _require_style(model.config, found)
    wanted, given = model.state_dict(), found.weights
    fitting = {name: given[name] for name in wanted if name in given and _fits(given[name], wanted[name])}
    _require_backbone(model, wanted, given, fitting, source)
    require_finite(fitting, source)
    model.load_state_dict(fitting, strict=False)
    weights = [name for name in wanted if not name.endswith(_BATCHES)]
    other_shape = {name for name in weights if name in given and name not in fitting}
    missing = {name for name in weights if name not in given}
    unused = {name for name in given if name not in wanted and not name.endswith(_BATCHES)}
    if found.class_names and _CLASS_LAYER in fitting and tuple(class_names) not in ((), found.class_names):
        notes.append(
            f"the class layers are kept although the checkpoint's classes are {_shown(found.class_names)} "
            f"and the data's {_shown(class_names)}"
        )
    return Start(
        source=found.path,
        sha256=sha256_of(found.path),
        kept=sum(name in fitting for name in weights),
        entries=len(weights),
        reshaped=_reshaped(other_shape, weights, given, wanted),
        absent=tuple(_named(missing, weights)),
        left_aside=tuple(_counted_layers(unused, given)),
        notes=tuple(notes),
    )


def _fits(given: Tensor, wanted: Tensor) -> bool:
    return given.shape == wanted.shape and given.is_floating_point() == wanted.is_floating_point()


def _shown(names: Collection[str]) -> str:
    return ", ".join(list(names)[:4]) + (", ..." if len(names) > 4 else "")


def _other_pictures(model: HybridTaskCascade, found: NamedWeights) -> Iterator[str]:
    """What the checkpoint's own config says of pictures and backbone that the model's says otherwise."""
    config = model.config
    said = with_config_text(config, found.config_text, str(found.path))
    for part in ("image", "backbone"):
        ours, theirs = vars(getattr(config, part)), vars(getattr(said, part))
        for name, value in theirs.items():
            if ours[name] != value:
                yield f"the checkpoint was trained with {part}.{name}={value}, this model has {ours[name]}"


def _require_style(config: ModelConfig, found: NamedWeights) -> None:
    """Refuse a backbone whose weights fit, but which computes something else."""
    own, said = config.backbone, as_the_file_says(config, found.path, found.config_text).backbone
    if isinstance(own, BackboneConfig) and isinstance(said, BackboneConfig) and said.style != own.style:
        raise InputError(
            f"{found.path}: has a backbone of the {said.style} style, this model one of the {own.style} "
            "style, with the stride elsewhere; use a checkpoint of the same style, or a config with "
            f"backbone.style='{said.style}'"
        )


def _require_backbone(
    model: HybridTaskCascade,
    wanted: dict[str, Tensor],
    given: dict[str, Tensor],
    fitting: dict[str, Tensor],
    source: str,
) -> None:
    own = [name for name, value in wanted.items() if name.startswith("backbone.") and value.ndim == 4]
    kept = [name for name in own if name in fitting]
    if len(kept) >= _SAME_BACKBONE * len(own):
        return
    backbone = model.config.backbone
    match backbone:
        case BackboneConfig():
            named = f"depth {backbone.depth}, width {backbone.width}"
        case TimmBackboneConfig():
            named = backbone.name
        case SENetConfig():
            named = "SENet-154"
    example = next((name for name in own if name in given and name not in fitting), None)
    shapes = (
        f"for example {example} {kind_of(given[example])} for {kind_of(wanted[example])}"
        if example is not None
        else f"its entries are {_shown(given)}"
    )
    raise InputError(
        f"{source}: has another backbone: {len(kept)} of {counted(len(own), 'convolution')} fit {named} "
        f"({shapes}); choose the --preset with its backbone, or another checkpoint"
    )


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _whole(names: Collection[str], of: Collection[str]) -> list[str]:
    """The fewest layers that hold exactly these names, in the order of ``of``."""
    chosen = set(names)
    every, own = Counter[str](), Counter[str]()
    for name in of:
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            prefix = ".".join(parts[:depth])
            every[prefix] += 1
            own[prefix] += name in chosen
    layers = []
    for name in of:
        if name in chosen:
            parts = name.split(".")
            prefixes = (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
            layers.append(next(prefix for prefix in prefixes if own[prefix] == every[prefix]))
    return list(dict.fromkeys(layers))


def _named(names: Collection[str], of: Collection[str]) -> list[str]:
    """The same, with stages that differ in nothing but their number written as one: ``mask_head.{1,2}``."""
    stages: dict[tuple[str, str], list[str]] = {}
    for layer in _whole(names, of):
        found = re.fullmatch(r"(.*?_head\.)(\d+)((?:\..*)?)", layer)
        before, number, after = found.groups() if found else (layer, "", "")
        stages.setdefault((before, after), []).append(number)
    return [
        f"{before}{numbers[0] if len(numbers) == 1 else '{' + ','.join(numbers) + '}'}{after}"
        for (before, after), numbers in stages.items()
    ]


def _reshaped(
    names: Collection[str], of: Collection[str], given: dict[str, Tensor], wanted: dict[str, Tensor]
) -> dict[str, str]:
    """Layers by name, with the shapes of their weights."""
    by_shapes: dict[str, list[str]] = {}
    for name in of:
        if name in names and (name.endswith(".weight") or f"{_layer(name)}.weight" not in names):
            shapes = f"{kind_of(given[name])} in the checkpoint, {kind_of(wanted[name])} here"
            both = [n for n in of if _layer(n) == _layer(name) and n in names]
            by_shapes.setdefault(shapes, []).extend(both)
    return {layer: shapes for shapes, own in by_shapes.items() for layer in _named(own, of)}


def _counted_layers(names: Collection[str], given: Collection[str]) -> Iterator[str]:
    for layer in _whole(names, [name for name in given if not name.endswith(_BATCHES)]):
        count = sum(name == layer or name.startswith(f"{layer}.") for name in names)
        yield layer if count == 1 else f"{layer} ({count} entries)"
