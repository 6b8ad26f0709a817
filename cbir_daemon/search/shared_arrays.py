"""Arrays in memory that other processes map: one copy of them, however many read it.

In: arrays.  Out: a descriptor to hand on, and the same arrays at the other end.  Never here: what the arrays mean, who
gets them.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from collections.abc import Iterator, Sequence
from itertools import accumulate, count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.platforms import F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE

ALIGNMENT = 64
"""Bytes at a multiple of which each array begins: a cache line, and more than any of our types asks for."""

SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE
"""Whoever has the memory can read it and nothing else."""

GROWING_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE
"""Whoever gets the memory can read it and nothing else, while who made it goes on writing."""

Layout = Sequence[tuple[str, Sequence[int]]]
"""Type, as `numpy.dtype` takes it, and shape of each array."""


class SharedArrays:
    """A copy of arrays in memory of its own, which never changes and lasts as long as anybody has it mapped.

    Parameters
    ----------
    arrays : sequence of ndarray

    Attributes
    ----------
    descriptor : int
        Of the memory; closed with this object.
    layout : list of (str, list of int)
        By which `mapped` finds the arrays again.

    Raises
    ------
    OSError
        When memory is out.
    """

    def __init__(self, arrays: Sequence[NDArray[Any]]) -> None:
        self.layout = [(array.dtype.str, list(array.shape)) for array in arrays]
        self.descriptor = os.memfd_create("cbir", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        weakref.finalize(self, os.close, self.descriptor)
        *offsets, size = _offsets(self.layout)
        # An empty file cannot be mapped.
        os.ftruncate(self.descriptor, max(size, ALIGNMENT))
        for array, offset in zip(arrays, offsets, strict=True):
            _write_all(self.descriptor, np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, offset)
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, SEALS)


class GrowingArrays:
    """Arrays that are filled row by row, in memory that other processes may map meanwhile.

    Parameters
    ----------
    layout : sequence of (str, sequence of int)
        The kernel gives memory only to what is written.

    Attributes
    ----------
    arrays : list of ndarray
        To be written to here, and nowhere else.
    descriptor : int
        Of the memory; closed with this object.
    layout : list of (str, list of int)
        By which `mapped` finds the arrays again.
    number : int
        By which it is told apart from all others of this process, also from those that are gone.

    Raises
    ------
    OSError
        When memory is out, or on Linux before 5.1.

    References
    ----------
    fcntl(2), F_SEAL_FUTURE_WRITE.
    """

    _numbers = count()

    def __init__(self, layout: Layout) -> None:
        self.number = next(self._numbers)
        self.layout = [(dtype, list(shape)) for dtype, shape in layout]
        self.descriptor = os.memfd_create("cbir", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        weakref.finalize(self, os.close, self.descriptor)
        *_, size = _offsets(self.layout)
        os.ftruncate(self.descriptor, max(size, ALIGNMENT))
        memory = mmap.mmap(self.descriptor, 0, mmap.MAP_SHARED)
        self.arrays = _views(memory, self.layout)
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, GROWING_SEALS)


def mapped(descriptor: int, layout: Layout) -> list[NDArray[Any]]:
    """Return the arrays of shared memory as views that cannot be written.

    Parameters
    ----------
    descriptor : int
        Of `SharedArrays`; may be closed afterwards.
    layout : sequence of (str, sequence of int)

    Raises
    ------
    OSError, ValueError
        When the memory cannot be mapped, or is smaller than the layout says.
    """
    return _views(mmap.mmap(descriptor, 0, mmap.MAP_SHARED, mmap.PROT_READ), layout)


def _views(memory: mmap.mmap, layout: Layout) -> list[NDArray[Any]]:
    return [
        np.frombuffer(memory, dtype=np.dtype(dtype), count=int(np.prod(shape)), offset=offset).reshape(shape)
        for (dtype, shape), offset in zip(layout, _offsets(layout), strict=False)
    ]


def _offsets(layout: Layout) -> Iterator[int]:
    """Yield where each array begins, and then where the last one ends."""
    sizes = (np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in layout)
    return accumulate((size + -size % ALIGNMENT for size in sizes), initial=0)


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
