"""How much memory the C library keeps of what this process has given back.

In: nothing.  Out: one heap for all threads, without the pages that are free.  Never here: what is in it.

References
----------
mallopt(3), M_ARENA_MAX; malloc_trim(3).
"""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8


def share_one_heap() -> bool:
    """Let all threads take memory from one heap; False where the C library has no such setting.

    By default glibc has a heap for each of up to eight threads a processor, and none uses what another one has freed: a
    daemon of 100 000 images takes 40 MB more.  Threads that wait for the interpreter do not wait for a heap.

    Notes
    -----
    Before the first other thread: heaps that are there stay.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, 1))


def give_back() -> bool:
    """Return free pages of the heap to the kernel; False where the C library cannot, or had none.

    By itself glibc returns only what lies above the last block in use.  Once an array of many megabytes was freed, it
    takes all later ones of that size from the heap, where one small block above them keeps them.

    Notes
    -----
    Any thread, at any time.  Milliseconds, in which other threads wait for memory.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and bool(trim(ctypes.c_size_t(0)))
