"""Memory that one step of training has freed is kept for the next, in place of being fetched from the system anew."""

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1

_OWN_SETTINGS = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Has glibc's allocator keep what is freed, in place of handing it back to the system.

    A network on a CPU frees and takes tensors of many megabytes in every step. By default each of them is mapped anew
    and every page of it zeroed at the first touch, which can be half of what a convolutional network's training takes.
    What is kept is as much as the largest step needs, and somewhat more where steps differ in length; at the end it
    goes back to the system. What is freed later in the same process is kept too: glibc's own threshold, which it
    adjusts as it goes, cannot be had back.

    Yields whether it is so: not with another C library than glibc, nor where the user has set the allocator himself
    (``MALLOC_MMAP_MAX_`` and its like, ``GLIBC_TUNABLES``) or preloaded another one.
    """
    if not _glibc_decides():
        yield False
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield True
    finally:
        libc.malloc_trim(0)


def _glibc_decides() -> bool:
    own = os.environ.get("LD_PRELOAD") or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    return platform.libc_ver()[0] == "glibc" and not own and not any(name in os.environ for name in _OWN_SETTINGS)
