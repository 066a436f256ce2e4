"""``python -m htc_lab``, the same as ``htc-lab``."""

from htc_lab.cli import main

main()
