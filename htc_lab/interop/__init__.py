"""Checkpoints and configs of the reference (mmdet), both ways, without running anything in them."""
