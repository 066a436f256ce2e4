"""What the lab sets for the process it runs in: on a model's first use, and once.

Both settings save time and leave every number as it is. A network that is built only to look at its shapes
(:func:`htc_lab.checkpoint.files.empty_model`) doesn't need them.
"""

from htc_lab.allocator import keep_freed_memory
from htc_lab.threads import share_cores


def set_up_process() -> None:
    """Keep freed memory for reuse, and have waiting threads leave their core to other programs.

    ``HTC_LAB_KEEP_MEMORY=0`` and ``HTC_LAB_SHARE_CORES=0`` in the environment switch them off.
    """
    keep_freed_memory()
    share_cores()
