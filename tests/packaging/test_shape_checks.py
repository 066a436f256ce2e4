"""Under pytest the shapes written in the annotations are checked; everywhere else they cost nothing."""

import subprocess
import sys

import pytest
import torch
from jaxtyping import TypeCheckError

from htc_lab.structures import Targets

FIVE_COLUMNS = (
    "Targets(torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64), torch.zeros(2, 4, 4, dtype=torch.uint8))"
)


def test_a_wrong_shape_is_caught_under_pytest():
    with pytest.raises(TypeCheckError):
        Targets(torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64), torch.zeros(2, 4, 4, dtype=torch.uint8))


def test_two_sizes_that_must_agree_are_caught_under_pytest():
    with pytest.raises(TypeCheckError):
        Targets(torch.zeros(2, 4), torch.zeros(3, dtype=torch.int64), torch.zeros(2, 4, 4, dtype=torch.uint8))


def test_nothing_is_checked_outside_pytest():
    program = f"import torch; from htc_lab.structures import Targets; {FIVE_COLUMNS}"
    subprocess.run([sys.executable, "-c", program], check=True)
