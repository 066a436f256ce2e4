"""Run folders as a training leaves them, without a training."""

import json
from pathlib import Path

from htc_lab.config_json import to_dict
from htc_lab.schedule import Schedule


def step_line(step: int, loss: float = 1.0) -> dict:
    parts = {"loss_rpn_cls": 0.1, "loss_rpn_bbox": 0.05, "s0.loss_cls": 0.3, "s0.loss_bbox": 0.2}
    return {"step": step, **parts, "s0.loss_mask": 0.25, "loss": loss, "lr": 0.01, "seconds": 0.5}


def evaluation_line(step: int, ap: float) -> dict:
    said = {"mask_ap": ap, "box_ap": ap + 5, "stage_mask_ap": [ap - 2, ap - 1, ap, ap], "images": 2}
    return {"step": step, "evaluation": said, "samples": f"samples/step_{step:06d}.png"}


def add_lines(run: Path, *lines: dict) -> None:
    with (run / "metrics.jsonl").open("a") as log:
        log.writelines(json.dumps(line) + "\n" for line in lines)


def make_run(run: Path, done: int, whole: int = 40, evaluated: tuple[int, ...] = ()) -> Path:
    """A run of which ``done`` steps are logged."""
    (run / "samples").mkdir(parents=True)
    schedule = to_dict(Schedule(steps=whole, batch=2))
    (run / "config.json").write_text(json.dumps({"schedule": schedule, "images": 6}))
    for step in range(1, done + 1):
        add_lines(run, step_line(step, 3.0 / step**0.5))
        if step in evaluated:
            add_lines(run, evaluation_line(step, 0.5 * step))
            (run / f"samples/step_{step:06d}.png").write_bytes(b"png of step %d" % step)
    return run


def finish(run: Path, ap: float) -> Path:
    """The run as an ablation leaves it: evaluated on the test split, after the training."""
    found = {"segm": {"AP": ap}, "bbox": {"AP": ap + 5}, "stage_mask_ap": [ap - 2, ap - 1, ap, ap]}
    (run / "evaluation.json").write_text(json.dumps({"ap": found, "asked": {"images": [1, 2, 3]}}))
    return run
