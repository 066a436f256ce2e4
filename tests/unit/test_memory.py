"""What counts as want of memory, and what is advised."""

from pathlib import Path

import pytest
import torch

from htc_lab.errors import InputError
from htc_lab.schedule import Schedule
from htc_lab.train.out_of_memory import is_out_of_memory, memory_explained

# As torch words it; nothing here has a GPU to run out of.
CUDA = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity ..."
)


@pytest.mark.parametrize(
    "error",
    [
        CUDA,
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you ..."
        ),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("could not create a primitive"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_want_of_memory_is_known(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("could not create a primitive descriptor for ..."),
        OSError(28, "No space left"),
        ValueError("memory"),
    ],
)
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)) as raised, memory_explained(Path("run"), Schedule(), 1, 0, "cpu"):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    ("schedule", "processes", "workers", "says"),
    [
        (Schedule(batch=16), 1, 0, "with --accumulate 2, which splits the 16 images of a step into 2 parts"),
        (
            Schedule(batch=16, accumulate=2),
            1,
            4,
            "with --accumulate 4, .*fewer --workers \\(now 4\\) help too",
        ),
        (Schedule(batch=16), 8, 0, "with --accumulate 2, which splits the 2 images of a step"),
        (Schedule(batch=9), 1, 0, "with --accumulate 3,"),
        (Schedule(batch=8), 8, 0, "one image at a time already: .* and --init run"),
        (Schedule(batch=2, accumulate=2), 1, 0, "one image at a time already"),
    ],
)
def test_the_advice_can_be_followed(schedule: Schedule, processes: int, workers: int, says: str) -> None:
    with (
        pytest.raises(
            InputError, match=f"^run: out of memory on cuda:0 \\(CUDA out of memory. .*{says}"
        ) as raised,
        memory_explained(Path("run"), schedule, processes, workers, "cuda:0"),
    ):
        raise CUDA
    assert "\n" not in str(raised.value)
