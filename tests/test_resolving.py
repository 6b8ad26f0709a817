"""Files go where the journal says and come back as they were; nothing is written over, and nothing changed is touched.

`process/test_resolve.py` kills the real command at every step; here each step is looked at by itself.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cbir_daemon.errors import BadRequestError
from cbir_daemon.protocol.plan import ACTIONS, CLONE, HARD_LINK, KEEP, MOVE, TRASH, Line, dumped, parsed
from cbir_daemon.records import ResolveTask, TaskState
from cbir_daemon.resolving import Runner, trash
from cbir_daemon.resolving.tasks import SkipError
from tests.rights import open_folder, ordinary_user

__all__ = ["open_folder"]

MIB = 1024 * 1024
OLD_NS = 1_000_000_000_000_000_000
OTHER_DISK = Path("/dev/shm")  # noqa: S108 -- no temporary file: another file system than that of tmp_path


class Scene:
    """A folder with a file, the one that is kept for it, a home with a trash, and the journal of what was noted."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.album = folder / "album"
        for made in (self.home, self.album):
            made.mkdir()
        self.file = self.written("copy.jpg", b"the same picture, smaller")
        self.kept = self.written("kept.jpg", b"the picture")
        self.twin = self.written("twin.jpg", b"the picture")
        self.notes: list[tuple[TaskState, str]] = []
        self.runner = Runner(self.note)

    def written(self, name: str, data: bytes) -> Path:
        """Write a file with a time of its own."""
        path = self.album / name
        path.write_bytes(data)
        os.utime(path, ns=(OLD_NS, OLD_NS))
        return path

    def note(self, task: ResolveTask) -> None:
        """Hear what the journal is told."""
        self.notes.append((task.state, task.reason))

    def task(self, action: str = TRASH, path: Path | None = None, folder: Path | None = None) -> ResolveTask:
        """Return what is planned for a file."""
        path = path or (self.twin if action in (HARD_LINK, CLONE) else self.file)
        data, kept = path.read_bytes(), self.kept.read_bytes()
        digests = hashlib.sha256(data).digest(), hashlib.sha256(kept).digest()
        return ResolveTask(
            action, "exact", path, self.kept, *digests, len(data), OLD_NS, folder, TaskState.PLANNED, id=7
        )

    def reason(self, task: ResolveTask) -> str:
        """Return why a task is skipped, its file untouched."""
        before = state_of(task.path)
        done = self.runner.do(task)
        assert done.state == TaskState.SKIPPED
        assert state_of(task.path) == before
        return done.reason


