"""Every copy is found once whichever file came first, and each new duplicate raises one alert."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cbir_daemon.alerts import Policy
from cbir_daemon.comparison import LookedAt, Trace
from cbir_daemon.config import AlertsConfig
from cbir_daemon.duplicates import Folders, Keeping, Pairing, copy_groups, exact_groups
from cbir_daemon.duplicates.groups import shot_groups
from cbir_daemon.kinds import Kind
from cbir_daemon.records import Facts, FileState, ResolveTask, TaskState
from cbir_daemon.store import Content, Gone, Image, Indexed, Moved, Pair
from cbir_daemon.watching import walk
from tests.patience import PATIENCE_S
from tests.pictures import Picture, brighter, gamma, mirrored
from tests.rows import EXTRACTOR, all_images, digest, photographed
from tests.worlds import World

NOW = 1_700_000_000.0
OLD = 1_000_000_000_000_000_000

Edit = Callable[[Picture], Picture]


class Album(World):
    """A folder, its index, a searcher, and the lookup of copies under test.

    A file's bytes are its seed and the name of its edit; its vector is that of the picture they make.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "album"
        self.root.mkdir()
        super().__init__(folder, (self.root,), indexed_before=False)
        self.crowded = False
        self.asked = threading.Event()
        self.pairing = self.restarted()

    def restarted(self) -> Pairing:
        """Return the lookup as it is after a restart."""
        return self.new_pairing(alert_for=Policy(AlertsConfig(), ()).alert_for, crowded=self.is_crowded)

    def is_crowded(self) -> bool:
        """Say whether much is being indexed."""
        self.asked.set()
        return self.crowded

    def write(self, name: str, seed: int, edit: Edit | None = None) -> Indexed:
        """Write a file, and return what reading it gives."""
        path = self.root / name
        path.write_bytes(f"{seed} {edit.__name__ if edit else ''}".encode())
        read = Facts(digest(hash(path.read_bytes())), photographed(seed, edit), 240, 160, "JPEG", extractor=EXTRACTOR)
        return Indexed(self.album_id, name.encode(), state_of(path), read)

    def add(self, name: str, seed: int, edit: Edit | None = None) -> None:
        """Write a file and index it."""
        self.apply([self.write(name, seed, edit)])

    def settle(self) -> None:
        """Do all there is to do."""
        while self.pairing.step():
            pass
        assert self.pairing.idle

    def pairs(self) -> set[frozenset[str]]:
        """Return the names of the files that were found to be copies."""
        names = {image.content.id: self.name(image.path) for image in all_images(self.store)}
        return {frozenset((names[pair.content_id], names[pair.other_id])) for pair in self.store.pairs.listed()}

    def alerts(self) -> list[tuple[str, str, list[str]]]:
        """Return name, kind and matches of every alert."""
        return [
            (self.name(alert.path), alert.kind, [self.name(match.path) for match in alert.matches])
            for alert in self.store.alerts.listed(0, 100)
        ]

    def name(self, path: bytes) -> str:
        """Return a path below the album."""
        return os.fsdecode(path[len(bytes(self.root)) + 1 :])


def state_of(path: Path) -> FileState:
    """Return the state of a file that is there."""
    state = walk.state_at(bytes(path))
    assert state is not None
    return state


@pytest.fixture
def album(tmp_path: Path) -> Iterator[Album]:
    """An empty album."""
    with closing(Album(tmp_path)) as album:
        yield album


# Pairs.


@pytest.mark.parametrize("together", [True, False])
def test_a_copy_is_found_whichever_came_first(album: Album, together: bool) -> None:
    """Indexed in one batch or one after the other; strangers are no pair, and each content is looked up once."""
    files: list[tuple[str, int, Edit | None]] = [
        ("copy.jpg", 1, mirrored),
        ("stranger.jpg", 2, None),
        ("one.jpg", 1, None),
    ]
    if together:
        album.apply([album.write(*file) for file in files])
    for file in files if not together else []:
        album.add(*file)
        album.settle()
    album.settle()
    assert album.pairs() == {frozenset(("one.jpg", "copy.jpg"))}
    assert album.store.pairs.unmatched(10) == []


