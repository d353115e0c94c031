"""Settings of the C library's memory allocator."""

from __future__ import annotations

import ctypes
import sys

# Numbers of glibc's <malloc.h>.
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4
#: Any: as the number is an int, the largest one would give back what is above 2 GiB.
KEPT_BYTES = -1
TOP_PAD_BYTES = 64 * 2**20


def tune_malloc() -> bool:
    """Let glibc keep freed memory instead of returning it to the system after every operation.

    torch on a CPU allocates and frees large temporaries all the time; by default each of them is
    mapped anew and costs page faults. The process then keeps the most memory that it ever used.
    The command line does this at its start, the library only when asked.

    Returns
    -------
    bool
        Whether it was done: only with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, TOP_PAD_BYTES))
    return all(mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings)
