"""Memory of models that are gone, given back to the system."""

import ctypes
import sys
from functools import cache


@cache
def find_trim() -> "ctypes._CFuncPtr | None":
    """glibc's `malloc_trim`, or None where there is another C library."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_memory_back() -> None:
    """Returns free memory to the system, which the C library would keep for itself."""
    trim = find_trim()
    if trim is not None:
        trim(0)
