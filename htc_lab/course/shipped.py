"""03 to 05: what the shipped models, each trained with different ideas, reach on the report's scenes."""

from collections.abc import Sequence

from IPython.display import Markdown

from htc_lab.checkpoint.files import SHIPPED
from htc_lab.files import read_json
from htc_lab.plots.palette import rung_words


def shipped_table(names: Sequence[str]) -> Markdown:
    """A table of shipped classroom models: mask AP, mask AP of each stage alone, and box AP.

    They were trained with the same seed, and tested on the same pictures when they were made.

    Args:
        names: the part after ``classroom/`` in ``htc_lab.load``.

    Raises:
        InputError: no such model, or the JSON file beside it is broken.
    """
    cards = {
        name: read_json(SHIPPED / "classroom" / f"{name}.json", "reinstall the lab")["test"] for name in names
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
