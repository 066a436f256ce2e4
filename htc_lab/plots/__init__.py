"""Drawing: detections on a picture (fast, no matplotlib), and figures of one picture."""

from htc_lab.plots.drawing import draw_boxes, draw_detections, draw_semantic, draw_truth
from htc_lab.plots.stages import compare_rungs, show_looks, show_model, show_sample, show_stages

__all__ = [
    "compare_rungs",
    "draw_boxes",
    "draw_detections",
    "draw_semantic",
    "draw_truth",
    "show_looks",
    "show_model",
    "show_sample",
    "show_stages",
]
