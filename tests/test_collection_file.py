"""The file of the codes: used when it is sound, made anew when not, whatever a kill, a disk or an update left of it."""

from __future__ import annotations

import errno
import gc
import logging
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.matching import packed_codes
from cbir_daemon.matching.grey64 import GREY64, Grey64
from cbir_daemon.matching.views import STORED_WINDOWS, WEIGHTS, Windows
from cbir_daemon.medium import Codes, Medium
from cbir_daemon.search import Collection
from cbir_daemon.search.code_table import (
    EXTENT_ROWS,
    HEADER,
    HEADER_BYTES,
    LAYOUT,
    FollowedRows,
    FrozenRows,
    Rows,
    record_of,
)
from tests.leftovers import open_files
from tests.test_collection import FEWEST_ROWS, best_of, vectors_of

RECORD = record_of(GREY64)
COUNT = 20
VECTORS = vectors_of(COUNT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a collection of twenty, which was killed: nothing was closed."""
    path = tmp_path / "codes.rows"
    collection = Collection(GREY64, path)
    collection.open()
    collection.add(range(COUNT), VECTORS)
    return path


def opened(path: Path, medium: Medium = GREY64, extent_rows: int = EXTENT_ROWS) -> Collection:
    """Return what the file has."""
    collection = Collection(medium, path, extent_rows=extent_rows)
    collection.open()
    return collection


def ids_of(path: Path, medium: Medium = GREY64) -> list[int]:
    """Return the ids that the file has."""
    return sorted(opened(path, medium).ids.tolist())


class OtherGrey64(Grey64):
    """Pictures, whose codes are made in another way.

    Parameters
    ----------
    packed : callable
        Makes the codes.
    extractor : str
        Makes the vectors.
    """

    def __init__(self, packed: Callable[[NDArray[np.uint8]], Codes], extractor: str = Grey64.extractor) -> None:
        self.packed_codes = packed  # type: ignore[assignment]  # it need not take what the real one may be given
        self.extractor = extractor


def put(path: Path, offset: int, data: bytes) -> None:
    """Overwrite part of a file."""
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def place(row: int) -> int:
    """Return where a row lies."""
    return HEADER_BYTES + row * RECORD.itemsize


def test_a_killed_writer_loses_nothing(path: Path) -> None:
    """What was added is there again, without a vector; what was removed is not."""
    collection = opened(path)
    collection.remove([3, 4])
    collection.add([30], VECTORS[:1])
    again = opened(path)
    assert sorted(again.ids.tolist()) == [0, 1, 2, *range(5, COUNT), 30]
    assert best_of(again.snapshot(), VECTORS[7]) == 7
    assert path.stat().st_mode & 0o777 == 0o600


def test_acompacted_file_is_as_good(path: Path) -> None:
    """Compacting leaves the living rows only, and they are there after a kill."""
    collection = opened(path)
    collection.remove(range(5, COUNT))
    collection.compact()
    collection.add([40], VECTORS[10:11])
    again = opened(path)
    assert again.ids.tolist() == [0, 1, 2, 3, 4, 40]
    assert best_of(again.snapshot(), VECTORS[10]) == 40
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name]


@pytest.mark.parametrize("at", [0, 8, 15, 16, 500, RECORD.itemsize - 1])
def test_a_changed_byte_costs_its_row(path: Path, at: int, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever it lies in the row but for the four bytes that mean nothing; one line says so."""
    before = path.read_bytes()[place(7) + at]
    put(path, place(7) + at, bytes([before ^ 1]))
    lost = [] if 12 <= at < 16 else [7]
    with caplog.at_level(logging.INFO):
        assert ids_of(path) == [content_id for content_id in range(COUNT) if content_id not in lost]
    assert len([record for record in caplog.records if "damaged" in record.message]) == len(lost)


@pytest.mark.parametrize("cut", [place(COUNT - 1) + 1, place(COUNT - 1) + 300, place(COUNT) - 1])
def test_a_torn_last_row_is_not_there(path: Path, cut: int) -> None:
    """A file that ends inside of a row has the rows before it, and takes new ones."""
    os.truncate(path, cut)
    assert ids_of(path) == list(range(COUNT - 1))
    collection = opened(path)
    collection.add([19], VECTORS[19:])
    assert best_of(opened(path).snapshot(), VECTORS[19]) == 19


def test_rows_that_never_reached_the_disk_are_not_there(path: Path) -> None:
    """After a power cut a page may be a hole, in the middle or at the end."""
    put(path, place(5), bytes(2 * RECORD.itemsize))
    put(path, place(18), bytes(2 * RECORD.itemsize))
    assert ids_of(path) == [0, 1, 2, 3, 4, *range(7, 18)]
    collection = opened(path)
    collection.add([5, 6, 18, 19], VECTORS[[5, 6, 18, 19]])
    assert ids_of(path) == list(range(COUNT))


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"no codes", bytes(200_000), b"SQLite format 3\0" * 10_000, os.urandom(HEADER_BYTES + 5000)],
    ids=["empty", "byte", "text", "zeros", "sqlite", "noise"],
)
def test_a_foreign_file_is_made_anew(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """With one line in the log, and then it is used."""
    path.write_bytes(content)
    with caplog.at_level(logging.INFO):
        collection = opened(path)
    assert len(collection) == 0
    assert [record.message for record in caplog.records if "made anew" in record.message] == [
        f"codes are made anew path={path} reason=of-another-version-or-damaged"
    ]
    collection.add(range(COUNT), VECTORS)
    assert ids_of(path) == list(range(COUNT))


@pytest.mark.parametrize("at", [0, 8, 12, 16, 20, 24, 40, 72, 1000, 3000])
def test_a_damaged_header_is_made_anew(path: Path, at: int) -> None:
    """Wherever in it a bit turned."""
    put(path, at, bytes([path.read_bytes()[at] ^ 4]))
    assert ids_of(path) == []


STEEPER = WEIGHTS * np.float32(1.5) ** np.arange(len(WEIGHTS), dtype=np.float32)


@pytest.mark.parametrize(
    "medium",
    [
        OtherGrey64(partial(packed_codes, weights=STEEPER)),
        OtherGrey64(partial(packed_codes, floor_levels=1.5)),
        OtherGrey64(partial(packed_codes, table=Windows(STORED_WINDOWS.rows[::-1]))),
        OtherGrey64(packed_codes, "grey64/2"),
    ],
    ids=["weights", "floor", "windows", "extractor"],
)
def test_codes_of_another_version_are_made_anew(path: Path, medium: Medium) -> None:
    """Other weights, another floor, other windows or another extractor: none of their codes is used."""
    assert ids_of(path) == list(range(COUNT))
    assert ids_of(path, medium) == []


def test_a_file_of_another_layout_is_made_anew(path: Path) -> None:
    """However whole it is."""
    size = HEADER.size + GREY64.packed_codes(GREY64.probe_vectors()).nbytes
    header = bytearray(path.read_bytes()[:size])
    header[8:12] = struct.pack("<I", LAYOUT)
    put(path, 0, bytes(header) + struct.pack("<I", zlib.crc32(header)))
    assert ids_of(path) == list(range(COUNT))
    header[8:12] = struct.pack("<I", LAYOUT + 1)
    put(path, 0, bytes(header) + struct.pack("<I", zlib.crc32(header)))
    assert ids_of(path) == []


def test_codes_that_are_rounded_otherwise_are_the_same(path: Path) -> None:
    """A step more or less is no other version: processors differ by that."""
    rounded = OtherGrey64(lambda vectors: packed_codes(vectors) + np.int8(1))
    assert ids_of(path, rounded) == list(range(COUNT))


def test_rows_of_another_generation_do_not_fit(path: Path) -> None:
    """A file whose rows were brought from another one has none of them."""
    second = path.with_name("other")
    Collection(GREY64, second).open()
    rows_only = path.read_bytes()[HEADER_BYTES:]
    put(second, HEADER_BYTES, rows_only)
    assert ids_of(second) == []


def test_codes_are_compared_with_vectors(path: Path) -> None:
    """In any order; another vector, or an id that is not there, is a difference."""
    collection = opened(path)
    assert collection.agrees([], VECTORS[:0])
    assert collection.agrees([7, 3, 11], VECTORS[[7, 3, 11]])
    assert not collection.agrees([7, 3, 11], VECTORS[[7, 4, 11]])
    assert not collection.agrees([7, 99], VECTORS[[7, 8]])


def full(*_: object) -> int:
    """Refuse as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("refused", ["pwrite", "ftruncate"])
def test_a_full_disk_costs_only_the_cache(
    path: Path, refused: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes after lies in memory and is found; one line says so; the next start has what was written before."""
    os.truncate(path, place(FEWEST_ROWS))
    collection = opened(path, extent_rows=FEWEST_ROWS)
    many = range(1000, 1000 + FEWEST_ROWS - COUNT) if refused == "ftruncate" else range(0)
    # With so many the next row needs another extent, by which the file must grow.
    collection.add(many, vectors_of(len(many), 1000))
    before = collection.snapshot()
    with monkeypatch.context() as patch:
        patch.setattr(os, refused, full)
        for content_id in range(COUNT, COUNT + 3):
            collection.add([content_id], vectors_of(1, content_id))
        collection.remove([2])
    collection.add([50], vectors_of(1, 50))
    snapshot = collection.snapshot()
    assert sorted(snapshot.ids.tolist()) == [0, 1, *range(3, COUNT + 3), 50, *many]
    assert best_of(snapshot, vectors_of(1, 50)[0]) == 50
    assert best_of(snapshot, VECTORS[5]) == best_of(before, VECTORS[5]) == 5
    assert [record.message for record in caplog.records if "memory only" in record.message] == [
        f"codes are kept in memory only path={path} reason=No space left on device"
    ]
    collection.compact()
    assert best_of(collection.snapshot(), vectors_of(1, 50)[0]) == 50
    assert ids_of(path) == [*range(COUNT), *many]


def test_a_folder_that_cannot_be_written_costs_only_the_cache(tmp_path: Path) -> None:
    """Neither a missing folder nor a folder in the file's place keeps the collection from being searched."""
    for path in (tmp_path / "gone" / "codes.rows", tmp_path):
        collection = opened(path)
        collection.add(range(COUNT), VECTORS)
        assert best_of(collection.snapshot(), VECTORS[7]) == 7


def test_one_file_is_open_at_a_time(path: Path) -> None:
    """Each compaction, and forgetting everything, lets the old file go."""
    collection = opened(path)

    def held() -> int:
        # One that was replaced shows as deleted.
        gc.collect()
        return sum(count for name, count in open_files().items() if name.startswith(str(path)))

    before = held()
    for change in (collection.compact, collection.clear, collection.compact):
        change()
        assert open_files()[str(path)]
        assert held() <= before


def test_snapshots_outlive_their_file(path: Path) -> None:
    """Closing and removing the file takes nothing from who still reads."""
    collection = opened(path)
    snapshot = collection.snapshot()
    collection.close()
    path.unlink()
    snapshot.rows.release()
    assert best_of(snapshot, VECTORS[7]) == 7


def test_what_is_marked_dead_is_no_damage(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A start after removals says nothing."""
    opened(path).remove([3, 4])
    with caplog.at_level(logging.INFO):
        assert len(ids_of(path)) == COUNT - 2
    assert not caplog.records


def test_marking_dead_on_a_disk_that_refuses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is dead for searches; the file keeps it, and the next start drops it again."""
    collection = opened(path)
    monkeypatch.setattr(os, "pwrite", full)
    collection.remove([3])
    assert 3 not in collection.ids
    assert ids_of(path) == list(range(COUNT))


def test_rows_in_memory_have_no_file() -> None:
    """Nothing is synced or closed that is not there."""
    kept = Rows.make(None, GREY64)
    kept.sync()
    kept.close()
    assert not kept.in_file


# -- followed by another process -------------------------------------------------------------------------------------


def followed(path: Path, writer: FrozenRows, extent_rows: int = EXTENT_ROWS) -> FrozenRows:
    """Return the rows that a process sees whom the writer tells of its own."""
    return FollowedRows(path, GREY64, writer.generation, extent_rows).frozen(writer.ids, writer.alive)


def test_a_follower_has_the_rows_of_the_writer(path: Path) -> None:
    """In a file of several extents, while some come and others go; none is written for it."""
    collection = opened(path, extent_rows=FEWEST_ROWS)
    follower: FollowedRows | None = None
    for first in (1000, 2000):
        collection.add(range(first, first + FEWEST_ROWS), np.tile(VECTORS, (FEWEST_ROWS // COUNT + 1, 1))[:FEWEST_ROWS])
        collection.remove([first, first + 3])
        writer = collection.snapshot().rows
        before = path.read_bytes()
        if follower is None:
            follower = FollowedRows(path, GREY64, writer.generation, FEWEST_ROWS)
        rows = follower.frozen(writer.ids, writer.alive)
        assert path.read_bytes() == before
        living = np.flatnonzero(writer.alive)
        assert np.array_equal(rows.take(living), writer.take(living))
        snapshot = collection.snapshot()
        assert replace(snapshot, rows=rows).candidates(VECTORS[7], 5) == snapshot.candidates(VECTORS[7], 5)
        assert rows.path == path


def test_a_follower_keeps_what_it_has_when_the_codes_move(path: Path) -> None:
    """Rows of a file that was replaced stay readable, and no new follower takes the new file for it."""
    collection = opened(path)
    before = collection.snapshot().rows
    rows = followed(path, before)
    collection.remove([3])
    collection.compact()
    assert np.array_equal(rows.take(np.arange(COUNT)), before.take(np.arange(COUNT)))
    with pytest.raises(ValueError, match="has other codes by now"):
        followed(path, before)
    assert followed(path, collection.snapshot().rows).alive.sum() == COUNT - 1


def test_a_follower_maps_nothing_that_is_not_there(tmp_path: Path, path: Path) -> None:
    """A file that was cut short, or that is gone, is refused, and none is made."""
    writer = opened(path).snapshot().rows
    os.truncate(path, place(COUNT))
    with pytest.raises(ValueError, match="was cut short"):
        followed(path, writer)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        followed(path, writer)
    assert list(tmp_path.iterdir()) == []


def test_rows_in_memory_alone_say_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is sent to a file for rows that a full disk kept out of it."""
    collection = opened(path)
    assert collection.snapshot().rows.path == path

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    collection.add([100], VECTORS[:1])
    assert collection.snapshot().rows.path is None
    assert Collection(GREY64).snapshot().rows.path is None
