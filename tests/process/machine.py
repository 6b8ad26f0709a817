"""Everything that can happen to an album, and to the daemon that watches it, in any order.

In: the choices of Hypothesis.  Out: steps on a real folder and a real daemon process, and after each `settle` the
comparison of the index with what is on the disk.  Never here: how many steps, and what is done about a failure.

The disk is the model: what the index must hold is read from it, and at the end of each example a second daemon indexes
the same folder from nothing.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from PIL import Image

from cbir_daemon import config, matching
from cbir_daemon.client import Client
from cbir_daemon.daemon import doctor
from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.pictures.pixels import read_picture
from cbir_daemon.store import Store
from tests import pictures
from tests.patience import PATIENCE_S
from tests.process.daemon import living

SETTLE_S = 0.05
MAX_PIXELS = 10_000_000
PICTURE_PX = (192, 128)
EVERYTHING = 1_000
"""As many matches as an answer may have."""

INDEX_FILE = "index.sqlite"
NAMES = ("a.jpg", "b.jpg", "c.png", "d.JPG", "\udcff\n.jpg", "notes.txt")
"""Two that are written alike, one that is no text, one that is no image's."""

NOTHING = Path("none")
FOLDERS = ("", "one", "one/inner", "two", "a.jpg")
"""The last is also the name of files."""

SETTINGS = f"[watch]\nsettle_s = {SETTLE_S}\n[decode]\nworkers = 1\n[model]\nmin_images = 100000\n"

existing = st.runner().flatmap(lambda machine: st.sampled_from(machine.files()))
existing_folders = st.runner().flatmap(lambda machine: st.sampled_from(machine.folders()))
paths = existing | st.builds(lambda folder, name: Path(folder) / name, st.sampled_from(FOLDERS), st.sampled_from(NAMES))
folders = existing_folders | st.sampled_from(FOLDERS[1:])
shares = st.sampled_from((0.0, 0.3, 0.9))


@functools.cache
def contents() -> tuple[bytes, ...]:
    """Return the bytes of files: three pictures, copies of them in other bytes, and what is no picture."""
    first, second, third = (pictures.photograph(seed, PICTURE_PX) for seed in (1, 2, 3))
    return (
        _file(first, "JPEG", quality=90),
        _file(first, "JPEG", quality=40),
        _file(pictures.mirrored(first), "JPEG", quality=90),
        _file(second, "JPEG", quality=90),
        _file(pictures.turned(second), "PNG"),
        _file(third, "JPEG", quality=90),
        _file(np.full((40, 60, 3), 255, np.uint8), "PNG"),
        b"this is text",
        b"",
    )


def _file(picture: pictures.Picture, format_: str, **options: int) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, format_, **options)
    return data.getvalue()


data_of = st.integers(0, 8).map(lambda number: contents()[number])


@dataclass(frozen=True)
class State:
    """What an index holds, without the ids that depend on its history.

    Parameters
    ----------
    files : mapping of bytes to str
        Absolute path -> digest in hexadecimal, or empty when the file cannot be read.
    pairs : frozenset of frozenset of str
        Digests of contents that are copies of each other.
    """

    files: Mapping[bytes, str]
    pairs: frozenset[frozenset[str]]


def indexed(state_dir: Path) -> State:
    """Return what the index in a state folder holds."""
    store = Store(state_dir / INDEX_FILE)
    store.open_existing()
    with closing(store):
        content_ids = [content_id for rows in store.contents.all_vectors() for content_id, _ in rows]
        images = store.files.images(content_ids)
        digests = {image.content.id: image.content.digest.hex() for image in images}
        files = {image.path: image.content.digest.hex() for image in images}
        files |= {path: "" for path, _, _ in store.files.errors()}
        pairs = frozenset(
            frozenset((digests[pair.content_id], digests[pair.other_id])) for pair in store.pairs.listed()
        )
    return State(files, pairs)


@functools.cache
def vector_of(data: bytes) -> bytes | None:
    """Return the vector of a file's bytes; None when it cannot be read."""
    try:
        return read_picture(data, MAX_PIXELS).vector
    except UnreadableError:
        return None


@functools.cache
def are_copies(first_vector: bytes, second_vector: bytes) -> bool:
    """Whether one vector is found to be a copy of another; which is asked about which must not matter."""
    first, second = (np.frombuffer(vector, np.uint8) for vector in (first_vector, second_vector))
    verdicts = {
        judgement.is_copy for judgement in (*matching.judge(first, second[None]), *matching.judge(second, first[None]))
    }
    assert len(verdicts) == 1, "the pictures of this test must be told apart clearly"
    return verdicts.pop()


def on_disk(album: Path) -> dict[bytes, bytes]:
    """Return path -> bytes of every file that is an image by its name; symbolic links are none."""
    found = {}
    for folder, _, names in os.walk(os.fsencode(album)):
        for name in names:
            path = Path(os.fsdecode(folder), os.fsdecode(name))
            if not path.is_symlink() and path.suffix.lower() in (".jpg", ".png"):
                found[bytes(path)] = path.read_bytes()
    return found


