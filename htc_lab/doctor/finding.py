"""What a check of the doctor finds."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        name: what was checked.
        state: "ok"; "warning": works, but not as well as it could; "wrong": something will not run.
        says: what was found.
        fix: the command that fixes it; empty if all is well.
    """

    name: str
    state: State
    says: str
    fix: str = ""

    def __str__(self) -> str:
        line = f"{self.state:<8} {self.name}: {self.says}"
        return f"{line}; fix: {self.fix}" if self.fix else line


INSTALL = "make install (with conda: conda env update -f environment.yml)"
"""What brings every package to the version in constraints.txt."""
