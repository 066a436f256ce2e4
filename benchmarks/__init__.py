"""Side-by-side timings: each runs as ``python -m benchmarks.NAME [--json]``."""
