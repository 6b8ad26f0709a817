"""Whatever changes are written, the rows are those of a plain dictionary of files."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cbir_daemon.records import Unreadable
from cbir_daemon.store import Applied, Change, Counts, Failed, Gone, Indexed, Moved, Pair, Store
from tests.rows import all_images, digest, facts, state, vector

ROOTS = (b"/a", b"/a b")
# Folders, names that begin alike, a name that is a folder at another time, one that is no text.
PATHS = (b"x", b"x/y.jpg", b"x/z/y.jpg", b"x.jpg", b"x0", b"x-y.jpg", b"\xff\n.jpg")
NUMBERS = range(4)
CODES = ("damaged", "truncated")

# Every example makes an index, and the disk need not wait for each of them.
IN_MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of its own is made in it

album_of = st.sampled_from(ROOTS)
path_of = st.sampled_from(PATHS)
number_of = st.sampled_from(NUMBERS)

Key = tuple[bytes, bytes]


@dataclass(frozen=True)
class Row:
    """What the model holds of a file: the number of its content, or why it could not be read."""

    number: int | None
    code: str | None
    due: bool


@dataclass(frozen=True)
class Seen:
    """A file that was looked at, before it is known which album row it belongs to."""

    root: bytes
    path: bytes
    number: int
    code: str | None
    known: bool


seen_files = st.builds(Seen, album_of, path_of, number_of, st.none() | st.sampled_from(CODES), st.booleans())
gone_files = st.tuples(album_of, path_of, st.booleans())


class StoreAgainstDictionary(RuleBasedStateMachine):
    """Batches of changes, moves in any order, albums that come and go, restarts."""

    @initialize()
    def make(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cbir-store-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.rows: dict[Key, Row] = {}
        self.albums: dict[bytes, bool] = {}
        self.collection: dict[int, bytes] = {}
        self.matched: set[int] = set()
        self.pairs: set[frozenset[int]] = set()
        self.open()

    def open(self) -> None:
        self.store = Store(self.folder / "index.sqlite")
        self.store.open()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            assert self.store.check() == []
            self.store.close()
            shutil.rmtree(self.folder)

    # -- what may happen ---------------------------------------------------------------------------------------------

    @rule(root=album_of)
    def add_album(self, root: bytes) -> None:
        assert self.store.albums.add(root) == (root not in self.albums)
        self.albums.setdefault(root, False)

    @rule(root=album_of)
    def finish_first_scan(self, root: bytes) -> None:
        if root in self.albums:
            self.store.albums.finish_baseline(self.id_of(root))
            self.albums[root] = True

    @rule(root=album_of)
    def remove_album(self, root: bytes) -> None:
        if root in self.albums:
            applied = self.store.albums.remove(self.id_of(root))
            del self.albums[root]
            self.rows = {key: row for key, row in self.rows.items() if key[0] != root}
            self.take(applied)

    @rule(files=st.lists(seen_files | gone_files, min_size=1, max_size=6))
    def look(self, files: list[Seen | tuple[bytes, bytes, bool]]) -> None:
        """Write a batch of files that were read, could not be read, or are gone."""
        before, changes, again = set(self.numbers()), [], []
        for file in files:
            change = self.change_of(file)
            changes.append(change)
            if not self.write(file, before) and isinstance(change, Indexed):
                again.append(change)
        self.take(self.store.files.apply(changes), again)

    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        """Write a batch of moves, as if they happened at once."""
        images = {image.path: image for image in all_images(self.store)}
        if not images:
            return
        chosen = data.draw(st.lists(st.sampled_from(sorted(images)), unique=True, max_size=4))
        targets = data.draw(st.lists(st.tuples(album_of, path_of), unique=True, min_size=4, max_size=4))
        pairs = [(path, target) for path, target in zip(chosen, targets, strict=False) if target[0] in self.albums]
        lifted = {path: self.rows.pop(self.key_of(path)) for path, _ in pairs}
        for path, (root, name) in pairs:
            self.rows[root, name] = lifted[path]
        self.take(
            self.store.files.apply(
                [Moved(images[path].file_id, self.id_of(root), name) for path, (root, name) in pairs]
            )
        )

    @rule(first=number_of, second=number_of)
    def match(self, first: int, second: int) -> None:
        """Write that the copies of a content were looked up."""
        ids = self.ids()
        if first != second and first in ids and second in ids:
            small, large = sorted((ids[first], ids[second]))
            self.store.pairs.put_matched([ids[first]], [Pair(small, large, 0.9)])
            self.matched.add(first)
            self.pairs.add(frozenset((first, second)))

    @rule()
    def decide(self) -> None:
        """Write that no file that can be decided upon raises an alert."""
        images = self.store.files.images_due(100)
        assert {self.key_of(image.path) for image in images} == {
            key for key, row in self.rows.items() if row.due and row.number in self.matched
        }
        self.store.alerts.put([image.file_id for image in images], [], 0.0)
        for image in images:
            key = self.key_of(image.path)
            self.rows[key] = replace(self.rows[key], due=False)

    @rule()
    def restart(self) -> None:
        clock = self.store.clock
        self.store.close()
        self.open()
        assert self.store.clock == clock

    # -- what holds --------------------------------------------------------------------------------------------------

    @invariant()
    def rows_are_those_of_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        images = {self.key_of(image.path): image for image in all_images(self.store)}
        assert {key: image.content.digest for key, image in images.items()} == {
            key: digest(row.number) for key, row in self.rows.items() if row.number is not None
        }
        for key, image in images.items():
            content = self.store.contents.at_path(b"/".join(key))
            assert content == image.content
        assert self.store.files.errors() == [
            (b"/".join(key), row.code, "why")
            for key, row in sorted(self.rows.items(), key=itemgetter(0))
            if row.code is not None
        ]
        for root in self.albums:
            listed = self.store.files.states(self.id_of(root))
            assert set(listed) == {path for album, path in self.rows if album == root}
            below = {path for path in listed if path == b"x" or path.startswith(b"x/")}
            assert set(self.store.files.states(self.id_of(root), b"x")) == below

    @invariant()
    def counts_and_pairs_are_those_of_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        numbers = self.numbers()
        readable = sum(row.number is not None for row in self.rows.values())
        assert self.store.files.counts() == Counts(
            readable,
            len(self.rows) - readable,
            len(numbers),
            len(numbers - self.matched),
            sum(row.due for row in self.rows.values()),
        )
        by_id = {content_id: number for number, content_id in self.ids().items()}
        assert {
            frozenset((by_id[pair.content_id], by_id[pair.other_id])) for pair in self.store.pairs.listed()
        } == self.pairs
        # A collection that is kept by what each commit says is the collection.
        assert dict(row for rows in self.store.contents.all_vectors() for row in rows) == self.collection

    # -- the model ---------------------------------------------------------------------------------------------------

    def id_of(self, root: bytes) -> int:
        """Return the album's id; one that no album ever had when it is not there."""
        return next((album.id for album in self.store.albums.listed() if album.path == root), 10_000)

    def key_of(self, path: bytes) -> Key:
        """Return root and relative path of an absolute path."""
        root = next(root for root in self.albums if path.startswith(root + b"/"))
        return root, path[len(root) + 1 :]

    def numbers(self) -> set[int]:
        """Return the contents that files have."""
        return {row.number for row in self.rows.values() if row.number is not None}

    def ids(self) -> dict[int, int]:
        """Return number -> content id."""
        found = {number: self.store.contents.by_digest(digest(number)) for number in self.numbers()}
        return {number: content.id for number, content in found.items() if content is not None}

    def change_of(self, file: Seen | tuple[bytes, bytes, bool]) -> Change:
        """Return what the store is told."""
        if not isinstance(file, Seen):
            root, path, below = file
            return Gone(self.id_of(root), path, below)
        if file.code is not None:
            why = Unreadable(file.code, "why")
            return Failed(self.id_of(file.root), file.path, state(file.number), why)
        read = facts(file.number, known=file.known)
        return Indexed(self.id_of(file.root), file.path, state(file.number), read)

    def write(self, file: Seen | tuple[bytes, bytes, bool], held: set[int]) -> bool:
        """Do to the dictionary what the store is told; False when the file must be read again.

        `held` are the contents that the index has at this point of the batch.
        """
        if not isinstance(file, Seen):
            root, path, below = file
            self.rows = {
                key: row
                for key, row in self.rows.items()
                if key != (root, path) and not (below and key[0] == root and key[1].startswith(path + b"/"))
            }
            return True
        if file.root not in self.albums:
            return True
        if file.code is None and file.known and file.number not in held:
            return False
        number = file.number if file.code is None else None
        before = self.rows.get((file.root, file.path))
        same = before is not None and before.number == number
        due = before.due if before is not None and same else number is not None and self.albums[file.root]
        self.rows[file.root, file.path] = Row(number, file.code, due)
        # A content stays to the end of its batch, whatever becomes of its files.
        held.update({number} - {None})  # type: ignore[arg-type]  # None is taken out
        return True

    def take(self, applied: Applied, again: list[Indexed] | None = None) -> None:
        """Hold what a commit says against the model, and keep the collection by it."""
        assert list(applied.again) == (again or [])
        assert not {content_id for content_id, _ in applied.added} & set(applied.gone)
        assert applied.clock == self.store.clock
        for content_id in applied.gone:
            del self.collection[content_id]
        for content_id, added in applied.added:
            assert content_id not in self.collection
            self.collection[content_id] = added
        assert sorted(self.collection.values()) == sorted(vector(number) for number in self.numbers())
        gone = set(NUMBERS) - self.numbers()
        # A content that left and came back within the batch keeps nothing; one that stayed keeps all.
        self.matched -= gone
        self.pairs = {pair for pair in self.pairs if not pair & gone}


StoreAgainstDictionary.TestCase.settings = settings(max_examples=40, stateful_step_count=20)
TestStoreAgainstDictionary = StoreAgainstDictionary.TestCase
