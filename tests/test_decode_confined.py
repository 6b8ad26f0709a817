"""Workers that can read nothing but what they are given: asked to do what they cannot, and what they must."""

from __future__ import annotations

import errno
import json
import os
import platform
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cbir_daemon.decode import DecodeLimits, DecodePool, Readers, ReadTask, SheetCell, batch_workers
from cbir_daemon.decode.opening import Handle, open_file
from cbir_daemon.decode.processes import Workers
from cbir_daemon.errors import ChildError, NotFoundError, UnavailableError, UnreadableImageError
from cbir_daemon.pictures import PICTURES
from cbir_daemon.pictures.pixels import read_picture
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import Facts, Unreadable
from cbir_daemon.system import heartbeat
from tests.leftovers import nothing_left, open_files
from tests.pictures import photograph, write_album

LIMITS = DecodeLimits(max_pixels=50_000_000, max_file_bytes=20_000_000, timeout_s=30.0)
OPEN_FILES = Path("/proc/self/fd")

needs_filter = pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no table of system calls")


@pytest.fixture
def pool() -> Iterator[DecodePool]:
    """Return a pool of two workers; afterwards nothing of it is left in this process."""
    with nothing_left(), closing(DecodePool(2, LIMITS, PICTURES)) as pool:
        yield pool


def read(pool: DecodePool, *paths: Path) -> dict[str, Facts | Unreadable]:
    tasks = [ReadTask(os.fsencode(path)) for path in paths]
    return {Path(os.fsdecode(task.path)).name: result for task, result in pool.read_files(tasks)}


@needs_filter
def test_a_worker_that_was_taken_over_reads_nothing_else(tmp_path: Path) -> None:
    """Neither a file of the system nor one of the album, by path; and what it was given it can only read."""
    [photograph_path] = write_album(tmp_path, 1)
    forbidden = ["/etc/passwd", str(photograph_path), str(tmp_path), sys.executable, "/proc/self/environ"]
    (tmp_path / "evil.jpg").write_text("\n".join(forbidden))
    with closing(DecodePool(1, LIMITS, PICTURES, worker_module="tests.prying_worker")) as pool:
        result = read(pool, tmp_path / "evil.jpg")["evil.jpg"]
    assert isinstance(result, Unreadable)
    tried = json.loads(result.message)
    refused = {*forbidden, "list", "again", "rights"}
    assert {name: tried.pop(name) for name in refused} == dict.fromkeys(refused, "PermissionError")
    assert set(tried.values()) == {"OSError"}
    assert (tmp_path / "evil.jpg").read_text() == "\n".join(forbidden)


def test_a_worker_has_no_other_descriptors(pool: DecodePool, tmp_path: Path) -> None:
    """Its own channel and lifeline, the log, and nothing of the daemon's: no album, index or socket."""
    paths = write_album(tmp_path, 3)
    with (tmp_path / "index").open("wb") as index, os.scandir(tmp_path):
        os.set_inheritable(index.fileno(), True)
        read(pool, *paths)
        pool.read_image(paths[0])
        workers = pool.pids()
        assert workers
        for worker in workers:
            folder = Path(f"/proc/{worker}/fd")
            targets = {int(entry.name): str(entry.readlink()) for entry in folder.iterdir()}
            assert [targets.pop(number) for number in (0, 1, 2)] == [os.devnull] * 3
            log = str((OPEN_FILES / "2").readlink())
            kinds = sorted(target.partition(":")[0] for target in targets.values() if target != log)
            assert kinds == ["pipe", "socket"]


def test_limits_are_those_of_the_configuration(pool: DecodePool, tmp_path: Path) -> None:
    """Address space and processor time of a worker at work, as the kernel has them."""
    read(pool, *write_album(tmp_path, 1))
    [worker] = pool.pids()
    assert resource.prlimit(worker, resource.RLIMIT_AS)[1] == LIMITS.max_memory_bytes
    assert resource.prlimit(worker, resource.RLIMIT_CORE)[1] == 0
    assert LIMITS.timeout_s <= resource.prlimit(worker, resource.RLIMIT_CPU)[0] <= LIMITS.timeout_s + 10


# What it must be able to read all the same.


