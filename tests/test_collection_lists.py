"""Inverted lists: a large collection is searched through them, and what they propose is what comparing all gives."""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.matching import GREY64, coarse_views
from cbir_daemon.medium import Codes
from cbir_daemon.search import Collection, CollectionSnapshot
from cbir_daemon.search.candidates import ListedCandidates, SavedLists
from cbir_daemon.search.code_table import Rows
from cbir_daemon.search.list_bounds import ListBounds
from tests.test_collection import best_of

pytest.importorskip("faiss")

lists = importlib.import_module("cbir_daemon.search.inverted_lists")

COUNT = 1500
FEW = 100
QUERIES = 20

RECALL_OF_FIRST_24 = 0.9
"""Share of the 24 best of all that a search through lists gives at least."""

RECALL_OF_ORIGINALS = 0.97
"""Share of the originals that comparing all finds among 24, and a search through lists as well."""


def waves(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return vectors whose spectrum is that of photographs: unlike blocks, they resemble each other somewhat."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None])
    frequency[0, 0] = 1
    pictures = np.fft.irfft2(np.fft.rfft2(random.normal(size=(count, 64, 64))) / frequency**1.3)
    scaled = 128 + 50 * pictures / pictures.std(axis=(1, 2), keepdims=True)
    return np.asarray(np.clip(scaled, 0, 255), dtype=np.uint8).reshape(count, 4096)


VECTORS = waves(COUNT)
CODES = GREY64.packed_codes(VECTORS)


# As many kept as there are would find everything, whatever the lists hold.
BOUNDS = ListBounds(window_lists=200, rounds=4, kept=150)
"""Lists that are trained in a tenth of a second: a view still looks into 8 of 200."""


FEW_PATTERNS = replace(BOUNDS, code_bits=4)
"""Lists trained in a tenth of that, for tests that do not ask how well they find: 16 patterns in place of 256."""


def settled(collection: Collection) -> Collection:
    """Return a collection after its lists are made."""
    while collection.tend():
        pass
    return collection


def opened(path: Path | None, bounds: ListBounds = BOUNDS) -> Collection:
    """Return a collection that makes lists of few."""
    collection = Collection(GREY64, path, listed_above=FEW, bounds=bounds)
    collection.open()
    return collection


@pytest.fixture(scope="module")
def large() -> Collection:
    """A collection in memory that is searched through lists."""
    collection = opened(None)
    collection.add(range(COUNT), VECTORS)
    return settled(collection)


def nearest(snapshot: CollectionSnapshot, query: NDArray[np.uint8], count: int) -> list[tuple[int, float]]:
    """Return the best of all, as a search does."""
    scores, ids = snapshot.scores(query), snapshot.ids
    order = np.lexsort((ids, -scores))[:count]
    return [(int(ids[row]), float(scores[row])) for row in order]


def grey(vector: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return vector.reshape(64, 64)


def cropped(vector: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut out the upper left 44 pixels."""
    at = np.arange(64) * 44 // 64
    return grey(vector)[np.ix_(at, at)]


def framed(vector: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put a white caption below."""
    at = np.arange(64) * 64 // 55
    return np.vstack([grey(vector)[at[at < 64]], np.full((64 - int((at < 64).sum()), 64), 255, dtype=np.uint8)])


EDITS: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "unchanged": grey,
    "mirrored": lambda vector: grey(vector)[:, ::-1],
    "turned": lambda vector: np.rot90(grey(vector)),
    "inverted": lambda vector: 255 - grey(vector),
    "cropped": cropped,
    "framed": framed,
}


@pytest.mark.parametrize("edit", EDITS)
def test_lists_find_what_comparing_all_finds(large: Collection, edit: str) -> None:
    """The best 24, with the very same scores, and the original of each edit."""
    snapshot = large.snapshot()
    assert large.listed == COUNT
    shares, originals = [], []
    for number in range(QUERIES):
        query = EDITS[edit](VECTORS[number * 7]).reshape(-1)
        ranked, found = nearest(snapshot, query, COUNT), snapshot.candidates(query, 24)
        exact, scores = ranked[:24], dict(ranked)
        assert all(score == pytest.approx(scores[content_id], abs=1e-6) for content_id, score in found)
        shares.append(len(set(dict(exact)) & set(dict(found))) / 24)
        if number * 7 in dict(exact):
            originals.append(number * 7 in dict(found))
    assert len(originals) > QUERIES / 2
    assert np.mean(originals) >= RECALL_OF_ORIGINALS
    assert np.mean(shares) >= RECALL_OF_FIRST_24


@pytest.mark.parametrize("edit", ["unchanged", "mirrored", "turned", "inverted", "cropped"])
def test_lists_propose_originals_to_many_at_once(large: Collection, edit: str) -> None:
    """As comparing all does; framed ones are found from the other side, when the picture is asked for."""
    queries = np.stack([EDITS[edit](VECTORS[number * 7]).reshape(-1) for number in range(QUERIES)])
    found = [ids.tolist() for ids, _ in large.snapshot().joint_candidates(queries, 12)]
    exact = [dict(nearest(large.snapshot(), query, 12)) for query in queries]
    originals = [number * 7 in found[number] for number in range(QUERIES) if number * 7 in exact[number]]
    assert np.mean(originals) >= RECALL_OF_ORIGINALS


def test_lists_propose_a_part() -> None:
    """A search compares with few of the many: this is what lists are for."""
    collection = opened(None, replace(BOUNDS, kept=40))
    collection.add(range(COUNT), VECTORS)
    snapshot = settled(collection).snapshot()
    rows = snapshot.source.rows(coarse_views(VECTORS[5]), 10, snapshot.rows)
    assert rows is not None
    assert 5 in rows
    assert 40 <= len(rows) <= 80
    assert np.all(np.diff(rows) > 0)


@pytest.mark.parametrize("bounds", [replace(BOUNDS, window_hits=1), replace(BOUNDS, whole_hits=1)])
def test_a_hundred_copies_are_all_candidates(bounds: ListBounds) -> None:
    """A picture of which there are many copies does not hide some of them, in either index."""
    collection = opened(None, bounds)
    collection.add(range(COUNT), VECTORS)
    collection.add(range(5000, 5100), np.broadcast_to(VECTORS[3], (100, 4096)))
    snapshot = settled(collection).snapshot()
    assert {content_id for content_id, _ in snapshot.candidates(VECTORS[3], 101)} == {3, *range(5000, 5100)}


def test_nothing_that_is_new_or_gone_is_missed_or_found(large: Collection) -> None:
    """What lists do not cover yet is compared, and what has gone is not proposed."""
    collection = opened(None, FEW_PATTERNS)
    collection.add(range(500), VECTORS[:500])
    settled(collection)
    before = collection.snapshot()
    collection.add(range(500, 900), VECTORS[500:900])
    assert collection.listed == 500
    assert best_of(collection.snapshot(), VECTORS[800]) == 800
    collection.remove([3, 800])
    snapshot = collection.snapshot()
    assert best_of(snapshot, VECTORS[3]) != 3
    assert best_of(snapshot, VECTORS[800]) != 800
    # The older snapshot has what it had, also after the lists have grown past it.
    collection.add(range(900, COUNT), VECTORS[900:])
    collection.add(range(2000, 3500), VECTORS[::-1])
    settled(collection)
    assert collection.listed > 1500
    assert best_of(before, VECTORS[3]) == 3
    assert best_of(before, VECTORS[800]) != 800
    assert max(content_id for content_id, _ in before.candidates(VECTORS[800], 400)) < 500


def test_lists_are_brought_up_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made anew when contents are added: each row goes into the lists once."""
    added: list[int] = []
    real = lists.Lists.add

    def add(self: Any, rows: NDArray[np.int64], *rest: Any) -> None:  # noqa: ANN401 -- passed on
        added.extend(rows.tolist())
        real(self, rows, *rest)

    monkeypatch.setattr(lists.Lists, "add", add)
    collection = opened(None, replace(FEW_PATTERNS, lag_rows=100))
    for start in range(0, COUNT, 50):
        collection.add(range(start, start + 50), VECTORS[start : start + 50])
        settled(collection)
    assert added == list(range(len(added)))
    assert COUNT - 100 < len(added) <= COUNT
    assert best_of(collection.snapshot(), VECTORS[COUNT - 1]) == COUNT - 1


def test_few_are_compared_with_all() -> None:
    """Below the size that is stated, no library is asked."""
    collection = opened(None)
    collection.add(range(FEW - 1), VECTORS[: FEW - 1])
    assert not collection.tend()
    assert collection.listed == 0
    assert best_of(collection.snapshot(), VECTORS[5]) == 5


def test_without_the_library_all_are_compared(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once what would help."""
    monkeypatch.setitem(sys.modules, "cbir_daemon.search.inverted_lists", None)
    collection = opened(None)
    collection.add(range(FEW), VECTORS[:FEW])
    with caplog.at_level(logging.INFO):
        assert not collection.tend()
        assert not collection.tend()
    assert [record.message for record in caplog.records] == [
        "large collection is searched exactly hint=install-cbir-daemon[index]"
    ]
    assert best_of(collection.snapshot(), VECTORS[5]) == 5


# -- kept between two runs -------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a collection that was searched through lists and closed."""
    path = tmp_path / "codes.rows"
    collection = opened(path, FEW_PATTERNS)
    collection.add(range(500), VECTORS[:500])
    settled(collection).close()
    return path


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is put in whenever lists are trained."""
    times: list[int] = []
    real = lists.Lists.trained

    def train(sample: Codes, **settings: Any) -> Any:  # noqa: ANN401 -- passed on
        times.append(len(sample))
        return real(sample, **settings)

    monkeypatch.setattr(lists.Lists, "trained", train)
    return times


def test_lists_outlive_a_restart(path: Path, trained: list[int]) -> None:
    """They are read, not made; what came after they were saved is added."""
    collection = opened(path, FEW_PATTERNS)
    assert collection.listed == 500
    collection.add(range(500, 520), VECTORS[500:520])
    again = settled(opened(path, FEW_PATTERNS))
    assert trained == []
    assert again.listed == 500
    assert [best_of(again.snapshot(), VECTORS[number]) for number in (3, 499, 510)] == [3, 499, 510]
    assert path.with_suffix(".lists").stat().st_mode & 0o777 == 0o600


def is_mapped(file: Path) -> bool:
    """Whether this process has a file mapped into its memory."""
    return str(file) in Path("/proc/self/maps").read_text()


def test_lists_lie_in_their_file_until_some_are_added(path: Path, trained: list[int]) -> None:
    """They take no memory of this process then; once added to, and saved, they lie in the new file."""
    file, growing = path.with_suffix(".lists"), replace(FEW_PATTERNS, lag_rows=10)
    with contextlib.closing(opened(path, growing)) as collection:
        assert is_mapped(file)
        assert best_of(collection.snapshot(), VECTORS[3]) == 3
        collection.add(range(500, 520), VECTORS[500:520])
        settled(collection)
        # A twenty-fifth is too little to be saved for.
        assert collection.listed == 520
        assert not is_mapped(file)
        collection.add(range(520, 600), VECTORS[520:600])
        settled(collection)
        assert collection.listed == 600
        assert is_mapped(file)
        assert [best_of(collection.snapshot(), VECTORS[number]) for number in (3, 510, 590)] == [3, 510, 590]
    assert trained == []


def test_lists_that_are_gone_when_some_are_to_be_added_are_made_anew(path: Path, trained: list[int]) -> None:
    """Those in use serve until then."""
    with contextlib.closing(opened(path, replace(FEW_PATTERNS, lag_rows=10))) as collection:
        path.with_suffix(".lists").unlink()
        assert best_of(collection.snapshot(), VECTORS[3]) == 3
        collection.add(range(500, 520), VECTORS[500:520])
        settled(collection)
        assert collection.listed == 520
    assert len(trained) == 1


def followed(collection: Collection, saved: SavedLists) -> CollectionSnapshot:
    """Return the snapshot of a collection as a process searches it that maps the saved lists."""
    snapshot = collection.snapshot()
    saved.refresh(snapshot.rows)
    return replace(snapshot, source=saved)


def test_lists_are_mapped_by_who_did_not_make_them(path: Path) -> None:
    """They propose what those in memory do, and every row that is not in them; what is saved later is taken up."""
    collection, saved = opened(path, FEW_PATTERNS), SavedLists(path.with_suffix(".lists"), GREY64, FEW_PATTERNS)
    views = [GREY64.join_views(vector) for vector in VECTORS[:5]]
    for first in (500, 700):
        snapshot = followed(collection, saved)
        for vector in VECTORS[:QUERIES]:
            assert snapshot.candidates(vector, 24) == collection.snapshot().candidates(vector, 24)
        rows, own = (shown.source.joined_rows(views, shown.rows) for shown in (snapshot, collection.snapshot()))
        assert rows is not None
        assert own is not None
        assert [proposed.tolist() for proposed in rows] == [proposed.tolist() for proposed in own]
        # More than the lists may lag behind before they are saved again.
        collection.add(range(first, first + 200), VECTORS[first : first + 200])
        assert best_of(followed(collection, saved), VECTORS[first + 150]) == first + 150
        collection.remove([first + 150])
        assert best_of(followed(collection, saved), VECTORS[first + 150]) != first + 150
        collection.close()
        collection = opened(path, replace(FEW_PATTERNS, lag_rows=1))
        settled(collection)
    assert collection.listed == 900


def test_lists_that_cannot_be_mapped_are_done_without(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Missing, damaged, of other rows, or of a library that is not there: all are compared."""
    collection, file = opened(path, FEW_PATTERNS), path.with_suffix(".lists")
    whole = file.read_bytes()

    def asked() -> NDArray[np.int64] | None:
        saved = SavedLists(file, GREY64)
        snapshot = followed(collection, saved)
        return saved.rows(coarse_views(VECTORS[3]), 24, snapshot.rows)

    assert asked() is not None
    for damaged in (b"", whole[:-1], bytes([whole[0] ^ 1]) + whole[1:]):
        file.write_bytes(damaged)
        assert asked() is None
    file.unlink()
    assert asked() is None
    assert caplog.text == ""
    file.write_bytes(whole)
    file.chmod(0)
    if os.geteuid():
        assert asked() is None
        assert "lists cannot be used" in caplog.text
    file.chmod(0o600)
    collection.compact()
    assert asked() is None


def test_lists_of_a_compacted_collection_are_made_anew(path: Path, trained: list[int]) -> None:
    """Rows have other numbers then; until the new ones are there, all are compared."""
    collection = opened(path, FEW_PATTERNS)
    collection.remove(range(300))
    collection.compact()
    assert collection.listed == 0
    assert best_of(collection.snapshot(), VECTORS[400]) == 400
    assert opened(path, FEW_PATTERNS).listed == 0
    settled(collection)
    assert trained == [200]
    assert best_of(collection.snapshot(), VECTORS[400]) == 400
    collection.close()
    assert opened(path, FEW_PATTERNS).listed == 200


def test_lists_of_other_codes_are_made_anew(path: Path, trained: list[int]) -> None:
    """Also when there are as many rows as they cover: their numbers mean others."""
    collection = opened(path, FEW_PATTERNS)
    collection.remove(range(300))
    collection.compact()
    collection.add(range(1000, 1400), VECTORS[600:1000])
    assert len(collection) == 600
    again = opened(path, FEW_PATTERNS)
    assert again.listed == 0
    assert best_of(again.snapshot(), VECTORS[700]) == 1100


@pytest.mark.parametrize("at", [0, 8, 12, 28, 36, 40, 300, -1])
def test_damaged_lists_are_made_anew(path: Path, trained: list[int], at: int) -> None:
    """Wherever a bit turned, nothing of them is believed."""
    file = path.with_suffix(".lists")
    data = bytearray(file.read_bytes())
    data[at] ^= 16
    file.write_bytes(data)
    collection = opened(path, FEW_PATTERNS)
    assert collection.listed == 0
    assert best_of(settled(collection).snapshot(), VECTORS[3]) == 3
    assert trained == [500]


@pytest.mark.parametrize("size", [0, 10, 60, 5000])
def test_torn_lists_are_made_anew(path: Path, size: int) -> None:
    """A file that ends early is of no use, and is replaced."""
    os.truncate(path.with_suffix(".lists"), size)
    assert opened(path, FEW_PATTERNS).listed == 0
    settled(opened(path, FEW_PATTERNS)).close()
    assert opened(path, FEW_PATTERNS).listed == 500


def test_lists_never_cover_rows_that_are_not_there(path: Path, trained: list[int]) -> None:
    """Rows that a power cut took, and that will have other contents, are not proposed as the old ones."""
    assert path.stat().st_size > 65_536 + 300 * 1016
    os.truncate(path, 65_536 + 300 * 1016)
    assert opened(path, FEW_PATTERNS).listed == 0


def test_rows_reach_the_disk_before_the_lists_that_name_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut the same numbers would stand for other rows."""
    collection = opened(path, FEW_PATTERNS)
    collection.add(range(500, COUNT), VECTORS[500:])
    collection.add(range(COUNT, COUNT + 500), VECTORS[:500])
    order: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: order.append("rows"))
    monkeypatch.setattr(os, "fsync", lambda _: order.append("lists"))
    settled(collection)
    assert order == ["rows", "lists"]


def test_a_full_disk_costs_only_the_lists(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Saving is given up, the file that was there stays, and the log says why."""
    before = path.with_suffix(".lists").read_bytes()
    collection = opened(path, FEW_PATTERNS)
    collection.add(range(500, COUNT), VECTORS[500:])
    collection.add(range(COUNT, COUNT + 500), VECTORS[:500])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    settled(collection)
    assert collection.listed > 1000
    collection.close()
    assert path.with_suffix(".lists").read_bytes() == before
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["codes.lists", "codes.rows"]
    assert len([record for record in caplog.records if "lists not saved" in record.message]) == 1


def test_a_stream_that_refuses_is_an_error() -> None:
    """A disk that is full while faiss writes is told, not passed over."""
    made = lists.Lists.trained(CODES, bounds=BOUNDS)
    with pytest.raises(OSError, match="No space left"), open("/dev/full", "wb", buffering=0) as stream:  # noqa: PTH123 -- a device
        made.write(stream, 0)


def test_searches_while_lists_grow() -> None:
    """Searching and growing take turns, and every search finds its content."""
    rows = Rows(GREY64)
    rows.append(np.arange(COUNT), CODES)
    growing = lists.Lists.trained(CODES, bounds=FEW_PATTERNS)
    snapshot = CollectionSnapshot(GREY64, rows.frozen(), ListedCandidates(rows, lists=growing))
    stop = threading.Event()

    def grow() -> None:
        for start in range(0, COUNT, 20):
            added = np.arange(start, start + 20)
            growing.add(added, CODES[added], start + 20)
        stop.set()

    def search(_: int) -> bool:
        found = True
        number = 0
        while not stop.is_set() or number < 5:
            found = found and best_of(snapshot, VECTORS[number * 37 % COUNT]) == number * 37 % COUNT
            number += 1
        return found

    with ThreadPoolExecutor(3) as pool:
        searching = [pool.submit(search, number) for number in range(2)]
        pool.submit(grow).result(120)
        assert all(search_run.result(120) for search_run in searching)
    assert growing.covered == COUNT


def test_a_change_waits_for_searches_and_comes_before_the_next() -> None:
    """Faiss may move what it searches when lists grow."""
    turns = lists.Turns()
    changed, searched = threading.Event(), threading.Event()

    def change() -> None:
        with turns.changing():
            changed.set()

    def search() -> None:
        with turns.searching():
            searched.set()

    with ThreadPoolExecutor(2) as pool:
        with turns.searching(), turns.searching():
            changing = pool.submit(change)
            assert not changed.wait(0.1)
            searching = pool.submit(search)
            assert not searched.wait(0.1)
        changing.result(30)
        searching.result(30)
    assert changed.is_set()
    assert searched.is_set()


def test_the_same_codes_give_the_same_lists(tmp_path: Path) -> None:
    """Training has a seed."""
    files = [tmp_path / "first", tmp_path / "second"]
    for file in files:
        lists.Lists.trained(CODES[:400], bounds=FEW_PATTERNS).save(file, bytes(16))
    assert files[0].read_bytes() == files[1].read_bytes()


def test_rows_in_memory_save_no_lists(tmp_path: Path) -> None:
    """Lists name rows of a file; without one they would name nothing at the next start."""
    collection = Collection(GREY64, tmp_path / "gone" / "codes.rows", listed_above=FEW, bounds=FEW_PATTERNS)
    collection.open()
    collection.add(range(300), VECTORS[:300])
    settled(collection).close()
    assert collection.listed == 300
    assert list(tmp_path.iterdir()) == []
