"""``python -m tests.oracle CASE.npz [...]``: compare with recordings; exit 0 only if all hold."""

import sys
from pathlib import Path

from htc_lab.errors import InputError
from tests.oracle.compare import compare


def main(paths: list[str]) -> int:
    """Print a line for each quantity of each recording."""
    if not paths:
        print("usage: python -m tests.oracle CASE.npz [...]", file=sys.stderr)
        return 2
    failed = 0
    for path in map(Path, paths):
        if not path.is_file():
            print(f"error: {path}: no such file; give a recorded .npz", file=sys.stderr)
            return 2
        print(path.name)
        try:
            lines = compare(path)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        for line in lines:
            print("  ", line)
        failed += sum(not line.holds for line in lines)
    print("all hold" if not failed else f"{failed} do not hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