TEXT = """<svg xmlns="http://www.w3.org/2000/svg" width="300" height="200"><rect width="300" height="200" fill="white"/>
<text x="10" y="150" font-size="120" font-family="DejaVu Sans">{}</text></svg>"""


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A photograph in formats that take extras, between plain ones."""
    folder = tmp_path_factory.mktemp("odd")
    image = Image.fromarray(photograph(3, (320, 240)))
    pytest.importorskip("pillow_heif").register_heif_opener()
    pytest.importorskip("pillow_jxl")
    for suffix in ("jpg", "heic", "png", "jxl", "avif", "jp2", "webp"):
        image.save(folder / f"photo.{suffix}")
    (folder / "text.svg").write_text(TEXT.format("Ahoy"))
    return sorted(folder.iterdir())


def test_extras_are_read_by_confined_workers(pool: DecodePool, odd_files: list[Path]) -> None:
    """Workers begin anew with what a file takes; all are read, each as by a process that may open anything."""
    results = read(pool, *odd_files, *odd_files[::-1])
    assert {name: result for name, result in results.items() if isinstance(result, Unreadable)} == {}
    for path in odd_files:
        facts = results[path.name]
        assert isinstance(facts, Facts)
        assert facts.vector == read_picture(path.read_bytes(), LIMITS.max_pixels).vector, path
        assert pool.read_image(path).vector == facts.vector
        assert pool.read_image(path.read_bytes()).vector == facts.vector


def test_letters_in_a_drawing_are_drawn(pool: DecodePool, tmp_path: Path) -> None:
    """Fonts are read by path: those folders alone stay open, to workers that have met a drawing."""
    pytest.importorskip("resvg_py")
    (tmp_path / "text.svg").write_text(TEXT.format("Ahoy"))
    (tmp_path / "empty.svg").write_text(TEXT.format(""))
    free = read_picture((tmp_path / "text.svg").read_bytes(), LIMITS.max_pixels).vector
    if free == read_picture((tmp_path / "empty.svg").read_bytes(), LIMITS.max_pixels).vector:
        pytest.skip("no fonts here")
    assert pool.read_image(tmp_path / "text.svg").vector == free


def test_a_worker_that_asks_for_nonsense_is_replaced(pool: DecodePool, tmp_path: Path) -> None:
    """It cannot make the daemon load what there is not, nor start workers for ever."""
    starter = Workers(LIMITS, Readers([PICTURES]))
    starter.name("fonts")
    worker = starter.started()
    try:
        assert worker.asked_for(Frame({"wants": "heif"})) == "heif"
        assert worker.asked_for(Frame({"code": "damaged"})) == ""
        nonsense: list[object] = ["fonts", "os", ["heif"], 1, {}]
        for wants in nonsense:
            with pytest.raises(ChildError):
                worker.asked_for(Frame({"wants": wants}))
    finally:
        worker.close()
        starter.close()
    assert len(read(pool, *write_album(tmp_path, 1))) == 1


LOADS_NOTHING = """
import sys
from pathlib import Path
from cbir_daemon.decode.loading import load
from cbir_daemon.pictures.file_reader import FILE_READER
from cbir_daemon.pictures.pixels import read_colour, read_picture
from cbir_daemon.decode.sheet import Panel, draw_sheet
from cbir_daemon.decode import worker
load([FILE_READER], {"heif", "jxl", "svg", "raw", "fonts"})
before = set(sys.modules)
opened = []
sys.addaudithook(lambda event, about: opened.append(about[0]) if event in ("open", "os.listdir", "import") else None)
for name in sys.argv[1:]:
    with open(name, "rb") as stream:
        data = stream.read()
    read_picture(data, 10**8)
    draw_sheet(Panel(("words",), read_colour(data, 10**8, 200)), [])
