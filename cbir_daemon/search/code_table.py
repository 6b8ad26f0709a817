"""The codes of contents as rows: appended, marked dead, never moved; in a file that is mapped, or in memory alone.

In: content ids and packed codes.  Out: frozen rows, for any thread.  Never here: vectors, which rows a query is
compared with.

The file is a cache.  Its header says which windows and weights made the codes, and every row carries its id and a
checksum, so nothing need be synced: a row that a kill or a power cut tore does not fit its checksum, and is made again
from its vector.  Rows are written through the descriptor, not through the map, because a full disk then raises instead
of killing the process; when it refuses, what comes after is kept in memory alone.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
import weakref
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.medium import Codes, Medium

logger = logging.getLogger(__name__)

CODES_AT = 16
"""Where in a row its codes begin."""

EXTENT_ROWS = 16_384
"""Rows that are mapped at once: extents never move, so frozen rows share them.  A multiple of every page size."""

DEAD = -1
"""The id of a row whose content has gone."""

MAGIC = b"cbircode"
LAYOUT = 1
HEADER_BYTES = 65_536
"""Most of it is a hole; extents must begin at a multiple of the largest page size there is."""

# Magic, layout, bytes of a row, windows, terms, generation, extractor; the probes' codes and a checksum follow.
HEADER = struct.Struct("<8sIIII16s32s")

# Rounding differs by a step between one processor and another, so codes one step away are the same codes.
_PROBE_STEPS = 1

_READ_ROWS = 4096

Ids = NDArray[np.int64]


def record_of(medium: Medium) -> np.dtype[np.void]:
    """Return the type of a row: id, checksum and, from `CODES_AT` on, the codes of a medium."""
    codes = (medium.windows, medium.terms)
    return np.dtype([("id", "<i8"), ("checksum", "<u4"), ("unused", "<u4"), ("codes", "i1", codes)])


@dataclass(frozen=True, slots=True)
class FrozenRows:
    """A frozen state of the rows; any thread may read them.

    Parameters
    ----------
    ids : (n,) ndarray of int64
        Content id of each row; what it is for a dead row means nothing.
    alive : (n,) ndarray of bool
    shape : (int, int)
        Windows and terms of the codes of a row.
    extent_rows : int
        Rows that were mapped at once.
    path : Path or None
        The file that has all of these rows; None when some are in memory alone.
    generation : bytes
        Which rows the numbers of rows mean.
    """

    ids: Ids
    alive: NDArray[np.bool_]
    shape: tuple[int, int]
    extent_rows: int
    _extents: tuple[NDArray[np.void], ...]
    _maps: tuple[mmap.mmap, ...]
    path: Path | None = None
    generation: bytes = b""

    def blocks(self, start: int = 0) -> list[Codes]:
        """Return the codes from row `start` on, dead rows included.

        Returns
        -------
        list of (m, windows, terms) ndarray of int8
            Views of the extents of the file, in order of row.
        """
        count = len(self.ids)
        return [
            extent["codes"][max(0, start - first) : count - first]
            for first, extent in zip(range(0, count, self.extent_rows), self._extents, strict=False)
            if start < first + self.extent_rows
        ]

    def take(self, rows: NDArray[np.int64]) -> Codes:
        """Return a copy of the codes of rows.

        Parameters
        ----------
        rows : (k,) ndarray of int64
            In any order.

        Returns
        -------
        (k, windows, terms) ndarray of int8
        """
        taken = np.empty((len(rows), *self.shape), dtype=np.int8)
        numbers, offsets = np.divmod(rows, self.extent_rows)
        for number in np.unique(numbers):
            here = numbers == number
            taken[here] = self._extents[number]["codes"][offsets[here]]
        return taken

    def release(self) -> None:
        """Give back the memory that reading took: the pages stay in the system's cache, and are mapped when read."""
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)


