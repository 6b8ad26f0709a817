"""Search processes, real ones: they answer as the daemon would, follow what changes, and cost a retry when they die."""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import platform
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from cbir_daemon import __version__
from cbir_daemon.comparison import Window
from cbir_daemon.errors import ChildError, StorageError, UnavailableError
from cbir_daemon.matching import GREY64
from cbir_daemon.medium import Fine
from cbir_daemon.search.collection import CollectionSnapshot
from cbir_daemon.search.operations import OPERATIONS
from cbir_daemon.search.processes import ENTERED, PROCESS_MODULE, RETRY_S, Processes
from cbir_daemon.search.published import Part, Publisher
from cbir_daemon.search.search import Search
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.search.searches import PlacedLook, Searches
from cbir_daemon.search.shared_arrays import GrowingArrays, SharedArrays, mapped
from cbir_daemon.search.snapshot import SearchSnapshot
from cbir_daemon.search.turns import Urgency
from cbir_daemon.search.wire import encoded
from cbir_daemon.store import Gone, Indexed
from cbir_daemon.system.child import Child
from tests import deadly_search
from tests.leftovers import nothing_left
from tests.patience import PATIENCE_S
from tests.pictures import bordered, brighter, cropped, mirrored, on_a_page, photograph
from tests.places import CHECKOUT
from tests.rows import indexed, photographed, position, sql, vector_of
from tests.worlds import World

COUNT = 12
LOOK = bytes(range(240)) * 2
SIZE_PX = (320, 240)
DEADLY = "tests.deadly_search"


def picture(number: int) -> Indexed:
    """Return the change that brings a photograph in, with a content of its own."""
    return indexed(1, b"%d.jpg" % number, number, photographed(number))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An index of twelve photographs, whose codes are in a file."""
    # As the daemon calculates: sums by several threads differ in their last bits.
    with threadpool_limits(1), closing(World(tmp_path, codes_path=tmp_path / "codes.rows")) as world:
        world.searcher.load()
        world.apply(map(picture, range(COUNT)))
        yield world


@pytest.fixture
def processes(world: World) -> Iterator[Processes]:
    """One process at most, for whoever asks."""
    with closing(Processes(world.store.path, 1, 1, small=0)) as processes:
        yield processes


class Nowhere:
    """A reader that has no vectors: what is searched with it was not searched here."""

    def vectors(self, content_ids: Sequence[int], /) -> dict[int, bytes]:
        """Refuse."""
        raise AssertionError(f"{content_ids} are read in this process")


def elsewhere(searcher: Searcher, processes: Processes, urgency: Urgency = Urgency.PASS) -> Searches:
    """Return searches of the present snapshot that only a process can do."""
    return Searches(Search(searcher.snapshot, Nowhere()), urgency, processes)


def here(searcher: Searcher) -> Searches:
    """Return searches of the present snapshot in this process."""
    return Searches(searcher.at(), Urgency.PASS, None)


def ready(searcher: Searcher, processes: Processes, count: int = 1) -> int:
    """Return the process id of the newest process, once so many can be asked."""
    while processes.running < count:
        Searches(searcher.at(), Urgency.PASS, processes).judgements(photographed(0), [])
    return processes.pids()[-1]


def test_a_process_answers_as_the_daemon_does(world: World, processes: Processes) -> None:
    """Everything that can be asked, to the last bit of every number."""
    searcher = world.searcher
    searcher.replace_map(1, [(content_id, position(content_id, 0)) for content_id in range(1, COUNT)])
    ready(searcher, processes)
    there, own = elsewhere(searcher, processes), here(searcher)
    for edit in (brighter, mirrored, cropped, bordered):
        vector = photographed(4, edit)
        assert there.copies(vector) == own.copies(vector) != []
        assert there.copies(vector, without=5) == own.copies(vector, without=5)
        assert there.judgements(vector, [5, 6]) == own.judgements(vector, [5, 6])
        for place in (None, np.array([3.0, 0.0], dtype=np.float32)):
            assert there.ranked(vector, place, 5, None) == own.ranked(vector, place, 5, None) != []
    contents = [(number + 1, photographed(number)) for number in range(4)]
    searcher.change([(40, photographed(2, brighter))], ())
    world.apply([indexed(1, b"again.jpg", 30, photographed(2, brighter))])
    there, own = elsewhere(searcher, processes), here(searcher)
    found = there.joined(contents, [()] * 4)
    assert found == own.joined(contents, [()] * 4)
    assert any(found)
    assert not any(there.joined(contents, [{copy.content_id for copy in copies} for copies in found]))


def test_a_process_finds_parts_as_the_daemon_does(world: World, processes: Processes) -> None:
    """Upright ones and turned ones."""
    searcher = world.searcher
    world.apply([indexed(1, b"large.jpg", 50, vector_of(photograph(50, SIZE_PX)))])
    ready(searcher, processes)
    page = on_a_page(photograph(50, SIZE_PX))
    page = page if page.ndim == 2 else np.asarray(page.mean(axis=2), dtype=np.uint8)
    there, own = elsewhere(searcher, processes), here(searcher)
    assert there.in_parts(page) == own.in_parts(page) != []
    assert there.in_turned_parts(page) == own.in_turned_parts(page)


def grey(seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return a photograph in grey."""
    return np.asarray(photograph(seed, SIZE_PX).mean(axis=2), dtype=np.uint8)


