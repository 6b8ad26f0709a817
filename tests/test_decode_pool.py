"""Decode workers: real processes on real files, killed, stopped, starved and asked for too much."""

from __future__ import annotations

import hashlib
import io
import os
import select
import signal
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbir_daemon.decode import DecodeLimits, DecodePool, Readers, ReadTask, SheetCell
from cbir_daemon.decode.batch_workers import MAX_TASKS_AHEAD
from cbir_daemon.decode.messages import result_from
from cbir_daemon.decode.opening import state_from
from cbir_daemon.decode.processes import WORKER_MODULE
from cbir_daemon.errors import ChildError, NoAccessError, NotFoundError, UnavailableError, UnreadableImageError
from cbir_daemon.pictures import PICTURES
from cbir_daemon.pictures.pixels import read_picture
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import VECTOR_BYTES, Facts, FileState, Unreadable
from tests.deadly_worker import DEADLY
from tests.pictures import photograph, save, write_album

LIMITS = DecodeLimits(max_pixels=50_000_000, max_file_bytes=20_000_000, timeout_s=30.0)
READERS = Readers([PICTURES])
SHORT_S = 3.0
"""More than a worker needs for an image of these while others have the processors."""

MakePool = Callable[..., DecodePool]


@pytest.fixture
def make_pool() -> Iterator[MakePool]:
    """Return a function that makes pools; they are closed, and no worker is left."""
    pools: list[DecodePool] = []

    def make(
        workers: int = 1, limits: DecodeLimits = LIMITS, idle_s: float = 60.0, worker_module: str = WORKER_MODULE
    ) -> DecodePool:
        pools.append(DecodePool(workers, limits, PICTURES, idle_s=idle_s, worker_module=worker_module))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()
        assert pool.pids() == []


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve photographs."""
    return write_album(tmp_path_factory.mktemp("album"), 12)


def tasks_for(paths: list[Path]) -> list[ReadTask]:
    return [ReadTask(os.fsencode(path)) for path in paths]


def read(pool: DecodePool, *paths: Path) -> dict[str, Facts | Unreadable]:
    return {os.fsdecode(task.path).rpartition("/")[2]: result for task, result in pool.read_files(tasks_for([*paths]))}


def state_of(path: bytes | Path) -> FileState:
    return state_from(os.lstat(path))


def code_of(result: Facts | Unreadable) -> str:
    return result.code if isinstance(result, Unreadable) else "read"


# Batches.


@pytest.mark.parametrize("workers", [1, 3])
def test_every_file_of_a_batch_comes_back_once(make_pool: MakePool, album: list[Path], workers: int) -> None:
    """Facts are those of the file: digest, vector, size and state."""
    pool = make_pool(workers)
    results = read(pool, *album)
    assert sorted(results) == sorted(path.name for path in album)
    for path in album:
        facts = results[path.name]
        assert isinstance(facts, Facts)
        data = path.read_bytes()
        assert facts.digest == hashlib.sha256(data).digest()
        assert facts.vector == read_picture(data, LIMITS.max_pixels).vector
        assert (facts.width_px, facts.height_px, facts.format) == (480, 320, "JPEG")
        assert facts.state == state_of(path)
    assert pool.decoded == len(album)


def test_an_empty_batch_starts_nobody(make_pool: MakePool) -> None:
    """No work, no process."""
    pool = make_pool()
    assert read(pool) == {}
    assert pool.pids() == []


def test_one_file_needs_one_worker(make_pool: MakePool, album: list[Path]) -> None:
    """Workers start as the work needs them."""
    pool = make_pool(4)
    read(pool, album[0])
    assert len(pool.pids()) == 1


def test_a_known_content_is_not_decoded(make_pool: MakePool, album: list[Path]) -> None:
    """A moved file costs one reading of its bytes; a digest of another file does not help."""
    pool = make_pool()
    digest = hashlib.sha256(album[0].read_bytes()).digest()
    tasks = [ReadTask(os.fsencode(path), frozenset([digest, bytes(32)])) for path in album[:2]]
    results = {task.path: result for task, result in pool.read_files(tasks)}
    skipped, decoded = (results[task.path] for task in tasks)
    assert isinstance(skipped, Facts)
    assert isinstance(decoded, Facts)
    assert (skipped.digest, skipped.vector, skipped.width_px) == (digest, None, 0)
    assert decoded.vector is not None
    assert pool.decoded == 1


def test_a_name_that_is_no_text_travels_as_it_is(make_pool: MakePool, album: list[Path], tmp_path: Path) -> None:
    """File names are bytes."""
    path = os.fsencode(tmp_path) + b"/\xff\xe9\n\"'.jpg"
    os.link(album[0], path)
    [(task, facts)] = make_pool().read_files([ReadTask(path)])
    assert task.path == path
    assert isinstance(facts, Facts)


def test_bad_files_cost_themselves_only(make_pool: MakePool, album: list[Path], tmp_path: Path) -> None:
    """Each gets its own word, and the state by which it is known when it changes."""
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "half.jpg").write_bytes(album[0].read_bytes()[:5000])
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "sparse.jpg").open("wb") as stream:
        stream.truncate(LIMITS.max_file_bytes + 1)
    (tmp_path / "bomb.png").write_bytes(png_that_promises(60_000, 60_000))
    bad = sorted(tmp_path.iterdir())
    results = read(make_pool(2), *album[:3], *bad, tmp_path / "gone.jpg", *album[3:])
    assert {name: code_of(result) for name, result in results.items() if isinstance(result, Unreadable)} == {
        "text.jpg": "not-an-image",
        "empty.jpg": "empty",
        "half.jpg": "truncated",
        "folder.jpg": "not-a-file",
        "pipe.jpg": "not-a-file",
        "sparse.jpg": "too-large",
        "bomb.png": "too-many-pixels",
        "gone.jpg": "vanished",
    }
    assert [results[path.name].state for path in bad] == [state_of(path) for path in bad]
    assert len(results) == len(album) + 8


def test_a_worker_killed_in_the_middle_costs_nothing(make_pool: MakePool, album: list[Path]) -> None:
    """The file that it had in hand need not be to blame: it is read by another worker, as is what waited behind it."""
    pool = make_pool(2)
    read(pool, *album)
    doomed, _ = pool.pids()
    # Stopped first, so that it holds tasks when it is killed.
    os.kill(doomed, signal.SIGSTOP)
    batch = pool.read_files(tasks_for(album))
    codes = [code_of(next(batch)[1])]
    os.kill(doomed, signal.SIGKILL)
    codes += [code_of(result) for _, result in batch]
    assert codes == ["read"] * len(album)
    assert len(pool.pids()) == 2


def test_few_files_are_shared_among_the_workers(make_pool: MakePool, album: list[Path]) -> None:
    """None is sent two while another has none, though several go in one message: one that is slow keeps one only."""
    pool = make_pool(2)
    read(pool, *album)
    for slow in pool.pids():
        os.kill(slow, signal.SIGSTOP)
        batch = pool.read_files(tasks_for(album[:2]))
        codes = [code_of(next(batch)[1])]
        os.kill(slow, signal.SIGCONT)
        assert codes + [code_of(result) for _, result in batch] == ["read"] * 2


def test_a_file_that_kills_two_workers_is_recorded(make_pool: MakePool, album: list[Path], tmp_path: Path) -> None:
    """A third one is not given it; all others are read, and a question about it is answered by the same word."""
    deadly = [tmp_path / path.name for path in album[:2]]
    for path, original in zip(deadly, album, strict=False):
        path.write_bytes(original.read_bytes() + DEADLY)
    pool = make_pool(2, worker_module="tests.deadly_worker")
    batch = {task.path: result for task, result in pool.read_files(tasks_for([*deadly, *album[2:]]))}
    assert [code_of(batch[bytes(path)]) for path in deadly] == ["crashed"] * 2
    assert [code_of(batch[bytes(path)]) for path in album[2:]] == ["read"] * (len(album) - 2)
    with pytest.raises(UnreadableImageError) as caught:
        pool.read_image(deadly[0])
    assert caught.value.reason == "crashed"
    assert pool.read_image(album[2]).vector is not None


def test_a_file_whose_worker_dies_is_recorded_with_its_state(make_pool: MakePool, album: list[Path]) -> None:
    """It is not tried again before it changes: the state says so."""
    pool = make_pool(limits=replace(LIMITS, timeout_s=SHORT_S))
    batch = pool.read_files(tasks_for(album))
    next(batch)
    [pid] = pool.pids()
    os.kill(pid, signal.SIGSTOP)
    rest = dict(batch)
    failed = {task: result for task, result in rest.items() if isinstance(result, Unreadable)}
    assert len(rest) == len(album) - 1
    assert [result.code for result in failed.values()] == ["timed-out"]
    assert [result.state for result in failed.values()] == [state_of(task.path) for task in failed]


def test_memory_is_bounded(make_pool: MakePool, album: list[Path], tmp_path: Path) -> None:
    """A picture that needs more than a worker may have is refused, and the next one is read."""
    (tmp_path / "large.png").write_bytes(png_that_promises(20_000, 20_000))
    limits = replace(LIMITS, max_pixels=10**9, max_file_bytes=10**9, max_memory_bytes=400 * 1024 * 1024)
    with (tmp_path / "sparse.png").open("wb") as stream:
        stream.truncate(600 * 1024 * 1024)
    results = read(make_pool(limits=limits), tmp_path / "large.png", tmp_path / "sparse.png", album[0])
    assert {name: code_of(result) for name, result in results.items()} == {
        "large.png": "out-of-memory",
        "sparse.png": "out-of-memory",
        album[0].name: "read",
    }


def png_that_promises(width: int, height: int) -> bytes:
    """Return a PNG whose header speaks of more pixels than follow."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_memory_of_workers_is_shown(make_pool: MakePool, album: list[Path]) -> None:
    """Some tens of mebibytes once there was a worker, also after it has left; nothing before."""
    pool = make_pool(idle_s=60)
    assert pool.peak_memory_bytes() == 0
    read(pool, *album)
    pool.close_idle(1000)
    pool.close_idle(1060)
    assert pool.pids() == []
    peak_bytes = pool.peak_memory_bytes()
    assert 10 * 2**20 < peak_bytes < 150 * 2**20
    pool.read_image(album[0])
    assert 10 * 2**20 < pool.peak_memory_bytes() < 150 * 2**20