def test_what_is_not_in_view_yet_is_not_looked_up(album: Album) -> None:
    """A batch is committed a moment before searches see it: looked up in between, its copies would miss each other."""
    applied = album.store.files.apply([album.write("one.jpg", 1), album.write("copy.jpg", 1, mirrored)])
    assert not album.pairing.step()
    assert not album.pairing.idle
    album.publish(applied)
    album.settle()
    assert album.pairs() == {frozenset(("one.jpg", "copy.jpg"))}


def test_half_a_lookup_is_gone_on_with(album: Album) -> None:
    """A stop in the middle, or a kill, costs what was not committed and no more."""
    album.add("one.jpg", 1)
    album.add("copy.jpg", 1, mirrored)
    album.pairing.stop()
    assert not album.pairing.step()
    album.pairing = album.restarted()
    album.settle()
    assert album.pairs() == {frozenset(("one.jpg", "copy.jpg"))}


def test_a_dismissed_pair_is_none(album: Album) -> None:
    """It is found and not shown, and raises no alert later."""
    album.add("one.jpg", 1)
    album.settle()
    album.finish_first_scan()
    copy = album.write("copy.jpg", 1, mirrored)
    album.store.decisions.dismiss(all_images(album.store)[0].content.digest, copy.facts.digest, NOW)
    album.apply([copy])
    album.settle()
    assert album.pairs() == set()
    assert album.alerts() == []


# Alerts.


def test_the_first_scan_raises_none(album: Album) -> None:
    """Duplicates that were there from the start are for `cbir duplicates`."""
    album.add("one.jpg", 1)
    album.add("same.jpg", 1)
    album.add("copy.jpg", 1, mirrored)
    album.settle()
    album.finish_first_scan()
    album.settle()
    assert album.alerts() == []
    assert len(album.pairs()) == 1


def test_a_new_duplicate_raises_one(album: Album) -> None:
    """Exact matches first, then copies; what is only new raises none; nothing is told twice, over a restart either."""
    album.add("one.jpg", 1)
    album.add("bright.jpg", 1, brighter)
    album.settle()
    album.finish_first_scan()
    album.add("new.jpg", 2)
    album.add("same.jpg", 1)
    album.settle()
    assert album.alerts() == [("same.jpg", "exact", ["one.jpg", "bright.jpg"])]
    album.pairing = album.restarted()
    album.settle()
    assert len(album.alerts()) == 1


@pytest.mark.parametrize("edit", [None, mirrored])
@pytest.mark.parametrize("first", ["a.jpg", "b.jpg"])
def test_of_two_that_come_at_once_one_is_the_original(album: Album, first: str, edit: Edit | None) -> None:
    """The one last changed earlier, whichever was indexed first: the other one alone raises an alert, naming it."""
    album.settle()
    album.finish_first_scan()
    changes = [album.write(name, 1, edit if name != first else None) for name in ("a.jpg", "b.jpg")]
    times = {name: OLD + (name != first) for name in ("a.jpg", "b.jpg")}
    for change in changes:
        name = change.path.decode()
        os.utime(album.root / name, ns=(times[name], times[name]))
    album.apply([replace(change, state=state_of(album.root / change.path.decode())) for change in changes])
    album.settle()
    (second,) = {"a.jpg", "b.jpg"} - {first}
    assert album.alerts() == [(second, "copy" if edit else "exact", [first])]


def test_what_was_there_first_is_the_original(album: Album) -> None:
    """However old the new file says it is, and whichever of its rows is older: a file whose content changed is new."""
    album.add("new.jpg", 2)
    album.add("old.jpg", 1)
    album.settle()
    album.finish_first_scan()
    changed = album.write("new.jpg", 1)
    os.utime(album.root / "new.jpg", ns=(OLD, OLD))
    album.apply([replace(changed, state=state_of(album.root / "new.jpg"))])
    album.settle()
    assert album.alerts() == [("new.jpg", "exact", ["old.jpg"])]


def test_a_copy_of_a_copy_names_both(album: Album) -> None:
    """Each that was verified against it."""
    album.add("one.jpg", 1)
    album.settle()
    album.finish_first_scan()
    album.add("copy.jpg", 1, mirrored)
    album.settle()
    album.add("second.jpg", 1, gamma)
    album.settle()
    (first, second) = album.alerts()
    assert first == ("copy.jpg", "copy", ["one.jpg"])
    assert (second[0], second[1], set(second[2])) == ("second.jpg", "copy", {"one.jpg", "copy.jpg"})


