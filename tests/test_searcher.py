"""A search finds the copies and what lies near, over one frozen view, whatever changes meanwhile."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.errors import StorageError
from cbir_daemon.kinds import Kind
from cbir_daemon.matching.grey64 import GREY64, Grey64
from cbir_daemon.medium import Codes
from cbir_daemon.search.search import Found, as_vectors
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.search.snapshot import Map
from cbir_daemon.store import FitBegun, Gone, Indexed, Placed, Store
from tests.pictures import brighter, mirrored
from tests.rows import indexed, photographed, position, report, sql
from tests.worlds import World

COUNT = 12
NOW = 1_700_000_000.0


def picture(number: int) -> Indexed:
    """Return the change that brings a photograph in, with a content of its own."""
    return indexed(1, b"%d.jpg" % number, number, photographed(number))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An index of twelve unrelated photographs; content n is the photograph of seed n - 1."""
    with closing(World(tmp_path)) as world:
        world.apply(map(picture, range(COUNT)))
        yield world


@pytest.fixture
def store(world: World) -> Store:
    """Its index."""
    return world.store


@pytest.fixture
def searcher(world: World) -> Searcher:
    """A searcher that holds them all, without a map."""
    return world.new_searcher()


def line(*content_ids: int) -> list[tuple[int, bytes]]:
    """Place contents on a line, each at its id."""
    return [(content_id, position(content_id, 0)) for content_id in content_ids]


