"""Where a notebook runs."""

import os
from pathlib import Path


def go_to_root() -> Path:
    """Make the folder that holds ``notebooks/`` the working directory, and return it.

    A kernel starts beside its notebook, but ``data/`` and ``runs/`` lie one floor up. Called again, or from a
    notebook that lies elsewhere, it changes nothing.
    """
    here = Path.cwd()
    if here.name == "notebooks":
        os.chdir(here.parent)
    return Path.cwd()