def test_a_copy_that_replaces_a_file_raises_one(album: Album) -> None:
    """New bytes at a known path are news."""
    album.add("one.jpg", 1)
    album.add("two.jpg", 2)
    album.finish_first_scan()
    album.add("two.jpg", 1, mirrored)
    album.settle()
    assert album.alerts() == [("two.jpg", "copy", ["one.jpg"])]


def test_a_touched_file_raises_none(album: Album) -> None:
    """Its bytes are known."""
    album.add("one.jpg", 1)
    album.add("same.jpg", 1)
    album.finish_first_scan()
    os.utime(album.root / "same.jpg", ns=(OLD, OLD))
    album.add("same.jpg", 1)
    album.settle()
    assert album.alerts() == []


def test_a_moved_file_raises_none(album: Album) -> None:
    """It was there before."""
    album.add("one.jpg", 1)
    album.add("same.jpg", 1)
    album.finish_first_scan()
    row = next(image.file_id for image in all_images(album.store) if image.path.endswith(b"same.jpg"))
    (album.root / "same.jpg").rename(album.root / "moved.jpg")
    album.store.files.apply([Moved(row, album.album_id, b"moved.jpg")])
    album.settle()
    assert album.alerts() == []


def test_a_hard_link_is_no_duplicate(album: Album) -> None:
    """It is the same file under another name, and takes no room."""
    album.add("one.jpg", 1)
    album.finish_first_scan()
    os.link(album.root / "one.jpg", album.root / "link.jpg")
    known = album.write("one.jpg", 1)
    album.store.files.apply(
        [known, Indexed(album.album_id, b"link.jpg", state_of(album.root / "link.jpg"), known.facts)]
    )
    album.settle()
    assert album.alerts() == []
    assert exact_groups(all_images(album.store)) == []


def test_a_match_that_is_gone_is_not_named(album: Album) -> None:
    """A file that was deleted a moment ago is no reason for an alert, though its row still stands."""
    album.add("one.jpg", 1)
    album.add("bright.jpg", 1, brighter)
    album.add("other.jpg", 1, gamma)
    album.settle()
    album.finish_first_scan()
    (album.root / "one.jpg").unlink()
    (album.root / "other.jpg").unlink()
    album.add("same.jpg", 1)
    album.settle()
    assert album.alerts() == [("same.jpg", "copy", ["bright.jpg"])]


def test_a_match_in_a_missing_album_is_named(album: Album) -> None:
    """Its disk may be away for a moment; it is taken to stand."""
    album.add("one.jpg", 1)
    album.settle()
    album.finish_first_scan()
    fresh = album.write("same.jpg", 1)
    album.store.albums.set_state(album.album_id, "missing")
    (album.root / "one.jpg").unlink()
    album.store.files.apply([fresh])
    album.settle()
    assert album.alerts() == [("same.jpg", "exact", ["one.jpg"])]


def test_a_file_that_goes_before_it_is_decided_upon_raises_none(album: Album) -> None:
    """Its row is gone, and with it the question."""
    album.add("one.jpg", 1)
    album.finish_first_scan()
    album.add("same.jpg", 1)
    album.store.files.apply([Gone(album.album_id, b"same.jpg")])
    album.settle()
    assert album.alerts() == []


def test_wanted_files_raise_none(album: Album) -> None:
    """Who wants all files with these bytes is not told of another one, but of a copy with other bytes."""
    album.add("one.jpg", 1)
    album.add("same.jpg", 1)
    album.settle()
    album.finish_first_scan()
    same = all_images(album.store)[0].content.digest
    album.store.decisions.dismiss(same, same, NOW)
    album.add("third.jpg", 1)
    album.settle()
    album.add("copy.jpg", 1, mirrored)
    album.settle()
    assert [(name, kind) for name, kind, _ in album.alerts()] == [("copy.jpg", "copy")]
    assert album.store.contents.repeated() == []


def test_what_comes_back_is_told_and_what_is_put_back_is_not(album: Album) -> None:
    """The time at which its content was resolved away; a file that an undo put back raises no alert."""
    album.add("one.jpg", 1)
    album.settle()
    album.finish_first_scan()
    small, again = album.write("small.jpg", 1, mirrored), album.write("again.jpg", 1, gamma)
    for change, state in ((small, TaskState.UNDONE), (again, TaskState.DONE)):
        run = album.store.journal.start([journalled(album, change)], NOW)
        (task,) = album.store.journal.tasks(run)
        album.store.journal.note(task.id, state, b"/trash/x", "", NOW + 1)
        album.apply([change])
    album.settle()
    (alert,) = album.store.alerts.listed(0, 10)
    assert (album.name(alert.path), alert.returned) == ("again.jpg", NOW + 1)