def state_of(path: Path) -> tuple[bytes, int, int] | None:
    """Return what a file is: bytes, time and rights."""
    if not path.is_file():
        return None
    status = path.stat()
    return path.read_bytes(), status.st_mtime_ns, status.st_mode


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Give the scene; its home is that of this process."""
    scene = Scene(tmp_path)
    monkeypatch.setenv("HOME", str(scene.home))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    return scene


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """Give a folder on another file system than that of `tmp_path`."""
    if not os.access(OTHER_DISK, os.W_OK) or OTHER_DISK.stat().st_dev == Path("/tmp").stat().st_dev:  # noqa: S108 -- see above
        pytest.skip(f"{OTHER_DISK} is no file system of its own")
    folder = OTHER_DISK / f"cbir-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


# Doing and undoing.


@pytest.mark.parametrize("action", [TRASH, MOVE, HARD_LINK])
def test_what_is_done_is_undone(scene: Scene, tmp_path: Path, action: str) -> None:
    """Before its file is touched a task is noted with its target, and afterwards as done; undone all is as before."""
    task = scene.task(action, folder=tmp_path / "away" if action == MOVE else None)
    before = state_of(task.path)
    done = scene.runner.do(task)
    assert (done.state, done.reason) == (TaskState.DONE, "")
    assert [state for state, _ in scene.notes] == [TaskState.BEGUN, TaskState.DONE]
    assert done.target is not None
    if action == HARD_LINK:
        assert task.path.samefile(scene.kept)
        assert not done.target.exists()
    else:
        assert not task.path.exists()
        assert state_of(done.target) == before
    undone = scene.runner.undo(done)
    assert (undone.state, undone.reason) == (TaskState.UNDONE, "")
    assert state_of(task.path) == before
    assert not task.path.samefile(scene.kept)
    assert not done.target.exists()
    assert [path for path in scene.album.iterdir() if path.name.startswith(".")] == []
    assert [path for path in scene.home.rglob("*") if path.is_file()] == []


def test_the_trash_is_that_of_the_desktop(scene: Scene) -> None:
    """The file lies in `files`, and `info` says where it came from and when, as the specification wants it."""
    odd = Path(os.fsdecode(bytes(scene.album) + b"/100% \xff\n.jpg"))
    scene.file.rename(odd)
    done = scene.runner.do(scene.task(path=odd))
    home = scene.home / ".local/share/Trash"
    assert done.target == home / "files" / odd.name
    header, origin, date = (home / "info" / (odd.name + ".trashinfo")).read_text().splitlines()
    assert header == "[Trash Info]"
    assert origin == f"Path={scene.album}/100%25%20%FF%0A.jpg"
    assert date.startswith("DeletionDate=2")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (home, home / "files", home / "info")} == {0o700}


def test_a_name_in_the_trash_is_not_taken_twice(scene: Scene) -> None:
    """Not that of a file, nor that of an information about one; a long name is cut so that all of it fits."""
    places = []
    for _ in range(3):
        done = scene.runner.do(scene.task(path=scene.written("x.jpg", b"the same picture, smaller")))
        assert done.target is not None
        places.append(done.target.name)
    assert places == ["x.jpg", "x.2.jpg", "x.3.jpg"]
    long = scene.written("y" * 250 + ".jpg", b"long")
    done = scene.runner.do(scene.task(path=long))
    assert done.target is not None
    assert done.target.name == "y" * 241 + ".jpg"
    assert trash.info_of(done.target).exists()
    undone = scene.runner.undo(done)
    assert (undone.state, long.read_bytes()) == (TaskState.UNDONE, b"long")


def test_a_name_that_is_taken_at_the_last_moment_is_left(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program puts a file there between the choice and the move: the next name is tried."""
    announce = trash.announce

    def beaten(path: Path, place: Path) -> None:
        announce(path, place)
        if place.name == "copy.jpg":
            place.write_bytes(b"another's")

    monkeypatch.setattr(trash, "announce", beaten)
    done = scene.runner.do(scene.task())
    assert done.target is not None
    assert done.target.name == "copy.2.jpg"
    assert done.target.with_name("copy.jpg").read_bytes() == b"another's"
    assert [state for state, _ in scene.notes] == [TaskState.BEGUN, TaskState.BEGUN, TaskState.DONE]


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process get a byte, as on a disk that has room for names alone."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_nothing_in_the_trash(scene: Scene) -> None:
    """The file stays, and no empty information about it keeps its name from the next try."""
    task = scene.task()
    with full_disk():
        assert scene.reason(task) == "stays: file too large"
    assert [path for path in scene.home.rglob("*") if path.is_file()] == []
    done = scene.runner.do(task)
    assert done.target is not None
    assert (done.state, done.target.name) == (TaskState.DONE, task.path.name)


def test_another_disk_has_its_own_trash(scene: Scene, elsewhere: Path) -> None:
    """`.Trash-UID` at its top, with paths relative to that; nothing is copied to the trash at home."""
    fallback = OTHER_DISK / f".Trash-{os.getuid()}"
    was_there = fallback.exists()
    file = elsewhere / "copy.jpg"
    shutil.copy2(scene.file, file)
    try:
        done = scene.runner.do(scene.task(path=file))
        assert (done.state, done.reason) == (TaskState.DONE, "")
        assert done.target is not None
        assert done.target.parent == fallback / "files"
        assert f"Path={elsewhere.name}/copy.jpg\n" in trash.info_of(done.target).read_text()
        assert not (scene.home / ".local").exists()
        assert scene.runner.undo(done).state == TaskState.UNDONE
        assert file.read_bytes() == scene.file.read_bytes()
    finally:
        if not was_there:
            shutil.rmtree(fallback, ignore_errors=True)


