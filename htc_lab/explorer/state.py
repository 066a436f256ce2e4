"""The state string: everything a person has set in the explorer, in one line that can be shared."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from htc_lab.config import HTC, Toggles
from htc_lab.errors import InputError
from htc_lab.explorer.bits import OffMeans, bits_of, whole_bits
from htc_lab.ideas import IDEAS

LAYERS = ("masks", "boxes", "labels", "truth", "semantic", "difference")
KNOBS = (
    *dict.fromkeys(name for idea in IDEAS for name in idea.knob.split()),
    *("presets", "off_means", "compare", "threshold", "open"),
    *LAYERS[:4],
    *("semantic_map", "difference", "python", "share", "png", "export"),
)
"""What a teacher can hide; "semantic" stands for both switches and the map."""

_OFF = {"t": "trained_without", "s": "switched_off"}
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,20})?|\.[0-9]{1,20}")
_WHOLE = re.compile(r"[0-9]{1,9}")
MOST_STAGES = 3


@dataclass(frozen=True)
class ExplorerState:
    """All that a person can set.

    As text: ``B=1111&A=0000&split=0.50&off=t&stage=4&thr=0.30&obj=5&show=masks.boxes&ref=prev&life=box``.

    Attributes:
        bits: the ideas as 0 and 1, in the order of :data:`htc_lab.ideas.IDEAS`; the paper's come first:
            interleaved, mask flow, semantic → boxes, semantic → masks. Ideas at the end that a string leaves
            out are off.
        compare: the same for side A of the comparison; None: nothing is compared.
        split: where the divider between A and B is, 0 to 1.
        off_means: another checkpoint, or this model with the idea cut out.
        stage: 0 the proposals, 1, 2, 3 a stage; one more than the last stage: the mean of the masks.
        threshold: lowest score that is shown.
        selected: number of the object whose life is shown.
        show: the layers that are on, of ``LAYERS``.
        against: what the difference is taken from: the "plain" cascade or the stage before ("prev").
        curve: whether the panel's curve is of "mask" or "box" IoU.
    """

    bits: str = bits_of(HTC)
    compare: str | None = None
    split: float = 0.5
    off_means: OffMeans = "trained_without"
    stage: int = MOST_STAGES + 1
    threshold: float = 0.3
    selected: int = 0
    show: tuple[str, ...] = ("masks", "boxes", "labels")
    against: str = "plain"
    curve: str = "mask"

    def __post_init__(self) -> None:
        for name, bits in (("bits", self.bits), ("compare", self.compare)):
            if bits is not None:
                object.__setattr__(self, name, whole_bits(bits, f"state: {name}"))
        _in_range("split", self.split, 0, 1)
        _in_range("threshold", self.threshold, 0, 1)
        _in_range("stage", self.stage, 0, MOST_STAGES + 1)
        if self.selected < 0:
            raise InputError(f"state: selected is {self.selected}; objects are numbered from 0")
        for name, value, known in (
            ("off_means", self.off_means, tuple(_OFF.values())),
            ("against", self.against, ("plain", "prev")),
            ("curve", self.curve, ("mask", "box")),
        ):
            if value not in known:
                raise InputError(f"state: {name} is '{value}'; take one of {', '.join(known)}")
        for layer in self.show:
            if layer not in LAYERS:
                raise InputError(f"state: show names '{layer}'; take some of {', '.join(LAYERS)}")

    def __str__(self) -> str:
        side_a = f"&A={self.compare}&split={self.split:.2f}" if self.compare is not None else ""
        shown = ".".join(layer for layer in LAYERS if layer in self.show)
        return (
            f"B={self.bits}{side_a}&off={self.off_means[0]}&stage={self.stage}&thr={self.threshold:.2f}"
            f"&obj={self.selected}&show={shown}"
            + ("&ref=prev" if self.against == "prev" else "")
            + ("&life=box" if self.curve == "box" else "")
        )

    @classmethod
    def parse(cls, text: str) -> "ExplorerState":
        """The state a string stands for; what it leaves out has its initial value.

        Raises:
            InputError: an unknown part or a value out of range; the message names it.
        """
        values: dict[str, Any] = {}
        for key, value in parse_qsl(text.strip().lstrip("#"), keep_blank_values=True):
            match key:
                case "B":
                    values["bits"] = value
                case "A":
                    values["compare"] = value
                case "split":
                    values["split"] = _number(key, value)
                case "thr":
                    values["threshold"] = _number(key, value)
                case "off":
                    if value not in _OFF:
                        raise InputError(
                            f"state: off is '{value}'; take t (trained without) or s (switched off)"
                        )
                    values["off_means"] = _OFF[value]
                case "stage" | "obj":
                    if not _WHOLE.fullmatch(value):
                        raise InputError(f"state: {key} is '{value:.60}'; give a whole number, 0 or more")
                    values["stage" if key == "stage" else "selected"] = int(value)
                case "show":
                    values["show"] = tuple(value.split(".")) if value else ()
                case "ref":
                    values["against"] = value
                case "life":
                    values["curve"] = value
                case _:
                    raise InputError(
                        f"state: '{key}' is unknown; take B, A, split, off, stage, thr, obj, show, ref, life"
                    )
        return cls(**values)


def _number(key: str, value: str) -> float:
    if not _NUMBER.fullmatch(value):
        raise InputError(f"state: {key} is '{value:.60}'; give a number, 0 or more")
    return float(value)


def _in_range(name: str, value: float | int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InputError(f"state: {name} is {value}; it must be from {low} to {high}")


def state_of(
    toggles: Toggles | None,
    compare: Toggles | None,
    stage: int | str,
    last: int,
    **others: Any,
) -> ExplorerState:
    """A state in the words of Python, as "Copy as Python" writes them.

    Args:
        toggles, compare: of side B and side A; None: all ideas of the paper on, no comparison.
        stage: 1, 2, 3, "proposals" or "mean".
        last: how many stages the models have.
        others: further fields of ``ExplorerState``.

    Raises:
        InputError: no such stage, or a field out of range.
    """
    named = {"proposals": 0, "mean": last + 1}
    if stage not in named and stage not in range(1, last + 1):
        raise InputError(f"stage={stage!r}: no such stage; take 1 to {last}, 'proposals' or 'mean'")
    return ExplorerState(
        bits=bits_of(HTC if toggles is None else toggles),
        compare=None if compare is None else bits_of(compare),
        stage=named[stage] if isinstance(stage, str) else stage,
        **others,
    )


def check_knobs(hide: Sequence[str]) -> list[str]:
    """The names of knobs to hide, checked.

    Raises:
        InputError: there is no such knob.
    """
    for name in hide:
        if name not in KNOBS:
            raise InputError(f"hide: '{name}' is not a knob; take some of {', '.join(dict.fromkeys(KNOBS))}")
    return list(hide)