def expected(files: Mapping[bytes, bytes]) -> State:
    """Return what an index of these files must hold."""
    vectors = {hashlib.sha256(data).hexdigest(): vector_of(data) for data in set(files.values())}
    readable = {digest: vector for digest, vector in vectors.items() if vector is not None}
    digest_of = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    return State(
        {path: digest if digest in readable else "" for path, digest in digest_of.items()},
        frozenset(
            frozenset((first, second))
            for first, second in combinations(readable, 2)
            if are_copies(readable[first], readable[second])
        ),
    )


def answers(state_dir: Path, files: Mapping[bytes, bytes]) -> tuple[Any, dict[str, list[Any]]]:
    """Return the duplicates, and the answer to a query of every content that is on the disk."""
    with Client([state_dir / "socket"]) as client:
        groups = client.duplicates()["groups"]
        found = {
            hashlib.sha256(data).hexdigest(): [
                {**match, "score": round(match["score"], 2)}
                for kind in ("exact", "copy")
                for match in client.query(data, limit=EVERYTHING, kind=kind)["matches"]
            ]
            for data in set(files.values())
            if vector_of(data) is not None and not _is_plain(data)
        }
    return sorted(groups, key=str), found


def _is_plain(data: bytes) -> bool:
    vector = vector_of(data)
    return vector is not None and matching.is_plain(np.frombuffer(vector, np.uint8))


