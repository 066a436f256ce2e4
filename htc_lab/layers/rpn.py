"""Region proposal network: anchors, the head, proposals, and its two losses."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from htc_lab.layers.boxes import decode_deltas, encode_deltas
from htc_lab.layers.conv import convolve
from htc_lab.layers.matching import IGNORED, Draws, draws_of, match, sample
from htc_lab.layers.nms import best_of_each_image
from htc_lab.layers.rpn_config import RPNConfig
from htc_lab.structures import Losses, Proposals, RoIs, Targets
from htc_lab.transfer import fetch, send


def anchor_grid(
    height: int, width: int, stride: int, config: RPNConfig, device: torch.device
) -> Float[Tensor, "n 4"]:
    """Anchors (xyxy px) of one level: cell by cell in rows, for each cell one anchor a ratio.

    Each is centred on its cell's top left corner, or where ``anchor_offset`` says, and has the area
    (scale * stride)^2; the ratio is height over width.
    """
    ratios = send(torch.tensor(config.anchor_ratios), device)
    side = config.anchor_scale * stride
    half_w = side / ratios.sqrt() / 2
    half_h = side * ratios.sqrt() / 2
    base = torch.stack([-half_w, -half_h, half_w, half_h], dim=1)
    y, x = torch.meshgrid(
        (torch.arange(height, device=device) + config.anchor_offset) * stride,
        (torch.arange(width, device=device) + config.anchor_offset) * stride,
        indexing="ij",
    )
    corner = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
    return (corner + base).reshape(-1, 4)


class RPN(nn.Module):
    """Objectness and box deltas for every anchor of every FPN level."""

    def __init__(self, channels: int, strides: tuple[int, ...], config: RPNConfig) -> None:
        super().__init__()
        self.config = config
        self.strides = strides
        anchors = len(config.anchor_ratios)
        self.rpn_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(channels, anchors, 1)
        self.rpn_reg = nn.Conv2d(channels, anchors * 4, 1)
        for layer in (self.rpn_conv, self.rpn_cls, self.rpn_reg):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Per level: objectness logits (B, n), deltas (B, n, 4), anchors (n, 4) xyxy px."""
        logits, deltas, anchors = [], [], []
        for x, stride in zip(levels, self.strides, strict=True):
            hidden = convolve(x, self.rpn_conv.weight, self.rpn_conv.bias, padding=(1, 1), relu=True)
            batch, _, height, width = x.shape
            # Ranking needs more digits than bfloat16 has.
            logits.append(self.rpn_cls(hidden).permute(0, 2, 3, 1).reshape(batch, -1).float())
            deltas.append(self.rpn_reg(hidden).permute(0, 2, 3, 1).reshape(batch, -1, 4).float())
            anchors.append(anchor_grid(height, width, stride, self.config, x.device))
        return logits, deltas, anchors

    @torch.no_grad()
    def propose(
        self,
        outputs: tuple[list[Tensor], list[Tensor], list[Tensor]],
        sizes: list[tuple[int, int]],
        training: bool = False,
    ) -> Proposals:
        """The best boxes of each image after NMS within a level.

        Args:
            outputs: what ``forward`` returned.
            sizes: (height, width) px of each image.
            training: keep the training's number of boxes, which is larger.
        """
        config = self.config
        before = config.train_before_nms if training else config.test_before_nms
        after = config.train_after_nms if training else config.test_after_nms
        limits = send(torch.tensor([(w, h) for h, w in sizes], dtype=torch.float32), outputs[0][0].device)
        found: list[tuple[Tensor, ...]] = []
        for i, limit in enumerate(limits):
            for level, (logits, deltas, anchors) in enumerate(zip(*outputs, strict=True)):
                score, best = best_scores(logits[i].sigmoid(), before)
                box = decoded(anchors[best], deltas[i][best], limit, config)
                found.append((box, score, torch.full_like(best, level), torch.full_like(best, i)))
        return best_of_all_levels(found, len(sizes), after, config)

    def losses(
        self,
        outputs: tuple[list[Tensor], list[Tensor], list[Tensor]],
        sizes: list[tuple[int, int]],
        targets: list[Targets],
        generator: Draws = None,
    ) -> Losses:
        """Those of :func:`anchor_losses`, an anchor being the same in every image."""
        logits, deltas = torch.cat(outputs[0], dim=1), torch.cat(outputs[1], dim=1)
        anchors = torch.cat(outputs[2])
        inside = [inside_image(anchors, height, width, self.config.allowed_border) for height, width in sizes]
        return anchor_losses(logits, deltas, [anchors] * len(sizes), inside, targets, self.config, generator)


def decoded(
    anchors: Float[Tensor, "n 4"], deltas: Float[Tensor, "n 4"], limit: Float[Tensor, "2"], config: RPNConfig
) -> Float[Tensor, "n 4"]:
    """The anchors of an image, moved by their deltas and clipped to its (width, height) px."""
    limits = limit.expand(len(anchors), 2)
    return decode_deltas(anchors, deltas, config.stds, limits, config.means, config.largest_ratio)


