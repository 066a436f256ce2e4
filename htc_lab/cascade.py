"""The cascade: the heads of all stages, run at test time and trained, by the four ideas of ``stages/``."""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from htc_lab.config import ModelConfig, Toggles
from htc_lab.errors import InputError
from htc_lab.layers.box_head import BoxHead
from htc_lab.layers.box_moves import moved_as_each_class
from htc_lab.layers.detection import detect
from htc_lab.layers.mask_head import MaskHead
from htc_lab.layers.mask_targets import mask_targets
from htc_lab.layers.matching import Draws
from htc_lab.layers.roi_pooling import pool, pool_pyramid
from htc_lab.layers.sampling import StageSamples, sample_rois
from htc_lab.shared_work import Run, SharedWork, call
from htc_lab.stage_results import Choice, Found, TrainingStage
from htc_lab.stages import feature_relay, interleaved, mask_flow, plain_cascade, semantic
from htc_lab.structures import Features, Losses, Proposals, RoIs, Targets
from htc_lab.trace import StageRecord, StageTrace
from htc_lab.wording import counted


class Cascade(nn.Module):
    """Box heads, mask heads and the semantic branch (``roi_head`` in the reference's weight names)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        c, channels, toggles = config.cascade, config.fpn.channels, config.toggles
        stages = range(toggles.stages)
        self.bbox_head = nn.ModuleList(
            BoxHead(
                channels,
                c.box_size,
                c.fc_channels,
                c.fcs,
                config.classes,
                convs=c.box_convs,
                conv_channels=c.box_channels,
                norm=c.box_norm,
                class_agnostic=c.class_agnostic,
            )
            for _ in stages
        )
        self.mask_head = nn.ModuleList(
            MaskHead(
                channels,
                c.mask_channels,
                c.mask_convs,
                config.classes,
                toggles.mask_flow and t > 0,
                c.flow_relu,
                c.mask_norm,
            )
            for t in stages
        )
        self.semantic_head = None
        if toggles.semantic:
            self.semantic_head = semantic.SemanticBranch(channels, config.fpn.levels, config.semantic)
        self.feat_relay_head = None
        if toggles.feature_relay:
            self.feat_relay_head = feature_relay.FeatureRelay(c.fc_channels, channels, c.box_size)

    def check(self, toggles: Toggles) -> None:
        """Refuse toggles these weights can't serve.

        Raises:
            InputError: names the toggle and the fix.
        """
        have = self.config.toggles
        if toggles.stages > have.stages:
            raise InputError(
                f"Toggles.stages={toggles.stages}: model '{self.config.name}' has "
                f"{counted(have.stages, 'stage')}; ask for fewer"
            )
        for idea, part in toggles.lacking(have).items():
            raise InputError(
                f"Toggles.{idea.field}: model '{self.config.name}' was built without {part.name}; "
                "switch it off, or load a model trained with it"
            )

    def _box_heads(self, stages: int) -> Sequence[BoxHead]:
        return cast(list[BoxHead], list(self.bbox_head)[:stages])

    def _mask_heads(self, stages: int) -> Sequence[MaskHead]:
        return cast(list[MaskHead], list(self.mask_head)[:stages])

    def _context(self, features: Features, rois: RoIs, size: int) -> Tensor:
        """P(S(x), r): one pooling for boxes and masks, averaged down to the size that is asked for."""
        assert features.semantic_feature is not None
        c = self.config.cascade
        stride = self.config.fpn.strides[self.config.semantic.level]
        average = c.mask_size // size
        return pool(features.semantic_feature, rois, c.mask_size, stride, c.sampling_ratio, average)

    def _pool(self, features: Features, rois: RoIs, size: int, with_context: bool) -> Tensor:
        """P(x, r), and with the semantic branch P(x, r) + P(S(x), r)."""
        c = self.config.cascade
        levels, strides = features.levels[: c.pooled_levels], self.config.fpn.strides[: c.pooled_levels]
        pooled = pool_pyramid(levels, strides, rois, size, c.finest_scale, c.sampling_ratio)
        return semantic.fuse(pooled, self._context(features, rois, size)) if with_context else pooled

    def box_features(self, features: Features, rois: RoIs, toggles: Toggles) -> Float[Tensor, "N C h w"]:
        """x^box of eq. 6 (of eq. 1 with ``semantic_box`` off)."""
        return self._pool(features, rois, self.config.cascade.box_size, toggles.semantic_box)

    def mask_features(
        self, features: Features, rois: RoIs, toggles: Toggles, run: Run = call
    ) -> Float[Tensor, "N C h w"]:
        """x^mask of eq. 6 (of eq. 2 with ``semantic_mask`` off)."""
        size = self.config.cascade.mask_size
        pooled: Tensor = run(self._pool, features, rois, size, toggles.semantic_mask)
        return pooled

    def _relayed(
        self, x_mask: Tensor, features: Features, rois: RoIs, t: int, toggles: Toggles, run: Run = call
    ) -> Float[Tensor, "N C h w"]:
        """x^mask, with the relay also the feature of stage t's box head on the same RoIs."""
        if not toggles.feature_relay:
            return x_mask
        x_box = run(self._pool, features, rois, self.config.cascade.box_size, toggles.semantic_box)
        head = self._box_heads(t + 1)[-1]
        relayed: Tensor = run(feature_relay.fuse, self.feat_relay_head, head, x_mask, x_box)
        return relayed

    def all_masks(
        self, x_mask: Float[Tensor, "N C h w"], labels: Int[Tensor, " N"], toggles: Toggles, run: Run = call
    ) -> list[Float[Tensor, "N side side"]]:
        """Every stage's mask logits on the same RoI features, the channel of each RoI's class."""
        masks = mask_flow.masks_with_flow if toggles.mask_flow else plain_cascade.masks_in_parallel
        return masks(self._mask_heads(toggles.stages), x_mask, labels, run)

    def _stage_masks(
        self,
        x_mask: Float[Tensor, "N C h w"],
        labels: Int[Tensor, " N"],
        t: int,
        toggles: Toggles,
        run: Run = call,
    ) -> Float[Tensor, "N side side"]:
        """Stage t's mask logits (t from 0), the channel of each RoI's class."""
        heads = self._mask_heads(t + 1)
        if toggles.mask_flow:
            return mask_flow.last_mask_with_flow(heads, x_mask, labels, run)
        return plain_cascade.masks_in_parallel(heads[-1:], x_mask, labels, run)[0]

    def refine(
        self, features: Features, proposals: RoIs, stages: int, semantic_box: bool
    ) -> tuple[list[plain_cascade.BoxOutput], list[RoIs]]:
        """Each stage's output, and r_0, r_1, ..., r_T; arguments as for ``find``."""
        c = self.config.cascade
        return plain_cascade.run_box_cascade(
            self._box_heads(stages),
            c.stages[:stages],
            lambda rois: self._pool(features, rois, c.box_size, semantic_box),
            proposals,
            features.sizes,
        )

    def find(
        self,
        features: Features,
        proposals: Proposals,
        stages: int,
        semantic_box: bool,
        choose: Choice | None = None,
    ) -> Found:
        """The box half of a run: boxes refined stage by stage, and which of them are detections.

        Args:
            features: of a batch, from ``for_pooling``.
            proposals: of the same.
            stages, semantic_box: of the toggles, the two that boxes depend on.
            choose: as for ``forward``.
        """
        outputs, boxes = self.refine(features, proposals.rois, stages, semantic_box)
        probabilities = plain_cascade.class_probabilities(outputs)
        c = self.config.cascade
        last, stage = outputs[-1], c.stages[stages - 1]
        of_classes = moved_as_each_class(last.rois, last.deltas, stage, features.sizes)
        picked = detect(boxes[-1], probabilities, len(features.sizes), c, of_classes)
        found = Found(outputs, boxes, *picked, of_classes)
        return found if choose is None else found.chosen(choose)

    def final_masks(
        self, features: Features, rois: RoIs, labels: Tensor, toggles: Toggles, run: Run = call
    ) -> tuple[Float[Tensor, "N C h w"], list[Float[Tensor, "N side side"]]]:
        """The mask half of a run: features of the detections' final boxes, and every stage's mask logits."""
        x_mask = self.mask_features(features, rois, toggles, run)
        x_mask = self._relayed(x_mask, features, rois, toggles.stages - 1, toggles, run)
        return x_mask, self.all_masks(x_mask, labels, toggles, run)

    def forward(
        self,
        features: Features,
        proposals: Proposals,
        toggles: Toggles,
        per_stage_view: bool = True,
        keep_features: bool = False,
        choose: Choice | None = None,
        shared: SharedWork | None = None,
    ) -> StageTrace:
        """Test time: boxes refined stage by stage, then every stage's masks on the final boxes.

        Args:
            features, proposals: of a batch.
            toggles: any the weights can serve.
            per_stage_view: also take each stage's masks on the boxes it had at its turn; without it, the
                trace's ``mask_boxes`` are the final boxes.
            keep_features: keep the pooled RoI features in the trace.
            choose: of the detections, those to be in the trace: no mask is made of another. Given the scores
                (T + 1, D) at each stage and, last, in the result, it returns places (indices or a mask).
            shared: what runs under other toggles have computed of these features and proposals.

        Raises:
            InputError: the weights can't serve the toggles.
        """
        self.check(toggles)
        run = call if shared is None else shared.run
        features = run(Features.for_pooling, features)
        found: Found = run(self.find, features, proposals, toggles.stages, toggles.semantic_box, choose)
        outputs, boxes, labels = found.outputs, found.boxes, found.labels
        final: RoIs = run(Found.final, found)
        final_features, final_masks = self.final_masks(features, final, labels, toggles, run)

        records = []
        for t, output in enumerate(outputs):
            view_rois, view_features, view_masks = final, final_features, final_masks[t]
            seen_on = interleaved.mask_rois(boxes[t], boxes[t + 1], toggles.interleaved)
            # Interleaved, the last stage's turn is on the final boxes: those masks are there already.
            if per_stage_view and seen_on is not boxes[-1]:
                view_rois = run(RoIs.select, seen_on, found.detected)
                view_features = self.mask_features(features, view_rois, toggles, run)
                view_features = self._relayed(view_features, features, view_rois, t, toggles, run)
                view_masks = self._stage_masks(view_features, labels, t, toggles, run)
            records.append(
                StageRecord(
                    rois=output.rois.boxes,
                    class_logits=output.class_logits,
                    deltas=output.deltas_as(),
                    boxes=boxes[t + 1].boxes,
                    mask_boxes=view_rois.boxes,
                    mask_logits=view_masks,
                    final_mask_logits=final_masks[t],
                    box_features=output.features if keep_features else None,
                    mask_features=view_features if keep_features else None,
                )
            )
        return StageTrace(
            toggles=toggles,
            sizes=features.sizes,
            pictures=features.pictures,
            proposals=proposals,
            stages=tuple(records),
            detected=found.detected,
            labels=labels,
            scores=found.scores,
            boxes=final.boxes,
            mask_probabilities=plain_cascade.mask_probabilities(final_masks, toggles.average_masks),
        )

    def training_stages(
        self,
        features: Features,
        rois: RoIs,
        targets: list[Targets],
        toggles: Toggles,
        generator: Draws = None,
    ) -> Iterator[TrainingStage]:
        """Each stage in training: the RoIs drawn for it, what its box head says, and those for its masks.

        Args:
            features: of a batch, from ``for_pooling``.
            rois: the proposals, r_0.
            targets, toggles, generator: as for ``losses``.
        """
        c, classes = self.config.cascade, self.config.classes
        heads = self._box_heads(toggles.stages)
        for head, stage in zip(heads, c.stages[: toggles.stages], strict=True):
            samples = sample_rois(rois, targets, stage, c, classes, generator)
            output = plain_cascade.look_at_boxes(
                head, lambda r: self.box_features(features, r, toggles), samples.rois
            )
            refined = plain_cascade.refine(output, stage, features.sizes, samples.labels)
            rois = interleaved.refined_samples(samples, refined)
            for_masks = interleaved.samples_for_masks(
                samples, rois, targets, stage, c, classes, toggles.interleaved, generator
            )
            yield TrainingStage(stage, samples, output, for_masks)

    def losses(
        self,
        features: Features,
        rois: RoIs,
        targets: list[Targets],
        toggles: Toggles,
        generator: Draws = None,
    ) -> Losses:
        """L_cls, L_reg and L_mask of each stage, weighted by alpha_t (eq. 7): ``s0.loss_cls`` and so on.

        ``s0.acc`` and the like are the share of sampled RoIs classified right, in percent, without gradient.
        """
        self.check(toggles)
        features = features.for_pooling()
        c = self.config.cascade
        losses = Losses()
        for t, seen in enumerate(self.training_stages(features, rois, targets, toggles, generator)):
            samples, output, weight = seen.samples, seen.output, seen.stage.loss_weight
            cls_loss, box_loss = plain_cascade.box_losses(output, samples, seen.stage, c)
            mask_loss = self._mask_loss(features, seen.for_masks, targets, t, toggles)
            count = len(samples.rois)
            losses.add(f"s{t}.loss_cls", weight * c.cls_weight * cls_loss, count)
            losses.add(f"s{t}.loss_bbox", weight * c.box_weight * box_loss, count)
            losses.add(f"s{t}.loss_mask", weight * c.mask_weight * mask_loss, len(seen.for_masks.rois))
            right = output.class_logits.detach().argmax(dim=1) == samples.labels
            share = 100 * right.float().mean() if len(right) else right.float().sum()
            losses.add(f"s{t}.acc", share, count)
        return losses

    def _mask_loss(
        self, features: Features, samples: StageSamples, targets: list[Targets], t: int, toggles: Toggles
    ) -> Tensor:
        x_mask = self.mask_features(features, samples.rois, toggles)
        x_mask = self._relayed(x_mask, features, samples.rois, t, toggles)
        logits = self._stage_masks(x_mask, samples.labels, t, toggles)
        counts = torch.bincount(samples.image, minlength=len(targets)).tolist()
        truth, boxes = samples.truth.split(counts), samples.rois.boxes.split(counts)
        wanted = [
            mask_targets(target.masks, index, box, logits.shape[-1]).to(logits.dtype)
            for target, index, box in zip(targets, truth, boxes, strict=True)
        ]
        return plain_cascade.mask_loss(logits, torch.cat(wanted))