def test_a_caller_that_stops_early_may_start_anew(make_pool: MakePool, album: list[Path]) -> None:
    """Answers that nobody waited for are not given to the next batch."""
    pool = make_pool(2)
    batch = pool.read_files(tasks_for(album))
    next(batch)
    batch.close()
    assert sorted(read(pool, *album[6:])) == sorted(path.name for path in album[6:])


def test_reading_waits_for_its_caller(make_pool: MakePool, album: list[Path], tmp_path: Path) -> None:
    """Nothing is read further ahead than the tasks in flight: files deleted meanwhile are gone."""
    copies = [tmp_path / f"{number}.jpg" for number in range(60)]
    for number, copy in enumerate(copies):
        os.link(album[number % len(album)], copy)
    batch = make_pool().read_files(tasks_for(copies))
    next(batch)
    for copy in copies[MAX_TASKS_AHEAD:]:
        copy.unlink()
    codes = [code_of(result) for _, result in batch]
    assert codes.count("vanished") == len(copies) - MAX_TASKS_AHEAD


def test_workers_that_cannot_start_blame_no_file(
    make_pool: MakePool, album: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken installation is an error of its own, not one of every file."""
    monkeypatch.setenv("PYTHONPATH", "/nonexistent")
    pool = make_pool(worker_module="cbir_daemon.decode.no_such_worker")
    with pytest.raises(ChildError, match="while they start"):
        read(pool, album[0])
    with pytest.raises(ChildError):
        pool.read_image(album[0])


def test_idle_workers_leave_and_come_back(make_pool: MakePool, album: list[Path]) -> None:
    """The clock is the caller's; a batch in between begins the time anew."""
    pool = make_pool(idle_s=60)
    read(pool, album[0])
    pool.read_image(album[0])
    pool.close_idle(1000)
    pool.close_idle(1059)
    assert len(pool.pids()) == 2
    read(pool, album[0])
    pool.read_image(album[0])
    pool.close_idle(1061)
    pool.close_idle(1120)
    assert len(pool.pids()) == 2
    pool.close_idle(1121)
    assert pool.pids() == []
    assert code_of(read(pool, album[0])[album[0].name]) == "read"


def test_nobody_leaves_in_the_middle_of_a_batch(make_pool: MakePool, album: list[Path]) -> None:
    """However long its caller takes."""
    pool = make_pool(idle_s=60)
    batch = pool.read_files(tasks_for(album))
    next(batch)
    pool.close_idle(1000)
    pool.close_idle(5000)
    assert len(pool.pids()) == 1
    assert [code_of(result) for _, result in batch] == ["read"] * (len(album) - 1)


def test_a_closed_pool_says_so(make_pool: MakePool, album: list[Path]) -> None:
    """Also to a batch that is under way."""
    pool = make_pool()
    batch = pool.read_files(tasks_for(album))
    next(batch)
    pool.close()
    with pytest.raises(UnavailableError):
        list(batch)
    with pytest.raises(UnavailableError):
        pool.read_image(album[0])


def test_closing_ends_a_request_under_way(make_pool: MakePool, album: list[Path]) -> None:
    """Nobody waits for a time-out when the daemon stops."""
    pool = make_pool()
    pool.read_image(album[0])
    [pid] = pool.pids()
    os.kill(pid, signal.SIGSTOP)
    outcomes: list[str] = []

    def ask() -> None:
        try:
            pool.read_image(album[0])
        except UnavailableError:
            outcomes.append("unavailable")

    asker = threading.Thread(target=ask)
    asker.start()
    while not pool.asked:
        pass
    pool.close()
    asker.join(LIMITS.timeout_s / 2)
    assert outcomes == ["unavailable"]


def test_an_idle_worker_that_was_killed_costs_nothing(make_pool: MakePool, album: list[Path]) -> None:
    """The next batch and the next query start another."""
    pool = make_pool()
    read(pool, album[0])
    pool.read_image(album[0])
    for pid in pool.pids():
        process = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        select.select([process], [], [])
        os.close(process)
    assert code_of(read(pool, album[0])[album[0].name]) == "read"
    assert pool.read_image(album[0]).width_px == 480


# Queries.


def test_a_query_is_read_from_a_file_or_from_bytes(make_pool: MakePool, album: list[Path]) -> None:
    """Both give the same facts; bytes have no state."""
    pool = make_pool()
    from_file, from_bytes = pool.read_image(album[0]), pool.read_image(album[0].read_bytes())
    assert from_file.state == state_of(album[0])
    assert replace(from_file, state=None) == from_bytes
    assert pool.decoded == 0


def test_a_query_follows_links(make_pool: MakePool, album: list[Path], tmp_path: Path) -> None:
    """Unlike a file of an album."""
    (tmp_path / "link.jpg").symlink_to(album[0])
    assert make_pool().read_image(tmp_path / "link.jpg").width_px == 480


def test_a_query_does_not_wait_behind_a_batch(make_pool: MakePool, album: list[Path]) -> None:
    """It is answered while a batch is in hand."""
    pool = make_pool()
    batch = pool.read_files(tasks_for(album))
    next(batch)
    [busy] = pool.pids()
    os.kill(busy, signal.SIGSTOP)
    assert pool.read_image(album[0]).width_px == 480
    os.kill(busy, signal.SIGCONT)
    assert len(list(batch)) == len(album) - 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"hello", "not-an-image"), (b"\xff\xd8\xff\xe0", "damaged"), (b"GIF89a", "damaged")],
)
def test_a_query_that_is_no_image(make_pool: MakePool, tmp_path: Path, content: bytes, reason: str) -> None:
    """The reason is told by a word, the file by its name."""
    (tmp_path / "query.jpg").write_bytes(content)
    pool = make_pool()
    with pytest.raises(UnreadableImageError, match=r"query\.jpg: ") as caught:
        pool.read_image(tmp_path / "query.jpg")
    assert caught.value.reason == reason
    with pytest.raises(UnreadableImageError) as caught:
        pool.read_image(content)
    assert caught.value.reason == reason


