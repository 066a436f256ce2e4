"""Which images a step sees, and how they are changed: a function of (seed, step) and nothing else.

So a resumed run continues the very sequence, and all rungs of an ablation see the same pictures.
"""

import torch
from torch.utils.data import DataLoader, Dataset

from htc_lab.data.dataset import CocoDataset, Sample


def seeded(*numbers: int) -> torch.Generator:
    """A CPU generator that depends on all the numbers."""
    value = 0
    for number in numbers:
        # splitmix64's step: neighbouring seeds must not give neighbouring streams.
        value = (value ^ number) + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        value = (value ^ value >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        value ^= value >> 31
    return torch.Generator().manual_seed(value & 0x7FFFFFFFFFFFFFFF)


class BatchOfStep(Dataset[list[Sample]]):
    """Item ``step`` is the batch of that step: images in a new random order each epoch, augmented."""

    def __init__(self, dataset: CocoDataset, batch: int, steps: int, seed: int) -> None:
        self.dataset, self.batch, self.steps, self.seed = dataset, batch, steps, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> list[Sample]:
        samples = []
        for place in range(step * self.batch, (step + 1) * self.batch):
            epoch, within = divmod(place, len(self.dataset))
            order = torch.randperm(len(self.dataset), generator=seeded(self.seed, 1, epoch))
            index = int(order[within])
            samples.append(self.dataset.get(index, seeded(self.seed, 2, epoch, index)))
        return samples


def batches(
    dataset: CocoDataset, batch: int, first: int, steps: int, seed: int, workers: int
) -> DataLoader[list[Sample]]:
    """The batches of steps ``first`` to ``steps - 1``, read by ``workers`` processes (0: by this one)."""
    source = BatchOfStep(dataset, batch, steps, seed)
    loader: DataLoader[list[Sample]] = DataLoader(
        source, batch_size=None, sampler=range(first, steps), num_workers=workers
    )
    return loader
