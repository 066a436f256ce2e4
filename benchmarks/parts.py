"""Where the time goes: seconds spent in each part of a model, each second counted once."""

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.figures import wait_for
from htc_lab import cascade as cascade_module
from htc_lab import trace as trace_module
from htc_lab.layers import box_moves
from htc_lab.layers import rpn as rpn_module
from htc_lab.model import HybridTaskCascade
from htc_lab.stages import interleaved
from htc_lab.structures import Features

MATCHING = "matching, sampling, targets"


class Parts:
    """A stopwatch for methods and functions that belong to named parts.

    Where one watched call runs inside another, its time is its own part's alone.

    Attributes:
        seconds: by part, of all calls so far.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        # For each watched call under way: the seconds that calls inside it took.
        self._inner: list[float] = []

    @contextmanager
    def watching(self, watched: list[tuple[str, Any, str]]) -> Iterator[None]:
        """While inside, time what is watched: part's name, a module or object, and its callable's name."""
        before = []
        try:
            for name, owner, attribute in watched:
                # A method stands in the class, so what is put on the object is taken away again.
                before.append((owner, attribute, vars(owner).get(attribute)))
                setattr(owner, attribute, self._timed(name, getattr(owner, attribute)))
            yield
        finally:
            for owner, attribute, value in reversed(before):
                if value is None:
                    delattr(owner, attribute)
                else:
                    setattr(owner, attribute, value)

    def _timed(self, name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(run)
        def timed(*args: Any, **kwargs: Any) -> Any:
            wait_for(self.device)
            began = time.perf_counter()
            self._inner.append(0.0)
            try:
                return run(*args, **kwargs)
            finally:
                wait_for(self.device)
                taken = time.perf_counter() - began
                self.seconds[name] += taken - self._inner.pop()
                if self._inner:
                    self._inner[-1] += taken

        return timed

    def shares(self, runs: int, total: float, rest: str = "the rest") -> dict[str, float]:
        """Seconds a run by part, and what of ``total`` (seconds a run) belongs to none."""
        by_part = {name: spent / runs for name, spent in self.seconds.items()}
        by_part[rest] = max(total - sum(by_part.values()), 0.0)
        return {name: round(value, 4) for name, value in by_part.items()}


def parts_of(model: HybridTaskCascade) -> list[tuple[str, Any, str]]:
    """What to watch of a model, at test time and in training."""
    head = model.roi_head
    watched: list[tuple[str, Any, str]] = [
        ("backbone", model.backbone, "forward"),
        ("FPN", model.neck, "forward"),
        ("RPN", model.rpn_head, "forward"),
        ("RPN", model.rpn_head, "propose"),
        # RoI pooling is two functions of the cascade's module, no module of its own.
        ("RoI pooling", cascade_module, "pool"),
        ("RoI pooling", cascade_module, "pool_pyramid"),
        ("RoI pooling", Features, "for_pooling"),
        *(("box heads", box_head, "forward") for box_head in head.bbox_head),
        *(("mask heads", mask, method) for mask in head.mask_head for method in ("trunk", "class_logits")),
        ("post-processing", cascade_module, "detect"),
        ("post-processing", trace_module, "paste"),
        (MATCHING, rpn_module, "match"),
        (MATCHING, rpn_module, "sample"),
        (MATCHING, rpn_module, "encode_deltas"),
        (MATCHING, cascade_module, "sample_rois"),
        (MATCHING, interleaved, "sample_rois"),
        (MATCHING, box_moves, "encode_deltas"),
        (MATCHING, cascade_module, "mask_targets"),
    ]
    if head.semantic_head is not None:
        watched.append(("semantic branch", head.semantic_head, "forward"))
    return watched
