"""Keeping the memory that one step frees for the next step, instead of giving it back to the system.

glibc takes blocks of more than 32 MiB from the system anew each time, and the system clears every page of
them. A step over 180 million weights frees and takes gigabytes so, and spends up to half of its time on it.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# From malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
# What glibc comes to by itself once a process has freed large blocks; it no longer does after the first call.
GROWN_MMAP_THRESHOLD = 32 * 2**20
DEFAULT_MMAP_MAX = 65_536
NEVER = 2**31 - 1


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep freed memory in the process, and give it back at the end; without glibc, do nothing.

    Nothing is done either where the environment says how memory is to be taken (`MALLOC_…` and
    `GLIBC_TUNABLES`).
    """
    c_library = ctypes.CDLL(None) if os.name == "posix" else None
    chosen = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if chosen or not (hasattr(c_library, "mallopt") and hasattr(c_library, "malloc_trim")):
        yield
        return
    assert c_library is not None
    c_library.mallopt(M_MMAP_MAX, 0)
    c_library.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        c_library.mallopt(M_MMAP_MAX, DEFAULT_MMAP_MAX)
        c_library.mallopt(M_MMAP_THRESHOLD, GROWN_MMAP_THRESHOLD)
        c_library.mallopt(M_TRIM_THRESHOLD, 2 * GROWN_MMAP_THRESHOLD)
        c_library.malloc_trim(0)
