"""Which images a step sees, and how they are augmented: a function of (seed, step) and nothing else.

So a resumed run continues exactly the same sequence, all rungs of an ablation see the same pictures, and
several processes together see what a single one would see alone.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch.utils.data import DataLoader, Dataset

from htc_lab.data.dataset import CocoDataset, Sample
from htc_lab.errors import InputError
from htc_lab.train.feature_crops import FeatureCrops, MapSample

# This many unreadable images in a row are no accident: the disk is gone.
_TRIES = 100


def seeded(*numbers: int) -> torch.Generator:
    """A CPU generator that depends on all of the numbers."""
    value = 0
    for number in numbers:
        # splitmix64's step: neighbouring seeds must not give neighbouring streams.
        value = (value ^ number) + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        value = (value ^ value >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        value ^= value >> 31
    return torch.Generator().manual_seed(value & 0x7FFFFFFFFFFFFFFF)


@lru_cache(maxsize=4)
def _shuffled(count: int, seed: int, epoch: int) -> list[int]:
    order: list[int] = torch.randperm(count, generator=seeded(seed, 1, epoch)).tolist()
    return order


@dataclass(frozen=True)
class Share:
    """A process's part of every batch.

    Attributes:
        rank, size: which process, of how many.
        parts: each batch is processed in this many parts, one after the other; the process has its share of
            each part.
    """

    rank: int = 0
    size: int = 1
    parts: int = 1

    def places(self, batch: int) -> list[int]:
        """Its indices in a batch, part by part; those of all ranks together are 0..batch-1, each once."""
        part = batch // self.parts
        own = part // self.size
        return [p * part + self.rank * own + i for p in range(self.parts) for i in range(own)]


ALL = Share()


@dataclass(frozen=True)
class StepBatch:
    """What a process sees in one step.

    Attributes:
        samples: its images, part by part.
        places: the index of each in the whole batch.
        unreadable: ids of images that could not be read, and why; each was replaced by the next image in the
            epoch's order.
        lacking: the number of images for which no replacement could be read either.
    """

    samples: list[Sample | MapSample]
    places: list[int]
    unreadable: dict[int, str]
    lacking: int

    def pin_memory(self) -> "StepBatch":
        """Called by a loader with ``pin_memory`` on batches of a type it doesn't know."""
        return replace(self, samples=[sample.pin_memory() for sample in self.samples])


class BatchOfStep(Dataset[StepBatch]):
    """Item ``step`` is the batch of that step: images in a new random order each epoch, augmented.

    With ``alike``, a batch has either only upright images or only others, so that little padding is needed.
    Each kind goes through its own epochs and gets steps in proportion to its size, evenly spread.
    """

    def __init__(
        self,
        dataset: CocoDataset | FeatureCrops,
        batch: int,
        steps: int,
        seed: int,
        share: Share = ALL,
        alike: bool = False,
    ) -> None:
        self.dataset, self.batch, self.steps, self.seed, self.share = dataset, batch, steps, seed, share
        upright = [alike and image["height"] > image["width"] for image in dataset.images]
        self.kinds = [[i for i, u in enumerate(upright) if u == kind] for kind in (False, True)]
        self.offset = int(torch.randint(len(upright), (), generator=seeded(seed, 4)))

    def __len__(self) -> int:
        return self.steps

    def _kind(self, step: int) -> tuple[list[int], int]:
        """The images the step draws from, and the number of its batch among theirs."""
        total, upright = len(self.dataset), len(self.kinds[True])
        before = (step * upright + self.offset) // total
        after = ((step + 1) * upright + self.offset) // total
        return (self.kinds[True], before) if after > before else (self.kinds[False], step - before)

    def __getitem__(self, step: int) -> StepBatch:
        images, number = self._kind(step)
        samples, unreadable = {}, {}
        places = self.share.places(self.batch)
        for place in places:
            epoch, within = divmod(number * self.batch + place, len(images))
            order = _shuffled(len(images), self.seed, epoch)
            for attempt in range(min(len(images), _TRIES)):
                index = images[order[(within + attempt) % len(images)]]
                try:
                    samples[place] = self.dataset.get(index, seeded(self.seed, 2, epoch, index))
                    break
                except InputError as error:
                    unreadable[self.dataset.images[index]["id"]] = str(error)
        return StepBatch(list(samples.values()), list(samples), unreadable, len(places) - len(samples))


def batches(source: BatchOfStep, first: int, workers: int, device: str = "cpu") -> DataLoader[StepBatch]:
    """The batches from step ``first`` to the last, read by ``workers`` processes (0: by this one).

    For a CUDA ``device`` they are in pinned memory, where the next batch can wait while the GPU works.
    """
    loader: DataLoader[StepBatch] = DataLoader(
        source,
        batch_size=None,
        sampler=range(first, len(source)),
        num_workers=workers,
        pin_memory=torch.device(device).type == "cuda",
    )
    return loader