def test_a_query_for_a_file_that_is_not_there(make_pool: MakePool, tmp_path: Path) -> None:
    """Not there, a folder: two errors."""
    pool = make_pool()
    with pytest.raises(NotFoundError):
        pool.read_image(tmp_path / "gone.jpg")
    with pytest.raises(UnreadableImageError) as caught:
        pool.read_image(tmp_path)
    assert caught.value.reason == "not-a-file"
    with pytest.raises(NotFoundError, match=r"/\?\.jpg: no such file"):
        pool.read_image(tmp_path / "\udcff.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_query_that_the_daemon_may_not_read(make_pool: MakePool, album: list[Path], tmp_path: Path) -> None:
    """The client is told to send the bytes."""
    private = tmp_path / "private.jpg"
    private.write_bytes(album[0].read_bytes())
    private.chmod(0)
    with pytest.raises(NoAccessError):
        make_pool().read_image(private)


def test_a_query_that_takes_too_long(make_pool: MakePool, album: list[Path]) -> None:
    """It is given up, and the next one is answered."""
    pool = make_pool(limits=replace(LIMITS, timeout_s=SHORT_S))
    pool.read_image(album[0])
    [pid] = pool.pids()
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(UnreadableImageError) as caught:
        pool.read_image(album[0])
    assert caught.value.reason == "timed-out"
    assert pool.read_image(album[0]).width_px == 480


def test_two_queries_at_once(make_pool: MakePool, album: list[Path]) -> None:
    """Each thread gets the answer to its own question."""
    pool = make_pool(2)
    answers: dict[Path, bytes] = {}

    def ask(path: Path) -> None:
        for _ in range(5):
            answers[path] = pool.read_image(path).digest

    threads = [threading.Thread(target=ask, args=(path,)) for path in album[:4]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {path: hashlib.sha256(path.read_bytes()).digest() for path in album[:4]}
    assert len(pool.pids()) <= 2


# Sheets.


def test_a_sheet_shows_the_query_and_every_match(make_pool: MakePool, album: list[Path], tmp_path: Path) -> None:
    """A PNG not wider than 1600 pixels, with the colours of the photographs and a grey cell for what cannot be read."""
    red = save(np.full((300, 400, 3), (220, 30, 40), np.uint8), tmp_path / "red.png")
    (tmp_path / "broken.jpg").write_bytes(b"hello")
    cells = [
        SheetCell(os.fsencode(red), ("copy 0.97", "red.png")),
        SheetCell(b"/gone/\xff.jpg", ("exact 1.00", "\udcff")),
    ]
    cells += [SheetCell(os.fsencode(tmp_path / "broken.jpg"), ("similar 0.4", "a name that is far too long " * 5))]
    cells += [SheetCell(os.fsencode(path), ("similar 0.5", path.name)) for path in album[:3]]
    png = make_pool().draw_sheet(album[0], ("query", album[0].name), cells)
    sheet = Image.open(io.BytesIO(png))
    assert (sheet.format, sheet.mode) == ("PNG", "RGB")
    assert sheet.width <= 1600
    pixels = np.asarray(sheet).reshape(-1, 3)
    assert (np.abs(pixels.astype(int) - (220, 30, 40)).max(axis=1) < 3).sum() > 30_000
    assert (pixels == 205).all(axis=1).sum() < 248 * 248 * 2.5


def test_a_sheet_without_matches_shows_the_query(make_pool: MakePool) -> None:
    """From bytes as well."""
    query = io.BytesIO()
    Image.fromarray(photograph(1)).save(query, "PNG")
    assert Image.open(io.BytesIO(make_pool().draw_sheet(query.getvalue(), ("query",), []))).width < 600


# Trust.


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"state": None},
        {"state": [1], "digest": "00"},
        {"state": None, "digest": "zz", "width_px": 1, "height_px": 1, "format": "PNG"},
        {"state": None, "digest": "00", "width_px": 1, "height_px": 1, "format": "PNG"},
        {"state": None, "digest": "00" * 32, "width_px": "x", "height_px": 1, "format": "PNG"},
    ],
)
def test_nonsense_from_a_worker_is_the_end_of_that_worker(message: dict[str, object]) -> None:
    """A process that hostile bytes have taken over is not believed."""
    with pytest.raises(ChildError):
        result_from(Frame(message), READERS)


