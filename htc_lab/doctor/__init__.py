"""``htc-lab doctor``: what is wrong with an installation, and the command that fixes it.

It imports nothing but Python itself, so ``python -m htc_lab.doctor`` works even if everything else is broken.
"""

import platform
from pathlib import Path
from typing import Any

from htc_lab.doctor import machine, packages
from htc_lab.doctor.finding import Finding


def examine(root: Path = Path()) -> list[Finding]:
    """All checks, in a fixed order.

    Args:
        root: the folder in which the lab is used, with data/ and runs/.
    """
    return [
        packages.python(),
        *packages.torch(),
        packages.mmcv(),
        packages.opencv(),
        packages.jupyterlab(),
        packages.widgets(),
        machine.models(),
        machine.threads(),
        machine.memory(),
        machine.disk(root),
        machine.folder(root, "data"),
        machine.folder(root, "runs"),
        machine.browser(),
    ]


def as_text(findings: list[Finding]) -> str:
    """One line per finding, and a last one that sums up."""
    wrong, warnings = (sum(f.state == state for f in findings) for state in ("wrong", "warning"))
    last = f"{platform.platform()}: {wrong} wrong, {warnings} warnings"
    return "\n".join([*map(str, findings), last])


def as_dict(findings: list[Finding]) -> dict[str, Any]:
    """For JSON."""
    return {
        "platform": platform.platform(),
        "wrong": sum(f.state == "wrong" for f in findings),
        "warnings": sum(f.state == "warning" for f in findings),
        "findings": [vars(f) for f in findings],
    }
