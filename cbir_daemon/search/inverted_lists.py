"""Inverted lists over codes: which rows may score high, told from a fraction of them.  The one door to faiss.

In: codes with their rows, then views of queries.  Out: rows worth scoring exactly.  Never here: exact scores, which
rows are alive, when lists are made (`candidates`).

Two indexes.  `wholes` has the code of each whole image as it is: some 600 views of a query that may frame a whole
stored image look into it.  `windows` has all other windows, fifty times as many, as one byte for each two terms: only
the few views that may be a crop look into it.  What comes out is scored exactly by whoever asks.

References
----------
Jégou, Douze and Schmid (2011), "Product quantization for nearest neighbor search": IVFADC is `windows`.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import faiss
import numpy as np
from numpy.typing import NDArray

from cbir_daemon.medium import CoarseViews, Codes, JoinViews
from cbir_daemon.search.list_bounds import USUAL, ListBounds
from cbir_daemon.system.files import whole_file

THREADS = 1
"""Of one search or change: two wait for each other when the machine is busy, and two queries may come at once."""

WHOLE_LISTS = 512

_POINTS_A_LIST = 48
"""Codes a list is trained with; faiss asks for 39 at least."""

WHOLE_PROBES, WINDOW_PROBES = 6, 8
"""Lists that a view looks into."""

FRAME_HITS = 8
"""Best codes of whole images taken for a frame; for a crop: see `ListBounds`."""

JOIN_PROBES, JOIN_HITS, JOIN_FRAME_HITS, JOIN_KEPT = 4, 64, 4, 128
"""Where many are looked up among each other: lists, best codes for a crop and for a frame, and rows of an image.

