"""The gradients of one training step: in one process, or in several that share the batch.

A loss is a mean over samples: anchors, RoIs, pixels. The mean over the whole batch is not the mean of the
processes' means, because one process may have three objects and another thirty. So the processes exchange
their counts, and each weights its losses by its share of the samples: the combined gradients are then those
that a single process would compute from the whole batch.
"""

import math
from contextlib import nullcontext
from typing import NoReturn, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from htc_lab.data.dataset import Sample
from htc_lab.distributed import SharedError, Team
from htc_lab.errors import InputError
from htc_lab.layers.norm import has_batch_norm
from htc_lab.model import HybridTaskCascade, total_loss
from htc_lab.padded_batch import padded_maps
from htc_lab.schedule import Schedule
from htc_lab.train.batches import StepBatch, seeded
from htc_lab.train.feature_crops import MapSample
from htc_lab.train.run_folder import RunLog
from htc_lab.train.stopped_batch import save_batch


class _Losses(nn.Module):
    """The model's losses as a forward pass that DistributedDataParallel can hook into."""

    def __init__(self, model: HybridTaskCascade, amp: bool) -> None:
        super().__init__()
        self.model, self.amp = model, amp

    def forward(
        self, samples: list[Sample | MapSample], draws: list[torch.Generator], canvas: tuple[int, int]
    ) -> tuple[dict[str, Tensor], dict[str, int]]:
        targets = [s.targets for s in samples]
        images = [s.image for s in samples if isinstance(s, Sample)]
        maps = [s.maps for s in samples if isinstance(s, MapSample)]
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.amp):
            if maps:
                batch, sizes = padded_maps(maps, canvas, self.model.device), [s.size for s in samples]
                losses = self.model.losses_of_maps(batch, sizes, targets, generator=draws)
            else:
                losses = self.model.losses(images, targets, generator=draws, canvas=canvas)
        # A plain dict, in which DistributedDataParallel finds the tensors.
        return dict(losses), losses.counts


class GradientStep:
    """The forward and backward pass of a step."""

    def __init__(self, model: HybridTaskCascade, schedule: Schedule, seed: int, team: Team) -> None:
        """See the class.

        Args:
            model: on its device, in training mode.
            schedule: only its ``accumulate`` and ``amp`` are used here.
            seed: for sampling.
            team: the processes that share each batch.
        """
        self.parts, self.seed, self.team = schedule.accumulate, seed, team
        self.losses: nn.Module = _Losses(model, schedule.amp)
        if team.size > 1:
            self.losses = DistributedDataParallel(
                self.losses,
                process_group=team.gradients,
                # Statistics that a batch changes must be the same in all processes; otherwise those saved
                # would depend on which process saves.
                broadcast_buffers=not model.config.backbone.frozen_norm or has_batch_norm(model),
                gradient_as_bucket_view=True,
            )

    def backward(self, step: int, batch: StepBatch, log: RunLog) -> dict[str, float]:
        """Add the step's gradients to the weights' ``grad``.

        Args:
            step: from 0.
            batch: this process's share.
            log: gets a report of images that could not be read.

        Returns:
            ``loss`` and each loss and accuracy, over the whole batch, the same in all processes.

        Raises:
            SharedError: too many images are unreadable, or the loss is NaN or infinite.
        """
        alarm = log.new(batch.unreadable) or batch.lacking > 0
        if self.team.largest([int(alarm)])[0]:
            log.report(step + 1, batch.unreadable, batch.lacking)
        own = len(batch.samples) // self.parts
        metrics: dict[str, float] = {}
        for part in range(self.parts):
            here = slice(part * own, (part + 1) * own)
            for name, value in self._part(step, batch, here, log).items():
                metrics[name] = metrics.get(name, 0.0) + value / self.parts
        return metrics

    def _part(self, step: int, batch: StepBatch, here: slice, log: RunLog) -> dict[str, float]:
        samples, places = batch.samples[here], batch.places[here]
        draws = [seeded(self.seed, 3, step, place) for place in places]
        # The same padded size for all, since an image's features near its border depend on the padding. It
        # costs no time: the processes wait for the one with the largest images anyway.
        height, width = self.team.largest([max(s.size[0] for s in samples), max(s.size[1] for s in samples)])
        alone, last = self.team.size == 1, here.stop == len(batch.samples)
        quiet = nullcontext() if alone or last else cast(DistributedDataParallel, self.losses).no_sync()
        with self.team.listening(), quiet:
            losses, counts = self.losses(samples, draws, (height, width))
            if not alone:
                losses = self._weighed(losses, counts)
            total = total_loss(losses)
            (total / self.parts if self.parts > 1 else total).backward()
            # Only now, so that a GPU is busy with the backward pass while we wait for its numbers.
            metrics = self._means({"loss": total, **losses})
            if not math.isfinite(metrics["loss"]):
                self.stop(f"the loss is {metrics['loss']}", step, samples, metrics, log)
        return metrics

    def stop(
        self,
        what: str,
        step: int,
        samples: list[Sample | MapSample],
        metrics: dict[str, float],
        log: RunLog,
    ) -> NoReturn:
        """Keep the batch in the run folder and end the training. All processes call it together.

        Args:
            what: the value that is NaN or infinite, in words.
            step: from 0.
            samples: this process's samples of the step.
            metrics: of the step.
            log: of the run.

        Raises:
            SharedError: always; it names the images, the file and how to look at it.
        """
        rank = self.team.rank if self.team.size > 1 else None
        try:
            pictures = [s.with_pixels() if isinstance(s, MapSample) else s for s in samples]
            kept = f"in {save_batch(log.run, pictures, step + 1, metrics, rank)}"
        except InputError as error:
            kept = f"not kept ({error})"
        told = self.team.gather(([str(s.image_id) for s in samples], kept))
        ids = ", ".join(i for own, _ in told for i in own)
        files = ", ".join(file for _, file in told)
        wrong = [name for name, value in metrics.items() if name != "loss" and not math.isfinite(value)]
        losses = f"Not finite: {', '.join(wrong[:3])}{', ...' if len(wrong) > 3 else ''}. " if wrong else ""
        raise SharedError(
            f"{log.run}: {what} at step {step + 1} (image ids {ids}); start a new run with a lower --lr. "
            f"{losses}The batch is {files}; htc_lab.course.lesson07.figures.show_batch(FILE) shows it"
        )

    def _weighed(self, losses: dict[str, Tensor], counts: dict[str, int]) -> dict[str, Tensor]:
        """Losses whose mean over the processes is the mean over all samples."""
        whole = self.team.sums([counts[name] for name in losses])
        return {
            name: value * (counts[name] * self.team.size / max(of_all, 1.0))
            for (name, value), of_all in zip(losses.items(), whole, strict=True)
        }

    def _means(self, values: dict[str, Tensor]) -> dict[str, float]:
        own = torch.stack([v.detach().float() for v in values.values()]).tolist()
        means = [v / self.team.size for v in self.team.sums(own)]
        return dict(zip(values, means, strict=True))
