"""The whole network: backbone, FPN, RPN, cascade. ``build_model`` is where numbers become modules."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htc_lab.cascade import Cascade
from htc_lab.config import AnyBackboneConfig, ModelConfig, SENetConfig, TimmBackboneConfig, Toggles
from htc_lab.errors import InputError
from htc_lab.layers.backbone import Backbone
from htc_lab.layers.fpn import FPN
from htc_lab.layers.guided_rpn import GuidedRPN
from htc_lab.layers.matching import Draws
from htc_lab.layers.rpn import RPN
from htc_lab.layers.senet import SENet
from htc_lab.layers.timm_backbone import TimmBackbone
from htc_lab.padded_batch import padded_batch, sizes_of
from htc_lab.process_settings import set_up_process
from htc_lab.shared_work import SharedWork
from htc_lab.stage_results import Choice
from htc_lab.stages.semantic import IGNORED_PIXEL, counted_pixels, semantic_loss
from htc_lab.structures import Detections, Features, Losses, Proposals, Targets
from htc_lab.toggles import built_first
from htc_lab.trace import StageTrace
from htc_lab.transfer import fetch


class HybridTaskCascade(nn.Module):
    """Images in, boxes and masks out; with the toggles off, a Cascade Mask R-CNN.

    ``encode`` is heavy and done once an image, ``propose`` is light, ``cascade`` is run once a toggle; the
    three in a row are what ``predict`` does. Images are uint8 or float RGB tensors (3, H, W) on the scale
    0..255, of any size: at test time they are brought to the config's test size. Only ``losses`` and
    ``features_of`` use images at the size they have; a batch may mix sizes.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _backbone(config.backbone)
        self.neck = FPN(self.backbone.out_channels, config.fpn)
        self.rpn_head = _rpn(config)
        self.roi_head = Cascade(config)
        self.class_names: tuple[str, ...] = tuple(f"class {k}" for k in range(config.classes))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @torch.no_grad()
    def encode(self, images: list[Tensor]) -> Features:
        """Backbone, FPN and semantic branch, of pictures as they were read.

        Each picture is brought to the config's test size, keeping its aspect; one that has it already is
        used as it is. What is found comes in the network's pixels (``StageTrace.detections``) or in those of
        the picture (``StageTrace.in_pictures``). No gradient is kept: ``features_of`` does that.

        Args:
            images: (3, H, W) each, of any size.

        Returns:
            The features of the batch, padded at the right and bottom with zeros to a common size.

        Raises:
            InputError: no image, or one that is no RGB image.
        """
        from htc_lab.data.transforms import resize_image

        given = sizes_of(images)
        short, long = self.config.image.short, self.config.image.long
        fitted = [resize_image(image, short, long)[0] for image in images]
        return dataclasses.replace(self.features_of(fitted), pictures=given)

    def features_of(self, images: list[Tensor], canvas: tuple[int, int] = (0, 0)) -> Features:
        """Backbone, FPN and semantic branch, of images at the size they have: what ``encode`` is built on.

        For training, where the data determines the images' size, and for comparisons at a given size.

        Args:
            images: (3, H, W) each.
            canvas: (height, width) px the batch is padded to at least.

        Returns:
            The features of the batch, padded at the right and bottom with zeros to a common size.

        Raises:
            InputError: no image, or one that is no RGB image.
        """
        batch = padded_batch(images, self.config.image, canvas, self.device)
        return self.features_of_maps(self.backbone(batch), sizes_of(images))

    def features_of_maps(self, maps: list[Tensor], sizes: list[tuple[int, int]]) -> Features:
        """What is behind the backbone: FPN and semantic branch.

        Args:
            maps: C2..C5 of a batch, (B, C, H/4, W/4), (B, C, H/8, W/8), ..., as the backbone returns them.
            sizes: (height, width) px of each image, before padding.
        """
        levels = self.neck(maps)
        logits = feature = None
        if self.roi_head.semantic_head is not None:
            logits, feature = self.roi_head.semantic_head(levels)
        return Features(levels, logits, feature, sizes, pictures=sizes)

    @torch.no_grad()
    def propose(self, features: Features) -> Proposals:
        """The RPN's boxes at test time, at most ``config.rpn.test_after_nms`` an image."""
        return self.rpn_head.propose(self.rpn_head(features.levels), features.sizes)

    @torch.no_grad()
    def cascade(
        self,
        features: Features,
        proposals: Proposals,
        toggles: Toggles | None = None,
        per_stage_view: bool = True,
        keep_features: bool = False,
        *,
        choose: Choice | None = None,
        shared: SharedWork | None = None,
    ) -> StageTrace:
        """Run the stages and say everything they saw and said.

        Args:
            features, proposals: from ``encode`` and ``propose``, or proposals of your own.
            toggles: default: what the model was trained with.
            per_stage_view: also take each stage's masks on the boxes it had at its turn.
            keep_features: keep the pooled RoI features in the trace.
            choose: of the detections, those to be in the trace, by their scores; see ``Cascade.forward``.
            shared: given to several calls with the same features and proposals, it makes them share what
                their toggles have in common; the traces are those of calls without it.

        Raises:
            InputError: the weights can't serve the toggles.
        """
        toggles = toggles or self.config.toggles
        trace: StageTrace = self.roi_head(
            features, proposals, toggles, per_stage_view, keep_features, choose, shared
        )
        return trace

    @contextmanager
    def at_test_time(self, bf16: bool = False) -> Iterator[None]:
        """While inside, batch norm uses its stored statistics; afterwards the model is in its old mode.

        Args:
            bf16: convolutions and linear layers in bfloat16, which has 8 bits of precision and, where the
                processor has units for it, a multiple of the speed.
        """
        was_training = self.training
        self.eval()
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                yield
        finally:
            self.train(was_training)

    @torch.no_grad()
    def trace(
        self,
        images: list[Tensor],
        toggles: Toggles | None = None,
        per_stage_view: bool = True,
        bf16: bool = False,
    ) -> StageTrace:
        """``encode``, ``propose`` and ``cascade`` in one, whatever mode the model is in.

        Args:
            images: (3, H, W) each, of any size.
            toggles: default: what the model was trained with.
            per_stage_view: also take each stage's masks on the boxes it had at its turn.
            bf16: as for ``at_test_time``.

        Raises:
            InputError: no image, one that is no RGB image, or toggles the weights can't serve.
        """
        with self.at_test_time(bf16):
            features = self.encode(images)
            return self.cascade(features, self.propose(features), toggles, per_stage_view)

    @torch.no_grad()
    def predict(
        self, images: list[Tensor], toggles: Toggles | None = None, bf16: bool = False
    ) -> list[Detections]:
        """Detections for images of any size, in the pixels of the image that was given.

        Args:
            images, toggles, bf16: as for ``trace``.

        Raises:
            InputError: as by ``trace``.
        """
        trace = self.trace(images, toggles, per_stage_view=False, bf16=bf16)
        return list(trace.in_pictures(self.config.cascade.mask_threshold))

    def losses(
        self,
        images: list[Tensor],
        targets: list[Targets],
        toggles: Toggles | None = None,
        generator: Draws = None,
        canvas: tuple[int, int] = (0, 0),
    ) -> Losses:
        """All training losses as named scalars: RPN, semantic, and three a stage (eq. 7).

        Args:
            images: (3, H, W) each, used at the size they have.
            targets: one an image, at the same size.
            toggles: default: the config's.
            generator: draws the samples (on the CPU): one for all images, or one for each; the global one
                where None.
            canvas: as for ``features_of``.

        Returns:
            ``loss_rpn_cls``, ``loss_rpn_bbox``, ``loss_semantic_seg``, ``s0.loss_cls``, ``s0.loss_bbox``,
            ``s0.loss_mask``, ... and the accuracies ``s0.acc``, ...: train on the sum of those with "loss" in
            their name (:func:`total_loss`).

        Raises:
            InputError: the weights can't serve the toggles, or a target has no semantic map where
                the branch needs one.
        """
        return self._losses(self.features_of(images, canvas), targets, toggles, generator)

    def losses_of_maps(
        self,
        maps: list[Tensor],
        sizes: list[tuple[int, int]],
        targets: list[Targets],
        toggles: Toggles | None = None,
        generator: Draws = None,
    ) -> Losses:
        """:meth:`losses`, of images of which the backbone's maps are known already.

        Args:
            maps, sizes: as for ``features_of_maps``.
            targets, toggles, generator: as for ``losses``.

        Raises:
            InputError: as by ``losses``.
        """
        return self._losses(self.features_of_maps(maps, sizes), targets, toggles, generator)

    def _losses(
        self, features: Features, targets: list[Targets], toggles: Toggles | None, generator: Draws
    ) -> Losses:
        toggles = toggles or self.config.toggles
        # Before the targets go to the device, where this check would have to wait.
        for i, target in enumerate(targets):
            if len(target.boxes) and not bool((target.boxes[:, 2:] > target.boxes[:, :2]).all()):
                raise InputError(
                    f"targets[{i}].boxes: a box has no width or no height; leave such objects out"
                )
        targets = [target.to(self.device) for target in targets]
        outputs = self.rpn_head(features.levels)
        losses = self.rpn_head.losses(outputs, features.sizes, targets, generator)
        if toggles.semantic:
            self.roi_head.check(toggles)
            losses.add("loss_semantic_seg", *self._semantic_loss(features, targets))
        rois = self.rpn_head.propose(outputs, features.sizes, training=True).rois
        losses.join(self.roi_head.losses(features, rois, targets, toggles, generator))
        return losses

    def _semantic_loss(self, features: Features, targets: list[Targets]) -> tuple[Tensor, int]:
        """The loss, and the number of pixels it is averaged over."""
        assert features.semantic_logits is not None
        config = self.config.semantic
        stride = self.config.fpn.strides[config.level]
        height, width = (side * stride for side in features.semantic_logits.shape[-2:])
        maps = []
        for i, target in enumerate(targets):
            if target.semantic is None:
                raise InputError(
                    f"targets[{i}].semantic is None, but the semantic branch is on: give a map "
                    "(htc_lab.data.semantic.semantic_from_instances makes one) or switch the branch off"
                )
            h, w = target.semantic.shape
            maps.append(F.pad(target.semantic, (0, width - w, 0, height - h), value=IGNORED_PIXEL))
        stacked = torch.stack(maps)
        pixels = int(fetch(counted_pixels(stacked, stride, config)))
        return semantic_loss(features.semantic_logits, stacked, stride, config), pixels