def test_a_process_compares_pictures_as_the_daemon_does(world: World, processes: Processes) -> None:
    """All of a second look, which needs nothing of the index."""
    searcher, look = world.searcher, GREY64.second_look
    assert look is not None
    ready(searcher, processes)
    placed = PlacedLook(look, elsewhere(searcher, processes).ask)
    first, second = grey(1), grey(2)
    vectors = [np.frombuffer(vector_of(photograph(seed, SIZE_PX)), np.uint8) for seed in (1, 2)]
    for picture_, vector in ((first, vectors[0]), (second, vectors[1])):
        assert placed.seen(vectors[0], vector, first, picture_) is look.seen(vectors[0], vector, first, picture_)
        assert placed.sight(vectors[0], vector, first, picture_) == look.sight(vectors[0], vector, first, picture_)
    straight = np.eye(2, 3)
    assert placed.seen(vectors[0], vectors[0], first, first, straight.ravel().tolist(), invert=True) is look.seen(
        vectors[0], vectors[0], first, first, straight.ravel().tolist(), invert=True
    )
    assert placed.seen_in_place(first, first, straight) == look.seen_in_place(first, first, straight)
    assert placed.busiest(first, 0.5, 0.25) == look.busiest(first, 0.5, 0.25)
    assert placed.sharpness(first) == look.sharpness(first)
    fine = Fine(first, Window())
    assert placed.detail_traces(fine, fine) == look.detail_traces(fine, fine)
    assert (placed.version, placed.side_px, placed.detail_side_px) == (
        look.version,
        look.side_px,
        look.detail_side_px,
    )


