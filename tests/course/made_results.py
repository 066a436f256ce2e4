"""Results of a ladder as the repository keeps them, with made numbers."""

import dataclasses
from pathlib import Path
from typing import Any

from htc_lab.evaluate.statistics import paired_over_seeds
from htc_lab.files import write_json
from htc_lab.paper import TITLES

SEEDS = [0, 1, 2, 3, 4]
MASK_AP = {
    "plain_cascade": [36.0, 36.5, 35.5, 36.2, 35.8],
    "interleaved": [36.4, 36.3, 35.8, 36.6, 35.7],
    "mask_flow": [38.9, 39.1, 38.0, 38.8, 38.7],
    "htc": [39.5, 39.3, 38.9, 39.6, 39.2],
}


def made_record() -> dict[str, Any]:
    """As of ``ladder_record``, of five seeds; what lesson 06 reads."""
    rungs: list[dict[str, Any]] = []
    for name, mask_ap in MASK_AP.items():
        row = {"name": name, "title": TITLES[name], "mask_ap": mask_ap, "seeds": SEEDS}
        if rungs:
            gain = paired_over_seeds(rungs[-1]["mask_ap"], mask_ap)
            assert gain is not None
            row["over_the_one_before"] = {
                "mask_ap": gain.value,
                "ci95": [gain.low, gain.high],
                "over": "seed",
            }
        rungs.append(row)
    return {
        "rungs": rungs,
        "seeds": SEEDS,
        "data": {"test_images": 1000},
        "config": {"schedule": {"steps": 1000}},
    }


def made_report() -> dict[str, Any]:
    """As of ``measure_ladder``: one situation."""
    cells = []
    for name, values in MASK_AP.items():
        gain = paired_over_seeds(MASK_AP["plain_cascade"], values)
        assert gain is not None
        own = None if name == "plain_cascade" else dataclasses.asdict(gain)
        cells.append({"name": name, "values": values, "mean": sum(values) / 5, "gain": own, "stages": []})
    row = {"kind": "mask_ap", "name": "all", "words": "all objects", "count": 4321, "rungs": cells}
    return {"rungs": list(MASK_AP), "seeds": 5, "images": 1000, "scene_attributes": True, "rows": [row]}


def write_kept(results: Path) -> None:
    """Write ``classroom_ladder.json`` and ``classroom/report.json``."""
    write_json(results / "classroom_ladder.json", made_record())
    write_json(results / "classroom" / "report.json", made_report())
