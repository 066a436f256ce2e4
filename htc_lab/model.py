"""The whole network: backbone, FPN, RPN, cascade. ``build_model`` is where numbers become modules."""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htc_lab.cascade import Cascade
from htc_lab.config import HTC, ModelConfig, Toggles
from htc_lab.errors import InputError
from htc_lab.layers.backbone import Backbone
from htc_lab.layers.fpn import FPN
from htc_lab.layers.matching import Draws
from htc_lab.layers.rpn import RPN
from htc_lab.process_settings import set_up_process
from htc_lab.stages.semantic import IGNORED_PIXEL, counted_pixels, semantic_loss
from htc_lab.structures import Detections, Features, Losses, Proposals, Targets
from htc_lab.trace import StageTrace
from htc_lab.transfer import fetch, send


class HybridTaskCascade(nn.Module):
    """Images in, boxes and masks out; with the toggles off, a Cascade Mask R-CNN.

    ``encode`` is heavy and done once an image, ``propose`` is light, ``cascade`` is run once a toggle.
    Images are uint8 or float RGB tensors (3, H, W) on the scale 0..255; a batch may mix sizes.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone)
        self.neck = FPN(self.backbone.out_channels, config.fpn)
        self.rpn_head = RPN(config.fpn.channels, config.fpn.strides, config.rpn)
        self.roi_head = Cascade(config)
        self.class_names: tuple[str, ...] = tuple(f"class {k}" for k in range(config.classes))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def encode(self, images: list[Tensor], canvas: tuple[int, int] = (0, 0)) -> Features:
        """Backbone, FPN and semantic branch.

        Args:
            images: (3, H, W) each, used at the size they have; see ``predict`` for resizing.
            canvas: (height, width) px the batch is padded to at least.

        Returns:
            The features of the batch, padded at the right and bottom with zeros to a common size.
        """
        sizes, batch = self._batch(images, canvas)
        levels = self.neck(self.backbone(batch))
        logits = feature = None
        if self.roi_head.semantic_head is not None:
            logits, feature = self.roi_head.semantic_head(levels)
        return Features(levels, logits, feature, sizes)

    def _batch(self, images: list[Tensor], canvas: tuple[int, int]) -> tuple[list[tuple[int, int]], Tensor]:
        if not images:
            raise InputError("encode: the list of images is empty; give at least one (3, H, W) tensor")
        for i, image in enumerate(images):
            if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
                raise InputError(
                    f"encode: image {i} has shape {tuple(image.shape)}; give RGB tensors (3, H, W), not empty"
                )
        pad = self.config.image.pad
        sizes = [(int(image.shape[1]), int(image.shape[2])) for image in images]
        height = -(-max(canvas[0], *(h for h, _ in sizes)) // pad) * pad
        width = -(-max(canvas[1], *(w for _, w in sizes)) // pad) * pad
        mean = send(torch.tensor(self.config.image.mean), self.device).view(3, 1, 1)
        std = send(torch.tensor(self.config.image.std), self.device).view(3, 1, 1)
        # Channels last: convolutions and RoI pooling read long rows in it. The layout spreads from here.
        batch = mean.new_zeros((len(images), height, width, 3)).permute(0, 3, 1, 2)
        for i, image in enumerate(images):
            h, w = sizes[i]
            batch[i, :, :h, :w] = (send(image, self.device).float() - mean) / std
        return sizes, batch

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
    ) -> StageTrace:
        """Run the stages and say everything they saw and said.

        Args:
            features, proposals: from ``encode`` and ``propose``, or proposals of your own.
            toggles: default: what the model was trained with.
            per_stage_view: also take each stage's masks on the boxes it had at its turn.
            keep_features: keep the pooled RoI features in the trace.

        Raises:
            InputError: the weights can't serve the toggles.
        """
        trace: StageTrace = self.roi_head(
            features, proposals, toggles or self.config.toggles, per_stage_view, keep_features
        )
        return trace

    @torch.no_grad()
    def predict(
        self, images: list[Tensor], toggles: Toggles | None = None, bf16: bool = False
    ) -> list[Detections]:
        """Detections for images of any size.

        Each image is brought to the config's test size (keeping its aspect), and boxes and masks come
        back in the pixels of the image that was given. Batch norm uses its stored statistics whatever
        mode the model is in.

        Args:
            images: (3, H, W) each.
            toggles: default: what the model was trained with.
            bf16: convolutions and linear layers in bfloat16, which has 8 bits of precision and, where the
                processor has units for it, a multiple of the speed.
        """
        from htc_lab.data.transforms import resize_image

        was_training = self.training
        self.eval()
        try:
            size = self.config.image
            resized = [resize_image(image, size.short, size.long) for image in images]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                features = self.encode([image for image, _, _ in resized])
                trace = self.cascade(features, self.propose(features), toggles, per_stage_view=False)
        finally:
            self.train(was_training)
        sizes = [(int(image.shape[1]), int(image.shape[2])) for image in images]
        scales = [(x, y) for _, x, y in resized]
        return list(trace.in_pictures(sizes, scales, self.config.cascade.mask_threshold))

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
            canvas: as for ``encode``.

        Returns:
            ``loss_rpn_cls``, ``loss_rpn_bbox``, ``loss_semantic_seg``, ``s0.loss_cls``, ``s0.loss_bbox``,
            ``s0.loss_mask``, ... and the accuracies ``s0.acc``, ...: train on the sum of those with "loss" in
            their name (:func:`total_loss`).

        Raises:
            InputError: the weights can't serve the toggles, or a target has no semantic map where
                the branch needs one.
        """
        toggles = toggles or self.config.toggles
        features = self.encode(images, canvas)
        # Before the targets go to the device: there the answer would have to be waited for.
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
        """The loss, and of how many pixels it is the mean."""
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
        whole = HybridTaskCascade(dataclasses.replace(config, toggles=HTC))
        if config.toggles == HTC:
            return whole
        model = HybridTaskCascade(config)
    shared = whole.state_dict()
    model.load_state_dict({name: shared[name] for name in model.state_dict()})
    return model