def at(x: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return a place on that line."""
    return np.array([x, 0], dtype=np.float32)


def ids_of(found: list[Found], kind: Kind) -> list[int]:
    """Return the contents found, best first."""
    return [match.content_id for match in found if match.kind == kind]


def map_ids(searcher: Searcher) -> list[int] | None:
    """Return the contents placed on the map in use, if there is one."""
    current = searcher.snapshot.map
    return None if current is None else current.ids.tolist()


def test_a_copy_is_found_and_nothing_else(searcher: Searcher) -> None:
    """With what was done to the stored image."""
    (found,) = searcher.copies(photographed(4, mirrored))
    assert (found.content_id, found.kind, found.transform.flip) == (5, Kind.COPY, True)
    assert found.score > 0.9
    assert searcher.copies(photographed(100)) == []


def test_a_content_is_no_copy_of_itself(searcher: Searcher) -> None:
    """The lookup of a content leaves it out, and finds its copies."""
    assert [match.content_id for match in searcher.copies(photographed(4))] == [5]
    assert searcher.copies(photographed(4), without=5) == []
    searcher.change([(99, photographed(4, brighter))], ())
    # What the store does not have is no match, even when the view still has it.
    assert searcher.copies(photographed(4), without=5) == []


def test_copies_come_before_what_resembles(searcher: Searcher) -> None:
    """Each content once, best first, no more of those that resemble than asked for."""
    found = searcher.search(photographed(4, brighter), None, 3)
    assert ids_of(found, Kind.COPY) == [5]
    similar = [match for match in found if match.kind == Kind.SIMILAR]
    assert len(similar) == 3
    assert [match.score for match in similar] == sorted((match.score for match in similar), reverse=True)
    assert len({match.content_id for match in found}) == len(found)
    assert all(match.map_distance is None for match in found)
    assert ids_of(searcher.search(photographed(4), None, 0), Kind.SIMILAR) == []


def test_with_a_map_what_lies_near_is_ranked_by_likeness(searcher: Searcher) -> None:
    """Only the neighbourhood is looked at, and each match says how far it lies."""
    searcher.replace_map(1, line(*range(1, 10)))
    narrow = replace(searcher.at(), min_near=3)
    found = narrow.search(photographed(100), at(4.0), 3)
    assert sorted(ids_of(found, Kind.SIMILAR)) == [3, 4, 5]
    assert {match.content_id: match.map_distance for match in found} == {3: 1.0, 4: 0.0, 5: 1.0}
    # A copy far away on the map, and one without a place, are found by the codes.
    assert ids_of(narrow.search(photographed(8), at(1.0), 3), Kind.COPY) == [9]
    (without_place,) = [match for match in narrow.search(photographed(11), at(1.0), 3) if match.kind == Kind.COPY]
    assert (without_place.content_id, without_place.map_distance) == (12, None)


def test_a_search_without_a_place_goes_by_the_codes(searcher: Searcher) -> None:
    """When the model worker does not answer there are matches all the same."""
    searcher.replace_map(1, line(*range(1, 10)))
    found = searcher.search(photographed(100), None, 5)
    assert len(found) == 5
    assert all(match.map_distance is None for match in found)


def test_an_empty_collection_has_no_matches(tmp_path: Path) -> None:
    """With and without a place on a map."""
    with closing(World(tmp_path)) as world:
        searcher = world.new_searcher()
        assert searcher.copies(photographed(1)) == []
        assert searcher.search(photographed(1), None, 5) == []
        assert searcher.search(photographed(1), at(1.0), 5) == []


def test_a_plain_image_has_no_copies(searcher: Searcher, store: Store) -> None:
    """One tone agrees with every other one."""
    plain = bytes([200]) * 4096
    searcher.change(store.files.apply([indexed(1, b"p.png", 90, plain)]).added, ())
    assert searcher.copies(plain) == []
    assert searcher.copies(bytes([190]) * 4096) == []


def test_what_is_gone_is_not_found(searcher: Searcher, store: Store) -> None:
    """Neither by its codes nor by its place; the view from before still has it, and finds nothing in the store."""
    searcher.replace_map(1, line(*range(1, COUNT + 1)))
    before = searcher.snapshot
    applied = store.files.apply([Gone(1, b"4.jpg")])
    assert searcher.copies(photographed(4)) == []
    searcher.change(applied.added, applied.gone)
    assert 5 not in {match.content_id for match in searcher.search(photographed(4), at(5.0), COUNT)}
    assert (len(before.collection), len(searcher.snapshot.collection)) == (COUNT, COUNT - 1)
    assert before.map is not None
    assert before.map.position_of(5) is not None


def test_the_newest_in_view_is_known(searcher: Searcher) -> None:
    """Whoever works on new contents waits for them to be in view; it never goes back."""
    assert searcher.newest_id == COUNT
    searcher.change([(40, photographed(40))], [COUNT])
    searcher.change((), [40])
    assert searcher.newest_id == 40


def test_load_takes_up_the_active_map(world: World, store: Store) -> None:
    """With the places of its contents."""
    run = store.runs.start(FitBegun("asked for", "code/1", COUNT), NOW)
    placed = [Placed(content_id, "fitted", row) for content_id, row in line(*range(1, COUNT + 1))]
    store.runs.activate(run, report(), placed, NOW)
    searcher = world.new_searcher()
    assert searcher.snapshot.map is not None
    assert searcher.snapshot.map.run_id == run
    assert searcher.snapshot.map.ids.tolist() == list(range(1, COUNT + 1))
    assert searcher.search(photographed(100), at(3.0), COUNT)[0].map_distance is not None


@pytest.fixture
def coded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many codes were made each time, but for those by which a file is known."""
    made: list[int] = []
    real, probes = GREY64.packed_codes, GREY64.probe_vectors()

    def packed_codes(vectors: NDArray[np.uint8]) -> Codes:
        if not np.array_equal(vectors, probes):
            made.append(len(vectors))
        return real(vectors)

    monkeypatch.setattr(Grey64, "packed_codes", staticmethod(packed_codes))
    return made


def run_to_end(searcher: Searcher) -> None:
    """Run the thread that tends the collection: it makes itself nicer, which no thread can undo."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(searcher.run).result(30)


def added(store: Store, number: int) -> None:
    """Bring a photograph into the store alone, as if the daemon were killed before its view has it."""
    store.files.apply([picture(number)])


def test_codes_are_made_once(world: World, tmp_path: Path, coded: list[int]) -> None:
    """A restart makes none but the few that it compares, and finds the same."""
    path = tmp_path / "codes.rows"
    before = world.new_searcher(path).copies(photographed(4, mirrored))
    assert coded == [COUNT]
    searcher = world.new_searcher(path)
    assert coded == [COUNT, COUNT]
    assert searcher.copies(photographed(4, mirrored)) == before
    assert searcher.newest_id == COUNT


def test_a_start_compares_a_few_codes_only(world: World, tmp_path: Path, coded: list[int]) -> None:
    """However many there are; the newest is one of them."""
    path = tmp_path / "codes.rows"
    world.new_searcher(path)
    world.new_searcher(path, probed_contents=3)
    assert coded == [COUNT, 4]


def test_a_start_completes_and_clears_the_codes(world: World, tmp_path: Path, coded: list[int]) -> None:
    """What the store has and the file has not is made, what the file has and the store has not goes."""
    path = tmp_path / "codes.rows"
    world.new_searcher(path)
    added(world.store, 20)
    world.store.files.apply([Gone(1, b"3.jpg")])
    searcher = world.new_searcher(path)
    assert coded[-1] == 1
    assert sorted(searcher.snapshot.collection.ids.tolist()) == [1, 2, 3, *range(5, COUNT + 1), COUNT + 1]
    assert ids_of(searcher.copies(photographed(20)), Kind.COPY) == [COUNT + 1]
    assert searcher.copies(photographed(3)) == []
    assert searcher.newest_id == COUNT + 1


def test_codes_of_another_index_are_not_believed(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where an index was put in the place of another, its contents have the ids of others."""
    path = tmp_path / "codes.rows"
    (tmp_path / "other").mkdir()
    with closing(World(tmp_path / "other")) as second:
        second.apply(map(picture, range(30, 30 + COUNT)))
        second.new_searcher(path)
    searcher = world.new_searcher(path)
    assert ids_of(searcher.copies(photographed(4)), Kind.COPY) == [5]
    assert searcher.copies(photographed(34)) == []
    assert len([record for record in caplog.records if "not those of the index" in record.message]) == 1


def test_codes_of_an_index_that_was_put_back_are_not_believed(world: World, tmp_path: Path) -> None:
    """The newest id may have been given twice: to a content before the backup was put back, and to another after."""
    path = tmp_path / "codes.rows"
    searcher = world.new_searcher(path)
    searcher.change([(COUNT + 1, photographed(50))], ())
    searcher.close()
    added(world.store, 51)
    searcher = world.new_searcher(path)
    assert ids_of(searcher.copies(photographed(51)), Kind.COPY) == [COUNT + 1]
    assert searcher.copies(photographed(50)) == []


def test_the_thread_tends_what_changes_until_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes round as long as there is something to do, rests, wakes at a change, and ends when asked."""
    searcher = Searcher(world.store, GREY64)
    steps: queue.SimpleQueue[int] = queue.SimpleQueue()
    steps_to_do = iter([True, True])

    def tend() -> bool:
        steps.put(len(searcher.snapshot.collection))
        return next(steps_to_do, False)

    monkeypatch.setattr(searcher, "tend", tend)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(searcher.run)
        assert [steps.get(timeout=30) for _ in range(3)] == [0, 0, 0]
        searcher.load()
        while steps.get(timeout=30) < COUNT:
            pass
        searcher.stop()
        running.result(30)
        # Asked before it began, it does not begin.
        pool.submit(searcher.run).result(30)


def test_a_damaged_vector_is_noticed_though_its_code_is_cached(world: World, tmp_path: Path) -> None:
    """A start that makes no codes reads no vectors, so the thread does, once."""
    path = tmp_path / "codes.rows"
    world.new_searcher(path)
    sql(world.store.path, "UPDATE content SET vector = zeroblob(4096) WHERE id = 4")
    searcher = world.new_searcher(path)
    with pytest.raises(StorageError, match=f"{world.store.path}.*the vector of content 4 is not what was written"):
        run_to_end(searcher)


def test_places_are_added_to_the_map_in_use(searcher: Searcher) -> None:
    """New ones beside the others, known ones moved; those of another map are passed over."""
    searcher.replace_map(7, line(3, 1))
    searcher.place(7, [(2, position(20, 0)), (3, position(30, 0))])
    searcher.place(6, [(4, position(40, 0))])
    current = searcher.snapshot.map
    assert current is not None
    assert current.ids.tolist() == [1, 2, 3]
    assert current.positions.tolist() == [[1, 0], [20, 0], [30, 0]]
    place = current.position_of(3)
    assert place is not None
    assert place.tolist() == [30, 0]
    assert current.position_of(4) is None
    assert [current.distance(content_id, at(20)) for content_id in (1, 2, 3, 4)] == [19, 0, 10, None]
    assert current.nearest(at(20), 2) == [2, 3]


def test_a_map_is_swapped_whole(searcher: Searcher) -> None:
    """One with other dimensions, one of a collection that has gone, and none at all."""
    searcher.replace_map(1, line(1, 2))
    searcher.replace_map(2, [(1, position(1, 2, 3))])
    assert searcher.snapshot.map is not None
    assert searcher.snapshot.map.positions.shape == (1, 3)
    searcher.replace_map(3, [])
    assert map_ids(searcher) is None
    searcher.place(3, line(1))
    assert map_ids(searcher) == [1]
    searcher.drop_map()
    assert map_ids(searcher) is None


def test_a_map_may_lose_every_place(searcher: Searcher) -> None:
    """When all that was placed has gone, a search finds nothing near and does not fail."""
    searcher.replace_map(1, line(1, 2))
    searcher.change((), [1, 2])
    assert isinstance(searcher.snapshot.map, Map)
    assert all(match.map_distance is None for match in searcher.search(photographed(100), at(1.0), 3))
    searcher.place(1, line(3))
    assert searcher.snapshot.map.run_id == 1
    assert searcher.snapshot.map.ids.tolist() == [3]


def test_searches_and_changes_at_once(searcher: Searcher, store: Store) -> None:
    """Every search sees a whole state: the copy that stays is always found, and no search fails."""
    searcher.replace_map(1, line(*range(1, COUNT + 1)))
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            searcher.change((), [6, 7])
            searcher.change([(6, photographed(5)), (7, photographed(6))], ())
            searcher.place(1, line(6, 7))

    def search(_: int) -> list[int]:
        return ids_of(searcher.search(photographed(4), at(5.0), 3), Kind.COPY)

    with ThreadPoolExecutor(4) as pool:
        changing = pool.submit(change)
        found = list(pool.map(search, range(10)))
        stop.set()
        changing.result(30)
    assert found == [[5]] * 10


def test_no_vectors_are_a_table_without_rows() -> None:
    """So that nothing must be told apart before comparing."""
    assert as_vectors([]).shape == (0, 4096)
    assert as_vectors([photographed(1)]).tobytes() == photographed(1)
