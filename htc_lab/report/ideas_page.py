"""The ideas as a table, from their records: ``python -m htc_lab.report.ideas_page`` writes docs/ideas.md."""

import sys
from pathlib import Path

from htc_lab.errors import InputError
from htc_lab.files import write_text
from htc_lab.ideas import BEYOND_THE_PAPER, IDEAS, Idea

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ideas.md"


def _row(idea: Idea) -> str:
    needs = "none of its own" if idea.needs is None else idea.needs.name
    cells = (
        f"**{idea.name}** ({idea.equation})",
        f"`{idea.field}`, {idea.key}",
        idea.training,
        idea.test,
        needs,
    )
    return f"| {' | '.join(cells)} |"


def as_markdown() -> str:
    """docs/ideas.md."""
    paper = [idea for idea in IDEAS if idea not in BEYOND_THE_PAPER]
    lines = [
        "# The ideas",
        "",
        "Written by `python -m htc_lab.report.ideas_page` from `htc_lab/ideas.py`. A switch is a field of",
        "`htc_lab.Toggles` and a word of `--toggles`; the letter is its key in the explorer. What each idea",
        "computes is in `htc_lab/stages/`.",
    ]
    for title, ideas in (("Hybrid Task Cascade", paper), ("Beyond the paper", BEYOND_THE_PAPER)):
        lines += [
            "",
            f"## {title}",
            "",
            "| idea | switch | in training | at test time | weights |",
            "|---|---|---|---|---|",
            *map(_row, ideas),
        ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Write docs/ideas.md."""
    if not PAGE.parent.is_dir():
        raise InputError(f"{PAGE.parent}: no such folder; run this in a checkout of the repository")
    write_text(PAGE, as_markdown())
    print(PAGE)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
