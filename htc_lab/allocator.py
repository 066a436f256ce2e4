"""Keeping freed memory, for a network that makes the same large tensors again and again.

glibc hands each large block back to the system when it is freed, and the next one of that size is mapped and
zeroed page by page. For an image of 800x1344 px on two cores, that takes a fifth of the time.
"""

import ctypes
import functools
import os
import sys

# Numbers of mallopt's parameters in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_LARGEST_INT = 2**31 - 1


@functools.cache
def keep_freed_memory() -> bool:
    """Tell the C library to keep freed blocks for reuse, once a process; says whether it does.

    The process's memory then stays near its peak. ``HTC_LAB_KEEP_MEMORY=0`` in the environment leaves the
    C library as it is, and so does any system without glibc.
    """
    if os.environ.get("HTC_LAB_KEEP_MEMORY") == "0" or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _LARGEST_INT))
