"""Run our model on a recorded case and compare every recorded quantity."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from htc_lab.checkpoint.filling import empty_model, fill
from htc_lab.config import RPNConfig
from htc_lab.layers.pasting import paste
from htc_lab.model import HybridTaskCascade
from htc_lab.structures import Features, Proposals, RoIs, Targets
from htc_lab.trace import StageTrace
from tests.oracle import recipe
from tests.oracle.reading import recorded_config

# Results whose scores differ by less may change places.
_TIE = 1e-5


@dataclass(frozen=True)
class Line:
    """One compared quantity: the largest errors, the tolerance, the verdict."""

    name: str
    absolute: float
    relative: float
    tolerance: str
    holds: bool

    def __str__(self) -> str:
        verdict = "ok  " if self.holds else "FAIL"
        errors = f"abs {self.absolute:9.3g}  rel {self.relative:9.3g}"
        return f"{verdict} {self.name:26s} {errors}  ({self.tolerance})"


class Comparison:
    """One case: the rebuilt model, its inputs, and a line for each quantity."""

    def __init__(self, path: Path) -> None:
        self.file = np.load(path)
        self.meta = meta = json.loads(str(self.file["meta"]))
        self.lines: list[Line] = []
        self.compared = {"meta"}
        height, width, seed = meta["height"], meta["width"], meta["seed"]
        padded = tuple(self.file["fpn0_shape"][-2:]) != (-(-height // 4), -(-width // 4))
        self.config, built = recorded_config(meta, path, padded)
        self.model: HybridTaskCascade = empty_model(built)
        weights = {
            name: torch.from_numpy(recipe.weight(name, tuple(shape), seed))
            for name, shape in meta["shapes"].items()
        }
        fill(self.model, weights, str(path))
        self.model.eval()
        self.image = torch.from_numpy(recipe.image(height, width, seed)).permute(2, 0, 1)
        boxes, labels, masks, semantic = recipe.ground_truth(
            height, width, meta["count"], self.config.classes, seed
        )
        self.targets = Targets(*map(torch.from_numpy, (boxes, labels, masks, semantic)))
        fixed = torch.from_numpy(recipe.proposals(boxes, height, width, meta["proposals"], seed))
        self.proposals = Proposals(RoIs.of([fixed]), torch.ones(len(fixed)))

    def recorded(self, name: str) -> np.ndarray | None:
        """The recorded value of that name, if there is one; it then counts as compared."""
        if name not in self.file:
            return None
        self.compared.add(name)
        return self.file[name]

    def fails(self, name: str, why: str) -> None:
        """A line for what can't even be subtracted."""
        self.lines.append(Line(name, np.inf, np.inf, why, False))

    def close(self, name: str, ours: Tensor, absolute: float | None = None) -> None:
        """Relative 1e-4 (against the quantity's own scale) unless an absolute tolerance is given."""
        theirs = self.recorded(name)
        if theirs is not None:
            self.near(name, ours, theirs, absolute)

    def near(self, name: str, ours: Tensor, theirs: np.ndarray, absolute: float | None = None) -> None:
        """The line for two arrays."""
        a, b = np.asarray(ours.detach(), np.float64), np.asarray(theirs, np.float64)
        if a.shape != b.shape:
            self.fails(name, f"shape {a.shape} is not {b.shape}")
            return
        error = float(np.abs(a - b).max(initial=0.0))
        scale = float(np.abs(b).max(initial=0.0))
        relative = error / scale if scale else error
        if absolute is None:
            self.lines.append(Line(name, error, relative, "rel 1e-4", relative <= 1e-4))
        else:
            self.lines.append(Line(name, error, relative, f"abs {absolute:g}", error <= absolute))

    def sampled(self, name: str, ours: Tensor) -> None:
        """A large map, recorded as its shape and values at flat indices."""
        shape, at, values = (self.recorded(f"{name}_{part}") for part in ("shape", "at", "values"))
        if shape is None or at is None or values is None:
            return
        if tuple(ours.shape) != tuple(shape):
            self.fails(name, f"shape {tuple(ours.shape)} is not {tuple(shape)}")
            return
        self.near(name, ours.flatten()[torch.from_numpy(at)], values)

    def masks(self, name: str, probabilities: Tensor, boxes: Tensor) -> None:
        """Pasted masks: equal but for pixels whose probability is within 1e-4 of the threshold."""
        packed = self.recorded(name)
        if packed is None:
            return
        height, width = self.meta["height"], self.meta["width"]
        theirs = np.unpackbits(packed, axis=-1)[..., :width].astype(bool)
        threshold = self.config.cascade.mask_threshold
        surely_in = paste(probabilities, boxes, height, width, threshold + 1e-4).numpy()
        maybe_in = paste(probabilities, boxes, height, width, threshold - 1e-4).numpy()
        wrong = int((surely_in & ~theirs).sum() + (theirs & ~maybe_in).sum())
        self.lines.append(Line(name, wrong, wrong / max(theirs.sum(), 1), "pixels, 0", wrong == 0))

    def ranked(self, prefix: str, boxes: Tensor, scores: Tensor, labels: Tensor | None = None) -> None:
        """Scored boxes, best first; those whose scores are a tie in float32 may change places."""
        their_boxes, their_scores = self.recorded(f"{prefix}_boxes"), self.recorded(f"{prefix}_scores")
        if their_boxes is None or their_scores is None:
            return
        their_labels = np.zeros(len(their_scores), np.int64)
        if labels is not None:
            recorded = self.recorded(f"{prefix}_labels")
            assert recorded is not None
            their_labels = recorded
        ours = boxes.numpy(), scores.numpy(), np.zeros_like(their_labels)
        if labels is not None:
            ours = boxes.numpy(), scores.numpy(), labels.numpy()
        our_boxes, our_scores, our_labels = ours
        if len(our_scores) != len(their_scores):
            self.fails(prefix, f"{len(our_scores)} boxes, not {len(their_scores)}")
            return
        partner: list[int] = []
        free = set(range(len(our_scores)))
        for i in range(len(their_scores)):
            near = [j for j in free if j == i or abs(float(their_scores[j] - their_scores[i])) < _TIE]
            near = [j for j in near if our_labels[j] == their_labels[i]]
            if not near:
                self.fails(prefix, f"box {i} has no partner of its label and score")
                return
            partner.append(min(near, key=lambda j: float(np.abs(our_boxes[j] - their_boxes[i]).max())))
            free.remove(partner[-1])
        self.near(f"{prefix}_boxes", torch.from_numpy(our_boxes[partner]), their_boxes, 0.01)
        self.near(f"{prefix}_scores", torch.from_numpy(our_scores[partner]), their_scores, 1e-4)

    @torch.no_grad()
    def test_time(self) -> None:
        """Features, RPN, the cascade from the fixed proposals, and image to detections."""
        model, toggles = self.model, self.config.toggles
        features = model.features_of([self.image])
        for i, level in enumerate(features.levels):
            self.sampled(f"fpn{i}", level)
        if features.semantic_logits is not None and features.semantic_feature is not None:
            self.sampled("semantic_logits", features.semantic_logits)
            self.sampled("semantic_feature", features.semantic_feature)
            self.close("loss_semantic", model._semantic_loss(features, [self.targets])[0])
        own = model.propose(features)
        best = len(self.file["rpn_scores"]) if "rpn_scores" in self.file else 0
        self.ranked("rpn", own.rois.boxes[:best], own.scores[:best])

        trace = model.cascade(features, self.proposals, toggles, per_stage_view=False)
        for t, record in enumerate(trace.stages):
            self.close(f"stage{t}_rois", record.rois, 0.01)
            self.close(f"stage{t}_cls", record.class_logits)
            self.close(f"stage{t}_delta", record.deltas)
        self.close("refined", trace.stages[-1].boxes, 0.01)
        self._detections("det", trace)
        self._detections("full", model.cascade(features, own, toggles, per_stage_view=False))
        self._masks_at_truth(features)

    def _detections(self, prefix: str, trace: StageTrace) -> None:
        self.ranked(prefix, trace.boxes, trace.scores, trace.labels)

    def _masks_at_truth(self, features: Features) -> None:
        head, truth, toggles = self.model.roi_head, self.targets, self.config.toggles
        x_mask = head.mask_features(features, RoIs.of([truth.boxes]), toggles)
        logits = head.all_masks(x_mask, truth.labels, toggles)
        self.close("mask_logits", torch.stack(logits))
        self.masks("pasted_last", logits[-1].sigmoid(), truth.boxes)
        self.masks("pasted_mean", torch.stack([m.sigmoid() for m in logits]).mean(dim=0), truth.boxes)

    def training(self) -> None:
        """The losses, with the fixed proposals and every anchor sampled."""
        model, toggles = self.model, self.config.toggles
        features = model.features_of([self.image])
        rpn = model.rpn_head
        usual: RPNConfig = rpn.config
        rpn.config = dataclasses.replace(usual, samples=10**9)
        losses = rpn.losses(rpn(features.levels), features.sizes, [self.targets])
        rpn.config = usual
        # The branch has its loss even where its feature is fused into nothing.
        if features.semantic_logits is not None:
            losses["loss_semantic_seg"], _ = model._semantic_loss(features, [self.targets])
        losses.update(model.roi_head.losses(features, self.proposals.rois, [self.targets], toggles))
        for name in self.file.files:
            if name.startswith("train.") and name.removeprefix("train.") in losses:
                self.close(name, losses[name.removeprefix("train.")])

    def left_over(self) -> None:
        """A recorded quantity that nothing was held against is a failure, not a success."""
        for name in self.file.files:
            if name not in self.compared:
                self.fails(name, "recorded, but not computed here")


def compare(path: Path) -> list[Line]:
    """All lines for one recording."""
    comparison = Comparison(path)
    comparison.test_time()
    comparison.training()
    comparison.left_over()
    return comparison.lines