def journalled(album: Album, change: Indexed) -> ResolveTask:
    """Return what the journal has of a file that went to the trash."""
    path = album.root / os.fsdecode(change.path)
    digest = change.facts.digest
    return ResolveTask("trash", "copy", path, Path("/k"), digest, b"k" * 32, 1, 2, None, TaskState.PLANNED)


# The thread.


def wait_until(album: Album, holds: Callable[[], bool]) -> None:
    """Return when `holds` does, looking after each change."""
    moment = album.store.moment
    while not holds():
        album.store.wait_for_change(moment, PATIENCE_S)
        assert holds() or album.store.moment > moment
        moment = album.store.moment


def test_the_thread_works_while_there_is_work_and_ends_when_told(album: Album) -> None:
    """It waits while much is being indexed, and is woken by what comes."""
    album.crowded = True
    album.add("one.jpg", 1)
    thread = threading.Thread(target=album.pairing.run)
    thread.start()
    assert album.asked.wait(PATIENCE_S)
    assert album.store.files.counts().unmatched == 1
    album.finish_first_scan()
    album.add("same.jpg", 1)
    assert not album.pairing.idle
    album.crowded = False
    album.store.wake()
    wait_until(album, lambda: album.pairing.idle)
    album.pairing.stop()
    album.store.wake()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert album.alerts() == [("same.jpg", "exact", ["one.jpg"])]


# Groups, by example; `property/test_duplicates.py` has the rest.


def picture(
    number: int,
    name: str,
    width: int = 640,
    size: int = 300_000,
    mtime: int = 5,
    content_id: int | None = None,
    format_: str = "JPEG",
    taken: str | None = None,
    framed: float = 1.0,
) -> Image:
    """Return an image of its own content."""
    content_id = number if content_id is None else content_id
    content = Content(content_id, digest(content_id), width, 480, size, format_, taken, framed)
    state = FileState(size, mtime, 100 + number)
    return Image(number, 1, b"/album/" + name.encode(), state, missing=False, content=content)


def shown(images: Sequence[Image], *pairs: tuple[int, int]) -> list[list[tuple[str, bool, str]]]:
    """Return the copy groups, as names with what is said of them."""
    by_content: dict[int, list[Image]] = {}
    for image in images:
        by_content.setdefault(image.content.id, []).append(image)
    groups = copy_groups([Pair(first, second, 0.95) for first, second in pairs], by_content)
    return [
        [(os.fsdecode(member.image.path.rpartition(b"/")[2]), member.keep, member.why) for member in group.members]
        for group in groups
    ]