class Rows:
    """Rows of one generation: the numbers of rows mean something inside it only.

    Parameters
    ----------
    medium : Medium
        Says how long a row is, and whose codes a file may have.
    path : Path or None
        The file; None keeps all in memory.
    descriptor : int or None
        Of the file, with a header and writable; owned from now on.
    generation : bytes
        16 random bytes.
    extent_rows : int
        Rows that are mapped at once; in a file a multiple of 512.

    Attributes
    ----------
    count : int
        Rows, dead ones included.

    Notes
    -----
    One thread changes rows.  Frozen rows stay as they are: rows are written past their end, and marking rows dead
    replaces `alive` whole.
    """

    def __init__(
        self,
        medium: Medium,
        path: Path | None = None,
        descriptor: int | None = None,
        generation: bytes = b"",
        extent_rows: int = EXTENT_ROWS,
    ) -> None:
        self.medium = medium
        self.path = path
        self.generation = generation
        self.extent_rows = extent_rows
        self.count = 0
        self._descriptor = descriptor
        self._record = record_of(medium)
        self._seed = zlib.crc32(generation)
        self._ids = np.empty(0, dtype=np.int64)
        self._alive = np.empty(0, dtype=np.bool_)
        self._highest = DEAD
        self._extents: list[NDArray[np.void]] = []
        self._maps: list[mmap.mmap] = []

    @classmethod
    def open(cls, path: Path | None, medium: Medium, extent_rows: int = EXTENT_ROWS) -> Rows:
        """Return the rows of a file; without rows when it is not there, or of no use.

        Parameters
        ----------
        path : Path or None
            None keeps all in memory.
        medium : Medium
        extent_rows : int
            Rows that are mapped at once; in a file a multiple of 512.
        """
        if path is None:
            return cls(medium, extent_rows=extent_rows)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return cls.make(path, medium, extent_rows)
        except OSError as error:
            logger.warning("codes are made anew path=%s reason=%s", path, error.strerror)
            return cls.make(path, medium, extent_rows)
        generation = _generation_of(os.pread(descriptor, HEADER_BYTES, 0), medium)
        if generation is None:
            os.close(descriptor)
            logger.info("codes are made anew path=%s reason=of-another-version-or-damaged", path)
            return cls.make(path, medium, extent_rows)
        rows = cls(medium, path, descriptor, generation, extent_rows)
        damaged = rows._read()
        if damaged:
            logger.warning("damaged codes are made anew path=%s rows=%d of=%d", path, damaged, rows.count)
        return rows

    @classmethod
    def make(cls, path: Path | None, medium: Medium, extent_rows: int = EXTENT_ROWS) -> Rows:
        """Return no rows, in a new file that takes the old one's place; in memory alone when the disk refuses.

        Parameters
        ----------
        path : Path or None
            None keeps all in memory.
        medium : Medium
        extent_rows : int
            Rows that are mapped at once; in a file a multiple of 512.
        """
        if path is None:
            return cls(medium, extent_rows=extent_rows)
        generation = os.urandom(16)
        new = path.with_name(path.name + ".new")
        try:
            descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write_all(descriptor, _header(generation, medium), 0)
                # Frozen rows may still be mapped to the old file, which lives on until they are gone.
                new.replace(path)
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            _log_detached(path, error)
            return cls(medium, extent_rows=extent_rows)
        return cls(medium, path, descriptor, generation, extent_rows)

    def close(self) -> None:
        """Let the file go; frozen rows stay readable."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def in_file(self) -> bool:
        """Whether what is appended lasts."""
        return self._descriptor is not None

    @property
    def living(self) -> int:
        """Rows that are not dead."""
        return int(np.count_nonzero(self._alive[: self.count]))

    def frozen(self) -> FrozenRows:
        """Return the rows as they are now; nothing is copied."""
        # First: what another thread appends meanwhile must not make one longer than the other.
        count = self.count
        ids, alive = self._ids[:count], self._alive[:count]
        ids.flags.writeable = alive.flags.writeable = False
        return FrozenRows(
            ids,
            alive,
            self._record["codes"].shape,
            self.extent_rows,
            tuple(self._extents),
            tuple(self._maps),
            self.path if self.in_file else None,
            self.generation,
        )

    def find(self, content_ids: Ids) -> NDArray[np.int64]:
        """Return the living rows of contents, ascending; contents without a row are passed over.

        Parameters
        ----------
        content_ids : (n,) ndarray of int64
        """
        # Ids only rise, so what is added is rarely there.
        if not len(content_ids) or content_ids.min() > self._highest:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(np.isin(self._ids[: self.count], content_ids) & self._alive[: self.count])

    def append(self, content_ids: Ids, codes: Codes) -> None:
        """Add a row for each content.

        Parameters
        ----------
        content_ids : (n,) ndarray of int64
            Each once, none negative.  A caller that replaces a content marks its old row dead, with `kill`.
        codes : (n, windows, terms) ndarray of int8
            From `Medium.packed_codes`.
        """
        records = np.zeros(len(content_ids), dtype=self._record)
        records["id"], records["codes"] = content_ids, codes
        records["checksum"] = _checksums(records, self._seed)
        end = self.count + len(records)
        self._reserve(end)
        if self._descriptor is not None:
            try:
                _write_all(self._descriptor, records.tobytes(), self._offset(self.count))
            except OSError as error:
                self._detach(error)
        if self._descriptor is None:
            self._keep(records)
        self._ids[self.count : end] = content_ids
        self._alive[self.count : end] = True
        self._highest = max(self._highest, int(content_ids.max(initial=DEAD)))
        self.count = end

    def kill(self, rows: NDArray[np.int64]) -> None:
        """Mark rows dead, in the file as well.

        Parameters
        ----------
        rows : (k,) ndarray of int64
            From `find`.
        """
        alive = self._alive.copy()
        alive[rows] = False
        self._alive = alive
        if self._descriptor is None:
            return
        try:
            for row in rows.tolist():
                _write_all(self._descriptor, struct.pack("<qI", DEAD, 0), self._offset(row))
        except OSError as error:
            self._detach(error)

    def sync(self) -> None:
        """Wait until all rows are on the disk, so that another file may count on them."""
        if self._descriptor is not None:
            os.fdatasync(self._descriptor)

    def _reserve(self, count: int) -> None:
        """Make room for `count` rows."""
        if count > len(self._ids):
            room = max(count, 2 * len(self._ids), 256)
            # New arrays, not resized ones: frozen rows are views of the old.
            self._ids = np.concatenate([self._ids, np.zeros(room - len(self._ids), dtype=np.int64)])
            self._alive = np.concatenate([self._alive, np.zeros(room - len(self._alive), dtype=np.bool_)])
        while count > len(self._extents) * self.extent_rows:
            if self._descriptor is not None:
                try:
                    self._map_next(self._descriptor)
                except OSError as error:
                    self._detach(error)
                continue
            self._extents.append(np.zeros(self.extent_rows, dtype=self._record))

    def _map_next(self, descriptor: int) -> None:
        """Map one more extent of the file, which grows by a hole."""
        end = self._offset((len(self._extents) + 1) * self.extent_rows)
        if os.fstat(descriptor).st_size < end:
            os.ftruncate(descriptor, end)
        mapped, extent = _map_extent(descriptor, len(self._extents), self.extent_rows, self._record)
        self._maps.append(mapped)
        self._extents.append(extent)

    def _keep(self, records: NDArray[np.void]) -> None:
        """Write rows into extents that lie in memory."""
        done = 0
        while done < len(records):
            number, offset = divmod(self.count + done, self.extent_rows)
            piece = records[done : done + self.extent_rows - offset]
            self._extents[number][offset : offset + len(piece)] = piece
            done += len(piece)

    def _detach(self, error: OSError) -> None:
        """Go on in memory alone; the file stays as it is, and is completed at the next start."""
        assert self.path is not None
        _log_detached(self.path, error)
        self.close()
        # Only what comes after `count` will be written, and that into memory.
        first = self.count // self.extent_rows
        self._extents[first:] = [np.array(extent) for extent in self._extents[first:]]

    def _read(self) -> int:
        """Take up the rows of the file, and return how many of them are damaged."""
        assert self._descriptor is not None
        heads, whole = self._heads(self._descriptor, self._room(self._descriptor))
        written = np.flatnonzero((heads["id"] != 0) | (heads["checksum"] != 0))
        count = int(written[-1]) + 1 if len(written) else 0
        self._reserve(count)
        self._ids[:count], self._alive[:count] = heads["id"][:count], whole[:count]
        self._highest = int(self._ids[:count].max(initial=DEAD))
        self.count = count
        return int(np.count_nonzero(~whole[:count] & (heads["id"][:count] != DEAD)))

    def _heads(self, descriptor: int, room: int) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
        """Return id and checksum of `room` rows, and for each row whether its checksum is right."""
        heads, whole = np.zeros(room, dtype=[("id", "<i8"), ("checksum", "<u4")]), np.zeros(room, dtype=np.bool_)
        for start in range(0, room, _READ_ROWS):
            # Read, not mapped: what is only checked need not stay in this process's memory.
            data = os.pread(descriptor, min(_READ_ROWS, room - start) * self._record.itemsize, self._offset(start))
            records = np.frombuffer(data, dtype=self._record, count=len(data) // self._record.itemsize)
            end = start + len(records)
            heads["id"][start:end], heads["checksum"][start:end] = records["id"], records["checksum"]
            if records["checksum"].any():
                whole[start:end] = _checksums(records, self._seed) == records["checksum"]
        return heads, whole

    def _room(self, descriptor: int) -> int:
        """Return for how many rows a file has room."""
        return max(0, (os.fstat(descriptor).st_size - HEADER_BYTES) // self._record.itemsize)

    def _offset(self, row: int) -> int:
        return HEADER_BYTES + row * self._record.itemsize


class FollowedRows:
    """The codes in the file of a writer in another process, which tells of which content each row is.

    Parameters
    ----------
    path : Path
        May be changed by the writer all along.
    medium : Medium
    generation : bytes
        Of the rows that the writer tells of.
    extent_rows : int
        Rows that are mapped at once; a multiple of 512.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        When it has other rows by now.
    """

    def __init__(self, path: Path, medium: Medium, generation: bytes, extent_rows: int = EXTENT_ROWS) -> None:
        self.path = path
        self.generation = generation
        self._extent_rows = extent_rows
        self._record = record_of(medium)
        self._extents: list[NDArray[np.void]] = []
        self._maps: list[mmap.mmap] = []
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        if _generation_of(os.pread(self._descriptor, HEADER_BYTES, 0), medium) != generation:
            raise ValueError(f"{path}: has other codes by now")

    def frozen(self, ids: Ids, alive: NDArray[np.bool_]) -> FrozenRows:
        """Return the rows as the writer has frozen them.

        Parameters
        ----------
        ids : (n,) ndarray of int64
        alive : (n,) ndarray of bool

        Raises
        ------
        ValueError
            When the file does not reach that far, and would be mapped where it is not.
        """
        while len(ids) > len(self._extents) * self._extent_rows:
            end = HEADER_BYTES + (len(self._extents) + 1) * self._extent_rows * self._record.itemsize
            if os.fstat(self._descriptor).st_size < end:
                raise ValueError(f"{self.path}: was cut short")
            mapped, extent = _map_extent(self._descriptor, len(self._extents), self._extent_rows, self._record)
            self._maps.append(mapped)
            self._extents.append(extent)
        return FrozenRows(
            ids,
            alive,
            self._record["codes"].shape,
            self._extent_rows,
            tuple(self._extents),
            tuple(self._maps),
            self.path,
            self.generation,
        )


def _map_extent(
    descriptor: int, number: int, extent_rows: int, record: np.dtype[np.void]
) -> tuple[mmap.mmap, NDArray[np.void]]:
    """Map an extent of a file that reaches so far."""
    size = extent_rows * record.itemsize
    mapped = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ, offset=HEADER_BYTES + number * size)
    return mapped, np.frombuffer(mapped, dtype=record)


def _checksums(records: NDArray[np.void], seed: int) -> NDArray[np.uint32]:
    """Return the CRC-32 of each row's id and codes, begun with `seed`: rows of another generation do not fit."""
    data, size = records.tobytes(), records.dtype.itemsize
    crc = zlib.crc32
    sums = [
        crc(data[start + CODES_AT : start + size], crc(data[start : start + 8], seed))
        for start in range(0, len(data), size)
    ]
    return np.array(sums, dtype=np.uint32)


