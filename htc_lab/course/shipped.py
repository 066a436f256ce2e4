"""03 to 05: what the shipped models reach, each trained with other ideas, on the report's scenes."""

from collections.abc import Sequence

from IPython.display import Markdown

from htc_lab.checkpoint.files import SHIPPED
from htc_lab.files import read_json
from htc_lab.plots.palette import rung_words


def shipped_table(names: Sequence[str]) -> Markdown:
    """Mask AP of shipped classroom models, of the masks of each stage alone, and box AP.

    All were trained with one seed, and tested on the same pictures when they were made.

    Args:
        names: as after ``classroom/`` in ``htc_lab.load``.

    Raises:
        InputError: no such model, or its sidecar is broken.
    """
    cards = {
        name: read_json(SHIPPED / "classroom" / f"{name}.json", "install the lab anew")["test"]
        for name in names
    }
    images = next(iter(cards.values()))["images"]
    lines = [
        f"| trained as ({images:,} test pictures) | mask AP | stage 1 alone | stage 2 | stage 3 | box AP |",
        "|---|---|---|---|---|---|",
    ]
    for name, test in cards.items():
        values = (test["segm"]["AP"], *test["stage_mask_ap"][:-1], test["bbox"]["AP"])
        lines.append(f"| {rung_words(name)} | " + " | ".join(f"{value:.1f}" for value in values) + " |")
    return Markdown("\n".join(lines))