Every pair is seen from both sides, so each may miss more.
"""

# Two terms become one byte: with its row a window takes 18 bytes.  Four terms a byte take 13, and miss twice as much.
_TERMS_A_BYTE = 2

MAGIC = b"cbirlist"
LAYOUT = 1
# Magic, layout, generation of the rows, rows covered; a CRC-32 of these and of what follows comes after them.
_HEADER = struct.Struct("<8sI16sQ")
_CRC = struct.Struct("<I")

_READ_BYTES = 1 << 20

Floats = NDArray[np.float32]
RowNumbers = NDArray[np.int64]


class Lists:
    """Both indexes, and how many rows they cover.

    Attributes
    ----------
    covered : int
        Rows before this one were added, or were dead when their turn came.

    Notes
    -----
    One thread adds; any thread asks.  Faiss allows no search while lists grow, so they take turns: adding waits for
    searches that run, and is over in milliseconds.
    """

    def __init__(
        self, wholes: faiss.IndexIVF, windows: faiss.IndexIVF, covered: int = 0, bounds: ListBounds = USUAL
    ) -> None:
        self.covered = covered
        self._bounds = bounds
        self._wholes = wholes
        self._windows = windows
        self._turns = Turns()

    @classmethod
    def trained(cls, sample: Codes, seed: int = 0, bounds: ListBounds = USUAL) -> Lists:
        """Return empty lists for codes like those of some images.

        Parameters
        ----------
        sample : (m, windows, terms) ndarray of int8
            A few hundred images at least, some 20 000 for lists in full number.
        seed : int
            The same sample and seed give the same lists on the same kind of processor.
        bounds : ListBounds
        """
        random = np.random.default_rng(seed)
        wholes, windows = _points(sample[:, :1]), sample[:, 1:].reshape(-1, sample.shape[2])
        length = _padded(sample.shape[2])
        count = min(WHOLE_LISTS, max(1, len(wholes) // _POINTS_A_LIST))
        flat = faiss.IndexIVFFlat(faiss.IndexFlatIP(length), length, count, faiss.METRIC_INNER_PRODUCT)
        _train(flat, wholes, seed, bounds.rounds)
        count = min(bounds.window_lists, max(1, len(windows) // _POINTS_A_LIST))
        drawn = random.choice(
            len(windows), min(len(windows), max(count, 2**bounds.code_bits) * _POINTS_A_LIST), replace=False
        )
        quantized = faiss.IndexIVFPQ(
            faiss.IndexFlatIP(length),
            length,
            count,
            length // _TERMS_A_BYTE,
            bounds.code_bits,
            faiss.METRIC_INNER_PRODUCT,
        )
        quantized.pq.cp.niter = bounds.rounds
        quantized.pq.cp.max_points_per_centroid = _POINTS_A_LIST
        quantized.pq.cp.seed = seed
        _train(quantized, _points(windows[drawn][:, None]), seed, bounds.rounds)
        return cls(flat, quantized, bounds=bounds)

    def add(self, rows: RowNumbers, codes: Codes, covered: int) -> None:
        """Add the living ones of the rows from `self.covered` up to `covered`.

        Parameters
        ----------
        rows : (n,) ndarray of int64
        codes : (n, windows, terms) ndarray of int8
        covered : int
        """
        wholes, windows = _points(codes[:, :1]), _points(codes[:, 1:])
        # Which list each code belongs to is most of the work, and changes nothing yet.
        faiss.omp_set_num_threads(THREADS)
        to_whole, to_window = (
            index.quantizer.assign(points, 1)[:, 0] if len(points) else np.empty(0, dtype=np.int64)
            for index, points in ((self._wholes, wholes), (self._windows, windows))
        )
        with self._turns.changing():
            _put(self._wholes, wholes, rows, to_whole)
            _put(self._windows, windows, np.repeat(rows, codes.shape[1] - 1), to_window)
            self.covered = covered

    def propose(self, views: CoarseViews, limit: int) -> RowNumbers:
        """Return the rows that may score highest.

        Parameters
        ----------
        views : CoarseViews
            Of the query.
        limit : int
            Rows that will be used; twice as many are proposed at least.

        Returns
        -------
        (k,) ndarray of int64
            Each row once, ascending.
        """
        most = max(self._bounds.kept, 2 * limit)
        faiss.omp_set_num_threads(THREADS)
        with self._turns.searching():
            framed = _hits(self._wholes, np.concatenate([views.tilts, views.frames]), FRAME_HITS, WHOLE_PROBES)
            direct = _hits(self._wholes, views.crops, self._bounds.whole_hits, WHOLE_PROBES)
            cropped = _hits(self._windows, views.crops, self._bounds.window_hits, WINDOW_PROBES)
        return np.union1d(_best_rows([framed, direct], most), _best_rows([cropped], most))

    def propose_joined(self, views: Sequence[JoinViews]) -> list[RowNumbers]:
        """Return, for each of several images that are looked up among each other, the rows that may score highest.

        Parameters
        ----------
        views : sequence of JoinViews
            Of each image.

        Returns
        -------
        list of (k,) ndarray of int64
            For each image, each row once, in no order; `JOIN_KEPT` at most.
        """
        crops, wholes, frames = (
            _owned(parts)
            for parts in (
                [asked.crops for asked in views],
                [np.concatenate([asked.crops[: asked.wholes], -asked.crops[: asked.wholes]]) for asked in views],
                [asked.frames for asked in views],
            )
        )
        faiss.omp_set_num_threads(THREADS)
        with self._turns.searching():
            hits = [
                _owned_hits(self._windows, *crops, JOIN_HITS),
                _owned_hits(self._wholes, *wholes, JOIN_HITS),
                _owned_hits(self._wholes, *frames, JOIN_FRAME_HITS),
            ]
        owners, scores, rows = (np.concatenate(parts) for parts in zip(*hits, strict=True))
        return [
            _best_rows([(scores[owners == number], rows[owners == number])], JOIN_KEPT) for number in range(len(views))
        ]

    def save(self, path: Path, generation: bytes) -> None:
        """Write both indexes to a file, whole or not at all.

        Parameters
        ----------
        path : Path
        generation : bytes
            16 bytes that say which rows the numbers mean.

        Raises
        ------
        OSError
            When the disk refuses.
        """
        with whole_file(path) as stream:
            header = _HEADER.pack(MAGIC, LAYOUT, generation, self.covered)
            stream.write(header + bytes(_CRC.size))
            crc = self.write(stream, zlib.crc32(header))
            stream.seek(_HEADER.size)
            stream.write(_CRC.pack(crc))

    def write(self, stream: BinaryIO, crc: int) -> int:
        """Write both indexes to a stream and return the checksum that began with `crc`.

        Parameters
        ----------
        stream : binary file
        crc : int
            CRC-32 of what comes before.

        Raises
        ------
        OSError
            When the disk refuses.
        """
        failed: list[OSError] = []

        def write(data: bytes) -> int:
            nonlocal crc
            # An exception would not find its way through C++.
            try:
                if not failed:
                    stream.write(data)
            except OSError as error:
                failed.append(error)
            crc = zlib.crc32(data, crc)
            return len(data)

        for index in (self._wholes, self._windows):
            faiss.write_index(index, faiss.PyCallbackIOWriter(write))
        if failed:
            raise failed[0]
        return crc

    @classmethod
    def load(
        cls, path: Path, generation: bytes, terms: int, bounds: ListBounds = USUAL, *, mapped: bool = False
    ) -> Lists | None:
        """Return the lists of a file; None when they are damaged or of other rows.

        Parameters
        ----------
        path : Path
        generation : bytes
            16 bytes that say which rows the numbers mean; lists saved with others are refused.
        terms : int
            Numbers of a window's code.
        bounds : ListBounds
            Those that are asked by; how large the lists are stands in the file.
        mapped : bool
            Leave the lists in the file, mapped into memory that all who do so share; nothing can be added to them.

        Raises
        ------
        OSError
            When there is no such file, or it cannot be read.
        """
        with path.open("rb") as stream:
            header, crc = stream.read(_HEADER.size), stream.read(_CRC.size)
            if len(crc) < _CRC.size:
                return None
            magic, layout, found, covered = _HEADER.unpack(header)
            # Faiss believes the sizes that it reads, so nothing damaged may come before it.
            if _CRC.unpack(crc) != (_checksum(stream, zlib.crc32(header)),):
                return None
            if (magic, layout, found) != (MAGIC, LAYOUT, generation):
                return None
            if mapped:
                # By its descriptor: under its name there may be another file by now.
                wholes, windows = _mapped_indexes(f"/proc/self/fd/{stream.fileno()}")
            else:
                stream.seek(_HEADER.size + _CRC.size)
                wholes, windows = (faiss.read_index(faiss.PyCallbackIOReader(stream.read)) for _ in range(2))
        if (wholes.d, windows.d, windows.pq.M) != (_padded(terms), _padded(terms), _padded(terms) // _TERMS_A_BYTE):
            return None
        return cls(wholes, windows, covered, bounds)


def _mapped_indexes(path: str) -> list[faiss.IndexIVF]:
    """Return both indexes of a file, with their lists where they lie in it."""
    reader = faiss.FileIOReader(path)
    head = np.empty(_HEADER.size + _CRC.size, dtype=np.uint8)
    reader(faiss.swig_ptr(head), 1, len(head))
    indexes = [faiss.read_index(reader, faiss.IO_FLAG_MMAP) for _ in range(2)]
    for index in indexes:
        # Threads that read ahead pay for a disk that seeks, and these lists are in the system's cache.
        faiss.downcast_InvertedLists(index.invlists).prefetch_nthread = 0
    return indexes


def _train(index: faiss.IndexIVF, points: Floats, seed: int, rounds: int) -> None:
    index.cp.niter = rounds
    index.cp.min_points_per_centroid = 1
    index.cp.max_points_per_centroid = _POINTS_A_LIST
    index.cp.seed = seed
    faiss.omp_set_num_threads(THREADS)
    index.train(points)


def _put(index: faiss.IndexIVF, points: Floats, rows: RowNumbers, lists: RowNumbers) -> None:
    """Add points to the lists that they belong to."""
    if len(points):
        index.add_core(
            len(points), faiss.swig_ptr(points), faiss.swig_ptr(np.ascontiguousarray(rows)), faiss.swig_ptr(lists)
        )


def _hits(index: faiss.IndexIVF, views: Floats, count: int, probes: int) -> tuple[Floats, RowNumbers]:
    """Return scores and rows of the best codes for each view and its negative, in no order, rows more than once."""
    both = _points(np.concatenate([views, -views])[:, None])
    scores, rows = index.search(both, count, params=faiss.SearchParametersIVF(nprobe=probes))
    found = rows >= 0
    return scores[found], rows[found]


def _owned(parts: Sequence[Floats]) -> tuple[Floats, RowNumbers]:
    """Return the views of some images one after the other, and whose each is."""
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def _owned_hits(
    index: faiss.IndexIVF, views: Floats, owners: RowNumbers, count: int
) -> tuple[RowNumbers, Floats, RowNumbers]:
    """Return whose each hit is, its score and its row, for all views at once."""
    scores, rows = index.search(_points(views[:, None]), count, params=faiss.SearchParametersIVF(nprobe=JOIN_PROBES))
    found = rows >= 0
    return np.repeat(owners, count).reshape(rows.shape)[found], scores[found], rows[found]


def _best_rows(hits: Sequence[tuple[Floats, RowNumbers]], count: int) -> RowNumbers:
    """Return the `count` rows that score highest in any hit."""
    scores, rows = (np.concatenate(parts) for parts in zip(*hits, strict=True))
    if not len(rows):
        return rows
    order = np.argsort(rows)
    first = np.flatnonzero(np.diff(rows[order], prepend=-1))
    best = np.maximum.reduceat(scores[order], first)
    return rows[order][first][np.argpartition(-best, count)[:count] if count < len(best) else slice(None)]


def _points(codes: NDArray[np.int8] | Floats) -> Floats:
    """Return codes (n, w, terms) as faiss takes them: (n * w, padded terms) float32."""
    count, terms = codes.shape[0] * codes.shape[1], codes.shape[2]
    points = np.zeros((count, _padded(terms)), dtype=np.float32)
    points[:, :terms] = codes.reshape(count, terms)
    return points


def _padded(terms: int) -> int:
    """Return the least multiple of `_TERMS_A_BYTE` that holds so many terms."""
    return terms + -terms % _TERMS_A_BYTE


def _checksum(stream: BinaryIO, crc: int) -> int:
    """Return the CRC-32 of the rest of a stream, begun with `crc`."""
    while data := stream.read(_READ_BYTES):
        crc = zlib.crc32(data, crc)
    return crc


class Turns:
    """A lock that many searches hold together, or one change alone; a change that waits goes before new searches."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._searches = 0
        self._change_waits = False

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Keep changes away while the block runs."""
        with self._condition:
            self._condition.wait_for(lambda: not self._change_waits)
            self._searches += 1
        try:
            yield
        finally:
            with self._condition:
                self._searches -= 1
                self._condition.notify_all()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep everyone else away while the block runs; one thread only may call it."""
        with self._condition:
            self._change_waits = True
            self._condition.wait_for(lambda: not self._searches)
        try:
            yield
        finally:
            with self._condition:
                self._change_waits = False
                self._condition.notify_all()
