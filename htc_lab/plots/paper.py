"""What the paper reports for the ladder: table 2 (COCO val2017, ResNet-50, AP in points)."""

PAPER_MASK_AP: dict[str, float] = {"plain_cascade": 36.5, "interleaved": 36.7, "mask_flow": 37.4, "htc": 38.0}
PAPER_BOX_AP: dict[str, float] = {"plain_cascade": 42.5, "interleaved": 42.5, "mask_flow": 42.5, "htc": 43.2}
SOURCE = "as reported in the paper (table 2)"