def _header(generation: bytes, medium: Medium) -> bytes:
    """Return the head of a file of a medium's codes."""
    extractor, size = medium.extractor.encode().ljust(32, b"\0"), record_of(medium).itemsize
    fixed = HEADER.pack(MAGIC, LAYOUT, size, medium.windows, medium.terms, generation, extractor)
    data = fixed + medium.packed_codes(medium.probe_vectors()).tobytes()
    return data + struct.pack("<I", zlib.crc32(data))


def _generation_of(header: bytes, medium: Medium) -> bytes | None:
    """Return the generation of a file with this header; None when the medium makes other codes today."""
    generation = header[HEADER.size - 48 : HEADER.size - 32]
    expected = _header(generation, medium)
    found = header[: len(expected)]
    if len(found) < len(expected) or struct.unpack("<I", found[-4:]) != (zlib.crc32(found[:-4]),):
        return None
    if found[: HEADER.size] != expected[: HEADER.size]:
        return None
    probes = [np.frombuffer(data[HEADER.size : -4], dtype=np.int8).astype(np.int16) for data in (found, expected)]
    return generation if int(np.abs(probes[0] - probes[1]).max(initial=0)) <= _PROBE_STEPS else None


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _log_detached(path: Path, error: OSError) -> None:
    logger.warning("codes are kept in memory only path=%s reason=%s", path, error.strerror)
