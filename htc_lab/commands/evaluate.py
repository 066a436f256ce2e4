"""``htc-lab eval``."""

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from htc_lab.commands.flags import TOGGLES_WORDS, USUAL, Layout, toggles_of, usable_device
from htc_lab.commands.numbers import LONGEST_WAIT, in_range
from htc_lab.commands.predictor_flags import (
    AS_CONFIGURED,
    ONE_VIEW,
    Checkpoints,
    DetectionsKept,
    Views,
    load_predictor,
)
from htc_lab.commands.telling import tell_cap, tell_data
from htc_lab.errors import InputError
from htc_lab.files import one_or_all
from htc_lab.wording import counted


def evaluate(
    data: Path,
    checkpoint: Checkpoints,
    split: Literal["train", "val", "test"] = "val",
    toggles: Annotated[
        str | None,
        tyro.conf.arg(help=f"Evaluate with these ideas instead of the model's own: {TOGGLES_WORDS}."),
    ] = None,
    device: str = "cpu",
    timeout: float = 600.0,
    bf16: bool = False,
    layout: Layout = USUAL,
    looks: Views = ONE_VIEW,
    kept: DetectionsKept = AS_CONFIGURED,
    json: bool = False,
) -> dict[str, Any] | None:
    """Box and mask AP of a checkpoint: of its result and of each stage's masks.

    Under torchrun, several processes share the images.

    Args:
        data: folder of a COCO-format data set.
        checkpoint: a run folder, a .safetensors file, or a shipped model's name. Give it several times to
            merge what several models find.
        split: which images.
        device: cpu or cuda; of several GPUs each process takes its own.
        timeout: seconds a process waits for the others before it gives up.
        bf16: convolutions and linear layers in bfloat16: faster, slightly less exact.
        layout: where things are in the data folder.
        looks: several views of each picture, merged.
        kept: what becomes a detection.
        json: print the figures as one JSON object.
    """
    in_range("timeout", timeout, 1e-3, LONGEST_WAIT)
    tuned = kept.tuning()

    from htc_lab.data.dataset import CocoDataset
    from htc_lab.distributed import processes
    from htc_lab.evaluate.inference import average_precision, predict_split, require_objects, truth_of

    with processes(device, timeout) as (team, own_device):
        with team.together():
            chosen = toggles_of(toggles)
            place = usable_device(own_device)
            predictor = load_predictor(checkpoint, place, looks, tuned, chosen, bf16)
            folder, known = layout.find(data), predictor.class_names
            if folder.class_names != known:
                raise InputError(
                    f"{checkpoint[0]}: knows the classes {', '.join(known)}; the data's categories are "
                    f"{', '.join(folder.class_names)}; give data or a checkpoint that agree"
                )
            dataset = CocoDataset(getattr(folder, split))
            truth = truth_of(dataset)
            require_objects(truth, dataset.split.coco.path)
        if team.first:
            tell_data(folder, None, json)
            tell_cap(folder, split, predictor.description(), json)
        began = time.perf_counter()
        found = predict_split(predictor, dataset, stages=True, team=team)
    if not team.first:
        return None
    ap = average_precision(truth, found)
    seconds = time.perf_counter() - began
    if json:
        said = {"checkpoint": one_or_all(checkpoint), "split": split, "images": len(dataset)}
        return {**said, "seconds": seconds, **ap}
    for kind, title in (("bbox", "boxes"), ("segm", "masks")):
        figures = ap[kind]
        assert isinstance(figures, dict)
        print(f"{title}: " + "  ".join(f"{name} {value:.1f}" for name, value in figures.items()))
    *stages, mean = ap["stage_mask_ap"]
    parts = [f"stage {t + 1} {value:.1f}" for t, value in enumerate(stages)] + [f"result {mean:.1f}"]
    print("mask AP on the final boxes: " + "  ".join(parts))
    print(f"{counted(len(dataset), 'image')} in {seconds:.0f} s")
    return None