def test_a_copy_by_its_vectors_alone_stays() -> None:
    """Unless it is asked for too; what the files tell goes anyway."""
    images = {number: [picture(number, f"{number}", 640 // number)] for number in (1, 2, 3)}
    pairs = [Pair(1, 2, 0.95, look=LookedAt.FILES), Pair(1, 3, 0.95)]
    (careful,), (all_of_them,) = (copy_groups(pairs, images, unlooked=unlooked) for unlooked in (False, True))
    assert [(member.keep, member.why) for member in careful.members][1:] == [
        (False, "is smaller: 320x480 against 640x480 pixels"),
        (True, "told by the stored vectors alone, so it stays"),
    ]
    assert [member.keep for member in all_of_them.members] == [True, False, False]
    assert {careful.look, all_of_them.look} == {LookedAt.VECTORS}
    twins = {1: images[1], 3: [picture(3, "3", 213), picture(4, "twin", 213, content_id=3)]}
    (group,) = copy_groups(pairs[1:], twins, unlooked=False)
    assert [(member.keep, member.why) for member in group.members][1:] == [
        (True, "told by the stored vectors alone, so it stays"),
        (False, "has the same bytes as another that stays"),
    ]
    (looked,) = copy_groups(pairs[:1], images, unlooked=False)
    assert looked.look is LookedAt.FILES


def test_shots_that_hang_together_are_one_group() -> None:
    """All stay; the sharpest comes first and the largest is marked, equally large ones are not."""
    images = {number: [picture(number, f"{number}", 320 if number == 3 else 640)] for number in (1, 2, 3, 4, 5)}
    pairs = [Pair(*ids, 0.95, kind=Kind.SHOT, look=LookedAt.FILES) for ids in ((1, 2), (2, 3), (4, 5))]
    burst, pair = shot_groups(pairs, images, {1: 0.4, 2: 0.7, 3: 0.5})
    assert [(member.image.content.id, member.why) for member in burst.members] == [
        (2, "the sharpest, the largest"),
        (1, "the largest"),
        (3, "another shot of the scene"),
    ]
    assert [(member.image.content.id, member.why) for member in pair.members] == [
        (4, "another shot of the scene"),
        (5, "another shot of the scene"),
    ]
    assert (burst.kind, burst.saves_bytes, burst.look) == (Kind.SHOT, 0, LookedAt.FILES)


def test_shots_say_when_they_were_taken() -> None:
    """Beside the first of them, where EXIF has both times."""
    taken = {1: "2019-07-14T12:45:01", 2: "2019-07-14T12:45:03", 3: ""}
    images = {number: [picture(number, f"{number}", 640, taken=time)] for number, time in taken.items()}
    pairs = [Pair(*ids, 0.95, kind=Kind.SHOT, look=LookedAt.FILES) for ids in ((1, 2), (2, 3))]
    (burst,) = shot_groups(pairs, images, {1: 0.7})
    assert [member.why for member in burst.members] == [
        "the sharpest",
        "another shot of the scene, 2 s later by EXIF",
        "another shot of the scene",
    ]


def test_the_largest_is_kept() -> None:
    """The others say how much smaller they are."""
    images = [picture(1, "small", 320), picture(2, "large", 640), picture(3, "light", 640, 100_000)]
    assert shown(images, (1, 2), (2, 3)) == [
        [
            ("large", True, "is least compressed: 0.98 bytes a pixel against 0.33"),
            ("light", False, "is more compressed: 0.33 bytes a pixel against 0.98"),
            ("small", False, "is smaller: 320x480 against 640x480 pixels"),
        ]
    ]


def test_the_reason_is_the_one_that_decided() -> None:
    """A smaller picture, however heavy or old, has no say among the equals."""
    images = [picture(1, "a", mtime=7), picture(2, "b", mtime=9), picture(3, "tiny", 10, 999_999, 1)]
    (group,) = shown(images, (1, 2), (1, 3))
    assert group[0] == ("a", True, "is the oldest of equals")


@pytest.mark.parametrize(
    ("better", "worse", "pair", "won", "lost"),
    [
        (
            picture(1, "z", 640),
            picture(2, "a", 600),
            Pair(1, 2, 0.9),
            "comes first by name among equals",
            "is a copy of the one kept",
        ),
        (
            picture(1, "z", 640),
            picture(2, "a", 320),
            Pair(1, 2, 0.9, 1.0, 1.0),
            "has the most pixels: 640x480 against 320x480",
            "is smaller: 320x480 against 640x480 pixels",
        ),
        (
            # A border makes an image larger and shows nothing more.
            picture(1, "z", 640, taken="2019-07-14T12:45:01"),
            picture(2, "a", 800, taken="", framed=0.8),
            Pair(1, 2, 0.9, 1.0, 0.8),
            "has the date on which it was taken",
            "has lost the date on which it was taken",
        ),
        (
            picture(1, "z", 640),
            picture(2, "a", 320, 250_000),
            Pair(1, 2, 0.9, 0.5, 1.0),
            "shows the whole picture, others a part of it",
            "is a part of the one kept: 50% of it",
        ),
        (
            # A part that has been scaled up is finer, but shows less.
            picture(1, "z", 640),
            picture(2, "a", 640),
            Pair(1, 2, 0.9, 1.0, 0.5),
            "has the most pixels: 640x480 against 640x480",
            "shows more, so it stays: the one kept is 50% of it",
        ),
        (
            picture(1, "z"),
            picture(2, "a", format_="WEBP"),
            Pair(1, 2, 0.9, 1.0, 1.0),
            "is in an original format: JPEG, not WEBP",
            "was encoded again: WEBP against JPEG",
        ),
        (
            picture(1, "z", taken=None),
            picture(2, "a", mtime=7),
            Pair(1, 2, 0.9, 1.0, 1.0),
            "is the oldest of equals",
            "is newer than the one kept",
        ),
    ],
)
def test_rules(better: Image, worse: Image, pair: Pair, won: str, lost: str) -> None:
    """Each rule decides where those before it see no difference, and says so."""
    if won == "comes first by name among equals":
        better, worse = worse, better
    (group,) = copy_groups([pair], {1: [better], 2: [worse]} if better.content.id == 1 else {1: [worse], 2: [better]})
    assert [(member.image.path, member.why) for member in group.members] == [(better.path, won), (worse.path, lost)]


@pytest.mark.parametrize(
    ("trace", "won", "lost"),
    [
        (Trace.OVERLAY, "has no letters or stickers across it", "has letters or a sticker across it"),
        (Trace.CAPTION, "has no caption or screen around it", "has a caption or a screen around it"),
        (Trace.BORDER, "has no border around it", "has a border around it"),
        (Trace.ENLARGED, "is not enlarged", "is enlarged: it shows no finer detail"),
        (Trace.BLURRED, "is not blurred", "is blurred"),
        (Trace.NOISY, "has no noise over it", "has noise over it"),
        (Trace.COMPRESSED, "was saved with less loss", "was saved with greater loss"),
    ],
)
def test_the_original_wins_over_its_edit(trace: Trace, won: str, lost: str) -> None:
    """Also when the edit has more bytes a pixel, an original format, a date, and is older."""
    edit = picture(1, "edit", 640, 900_000, mtime=1)
    original = picture(2, "original", 640, mtime=9, taken=None)
    (group,) = copy_groups([Pair(1, 2, 0.95, 1.0, 1.0, traces=(trace,))], {1: [edit], 2: [original]})
    assert [(member.image.path, member.keep, member.why) for member in group.members] == [
        (b"/album/original", True, won),
        (b"/album/edit", False, lost),
    ]


def test_two_edits_of_a_picture_are_told_by_the_other_rules() -> None:
    """Neither is the original; nor is what was made smaller, which stays all the same where letters hide something."""
    large, small = picture(1, "large", 640), picture(2, "small", 320)
    images = {1: [large], 2: [small]}
    smaller = "is smaller: 320x480 against 640x480 pixels"
    both = Pair(1, 2, 0.95, 1.0, 1.0, traces=(Trace.BLURRED,), other_traces=(Trace.NOISY,))
    for pair, keep, why in (
        (both, False, smaller),
        (replace(both, traces=(Trace.BORDER,), other_traces=()), False, smaller),
        (
            replace(both, traces=(Trace.OVERLAY,), other_traces=()),
            True,
            "has no letters or stickers across it, so it stays",
        ),
    ):
        (group,) = copy_groups([pair], images)
        assert [(member.image, member.keep, member.why) for member in group.members][1] == (small, keep, why)
    enlarged = replace(both, traces=(Trace.OVERLAY, Trace.ENLARGED), other_traces=())
    (group,) = copy_groups([enlarged], images)
    assert [(member.image, member.keep, member.why) for member in group.members] == [
        (small, True, "has no letters or stickers across it, is not enlarged"),
        (large, False, "has letters or a sticker across it, is enlarged: it shows no finer detail"),
    ]


def test_who_prefers_a_folder_before_the_original_gets_it() -> None:
    """What a rule before `original` puts behind does not stay for what it shows."""
    edit, original = picture(1, "best/edit", 640), picture(2, "original", 640)
    pair = Pair(1, 2, 0.95, 1.0, 1.0, traces=(Trace.OVERLAY,))
    images, folders = {1: [edit], 2: [original]}, Folders([], [], ["best"])
    for rules, kept in ((("folder", "original"), edit), (("original", "folder"), original)):
        (group,) = copy_groups([pair], images, Keeping(rules), folders)
        assert [(member.image == kept, member.keep) for member in group.members] == [(True, True), (False, False)]


def test_what_was_done_to_a_copy_holds_beside_all_others() -> None:
    """Copies of one exposure are not all compared with each other: 2 and 3 were not."""
    images = {number: [picture(number, f"{number}", 640, 900_000 if number == 3 else 300_000)] for number in (1, 2, 3)}
    edited = Pair(1, 3, 0.95, 1.0, 1.0, traces=(Trace.OVERLAY,), other_traces=(Trace.NOISY,))
    pairs = [edited, Pair(1, 2, 0.95, 1.0, 1.0, traces=(Trace.OVERLAY,)), Pair(2, 3, 0.95, 1.0, 1.0)]
    (group,) = copy_groups(pairs, images)
    assert [(member.image.content.id, member.why) for member in group.members] == [
        (2, "has no noise over it"),
        (3, "has noise over it"),
        (1, "has letters or a sticker across it"),
    ]


def test_the_order_of_the_rules_is_the_users() -> None:
    """What comes first decides; a rule that is left out has no say."""
    images = {1: [picture(1, "large", 640, mtime=9)], 2: [picture(2, "old", 320, mtime=1)]}
    for rules, kept in (((), b"/album/large"), (("oldest", "resolution"), b"/album/old")):
        (group,) = copy_groups([Pair(1, 2, 0.9)], images, Keeping(rules))
        assert group.members[0].image.path == kept


def test_folders_are_preferred_in_their_order() -> None:
    """A protected one before all, then those that are named, then others; a glob with a slash is for whole paths."""
    folders = Folders([b"/nas/archive"], ["originals", "/home/*/keep"], ["/b", "c?"])
    paths = [b"/nas/archive/x", b"/z/originals/y/x", b"/home/ana/keep/x", b"/b/x", b"/z/c1/x", b"/nas/archived/x"]
    assert [folders.rank(path) for path in paths] == [0, 0, 0, 1, 2, 3]
    assert [folders.is_protected(path) for path in paths] == [True] * 3 + [False] * 3


def test_what_is_protected_stays() -> None:
    """It is in the group and is not proposed; neither is any name of a file that has one protected name."""
    large, small = picture(1, "large", 640), picture(2, "safe/small", 320)
    folders = Folders([], ["safe"], [])
    (group,) = copy_groups([Pair(1, 2, 0.9)], {1: [large], 2: [small]}, None, folders)
    assert [(member.keep, member.why) for member in group.members][1] == (
        True,
        "lies in a protected folder, so it stays",
    )
    assert group.saves_bytes == 0
    linked = replace(small, file_id=3, path=b"/album/another name")
    (group,) = copy_groups([Pair(1, 2, 0.9)], {1: [large], 2: [linked, small]}, None, folders)
    assert [(member.keep, member.names) for member in group.members][1] == (True, (b"/album/safe/small",))


def test_wanted_files_of_one_content_are_not_brought_together() -> None:
    """Neither by their bytes nor by a copy that both resemble."""
    same = [picture(1, "a", content_id=1), picture(2, "b", content_id=1)]
    small = picture(3, "small", 320, content_id=2)
    (group,) = copy_groups([Pair(1, 2, 0.9)], {1: same, 2: [small]}, twins={digest(1)})
    assert [member.image.path for member in group.members] == [b"/album/a", b"/album/small"]


def test_like_and_like_do_not_make_strangers_one_group() -> None:
    """A chain falls into pairs around the best."""
    images = [picture(1, "a", 300), picture(2, "b", 200), picture(3, "c", 100)]
    assert [[name for name, _, _ in group] for group in shown(images, (1, 2), (2, 3))] == [["a", "b"]]


def test_pairs_of_contents_without_files_are_passed_over() -> None:
    """They may have gone since the pair was read."""
    assert shown([picture(1, "a")], (1, 2)) == []


def test_equal_files_say_so() -> None:
    """One is kept, the oldest; the others have its bytes."""
    (group,) = exact_groups([picture(1, "new", mtime=9), picture(2, "old", mtime=1, content_id=1), picture(3, "x")])
    assert group.kind is Kind.EXACT
    assert [(member.image.path, member.keep, member.why) for member in group.members] == [
        (b"/album/old", True, "is the oldest of equals"),
        (b"/album/new", False, "has the same bytes as the one kept"),
    ]


def test_names_of_one_inode_are_one_image_on_one_disk() -> None:
    """A hard link takes no space; the same numbers on another disk are another file, which does."""
    first = picture(1, "a")
    link = replace(first, file_id=2, path=b"/album/b")
    elsewhere = replace(first, file_id=3, path=b"/disk/c", state=replace(first.state, device=5))
    assert exact_groups([first, link]) == []
    (group,) = exact_groups([first, link, elsewhere])
    assert [member.image.path for member in group.members] == [b"/album/a", b"/disk/c"]
