"""``htc-lab reproduce``."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htc_lab.commands.flags import say, usable_device
from htc_lab.commands.numbers import in_range
from htc_lab.commands.predictor_flags import ONE_VIEW, Checkpoints, Views, load_predictor
from htc_lab.errors import InputError
from htc_lab.presets import PRESET_RECORDS, Released
from htc_lab.wording import counted, signed

if TYPE_CHECKING:
    from htc_lab.ablation.reproduce import Contestant, Reproduction

PAPER = {"cascade": (42.5, 36.5), "htc": (43.2, 38.0)}
"""Box and mask AP on COCO val2017 with ResNet-50, as reported in the paper's table 2."""

TITLES = {"cascade": "Cascade Mask R-CNN", "htc": "HTC"}


def reproduce(
    coco: Path,
    cascade: Checkpoints,
    htc: Checkpoints,
    out: Path = Path("runs/reproduce"),
    score: float = 0.001,
    first: int | None = None,
    annotations: Path | None = None,
    images: Path | None = None,
    device: str = "cpu",
    looks: Views = ONE_VIEW,
    json: bool = False,
) -> dict[str, Any] | None:
    """Check the paper's gain on COCO val2017 without training.

    Both released models run over the same images at the same score threshold. Detections are kept, so the
    same command resumes after a stop. data_scripts/get_coco.py and get_checkpoints.py download what it needs.

    Args:
        coco: folder of the COCO tree: annotations/instances_val2017.json and val2017/.
        cascade: checkpoint of Cascade Mask R-CNN, as released or as the lab writes it. Given several times,
            the models' results are merged.
        htc: checkpoint of HTC, likewise.
        out: folder for the detections and results.
        score: detections above this score count, for both models.
        first: use only the first N images, for a trial.
        annotations: annotations to use instead of instances_val2017.json.
        images: image folder to use instead of val2017/.
        device: cpu or cuda.
        looks: several views of each picture, merged, for both models.
        json: print the figures as one JSON object.
    """
    if first is not None:
        in_range("first", first, 1, math.inf)
    in_range("score", score, 0, 1)
    chosen = annotations or coco / "annotations" / "instances_val2017.json"
    if not chosen.is_file():
        raise InputError(
            f"{chosen}: no such file; download COCO with data_scripts/get_coco.py, or name the file with "
            "--annotations"
        )

    from htc_lab.ablation.reproduce import Contestant, at_score_threshold
    from htc_lab.ablation.reproduce import reproduce as run
    from htc_lab.data.coco import read_coco
    from htc_lab.data.dataset import CocoDataset
    from htc_lab.data.layout import Split, find_images
    from htc_lab.evaluate.inference import require_objects, truth_of

    place = usable_device(device)
    truth = read_coco(chosen)
    if first is not None:
        truth = truth.subset([image["id"] for image in truth.images[:first]])
    folder, truth, _ = find_images(coco, "val", truth, images)
    contestants = []
    for role, checkpoints in (("cascade", cascade), ("htc", htc)):
        predictor = load_predictor(checkpoints, place, looks, lambda model: at_score_threshold(model, score))
        known = predictor.class_names
        if known != truth.class_names:
            raise InputError(
                f"{checkpoints[0]}: knows {counted(len(known), 'class', 'classes')}, "
                f"{', '.join(known[:3])}, ...; "
                f"{chosen} has {len(truth.class_names)}, {', '.join(truth.class_names[:3])}, ...; give a "
                "checkpoint trained on the same data"
            )
        contestants.append(Contestant(role, predictor, checkpoints))
    dataset = CocoDataset(Split("val", truth, folder, None))
    require_objects(truth_of(dataset), chosen)
    say(f"{chosen}: {counted(len(dataset), 'image')}, both models at score > {score}", json)
    outcome = run(contestants, dataset, out, tell=lambda line: say(line, json))
    say(f"\n{_table(outcome, contestants)}\n\n{outcome.verdict()}\n{out}/results.json", json)
    if not json:
        return None
    published = {c.role: _released(c) for c in contestants}
    return {
        **outcome.as_dict(),
        "score": score,
        "released": {role: found and dataclasses.asdict(found) for role, found in published.items()},
        "paper": PAPER,
    }


def _released(contestant: "Contestant") -> Released | None:
    """The public figures of the released file with this name, which is of one view of one model."""
    from htc_lab.data.fetch.released import RELEASED
    from htc_lab.predictors import ModelPredictor

    if not isinstance(contestant.predictor, ModelPredictor):
        return None
    name = Path(contestant.checkpoints[0]).name
    presets = [preset for preset, path in RELEASED.items() if path.endswith(f"/{name}")]
    return PRESET_RECORDS[presets[0]].released if presets else None


def _table(outcome: "Reproduction", contestants: list["Contestant"]) -> str:
    """Markdown: here, as released, and in the paper."""
    lines = [
        "| model | box AP | released | paper | mask AP | released | paper |",
        "|---|---|---|---|---|---|---|",
    ]
    known: list[Released | None] = []
    for contestant in contestants:
        role, public = contestant.role, _released(contestant)
        known.append(public)
        statistics = outcome.statistics[role]
        box, mask = statistics["bbox"]["AP"], statistics["segm"]["AP"]
        theirs = (f"{public.box_ap:.1f}", f"{public.mask_ap:.1f}") if public else ("", "")
        paper = PAPER[role]
        cells = (TITLES[role], f"{box:.1f}", theirs[0], paper[0], f"{mask:.1f}", theirs[1], paper[1])
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    gains = []
    for i, gain in enumerate((outcome.gains["bbox"], outcome.gains["segm"])):
        ours = f"{signed(gain.value)} [{signed(gain.low)}, {signed(gain.high)}]"
        public_gain = ""
        first, second = known
        if first and second:
            public_gain = signed((second.box_ap, second.mask_ap)[i] - (first.box_ap, first.mask_ap)[i])
        gains.append(f"{ours} | {public_gain} | {signed(PAPER['htc'][i] - PAPER['cascade'][i])}")
    lines.append(f"| gain | {' | '.join(gains)} |")
    lines += [
        "",
        "Here: both models at the same score threshold, 95 % interval by a paired bootstrap over the images.",
        "Released: the model zoo's own figures, Cascade Mask R-CNN at 0.05 and HTC at 0.001.",
        "Paper: as reported in table 2, COCO val2017, R-50, 20 epochs.",
    ]
    return "\n".join(lines)
