"""One heap for all threads of the daemon, as the C library has them, and what it gives back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNT = """
import ctypes, threading
from cbir_daemon.system.heap import share_one_heap
{before}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
there = threading.Barrier(9)
def take():
    for _ in range(100):
        libc.malloc(5000)
    there.wait()
threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads:
    thread.start()
there.wait()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


FREED = """
import ctypes, resource
from cbir_daemon.system import heap
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
blocks = []
for _ in range(10_000):
    blocks.append(libc.malloc(5000))
    ctypes.memset(ctypes.c_void_p(blocks[-1]), 1, 5000)
for block in blocks[:-1]:
    libc.free(block)
before = resident_bytes()
assert heap.give_back()
print(before - resident_bytes())
"""


def heaps(before: str) -> int:
    """Return how many heaps a process has whose threads take memory."""
    done = subprocess.run(  # noqa: S603 -- our own interpreter and code
        [sys.executable, "-c", COUNT.format(before=before)], check=True, capture_output=True, text=True
    )
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has one heap, or no such setting")
def test_threads_share_one_heap() -> None:
    """However many take memory at once; without the setting each has its own."""
    assert heaps("assert share_one_heap()") == 1
    assert heaps("") > 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such call")
def test_what_was_freed_is_given_back() -> None:
    """Fifty megabytes below a block that is in use, of which the C library by itself returns nothing."""
    done = subprocess.run([sys.executable, "-c", FREED], check=True, capture_output=True, text=True)  # noqa: S603 -- ours
    assert int(done.stdout) > 40_000_000
