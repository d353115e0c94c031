"""Settings of the C library's memory allocator."""

from __future__ import annotations

import ctypes
import sys

# Option numbers from <malloc.h> of glibc.
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4
#: -1 disables trimming. The largest positive int would still release memory above 2 GiB.
KEPT_BYTES = -1
TOP_PAD_BYTES = 64 * 2**20


def tune_malloc() -> bool:
    """Configure glibc to keep freed memory instead of returning it to the system.

    On a CPU, torch frequently allocates and frees large temporary tensors. By default each of them
    is mapped again, which causes page faults. With this setting the memory of the process stays at
    its peak. The command line calls this function at startup. The library does not call it by
    itself.

    Returns
    -------
    bool
        Whether the settings were applied. They only exist in glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, TOP_PAD_BYTES))
    return all(mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings)
