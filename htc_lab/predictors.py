"""What finds objects in pictures: one small interface, whatever is behind it.

Prediction, evaluation, the comparison of released models, the dashboard's looks and the explorer's runs ask a
:class:`Predictor` and nothing else, so a new way to predict is one class here.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from htc_lab.config import Toggles
from htc_lab.config_json import to_dict
from htc_lab.model import HybridTaskCascade
from htc_lab.shared_work import SharedWork, sharing_order
from htc_lab.stage_results import Choice
from htc_lab.structures import Detections, Features, Proposals
from htc_lab.trace import StageTrace


@runtime_checkable
class Predictor(Protocol):
    """Finds objects in pictures of any size, and says how it came to them.

    Images are RGB tensors (3, H, W) on the scale 0..255, as they were read.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the labels 0..K-1."""

    @property
    def stages(self) -> int:
        """How many stages' masks there are beside the result's."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def description(self) -> dict[str, Any]:
        """Whatever decides the detections besides the weights, as plain values for a JSON file."""

    def predict(self, images: list[Tensor]) -> list[Detections]:
        """The detections of each image, in its own pixels."""

    def detect(self, images: list[Tensor], by_stage: bool = False) -> Iterator[tuple[Detections, ...]]:
        """The detections of one image after the other, in its own pixels.

        Args:
            images: run through the network together; masks are pasted as each image's turn comes.
            by_stage: after the result, also its boxes and scores with the masks of stage 1, 2, ... alone.
        """

    def trace(self, image: Tensor) -> StageTrace:
        """What every stage saw and said of one image, the view of each stage's own masks included."""


@dataclass(frozen=True)
class EncodedImage:
    """One image after backbone and RPN, to be run under any setting of the switches.

    Attributes:
        predictor: what encoded it.
        features, proposals: of the image, the same under all settings.
    """

    predictor: "ModelPredictor"
    features: Features
    proposals: Proposals

    @torch.no_grad()
    def trace(
        self,
        toggles: Toggles,
        per_stage_view: bool = True,
        choose: Choice | None = None,
        shared: SharedWork | None = None,
    ) -> StageTrace:
        """The stages under these toggles; the arguments are those of ``HybridTaskCascade.cascade``.

        Raises:
            InputError: the weights can't serve the toggles.
        """
        model = self.predictor.model
        with model.at_test_time(self.predictor.bf16):
            return model.cascade(
                self.features, self.proposals, toggles, per_stage_view, choose=choose, shared=shared
            )


@dataclass(frozen=True)
class SettingsRun:
    """One image under several settings of the switches.

    Attributes:
        features: of the image, the same under all settings.
        traces: by setting.
    """

    features: Features
    traces: dict[Toggles, StageTrace]


@dataclass(frozen=True)
class ModelPredictor:
    """One model.

    Attributes:
        model: batch norm uses its stored statistics whatever mode it is in.
        toggles: what is on; None: what the model was trained with.
        bf16: convolutions and linear layers in bfloat16.

    Raises:
        InputError: the weights can't serve the toggles.
    """

    model: HybridTaskCascade
    toggles: Toggles | None = None
    bf16: bool = False

    def __post_init__(self) -> None:
        self.model.roi_head.check(self.running)

    @property
    def running(self) -> Toggles:
        """The toggles that are on."""
        return self.toggles or self.model.config.toggles

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the labels 0..K-1."""
        return self.model.class_names

    @property
    def stages(self) -> int:
        """How many stages' masks there are beside the result's."""
        return self.running.stages

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def description(self) -> dict[str, Any]:
        """The model's config with the toggles that are on, and the precision where it is not float32."""
        config = to_dict(dataclasses.replace(self.model.config, toggles=self.running))
        return config | ({"precision": "bfloat16"} if self.bf16 else {})

    def predict(self, images: list[Tensor]) -> list[Detections]:
        """The detections of each image, in its own pixels.

        Raises:
            InputError: no image, or one that is no RGB image.
        """
        return self.model.predict(images, self.running, self.bf16)

    def detect(self, images: list[Tensor], by_stage: bool = False) -> Iterator[tuple[Detections, ...]]:
        """See :meth:`Predictor.detect`.

        Raises:
            InputError: no image, or one that is no RGB image.
        """
        trace = self.model.trace(images, self.running, per_stage_view=False, bf16=self.bf16)
        threshold = self.model.config.cascade.mask_threshold
        shown: list[int | None] = [None, *range(self.stages)] if by_stage else [None]
        return zip(*(trace.in_pictures(threshold, stage) for stage in shown), strict=True)

    def trace(self, image: Tensor) -> StageTrace:
        """What every stage saw and said of one image, the view of each stage's own masks included.

        Raises:
            InputError: it is no RGB image.
        """
        return self.model.trace([image], self.running, bf16=self.bf16)

    @torch.no_grad()
    def encode(self, image: Tensor) -> EncodedImage:
        """One image (3, H, W), ready to be run under any setting.

        Raises:
            InputError: it is no RGB image.
        """
        with self.model.at_test_time(self.bf16):
            features = self.model.encode([image])
            return EncodedImage(self, features, self.model.propose(features))

    def under(
        self,
        settings: Iterable[Toggles],
        image: Tensor,
        choose: Choice | None = None,
        step: Callable[[], None] = lambda: None,
    ) -> SettingsRun:
        """One image under several settings, which share all work they have in common.

        Args:
            settings: any the weights can serve.
            image: (3, H, W).
            choose: of the detections, those to be in the traces; no mask is made of another.
            step: called when the image is encoded and after each setting: once more than there are settings.

        Raises:
            InputError: it is no RGB image, or the weights can't serve a setting.
        """
        settings = list(settings)
        for toggles in settings:
            self.model.roi_head.check(toggles)
        traces: dict[Toggles, StageTrace] = {}
        encoded, shared = self.encode(image), SharedWork()
        step()
        for toggles in sorted(settings, key=sharing_order):
            traces[toggles] = encoded.trace(toggles, choose=choose, shared=shared)
            step()
        return SettingsRun(encoded.features, {toggles: traces[toggles] for toggles in settings})