def best_of_all_levels(
    found: list[tuple[Tensor, ...]], images: int, most: int, config: RPNConfig
) -> Proposals:
    """Proposals from the boxes of all levels: not too small, after NMS within a level, the best of an image.

    Args:
        found: parts of them, images in order: boxes (n, 4) xyxy px, scores, level and image (n,) of each.
        images: B.
        most: of an image.
        config: the smallest size and the IoU of NMS.
    """
    box, score, level_of, image = (torch.cat(part) for part in zip(*found, strict=True))
    solid = torch.nonzero((box[:, 2:] - box[:, :2] > config.min_size).all(dim=1)).squeeze(1)
    rois, score = RoIs(box[solid], image[solid]), score[solid]
    keep = best_of_each_image(rois, score, level_of[solid], images, config.nms_iou, most)
    return Proposals(rois.select(keep), score[keep])


def anchor_losses(
    logits: Float[Tensor, "B n"],
    deltas: Float[Tensor, "B n 4"],
    anchors: list[Tensor],
    inside: list[Tensor],
    targets: list[Targets],
    config: RPNConfig,
    generator: Draws = None,
) -> Losses:
    """Binary cross-entropy and smooth L1 over the sampled anchors, both divided by their number.

    Args:
        logits, deltas: of all levels.
        anchors: (n, 4) xyxy px, of each image.
        inside: (n,) bool, of each image: those that may be trained.
        targets: of each image.
        config: matching, sampling, box coding, and the weights of the two.
        generator: what draws.
    """
    samples = _sample(anchors, inside, targets, config, generator)
    count = sum(len(drawn) for drawn, _ in samples)
    cls_loss, box_loss = logits.new_zeros(()), logits.new_zeros(())
    for logit, delta, own, target, (drawn, matched) in zip(
        logits, deltas, anchors, targets, samples, strict=True
    ):
        is_object = torch.zeros_like(drawn, dtype=logits.dtype)
        is_object[: len(matched)] = 1
        cls_loss = cls_loss + F.binary_cross_entropy_with_logits(logit[drawn], is_object, reduction="sum")
        positive = drawn[: len(matched)]
        wanted = encode_deltas(own[positive], target.boxes[matched], config.stds, config.means)
        box_loss = box_loss + F.smooth_l1_loss(
            delta[positive], wanted, reduction="sum", beta=config.smooth_l1_beta
        )
    losses = Losses()
    losses.add("loss_rpn_cls", config.cls_weight * cls_loss / max(count, 1), count)
    losses.add("loss_rpn_bbox", config.box_weight * box_loss / max(count, 1), count)
    return losses


@torch.no_grad()
def _sample(
    anchors: list[Tensor], inside: list[Tensor], targets: list[Targets], config: RPNConfig, generator: Draws
) -> list[tuple[Tensor, Tensor]]:
    """For each image the anchors that are drawn, positives first, and the object of each positive."""
    verdicts = []
    for own, trained, target in zip(anchors, inside, targets, strict=True):
        matches = match(
            own,
            target.boxes,
            config.positive_iou,
            config.negative_iou,
            config.low_quality_iou if config.low_quality_matches else None,
            trained[:, None],
        )
        verdicts.append(torch.where(trained, matches.index, IGNORED))
    return draw_anchors(verdicts, config, generator)


def draw_anchors(
    verdicts: list[Tensor], config: RPNConfig, generator: Draws = None
) -> list[tuple[Tensor, Tensor]]:
    """For each image the anchors that are drawn, positives first, and the object of each positive.

    Args:
        verdicts: (n,) int64, of each image, what ``match`` says of its anchors.
        config: how many are drawn.
        generator: what draws.
    """
    drawn, matched = [], []
    # One wait for the whole batch.
    for i, verdict in enumerate(fetch(torch.stack(verdicts))):
        positive, negative = sample(
            verdict,
            config.samples,
            config.positive_fraction,
            draws_of(generator, i),
            config.negatives_per_positive,
        )
        drawn.append(torch.cat([positive, negative]))
        matched.append(verdict[positive])
    device = verdicts[0].device
    return list(zip(_send_all(drawn, device), _send_all(matched, device), strict=True))


def best_scores(scores: Float[Tensor, " n"], most: int) -> tuple[Tensor, Tensor]:
    """The ``most`` highest scores in falling order, and where they stand; all as they are if they fit."""
    if len(scores) <= most:
        return scores, torch.arange(len(scores), device=scores.device)
    score, place = scores.sort(descending=True)
    return score[:most], place[:most]


def _send_all(parts: list[Tensor], device: torch.device) -> tuple[Tensor, ...]:
    """Tensors of the CPU on ``device``, by one copy."""
    return send(torch.cat(parts), device).split([len(part) for part in parts])


def inside_image(anchors: Float[Tensor, "n 4"], height: int, width: int, border: int) -> Bool[Tensor, " n"]:
    """Which anchors extend at most ``border`` px beyond the image; below 0: all."""
    if border < 0:
        return torch.ones(len(anchors), dtype=torch.bool, device=anchors.device)
    return (
        (anchors[:, 0] >= -border)
        & (anchors[:, 1] >= -border)
        & (anchors[:, 2] < width + border)
        & (anchors[:, 3] < height + border)
    )