def _backbone(config: AnyBackboneConfig) -> Backbone | SENet | TimmBackbone:
    if isinstance(config, TimmBackboneConfig):
        return TimmBackbone(config)
    return SENet(config) if isinstance(config, SENetConfig) else Backbone(config)


def _rpn(config: ModelConfig) -> RPN | GuidedRPN:
    channels, strides, guided = config.fpn.channels, config.fpn.strides, config.rpn.guided
    if guided is None:
        return RPN(channels, strides, config.rpn)
    return GuidedRPN(channels, strides, config.rpn, guided)


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """The sum of all losses in the dict; accuracies are left out."""
    return torch.stack([value for name, value in losses.items() if "loss" in name]).sum()


def build_model(config: ModelConfig, seed: int | None = None) -> HybridTaskCascade:
    """The network of ``config`` with fresh weights.

    Args:
        config: a preset, or one made from it with ``dataclasses.replace``.
        seed: makes the weights reproducible without touching torch's global generator. Two configs that
            differ only in their toggles then start from the same weights wherever they share a part.
    """
    set_up_process()
    if seed is None:
        return HybridTaskCascade(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        toggles = built_first(config.toggles)
        whole = HybridTaskCascade(dataclasses.replace(config, toggles=toggles))
        if config.toggles == toggles:
            return whole
        model = HybridTaskCascade(config)
    shared = whole.state_dict()
    model.load_state_dict({name: shared[name] for name in model.state_dict()})
    return model
