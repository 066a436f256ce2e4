"""``htc-lab doctor``."""

import json as json_text
import sys
from pathlib import Path

from htc_lab.errors import InputError


def doctor(root: Path = Path(), json: bool = False) -> None:
    """Report what is wrong with this installation and the command that fixes it; exit code 1 if anything is.

    If even this command can't start, ``python -m htc_lab.doctor`` does the same.

    Args:
        root: the folder in which the lab is used, with data/ and runs/.
        json: print the findings as one JSON object.
    """
    from htc_lab.doctor import as_dict, as_text, examine

    if not root.is_dir():
        raise InputError(f"--root {root}: no such folder; name the one that holds data/ and runs/")
    findings = examine(root)
    print(json_text.dumps(as_dict(findings), indent=1) if json else as_text(findings))
    if any(finding.state == "wrong" for finding in findings):
        sys.exit(1)