def test_a_disk_without_a_trash_keeps_its_file(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be made the file stays, and the reason says what to do instead."""
    (scene.home / ".local").write_text("a file where the trash would be")
    monkeypatch.setattr(trash, "trashes_for", lambda path: [scene.home / ".local/share/Trash"])
    assert "its disk has no trash" in scene.reason(scene.task())


def test_an_administrators_trash_must_be_safe(scene: Scene) -> None:
    """It is used when it is a folder in which nobody removes another's files, and no link to one."""
    shared = scene.home / ".Trash"
    assert not trash.is_safe_to_share(shared)
    shared.mkdir()
    assert not trash.is_safe_to_share(shared)
    shared.chmod(0o1777)
    assert trash.is_safe_to_share(shared)
    (scene.home / "link").symlink_to(shared)
    assert not trash.is_safe_to_share(scene.home / "link")
    assert trash.top_of(shared / "1000") == scene.home


def test_a_folder_on_another_disk_gets_a_whole_copy(scene: Scene, elsewhere: Path) -> None:
    """With its time; the file goes only then, and comes back the same way."""
    task = scene.task(MOVE, folder=elsewhere)
    before = state_of(task.path)
    done = scene.runner.do(task)
    assert done.target == elsewhere / str(task.path)[1:]
    assert state_of(done.target) == before
    assert not task.path.exists()
    assert scene.runner.undo(done).state == TaskState.UNDONE
    assert state_of(task.path) == before
    assert [path for path in elsewhere.rglob("*") if path.is_file()] == []


def test_a_file_system_that_cannot_share_blocks_says_so(scene: Scene) -> None:
    """The file stays as it is, and nothing is left beside it."""
    task = scene.task(CLONE)
    done = scene.runner.do(task)
    if done.state == TaskState.SKIPPED:
        assert "cannot share blocks" in done.reason
    assert state_of(task.path) == (b"the picture", OLD_NS, task.path.stat().st_mode)
    assert sorted(path.name for path in scene.album.iterdir()) == ["copy.jpg", "kept.jpg", "twin.jpg"]
    assert scene.runner.undo(replace(done, state=TaskState.DONE)).reason == ""


@pytest.fixture(params=["xfs", "btrfs"])
def sharing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a file system of its own that can share blocks; needs root and its mkfs."""
    make = shutil.which(f"mkfs.{request.param}", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if make is None or os.geteuid() != 0:
        pytest.skip(f"no mkfs.{request.param}, or not root")
    image, folder = tmp_path / "disk", tmp_path / "mounted"
    folder.mkdir()
    with image.open("wb") as disk:
        disk.truncate(400 * MIB)
    made = subprocess.run([make, "-q", image], capture_output=True, check=False)  # noqa: S603 -- found above
    mount: list[str | Path] = ["mount", "-o", "loop", image, folder]
    mounted = subprocess.run(mount, capture_output=True, check=False)  # noqa: S603 -- the system's own
    if made.returncode or mounted.returncode:
        pytest.skip(f"{request.param} cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)  # noqa: S603, S607 -- the system's own


def test_blocks_are_shared_where_the_file_system_can(sharing: Path) -> None:
    """The room of the file comes free, its name, time and rights stay, and writing to it leaves the kept one alone."""
    scene = Scene(sharing)
    data = os.urandom(8 * MIB)
    scene.written("kept.jpg", data)
    scene.written("twin.jpg", data).chmod(0o640)
    task = scene.task(CLONE)
    before, free_bytes = state_of(task.path), free_on(sharing)
    done = scene.runner.do(task)
    assert (done.state, done.reason) == (TaskState.DONE, "")
    assert state_of(task.path) == before
    assert task.path.stat().st_ino != scene.kept.stat().st_ino
    assert free_on(sharing) - free_bytes > 7 * MIB
    assert sorted(path.name for path in scene.album.iterdir()) == ["copy.jpg", "kept.jpg", "twin.jpg"]
    assert scene.runner.undo(done).state == TaskState.UNDONE
    with task.path.open("r+b") as twin:
        twin.write(b"something else")
    assert scene.kept.read_bytes() == data


def free_on(folder: Path) -> int:
    """Return the free bytes of a file system when all is written."""
    os.sync()
    status = os.statvfs(folder)
    return status.f_bfree * status.f_bsize


# What is looked at before.


def test_a_changed_file_is_left_alone(scene: Scene) -> None:
    """Of another size, time, or bytes under the same size and time; or gone; or something else by now."""
    task = scene.task()
    scene.written("copy.jpg", b"another picture of the sam")
    assert scene.reason(task) == "was changed after the plan was made"
    scene.written("copy.jpg", b"The same picture, smaller")
    assert scene.reason(task) == "has other bytes than when the plan was made"
    os.utime(task.path)
    assert scene.reason(task) == "was changed after the plan was made"
    task.path.unlink()
    assert scene.reason(task).startswith("is no longer there")
    task.path.symlink_to(scene.kept)
    assert scene.reason(task) == "is no longer a regular file"


def test_a_file_stays_when_the_one_kept_is_not_as_it_was(scene: Scene) -> None:
    """Changed, though with its old size and time; gone; or only another name of the same file."""
    task = scene.task()
    link = scene.album / "link.jpg"
    os.link(scene.file, link)
    assert "is the same file as the one kept" in scene.reason(replace(task, keep=link, keep_digest=task.digest))
    scene.written("kept.jpg", b"the Picture")
    assert "has other bytes now" in scene.reason(task)
    scene.kept.unlink()
    assert "cannot be read" in scene.reason(task)
    scene.kept.mkdir()
    assert scene.reason(task) == "is no longer a regular file"


def test_files_of_different_bytes_are_never_linked(scene: Scene) -> None:
    """Whatever a plan says."""
    task = scene.task(HARD_LINK, path=scene.file)
    assert scene.reason(task) == "stays: only files of the same bytes can share them (hardlink)"


def test_what_is_written_while_it_is_linked_is_not_lost(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody writes to at the last moment is put back under its name."""
    link = os.link

    def written_to(source: Path, target: Path, **options: bool) -> None:
        link(source, target, **options)
        if source == scene.kept:
            with scene.twin.open("ab") as file:
                file.write(b", and more")

    monkeypatch.setattr(os, "link", written_to)
    done = scene.runner.do(scene.task(HARD_LINK))
    assert (done.state, done.reason) == (TaskState.SKIPPED, "was written to meanwhile; it is as it was")
    assert scene.twin.read_bytes() == b"the picture, and more"
    assert sorted(path.name for path in scene.album.iterdir()) == ["copy.jpg", "kept.jpg", "twin.jpg"]


def test_a_folder_without_rights_keeps_its_file(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is not moved half: it has one name, and the trash has nothing."""
    scene = Scene(open_folder)
    monkeypatch.setenv("HOME", str(scene.home))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    scene.home.chmod(0o777)
    scene.album.chmod(0o555)
    with ordinary_user():
        assert scene.reason(scene.task()) in ("stays: permission denied", "stays: operation not permitted")
    assert [path for path in scene.home.rglob("*") if path.is_file()] == []
    assert scene.file.stat().st_nlink == 1


# Undoing when something changed.


def test_undoing_never_writes_over_a_file(scene: Scene) -> None:
    """Another file with the name stays, and so does the one in the trash; the journal still says done."""
    done = scene.runner.do(scene.task())
    scene.written("copy.jpg", b"another one")
    undone = scene.runner.undo(done)
    assert (undone.state, "another file has its name now" in undone.reason) == (TaskState.DONE, True)
    assert scene.file.read_bytes() == b"another one"
    assert done.target is not None
    assert done.target.exists()


def test_what_was_emptied_or_changed_in_the_trash_is_not_put_back(scene: Scene) -> None:
    """The reason says where it is not, or no longer as it was."""
    done = scene.runner.do(scene.task())
    assert done.target is not None
    done.target.write_bytes(b"something else")
    assert "has other bytes now" in scene.runner.undo(done).reason
    done.target.unlink()
    assert "is no longer at" in scene.runner.undo(done).reason


def test_a_linked_file_that_was_changed_stays(scene: Scene) -> None:
    """Its bytes are other ones now, under both names."""
    done = scene.runner.do(scene.task(HARD_LINK))
    scene.kept.write_bytes(b"painted over")
    assert scene.runner.undo(done).reason == "was changed after it was linked"


def test_what_was_never_begun_needs_no_undoing(scene: Scene) -> None:
    """It is closed, so that the run is; what was skipped or undone stays so."""
    task = scene.task()
    assert scene.runner.undo(task).state == TaskState.SKIPPED
    for state in (TaskState.SKIPPED, TaskState.UNDONE):
        assert scene.runner.undo(replace(task, state=state)) == replace(task, state=state)


# Plans.

LINE = Line(1, KEEP, b"/a/kept.jpg", b"k" * 32, 10, 20, why="is the oldest of equals")
OTHERS = [
    Line(1, TRASH, b"/a/\xff.jpg", b"c" * 32, 5, 6, "copy", "is smaller"),
    Line(1, MOVE, b"/a/b.jpg", b"c" * 32, 5, 6, "exact", "", b"/away"),
]


def test_a_plan_is_read_as_it_was_written() -> None:
    """A name that is not UTF-8 and a folder included; empty lines and remarks are passed over."""
    text = dumped([LINE, *OTHERS])
    assert len(text.splitlines()) == 3
    assert parsed(f"# mine\n\n{text}\n") == [LINE, *OTHERS]
    assert parsed("") == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"trash"', '"delete"', "line 2 of the plan: action 'delete' is none of keep, trash, move, hardlink, reflink"),
        ('"group": 1', '"group": 2', "group 2 has no line with"),
        ("b.jpg", "kept.jpg", "line 3 of the plan: names the same file as line 1"),
        ('"/a/b.jpg"', '"b.jpg"', "line 3 of the plan: the path is not absolute"),
        ('"to": "/away"', '"to": "away"', "line 3 of the plan: the folder is not absolute"),
        ('"move"', '"trash"', 'line 3 of the plan: "to" names the folder'),
        ("6363", "zz63", "cannot be read"),
        ("6363" * 16, "63", "the digest is no SHA-256"),
        ('"size": 5', '"size": "much"', "cannot be read"),
        ('{"group"', '"group"', "cannot be read"),
        ('"path"', '"pth"', "line 1 of the plan: cannot be read (KeyError: 'path')"),
    ],
)
def test_a_broken_plan_is_refused_by_its_line(old: str, new: str, message: str) -> None:
    """The message has the number of the line and what is wrong with it."""
    lines = dumped([LINE, *OTHERS]).splitlines()
    # What is changed is in the second line, or else in the third, or in the first.
    number = next(row for row in (1, 2, 0) if old in lines[row])
    if old == '"move"':
        number = 2
    lines[number] = lines[number].replace(old, new, 1)
    if old == '"path"':
        lines = [lines[number].replace(new, new)]
    with pytest.raises(BadRequestError) as caught:
        parsed("\n".join(lines))
    assert message in caught.value.message


def test_every_action_is_one_of_the_journal() -> None:
    """What a plan may say is what the index may hold."""
    assert set(ACTIONS) == {TRASH, MOVE, HARD_LINK, CLONE}
    assert SkipError("x").code == "skipped"