class AlbumMachine(RuleBasedStateMachine):
    """A folder and the daemon that watches it."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.daemon = self.stack.enter_context(living())
        self.daemon.config.write_text(SETTINGS)
        self.album = self.daemon.album
        self.outside = self.daemon.home / "outside"
        self.outside.mkdir()
        # An album without anything in it is a lost disk: see `settle`.
        (self.album / "notes.txt").write_text("what else lies in an album")
        self.half_written: dict[BinaryIO, bytes] = {}
        # Whether there is something to settle, and something that a daemon may be stopped in the middle of.
        self.changed = True
        self.busy = True

    # -- files -------------------------------------------------------------------------------------------------------

    @rule(path=paths, data=data_of)
    def write(self, path: Path, data: bytes) -> None:
        """A new file, or new bytes in the place of the old ones."""
        with self._doing() as album:
            (album / path).write_bytes(data)

    @rule(path=paths, data=data_of)
    def begin_to_write(self, path: Path, data: bytes) -> None:
        """Half of a file; the rest comes later, or never."""
        with self._doing() as album:
            file = self.stack.enter_context((album / path).open("wb"))
            file.write(data[: len(data) // 2])
            file.flush()
            self.half_written[file] = data[len(data) // 2 :]

    @precondition(lambda self: self.half_written)
    @rule()
    def finish_to_write(self) -> None:
        """The rest of the file that was begun last, wherever it is by now."""
        with self._doing():
            file, rest = self.half_written.popitem()
            file.write(rest)
            file.close()

    @rule(path=paths, data=data_of)
    def replace(self, path: Path, data: bytes) -> None:
        """As rsync does: a hidden temporary name, then renamed over the old file."""
        with self._doing() as album:
            temporary = album / path.parent / f".{path.name}.x7Gq2L"
            temporary.write_bytes(data)
            try:
                temporary.rename(album / path)
            finally:
                temporary.unlink(missing_ok=True)

    @rule(path=existing, share=shares)
    def truncate(self, path: Path, share: float) -> None:
        """Its end is lost."""
        with self._doing() as album:
            os.truncate(album / path, int((album / path).stat().st_size * share))

    @rule(path=existing)
    def delete(self, path: Path) -> None:
        """It is gone."""
        with self._doing() as album:
            (album / path).unlink()

    @rule(path=existing, age_s=st.sampled_from((1, 86_400, -86_400)))
    def touch(self, path: Path, age_s: int) -> None:
        """Another time: a moment ago, the past, the future."""
        with self._doing() as album:
            now_ns = (album / path).stat().st_mtime_ns
            os.utime(album / path, ns=(now_ns, now_ns - age_s * 1_000_000_000))

    @rule(path=existing, goal=paths)
    def rename(self, path: Path, goal: Path) -> None:
        """Another name, also that of another file."""
        with self._doing() as album:
            (album / path).rename(album / goal)

    @rule(path=existing, goal=existing)
    def swap(self, path: Path, goal: Path) -> None:
        """Two files take each other's name."""
        with self._doing() as album:
            (album / path).rename(self.outside / "swapped")
            if path != goal:
                (album / goal).rename(album / path)
            (self.outside / "swapped").rename(album / goal)

    @rule(path=existing, goal=paths)
    def link(self, path: Path, goal: Path) -> None:
        """A second name for one file."""
        with self._doing() as album:
            (album / goal).hardlink_to(album / path)

    @rule(path=existing, goal=paths)
    def copy(self, path: Path, goal: Path) -> None:
        """The same bytes and the same time in another file."""
        with self._doing() as album:
            shutil.copy2(album / path, album / goal)

    @rule(path=paths)
    def link_to_outside(self, path: Path) -> None:
        """A symbolic link, which is not followed."""
        with self._doing() as album:
            stranger = self.outside / "stranger.jpg"
            stranger.write_bytes(contents()[0])
            (album / path).symlink_to(stranger)

    # -- folders -----------------------------------------------------------------------------------------------------

    @rule(folder=folders)
    def make_folder(self, folder: Path | str) -> None:
        """Empty, for now."""
        with self._doing() as album:
            (album / folder).mkdir(parents=True)

    @rule(folder=existing_folders)
    def remove_folder(self, folder: Path | str) -> None:
        """With all that is in it."""
        with self._doing() as album:
            shutil.rmtree(album / folder)

    @rule(folder=existing_folders, goal=folders)
    def rename_folder(self, folder: Path | str, goal: Path | str) -> None:
        """Files in it raise no events of their own."""
        with self._doing() as album:
            (album / folder).rename(album / goal)

    @rule(folder=existing_folders)
    def move_out(self, folder: Path | str) -> None:
        """Out of the album, to come back perhaps."""
        with self._doing() as album:
            (album / folder).rename(self.outside / "folder")

    @rule(goal=folders)
    def move_in(self, goal: Path | str) -> None:
        """The folder that was moved out comes back, under any name."""
        with self._doing() as album:
            (self.outside / "folder").rename(album / goal)

    @rule(folder=existing_folders, goal=folders)
    def copy_folder(self, folder: Path | str, goal: Path | str) -> None:
        """Many files at once, each as its folder is made."""
        with self._doing() as album:
            if not Path(goal).is_relative_to(folder):
                shutil.copytree(album / folder, album / goal, symlinks=True)

    # -- the daemon --------------------------------------------------------------------------------------------------

    @initialize(data=st.lists(data_of, max_size=3))
    def begin(self, data: list[bytes]) -> None:
        """Some files are there before the daemon is."""
        for name, content in zip(NAMES, data, strict=False):
            (self.album / name).write_bytes(content)
        self.daemon.start()

    @precondition(lambda self: self.daemon.process is not None and self.busy)
    @rule()
    def kill(self) -> None:
        """As the kernel does when memory is out; what happens next happens unseen."""
        assert self.daemon.process is not None
        assert self.daemon.process.poll() is None, self.daemon.log.read_text()
        self.daemon.kill()

    @precondition(lambda self: self.daemon.process is not None and self.busy)
    @rule()
    def stop(self) -> None:
        """In order."""
        assert self.daemon.stop() == 0

    @precondition(lambda self: self.daemon.process is None)
    @rule()
    def start(self) -> None:
        """Again."""
        self.daemon.start()
        self.busy = False

    @precondition(lambda self: self.daemon.process is not None and self.changed)
    @rule()
    def settle(self) -> None:
        """The index holds what is on the disk, and the doctor finds nothing."""
        with Client([self.daemon.state / "socket"]) as client:
            client.settle(PATIENCE_S)
            if any(album["state"] == "missing" for album in client.status()["albums"]):
                client.scan(accept_losses=True)
                client.settle(PATIENCE_S)
        state = indexed(self.daemon.state)
        truth = expected(on_disk(self.album))
        assert state.files == truth.files
        assert state.pairs == truth.pairs
        assert doctor.check(config.load(state=self.daemon.state, environ={}, albums=[])) == []
        self.changed = self.busy = False

    def files(self) -> list[Path]:
        """Return what is in the album, folders left out; one that is not there stands for none."""
        found = sorted(path.relative_to(self.album) for path in self.album.rglob("*") if not path.is_dir())
        return found or [NOTHING]

    def folders(self) -> list[Path]:
        """Return the folders in the album; here, too, one that is not there stands for none."""
        found = sorted(path.relative_to(self.album) for path in self.album.rglob("*") if path.is_dir())
        return found or [NOTHING]

    def teardown(self) -> None:
        """Compare with an index made from nothing, unless a step has failed, and leave nothing behind."""
        with self.stack:
            if sys.exception() is None:
                self.compare()
            else:
                note(self.daemon.log.read_text())

    def compare(self) -> None:
        """Files, contents, pairs, duplicates and answers are those of a daemon that never saw anything else."""
        if self.daemon.process is None:
            self.daemon.start()
        self.settle()
        files = on_disk(self.album)
        with living() as fresh:
            fresh.config.write_text(SETTINGS)
            fresh.start(self.album)
            fresh.settle()
            assert indexed(self.daemon.state) == indexed(fresh.state)
            assert answers(self.daemon.state, files) == answers(fresh.state, files)
        assert self.daemon.run("doctor", command="cbir-daemon").stdout == b"sound\n"
        assert self.daemon.stop() == 0

    @contextmanager
    def _doing(self) -> Iterator[Path]:
        """Give the album; what the file system refuses did not happen."""
        self.changed = self.busy = True
        with suppress(OSError, shutil.Error):
            yield self.album
