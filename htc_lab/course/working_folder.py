"""The folder a notebook runs in."""

import os
from pathlib import Path


def go_to_root() -> Path:
    """Make the folder that contains ``notebooks/`` the working directory, and return it.

    A kernel starts beside its notebook, but ``data/`` and ``runs/`` are one level up. Called again, or from
    a notebook somewhere else, this changes nothing.
    """
    here = Path.cwd()
    if here.name == "notebooks":
        os.chdir(here.parent)
    return Path.cwd()
