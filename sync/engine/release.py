"""Freed memory back to the operating system."""

import ctypes


def release_memory() -> None:
    """Give back the free memory that the C library keeps for later; nothing where it has no such call (not glibc).

    Python frees what it no longer uses, but glibc keeps the pages of a long phase of many small rows.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