def test_a_vector_of_another_length_is_nonsense() -> None:
    """4096 bytes and a descriptor, or none."""
    facts = {"medium": "image", "width_px": 1, "height_px": 1, "format": "PNG"}
    message = {"state": None, "digest": "00" * 32, **facts}
    whole = VECTOR_BYTES + PICTURES.descriptor_bytes
    assert isinstance(result_from(Frame(message, bytes(whole)), READERS), Facts)
    for size in (VECTOR_BYTES, whole - 1, whole + 1):
        with pytest.raises(ChildError):
            result_from(Frame(message, bytes(size)), READERS)


def test_a_killed_fork_server_costs_nothing(make_pool: MakePool, album: list[Path]) -> None:
    """The workers that it forked read on, and others are forked from a new one."""
    pool = make_pool(2)
    pool.open()
    assert code_of(read(pool, album[0])[album[0].name]) == "read"
    [worker] = pool.pids()
    server = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(server, signal.SIGKILL)
    assert [code_of(result) for _, result in pool.read_files(tasks_for(album))] == ["read"] * len(album)
    assert pool.pids()[0] == worker
    assert len(pool.pids()) == 2


def test_a_pool_closes_while_its_fork_server_loads(make_pool: MakePool, album: list[Path]) -> None:
    """Nobody waits for what will not be used."""
    pool = make_pool()
    pool.open()
    pool.close()
    with pytest.raises(UnavailableError):
        pool.read_image(album[0])


def test_warm_workers_are_those_that_read(tmp_path: Path) -> None:
    """Workers started beforehand read the batch: no others are started beside them."""
    paths = write_album(tmp_path, 3)
    pool = DecodePool(2, LIMITS, PICTURES)
    try:
        pool.warm()
        warmed = pool.pids()
        results = list(pool.read_files([ReadTask(bytes(path)) for path in paths]))
        assert len(warmed) == 2
        assert pool.pids() == warmed
        assert all(isinstance(result, Facts) for _, result in results)
    finally:
        pool.close()
