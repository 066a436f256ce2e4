"""Run our model on a recorded case and compare every recorded quantity."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from htc_lab.config import ModelConfig, RPNConfig
from htc_lab.engine.checkpoint import empty_model, fill
from htc_lab.errors import InputError
from htc_lab.layers.pasting import paste
from htc_lab.model import HybridTaskCascade
from htc_lab.presets import PRESETS
from htc_lab.structures import Features, Proposals, RoIs, Targets
from htc_lab.trace import StageTrace
from tests.oracle import recipe

# Our preset for each config of the reference.
CONFIGS = {
    "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py": "cascade_r50_1x",
    "htc/htc_r50_fpn_1x_coco.py": "htc_r50_1x",
    "htc/htc-without-semantic_r50_fpn_1x_coco.py": "htc_without_semantic_r50_1x",
    "htc/htc_r101_fpn_20e_coco.py": "htc_r101_20e",
    "htc/htc_x101-32x4d_fpn_16xb1-20e_coco.py": "htc_x101_32x4d_20e",
    "htc/htc_x101-64x4d_fpn_16xb1-20e_coco.py": "htc_x101_64x4d_20e",
    "htc/htc_x101-64x4d-dconv-c3-c5_fpn_ms-400-1400-16xb1-20e_coco.py": "htc_x101_64x4d_dcn_ms_20e",
}


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


def config_of(meta: dict[str, Any], path: Path) -> ModelConfig:
    """Our config for a recorded one.

    Raises:
        InputError: a config or an override this program can't express.
    """
    if meta["config"] not in CONFIGS:
        raise InputError(f"{path}: config '{meta['config']}' is not among {', '.join(CONFIGS)}")
    config = PRESETS[CONFIGS[meta["config"]]]
    toggles = config.toggles
    for name, value in meta["overrides"].items():
        match name.removeprefix("model.roi_head."):
            case "interleaved":
                toggles = dataclasses.replace(toggles, interleaved=value)
            case "mask_info_flow":
                toggles = dataclasses.replace(toggles, mask_flow=value)
            case "semantic_fusion":
                toggles = dataclasses.replace(
                    toggles, semantic_box="bbox" in value, semantic_mask="mask" in value
                )
            case _:
                raise InputError(f"{path}: override '{name}' is not one this program knows")
    return dataclasses.replace(config, toggles=toggles)


class Comparison:
    """One case: the rebuilt model, its inputs, and a line for each quantity."""

    def __init__(self, path: Path) -> None:
        self.file = np.load(path)
        self.meta = json.loads(str(self.file["meta"]))
        self.lines: list[Line] = []
        meta = self.meta
        self.config = config_of(meta, path)
        shapes = {name: tuple(shape) for name, shape in meta["shapes"].items()}
        has_flow = any(".conv_res." in name for name in shapes)
        built_with = dataclasses.replace(self.config.toggles, mask_flow=has_flow)
        self.model: HybridTaskCascade = empty_model(dataclasses.replace(self.config, toggles=built_with))
        weights = {n: torch.from_numpy(recipe.weight(n, s, meta["seed"])) for n, s in shapes.items()}
        fill(self.model, weights, str(path))
        self.model.eval()
        height, width, seed = meta["height"], meta["width"], meta["seed"]
        self.image = torch.from_numpy(recipe.image(height, width, seed)).permute(2, 0, 1)
        boxes, labels, masks, semantic = recipe.ground_truth(
            height, width, meta["count"], self.config.classes, seed
        )
        self.targets = Targets(*map(torch.from_numpy, (boxes, labels, masks, semantic)))
        fixed = torch.from_numpy(recipe.proposals(boxes, height, width, meta["proposals"], seed))
        self.proposals = Proposals(RoIs.of([fixed]), torch.ones(len(fixed)))

    def close(
        self, name: str, ours: Tensor | float, theirs: np.ndarray, absolute: float | None = None
    ) -> None:
        """Relative 1e-4 (against the quantity's own scale) unless an absolute tolerance is given."""
        a = np.asarray(ours.detach() if isinstance(ours, Tensor) else ours, np.float64)
        b = np.asarray(theirs, np.float64)
        if a.shape != b.shape:
            self.lines.append(Line(name, np.inf, np.inf, f"shape {a.shape} is not {b.shape}", False))
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
        shape = tuple(self.file[f"{name}_shape"])
        if tuple(ours.shape) != shape:
            self.lines.append(Line(name, np.inf, np.inf, f"shape {tuple(ours.shape)} is not {shape}", False))
            return
        self.close(
            name, ours.flatten()[torch.from_numpy(self.file[f"{name}_at"])], self.file[f"{name}_values"]
        )

    def masks(self, name: str, packed: np.ndarray, probabilities: Tensor, boxes: Tensor) -> None:
        """Pasted masks: equal but for pixels whose probability is within 1e-4 of the threshold."""
        height, width = self.meta["height"], self.meta["width"]
        theirs = np.unpackbits(packed, axis=-1)[..., :width].astype(bool)
        surely_in = paste(probabilities, boxes, height, width, 0.5 + 1e-4).numpy()
        maybe_in = paste(probabilities, boxes, height, width, 0.5 - 1e-4).numpy()
        wrong = int((surely_in & ~theirs).sum() + (theirs & ~maybe_in).sum())
        self.lines.append(Line(name, wrong, wrong / max(theirs.sum(), 1), "pixels, 0", wrong == 0))

    def detections(self, prefix: str, trace: StageTrace) -> None:
        """Detections in order; neighbours whose scores differ by less than 1e-5 may change places."""
        boxes, scores, labels = (self.file[f"{prefix}_{k}"] for k in ("boxes", "scores", "labels"))
        if len(boxes) != len(trace.scores):
            text = f"{len(trace.scores)} detections, not {len(boxes)}"
            self.lines.append(Line(prefix, np.inf, np.inf, text, False))
            return
        ours_boxes, ours_scores, ours_labels = (t.numpy() for t in (trace.boxes, trace.scores, trace.labels))
        partner, free = [], set(range(len(boxes)))
        for i in range(len(boxes)):
            near = [j for j in free if abs(float(scores[j]) - float(scores[i])) < 1e-5 or j == i]
            near = [j for j in near if ours_labels[j] == labels[i]]
            if not near:
                self.lines.append(Line(prefix, np.inf, np.inf, f"detection {i} has no partner", False))
                return
            best = min(near, key=lambda j: float(np.abs(ours_boxes[j] - boxes[i]).max()))
            partner.append(best)
            free.remove(best)
        self.close(f"{prefix}_boxes", torch.from_numpy(ours_boxes[partner]), boxes, 0.01)
        self.close(f"{prefix}_scores", torch.from_numpy(ours_scores[partner]), scores, 1e-4)

    @torch.no_grad()
    def test_time(self) -> None:
        """Features, RPN, the cascade from the fixed proposals, and image to detections."""
        model, file = self.model, self.file
        features = model.encode([self.image])
        for i, level in enumerate(features.levels):
            self.sampled(f"fpn{i}", level)
        if features.semantic_logits is not None and features.semantic_feature is not None:
            self.sampled("semantic_logits", features.semantic_logits)
            self.sampled("semantic_feature", features.semantic_feature)
            self.close("loss_semantic", model._semantic_loss(features, [self.targets]), file["loss_semantic"])
        own = model.propose(features)
        best = len(file["rpn_boxes"])
        self.close("rpn_boxes", own.rois.boxes[:best], file["rpn_boxes"], 0.01)
        self.close("rpn_scores", own.scores[:best], file["rpn_scores"], 1e-4)

        trace = model.cascade(features, self.proposals, self.config.toggles, per_stage_view=False)
        for t, record in enumerate(trace.stages):
            self.close(f"stage{t}_rois", record.rois, file[f"stage{t}_rois"], 0.01)
            self.close(f"stage{t}_cls", record.class_logits, file[f"stage{t}_cls"])
            self.close(f"stage{t}_delta", record.deltas, file[f"stage{t}_delta"])
        self.close("refined", trace.stages[-1].boxes, file["refined"], 0.01)
        self.detections("det", trace)
        self.detections("full", model.cascade(features, own, self.config.toggles, per_stage_view=False))
        self._masks_at_truth(features)

    def _masks_at_truth(self, features: Features) -> None:
        head, truth = self.model.roi_head, self.targets
        x_mask = head.mask_features(features, RoIs.of([truth.boxes]), self.config.toggles)
        logits = head.all_masks(x_mask, truth.labels, self.config.toggles)
        self.close("mask_logits", torch.stack(logits), self.file["mask_logits"])
        self.masks("pasted_last", self.file["pasted_last"], logits[-1].sigmoid(), truth.boxes)
        mean = torch.stack([m.sigmoid() for m in logits]).mean(dim=0)
        self.masks("pasted_mean", self.file["pasted_mean"], mean, truth.boxes)

    def training(self) -> None:
        """The losses, with the fixed proposals and every anchor sampled."""
        model = self.model
        features = model.encode([self.image])
        rpn = model.rpn_head
        usual: RPNConfig = rpn.config
        rpn.config = dataclasses.replace(usual, samples=10**9)
        losses = rpn.losses(rpn(features.levels), features.sizes, [self.targets])
        rpn.config = usual
        if self.config.toggles.semantic:
            losses["loss_semantic_seg"] = model._semantic_loss(features, [self.targets])
        losses.update(
            model.roi_head.losses(features, self.proposals.rois, [self.targets], self.config.toggles)
        )
        recorded = {n.removeprefix("train."): self.file[n] for n in self.file.files if n.startswith("train.")}
        for name, value in recorded.items():
            self.close(f"train.{name}", losses.get(name, torch.tensor(torch.nan)), value)


def compare(path: Path) -> list[Line]:
    """All lines for one recording."""
    comparison = Comparison(path)
    comparison.test_time()
    comparison.training()
    return comparison.lines