print(sorted(set(sys.modules) - before), sorted(map(str, {*opened} - {*sys.argv[1:]})))
"""


def test_reading_loads_nothing(odd_files: list[Path], tmp_path: Path) -> None:
    """What a confined worker could not load is loaded before: no module and no file is asked for afterwards."""
    image = Image.fromarray(photograph(1, (64, 48)))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9003] = "2019:07:14 12:45:01"
    for suffix in ("jpg", "png", "webp", "tif"):
        image.save(tmp_path / f"exif.{suffix}", exif=exif)
    for suffix in ("gif", "bmp", "ppm", "tga", "qoi", "dds", "pcx", "sgi", "ico", "icns"):
        image.save(tmp_path / f"photo.{suffix}")
    files = [str(path) for path in (*odd_files, *tmp_path.iterdir())]
    command = [sys.executable, "-c", LOADS_NOTHING, *files]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 -- our own interpreter
    assert done.stdout == "[] []\n"


# Descriptors of the daemon.


def test_no_descriptor_is_left_behind(pool: DecodePool, tmp_path: Path) -> None:
    """Whatever becomes of files: read, refused, given up in the middle, or in the hands of a worker that dies."""
    paths = write_album(tmp_path, 6)
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "large.jpg").write_bytes(bytes(LIMITS.max_file_bytes + 1))
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "link.jpg").symlink_to(paths[0])
    pool.open()
    idle = open_files()
    read(pool, *paths, tmp_path / "gone.jpg")
    # Each worker is worth a channel and a lifeline.
    assert (open_files() - idle).total() == 2 * len(pool.pids()) == 4
    refused = [tmp_path / name for name in ("folder.jpg", "pipe.jpg", "large.jpg", "text.jpg", "link.jpg", "gone.jpg")]
    assert all(isinstance(result, Unreadable) for result in read(pool, *refused).values())
    batch = pool.read_files([ReadTask(os.fsencode(path)) for path in paths * 4])
    next(batch)
    batch.close()
    pool.close_idle(0)
    pool.close_idle(1000)
    workers = len(pool.pids())
    assert workers == 0
    assert not open_files() - idle
    for path in (*refused[:4], refused[5]):
        with pytest.raises((UnreadableImageError, NotFoundError)):
            pool.read_image(path)
    pool.draw_sheet(paths[0], ("query",), [SheetCell(os.fsencode(path), ()) for path in refused])
    # And those of a server that has fonts, in the place of one that had none.
    assert (open_files() - idle).total() == 2 * len(pool.pids()) + 2
    assert (idle - open_files()).total() == 2


def test_a_worker_that_dies_at_once_leaves_no_descriptor(tmp_path: Path) -> None:
    """Files opened for it are closed, and so are its channels."""
    paths = write_album(tmp_path, 3)
    with closing(DecodePool(2, LIMITS, PICTURES, worker_module="cbir_daemon.decode.no_such_worker")) as pool:
        before = open_files()
        for _ in range(2):
            with pytest.raises(ChildError):
                read(pool, *paths)
            with pytest.raises(ChildError):
                pool.read_image(paths[0])
        assert not open_files() - before


def test_too_many_open_files_blame_no_file(tmp_path: Path) -> None:
    """What the daemon is out of says nothing about a file: it is tried again later."""
    [path] = write_album(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(ChildError, match=os.strerror(errno.EMFILE)):
            open_file(os.fsencode(path), LIMITS.max_file_bytes)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_is_handed_over_can_only_be_read(tmp_path: Path) -> None:
    """The descriptor itself refuses to write, on any kernel, and is not inherited by other programs."""
    [path] = write_album(tmp_path, 1)
    handle = open_file(os.fsencode(path), LIMITS.max_file_bytes)
    assert isinstance(handle, Handle)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.write(handle.descriptor, b"x")
        assert not os.get_inheritable(handle.descriptor)
        assert replace(handle.state, device=0) == handle.state
    finally:
        handle.close()


# A server that does not answer.


def test_who_keeps_the_reader_waiting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a file is being opened the thread is at the mercy of its file system, and says so; afterwards it is not."""
    [path] = write_album(tmp_path, 1)
    waited_for: list[str] = []
    really_open = os.open
    with heartbeat.of("reader") as promise:

        def note_and_open(name: bytes, flags: int) -> int:
            waited_for.append(promise.waits_for)
            return really_open(name, flags)

        monkeypatch.setattr(os, "open", note_and_open)
        handle = open_file(os.fsencode(path), LIMITS.max_file_bytes)
        assert isinstance(handle, Handle)
        handle.close()
        assert waited_for == [f"the file system of {path}"]
        assert promise.waits_for == ""


def test_a_pool_closes_while_a_file_is_being_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon stops though a server never answers."""
    paths = write_album(tmp_path, 2)
    asked, answered = threading.Event(), threading.Event()

    def hang(path: bytes, max_file_bytes: int) -> Unreadable:
        asked.set()
        answered.wait()
        return Unreadable("read-failed", "the server is gone")

    monkeypatch.setattr(batch_workers, "open_file", hang)
    outcomes: list[str] = []
    with closing(DecodePool(1, LIMITS, PICTURES)) as pool:

        def read_all() -> None:
            try:
                read(pool, *paths)
            except UnavailableError:
                outcomes.append("closed")

        reader = threading.Thread(target=read_all)
        reader.start()
        asked.wait()
        pool.close()
        answered.set()
        reader.join()
    assert outcomes == ["closed"]