class Unread:
    """A part of a snapshot that must not be read."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"{name} is read, and the part is not declared")


def readable(snapshot: SearchSnapshot, parts: frozenset[str]) -> SearchSnapshot:
    """Return a snapshot of which only some parts can be read."""
    unread: Any = Unread()
    collection = snapshot.collection
    return SearchSnapshot(
        collection if "rows" in parts else CollectionSnapshot(collection.medium, unread, unread),
        snapshot.map if "map" in parts else unread,
        snapshot.looks if "looks" in parts else unread,
    )


def questions(searcher: Searcher) -> dict[str, tuple[object, ...]]:
    """Return arguments of all operations."""
    vector, original = photographed(4, brighter), photographed(4)
    vectors = tuple(np.frombuffer(numbers, np.uint8) for numbers in (vector, original))
    page = np.asarray(on_a_page(photograph(4, SIZE_PX)).mean(axis=2), dtype=np.uint8)
    look = searcher.medium.appearance
    assert look is not None
    return {
        "ranked": (vector, np.array([3.0, 0.0], dtype=np.float32), 5, bytes(look.size)),
        "copies": (vector, None),
        "joined": ([(5, original)], [frozenset[int]()]),
        "judgements": (vector, [5, 6]),
        "in_parts": (page,),
        "in_turned_parts": (page,),
        "seen": (*vectors, grey(4), grey(4), (), False),
        "seen_in_place": (grey(4), grey(4), np.eye(2, 3)),
        "sight": (*vectors, grey(4), grey(4)),
        "homography": (*vectors, grey(4), grey(4)),
        "busiest": (grey(4), 0.5, 0.25),
        "detail_traces": (Fine(grey(4), Window()), Fine(grey(4), Window())),
        "sharpness": (grey(4),),
    }


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_operation_reads_no_part_that_it_does_not_declare(world: World, name: str) -> None:
    """A process that has just started has no other part, and would quietly answer without it."""
    searcher = world.searcher
    searcher.replace_map(1, [(content_id, position(content_id, 0)) for content_id in range(1, COUNT)])
    operation, arguments = OPERATIONS[name], questions(searcher)[name]

    def answered(parts: frozenset[str]) -> bytes:
        return encoded(operation.do(Search(readable(searcher.snapshot, parts), world.store.contents), *arguments))

    assert answered(operation.reads) == answered(frozenset({"rows", "map", "looks"}))


def test_a_process_follows_what_comes_and_goes(world: World, processes: Processes) -> None:
    """Contents, codes that move to a new file, the map, and how contents look: the next question sees it all."""
    searcher, look = world.searcher, GREY64.appearance
    assert look is not None
    process_id = ready(searcher, processes)
    vector, place = photographed(4, brighter), np.array([3.0, 0.0], dtype=np.float32)

    def same(descriptor: bytes | None = None) -> list[int]:
        found = elsewhere(searcher, processes).ranked(vector, place, COUNT, descriptor)
        assert found == here(searcher).ranked(vector, place, COUNT, descriptor)
        return [match.content_id for match in found]

    assert 5 in same()
    world.apply([Gone(1, b"4.jpg")])
    assert 5 not in same()
    world.apply([indexed(1, b"4.jpg", 104, photographed(4))])
    assert same()[0] == COUNT + 1
    searcher.change([(number, photographed(number)) for number in range(2000, 2003)], ())
    searcher.change((), range(2000, 2003))
    assert same()[0] == COUNT + 1
    searcher.replace_map(1, [(content_id, position(content_id, 0)) for content_id in range(1, COUNT)])
    assert elsewhere(searcher, processes).ranked(vector, place, COUNT, None)[1].map_distance is not None
    same()
    searcher.drop_map()
    same()
    kind = look.kind
    world.store.descriptors.put(kind, {content_id: bytes([content_id]) * look.size for content_id in range(1, 9)})
    searcher.describe(range(1, 9))
    same(bytes([3]) * look.size)
    assert processes.pids() == [process_id]


def test_codes_that_move_to_a_new_file_are_followed(world: World, processes: Processes) -> None:
    """Also by a snapshot from before, which is searched here when the process has not seen it."""
    searcher = world.searcher
    process_id = ready(searcher, processes)
    vector = photographed(4, brighter)
    before = searcher.snapshot
    # More dead rows than are borne.
    many = [(number, photographed(number % COUNT)) for number in range(100, 1500)]
    searcher.change(many, ())
    searcher.change((), [number for number, _ in many])
    assert searcher.snapshot.collection.rows.generation != before.collection.rows.generation
    expected = here(searcher).copies(vector)
    assert [match.content_id for match in expected] == [5]
    assert Searches(searcher.at(before), Urgency.PASS, processes).copies(vector) == expected
    assert elsewhere(searcher, processes).copies(vector) == expected
    assert processes.pids() == [process_id]


def test_a_process_killed_at_rest_costs_one_retry(
    world: World, processes: Processes, caplog: pytest.LogCaptureFixture
) -> None:
    """The search that finds it dead is answered, and the next process is started."""
    searcher = world.searcher
    os.kill(ready(searcher, processes), signal.SIGKILL)
    vector = photographed(4, brighter)
    with caplog.at_level(logging.WARNING):
        found = Searches(searcher.at(), Urgency.PASS, processes).copies(vector)
    assert found == here(searcher).copies(vector)
    assert caplog.text.count("search is tried again") == 1
    assert "was killed by SIGKILL" in caplog.text
    ready(searcher, processes)
    assert elsewhere(searcher, processes).copies(vector) == found


def test_a_process_killed_during_a_search_costs_one_retry(
    world: World, processes: Processes, caplog: pytest.LogCaptureFixture
) -> None:
    """It was stopped, so the search is certainly under way."""
    searcher = world.searcher
    process_id = ready(searcher, processes)
    os.kill(process_id, signal.SIGSTOP)
    vector = photographed(4, brighter)
    with ThreadPoolExecutor(1) as pool, caplog.at_level(logging.WARNING):
        asked = pool.submit(Searches(searcher.at(), Urgency.PASS, processes).copies, vector)
        while not processes.searching:
            pass
        os.kill(process_id, signal.SIGKILL)
        assert asked.result(PATIENCE_S) == here(searcher).copies(vector)
    assert caplog.text.count("search is tried again") == 1


def test_a_process_that_hangs_is_killed(world: World) -> None:
    """And what it was asked is searched once more."""
    searcher = world.searcher
    with closing(Processes(world.store.path, 1, 1, small=0, answer_timeout_s=0.5)) as processes:
        process_id = ready(searcher, processes)
        os.kill(process_id, signal.SIGSTOP)
        vector = photographed(4, brighter)
        assert Searches(searcher.at(), Urgency.PASS, processes).copies(vector) == here(searcher).copies(vector)
        assert process_id not in processes.pids()


def test_what_two_processes_died_of_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an error that says how they died; the daemon does not do it itself."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    with closing(Processes(world.store.path, 2, 1, small=0, module=DEADLY)) as processes:
        search = Search(world.searcher.snapshot, Nowhere())
        # Nothing of a snapshot is read, so neither process is asked for anything before.
        while processes.running < 2:
            processes.start_if_worthwhile(Urgency.PASS, search)
            assert processes.problems() == []
        with pytest.raises(ChildError, match="was killed by SIGSEGV"):
            processes.run(Urgency.PASS, search, "copies", photographed(4), None)


def test_a_process_that_cannot_be_started_is_a_problem(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searches go on here, and it is not tried at each of them; `cbir status` says why."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    searcher = world.searcher
    with closing(Processes(tmp_path / deadly_search.REFUSING, 1, 1, small=0, module=DEADLY)) as processes:
        vector = photographed(4, brighter)
        while not processes.problems():
            assert Searches(searcher.at(), Urgency.PASS, processes).copies(vector) == here(searcher).copies(vector)
        (problem,) = processes.problems()
        assert problem.what == (f"search processes cannot be started: {DEADLY} refused to start: not today")
        began = time.monotonic()
        Searches(searcher.at(), Urgency.PASS, processes).copies(vector)
        assert not processes.starting or time.monotonic() - began > RETRY_S


def test_a_process_of_another_release_refuses(world: World) -> None:
    """What was installed over a daemon that still runs may mean something else by the same bytes."""
    with closing(Child.started(PROCESS_MODULE)) as child:
        child.send({"do": "open", "release": "0.0.1"})
        refused = child.receive(PATIENCE_S).message["refused"]
    assert refused == f"release {__version__} was installed over 0.0.1, which still runs"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no table of system calls")
def test_a_process_that_was_taken_over_changes_and_sends_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the state and what it is made of, and no photograph; from each of its threads."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    album = tmp_path / "albums"
    state = world.store.path.parent / "state"
    for folder in (album, state):
        folder.mkdir()
    (album / "photograph.jpg").write_bytes(b"private")
    (state / "file").write_bytes(b"codes")
    opening = {
        "do": "open",
        "index": str(world.store.path),
        "folders": [str(state)],
        "medium": GREY64.location,
        "copy_threshold": None,
        "release": __version__,
    }
    with closing(Child.started("tests.prying_search")) as child:
        child.send(opening)
        granted = child.receive(PATIENCE_S).message["granted"]
        child.send({"do": "pry", "inside": str(state / "file"), "outside": str(album / "photograph.jpg")})
        said = child.receive(PATIENCE_S).message
    if "landlock" not in granted:
        pytest.skip("this kernel has no Landlock")
    assert "seccomp" in granted
    reading = {"read the state", "load what makes lists"}
    assert {name for name, outcome in said["tried"].items() if outcome == "done"} == reading
    assert {outcome for name, outcome in said["tried"].items() if name not in reading} == {"PermissionError"}
    assert said["tried_in_a_thread"] == said["tried"]
    assert (state / "file").read_bytes() == b"codes"


def test_an_index_that_cannot_be_read_is_said_to_be(world: World, processes: Processes) -> None:
    """By the process as by the daemon, and the process goes on."""
    searcher = world.searcher
    process_id = ready(searcher, processes)
    sql(world.store.path, "ALTER TABLE content RENAME COLUMN vector TO lost")
    with pytest.raises(StorageError, match=r"index\.sqlite: no such column: vector"):
        elsewhere(searcher, processes).copies(photographed(4))
    sql(world.store.path, "ALTER TABLE content RENAME COLUMN lost TO vector")
    assert elsewhere(searcher, processes).copies(photographed(4))
    assert processes.pids() == [process_id]


def test_processes_leave_when_idle(world: World) -> None:
    """Also those that have died meanwhile; the next search starts another one."""
    searcher = world.searcher
    with closing(Processes(world.store.path, 1, 1, idle_s=1000.0, small=0)) as processes:
        process_id = ready(searcher, processes)
        processes.close_idle(time.monotonic())
        assert processes.pids() == [process_id]
        processes.close_idle(time.monotonic() + 1001)
        assert (processes.running, processes.pids()) == (0, [])
        with pytest.raises(ProcessLookupError):
            os.kill(process_id, 0)
        assert ready(searcher, processes) != process_id


def test_what_runs_at_the_end_is_refused(world: World) -> None:
    """The search ends with its process, and no process is left."""
    searcher = world.searcher
    processes = Processes(world.store.path, 1, 1, small=0)
    process_id = ready(searcher, processes)
    os.kill(process_id, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(elsewhere(searcher, processes).copies, photographed(4))
        while not processes.searching:
            pass
        processes.close()
        with pytest.raises(UnavailableError, match="the daemon is stopping"):
            asked.result(PATIENCE_S)
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)
    with pytest.raises(UnavailableError, match="the daemon is stopping"):
        elsewhere(searcher, processes).copies(photographed(4))


def test_nothing_is_left(tmp_path: Path) -> None:
    """No process, no descriptor, no memory, once all is closed."""

    def use() -> int:
        with (
            closing(World(tmp_path, codes_path=tmp_path / "codes.rows")) as world,
            closing(Processes(world.store.path, 1, 1, small=0)) as processes,
        ):
            world.searcher.load()
            world.apply([picture(1)])
            process_id = ready(world.searcher, processes)
            assert elsewhere(world.searcher, processes).copies(photographed(1))
            return process_id

    with nothing_left():
        process_id = use()
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


@contextmanager
def crowded(processes: Processes) -> Iterator[None]:
    """Let as many questions in as may be."""
    with ExitStack() as stack:
        for _ in range(ENTERED):
            stack.enter_context(processes.question())
        yield


def test_questions_are_let_in_as_they_came(world: World, processes: Processes) -> None:
    """So many at once; who waits is counted, and refused when the daemon stops."""
    entered: list[int] = []

    def ask(number: int) -> None:
        with processes.question():
            entered.append(number)

    with ThreadPoolExecutor(4) as pool:
        with crowded(processes):
            asked = []
            for number in range(3):
                asked.append(pool.submit(ask, number))
                while processes.waiting <= number:
                    pass
            assert entered == []
        for task in asked:
            task.result(PATIENCE_S)
        with crowded(processes):
            refused = pool.submit(ask, 3)
            while not processes.waiting:
                pass
            processes.stop()
            with pytest.raises(UnavailableError, match="the daemon is stopping"):
                refused.result(PATIENCE_S)
    assert sorted(entered) == [0, 1, 2]


def test_few_start_no_process(world: World) -> None:
    """A question alone, a new file, and what has its codes in memory alone; the pass of few does."""
    with closing(Processes(world.store.path, 1, 1, small=COUNT + 1)) as processes:
        Searches(world.searcher.at(), Urgency.QUESTION, processes).copies(photographed(4))
        Searches(world.searcher.at(), Urgency.ALERT, processes).copies(photographed(4))
        in_memory = world.new_searcher()
        Searches(in_memory.at(), Urgency.PASS, processes).copies(photographed(4))
        assert processes.starting == 0
        Searches(world.searcher.at(), Urgency.PASS, processes).copies(photographed(4))
        assert processes.starting == 1
    with closing(Processes(world.store.path, 0, 1, small=0)) as processes:
        Searches(world.searcher.at(), Urgency.PASS, processes).copies(photographed(4))
        assert processes.starting == 0


def test_what_is_no_question_stands_back(world: World, processes: Processes) -> None:
    """Its thread has a niceness that the thread for questions does not have."""
    process_id = ready(world.searcher, processes)
    elsewhere(world.searcher, processes).copies(photographed(4))
    tasks = sorted(int(entry.name) for entry in Path(f"/proc/{process_id}/task").iterdir())
    nice = {task: os.getpriority(os.PRIO_PROCESS, task) for task in tasks}
    assert nice[process_id] == os.getpriority(os.PRIO_PROCESS, 0)
    assert max(nice.values()) == min(19, nice[process_id] + 10)


def test_shared_arrays_can_be_read_and_nothing_else() -> None:
    """By whoever has the memory, for as long as it is mapped."""
    numbers, none = np.arange(10, dtype=np.int64), np.empty((0, 7), dtype=np.float32)
    with nothing_left():
        shared = SharedArrays([numbers, none, numbers.reshape(2, 5).T > 3])
        with pytest.raises(PermissionError):
            mmap.mmap(shared.descriptor, 0, mmap.MAP_SHARED, mmap.PROT_WRITE)
        with pytest.raises(PermissionError):
            os.pwrite(shared.descriptor, b"x", 0)
        with pytest.raises(PermissionError):
            fcntl.fcntl(shared.descriptor, fcntl.F_ADD_SEALS, 0)
        arrays, layout = mapped(shared.descriptor, shared.layout), shared.layout
        small = SharedArrays([numbers[:1]])
        with pytest.raises(ValueError, match="buffer"):
            mapped(small.descriptor, layout)
        del shared, small
        assert arrays[0].tolist() == list(range(10))
        assert (arrays[1].shape, arrays[2].shape) == ((0, 7), (5, 2))
        assert arrays[2].tolist() == (numbers.reshape(2, 5).T > 3).tolist()
        assert not any(array.flags.writeable for array in arrays)
        del arrays


def test_arrays_that_grow_can_be_read_by_others_and_nothing_else() -> None:
    """Others see what is filled after they have mapped them, and only who made them can write."""
    with nothing_left():
        growing = GrowingArrays([("<i8", [10]), ("|u1", [10, 3])])
        with pytest.raises(PermissionError):
            mmap.mmap(growing.descriptor, 0, mmap.MAP_SHARED, mmap.PROT_WRITE)
        with pytest.raises(PermissionError):
            os.pwrite(growing.descriptor, b"x", 0)
        with pytest.raises(PermissionError):
            fcntl.fcntl(growing.descriptor, fcntl.F_ADD_SEALS, 0)
        numbers, rows = mapped(growing.descriptor, growing.layout)
        growing.arrays[0][:2], growing.arrays[1][1] = (7, 8), 9
        assert numbers.tolist() == [7, 8, *[0] * 8]
        assert rows[:2].tolist() == [[0, 0, 0], [9, 9, 9]]
        assert not numbers.flags.writeable
        assert GrowingArrays([("<i8", [1])]).number > growing.number
        del growing, numbers, rows


def test_descriptors_that_come_are_not_copied(world: World) -> None:
    """They lie behind the others in the memory that processes have mapped; when some go, the rest moves."""
    publisher, look = Publisher(), world.medium.appearance
    assert look is not None
    kind, size = look.kind, look.size

    def described(*content_ids: int) -> Part:
        world.store.descriptors.put(kind, {number: bytes([number]) * size for number in content_ids})
        world.searcher.describe(content_ids)
        return publisher.parts(world.searcher.snapshot, frozenset({"looks"}))["looks"]

    first, second = described(*range(1, 9)), described(9, 10)
    assert second is not first
    assert second.shared is first.shared
    assert (first.message["filled"], second.message["filled"]) == (8, 10)
    world.searcher.change((), {3})
    third = described(11)
    assert third.shared is not second.shared
    assert third.message["filled"] == 10
