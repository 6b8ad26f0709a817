"""Rows of files: a change of a file, of its content and of its place is one commit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cbir_daemon.records import LOOK, REASONS, SIZE_UNKNOWN, DescriptorKind, FileState, Heals
from cbir_daemon.store import Change, Counts, Failed, Gone, Image, Indexed, Moved, Store
from tests.rows import EXTRACTOR, ROOT, all_images, digest, due, failed, indexed, paths, state, vector
from tests.store.index import NOT_TEXT, fill

HEALS_UNCHANGED = {"no-access", "read-failed", "timed-out"}


def image_at(store: Store, name: bytes) -> Image:
    """Return the image of a name in the album."""
    return next(image for image in all_images(store) if image.path == ROOT + b"/" + name)


def test_a_file_comes_back_with_its_content(store: Store, album: int) -> None:
    """Path, state and content are those that were written; names that are no text, too."""
    applied = store.files.apply([indexed(album, NOT_TEXT, 7)])
    assert applied.added == ((1, vector(7)),)
    assert (applied.gone, applied.again) == ((), ())
    (image,) = all_images(store)
    assert image.path == ROOT + b"/" + NOT_TEXT
    assert image.state == state(7)
    assert not image.missing
    assert (image.content.digest, image.content.width_px, image.content.height_px) == (digest(7), 640, 480)
    assert (image.content.size_bytes, image.content.format) == (state(7).size_bytes, "JPEG")
    assert store.files.states(album) == {NOT_TEXT: state(7)}
    assert store.contents.vectors([1, 99]) == {1: vector(7)}


def test_two_equal_files_share_a_content(store: Store, album: int) -> None:
    """The second is not read again, and the content stays until the last file is gone."""
    first = store.files.apply([indexed(album, b"a.jpg", 1)])
    second = store.files.apply([indexed(album, b"b.jpg", 1, inode=5, known=True)])
    assert (len(first.added), second.added) == (1, ())
    assert store.contents.repeated() == [1]
    assert store.files.apply([Gone(album, b"a.jpg")]).gone == ()
    assert store.files.apply([Gone(album, b"b.jpg")]).gone == (1,)
    assert store.files.counts() == Counts(0, 0, 0, 0, 0)


def test_what_is_gone_takes_all_below_it_and_nothing_beside_it(store: Store, album: int) -> None:
    """Names that begin like the folder's stay."""
    names = [b"trip", b"trip/a.jpg", b"trip/b/c.jpg", b"trip.jpg", b"trip-2/a.jpg", b"trip0/a.jpg", b"trip /a.jpg"]
    store.files.apply([indexed(album, name, n) for n, name in enumerate(names)])
    assert set(store.files.states(album, b"trip")) == set(names[:3])
    store.files.apply([Gone(album, b"trip", below=False)])
    assert set(store.files.states(album)) == set(names[1:])
    store.files.apply([Gone(album, b"trip")])
    assert set(store.files.states(album)) == set(names[3:])


def test_a_file_that_cannot_be_read_gives_up_its_content(store: Store, album: int) -> None:
    """Its reason is listed, and the content goes when nothing else has it."""
    store.files.apply([indexed(album, b"a.jpg", 1), failed(album, b"b.jpg", 2)])
    assert store.files.apply([failed(album, b"a.jpg", 3, "truncated")]).gone == (1,)
    assert store.files.errors() == [
        (b"/album/a.jpg", "truncated", "it is truncated"),
        (b"/album/b.jpg", "damaged", "it is damaged"),
    ]
    assert store.files.counts_by_album() == {album: (0, 2)}
    store.files.apply([indexed(album, b"a.jpg", 1)])
    assert store.files.counts_by_album() == {album: (1, 1)}


@pytest.mark.parametrize("code", REASONS)
def test_a_file_differs_from_its_row_when_it_heals_unchanged(store: Store, album: int, code: str) -> None:
    """Whether the reason heals so is said in one table; every other file equals its row until it changes."""
    store.files.apply([failed(album, b"a.jpg", 1, code)])
    differs = store.files.states(album)[b"a.jpg"] != state(1)
    assert differs == (REASONS[code].heals in (Heals.RIGHTS, Heals.PAUSE)) == (code in HEALS_UNCHANGED)


def test_a_moved_file_keeps_its_content(store: Store, album: int) -> None:
    """The row goes along, over whatever lay at the new path."""
    store.files.apply([indexed(album, b"a.jpg", 1), indexed(album, b"b.jpg", 2)])
    row = image_at(store, b"a.jpg").file_id
    applied = store.files.apply([Moved(row, album, b"b.jpg")])
    assert (applied.added, applied.gone) == ((), (2,))
    assert [(image.path, image.file_id) for image in all_images(store)] == [(b"/album/b.jpg", row)]


def test_names_may_be_swapped_or_handed_on(store: Store, album: int) -> None:
    """Moves of one batch happen at once: in a ring of names no row replaces another."""
    fill(store, range(3))
    rows = [image_at(store, b"%d.jpg" % n).file_id for n in range(3)]
    applied = store.files.apply([Moved(rows[n], album, b"%d.jpg" % ((n + 1) % 3)) for n in range(3)])
    assert (applied.added, applied.gone) == ((), ())
    assert [image_at(store, b"%d.jpg" % n).file_id for n in range(3)] == [rows[2], rows[0], rows[1]]


def test_a_row_that_is_gone_does_not_move(store: Store, album: int) -> None:
    """What lies at the path that it would have moved to stays."""
    fill(store, range(1))
    store.files.apply([Moved(99, album, b"0.jpg")])
    assert paths(store) == [b"/album/0.jpg"]


def test_a_file_moves_into_another_album(store: Store, album: int) -> None:
    """The row changes its album and keeps its content."""
    store.albums.add(b"/other")
    second = next(row.id for row in store.albums.listed() if row.path == b"/other")
    fill(store, range(1))
    store.files.apply([Moved(image_at(store, b"0.jpg").file_id, second, b"x.jpg")])
    assert paths(store) == [b"/other/x.jpg"]
    assert store.files.counts_by_album() == {second: (1, 0)}


def test_a_content_that_comes_and_goes_in_one_batch_is_no_news(store: Store, album: int) -> None:
    """Neither added nor gone: who keeps the collection by these would keep a ghost."""
    applied = store.files.apply([indexed(album, b"a.jpg", 1), indexed(album, b"a.jpg", 2)])
    assert [row for _, row in applied.added] == [vector(2)]
    assert applied.gone == ()


def test_a_known_digest_that_has_gone_meanwhile_is_read_again(store: Store, album: int) -> None:
    """Its file was read without a vector; nothing is written of it, and the rest of the batch is."""
    fill(store, range(1))
    store.files.apply([Gone(album, b"0.jpg")])
    late = indexed(album, b"late.jpg", 0, known=True)
    applied = store.files.apply([late, indexed(album, b"other.jpg", 1)])
    assert applied.again == (late,)
    assert paths(store) == [b"/album/other.jpg"]


@pytest.mark.parametrize("kind", [Indexed, Failed, Moved, Gone])
def test_changes_of_an_album_that_was_removed_are_passed_over(store: Store, album: int, kind: type) -> None:
    """An album may be removed while its files are read; the rest of the batch is written."""
    store.albums.add(b"/removed")
    removed = next(row.id for row in store.albums.listed() if row.path == b"/removed")
    fill(store, range(1))
    row = image_at(store, b"0.jpg").file_id
    changes: dict[type, Change] = {
        Indexed: indexed(removed, b"a.jpg", 5),
        Failed: failed(removed, b"a.jpg", 5),
        Moved: Moved(row, removed, b"a.jpg"),
        Gone: Gone(removed, b"a.jpg"),
    }
    store.albums.remove(removed)
    applied = store.files.apply([changes[kind], indexed(album, b"b.jpg", 6)])
    assert [row for _, row in applied.added] == [vector(6)]
    assert paths(store) == [b"/album/0.jpg", b"/album/b.jpg"]


def test_images_of_a_missing_album_say_so(store: Store, album: int) -> None:
    """The rows stay, and each tells that its file may not be there."""
    fill(store, range(1))
    store.albums.set_state(album, "missing")
    assert [image.missing for image in all_images(store)] == [True]


def test_known_digests_are_those_of_the_size(store: Store, album: int) -> None:
    """Only contents read by the same extractor count: others must be read again."""
    fill(store, range(2))
    assert store.contents.known_digests([state(0).size_bytes, 1], [EXTRACTOR]) == {
        state(0).size_bytes: frozenset({digest(0)})
    }
    assert store.contents.known_digests([state(0).size_bytes], ["grey64/2"]) == {}


def test_a_content_that_another_extractor_read_is_made_anew(store: Store, album: int) -> None:
    """All its files get the new one; the old one goes with its pairs, and no file is news."""
    first = indexed(album, b"a.jpg", 1)
    store.files.apply([first, indexed(album, b"twin.jpg", 1, inode=5, known=True), indexed(album, b"b.jpg", 2)])
    store.albums.finish_baseline(album)
    news = due(store)
    read_anew = replace(first, facts=replace(first.facts, vector=vector(9), extractor="grey64/2"))
    applied = store.files.apply([read_anew])
    assert (applied.added, applied.gone) == (((3, vector(9)),), (1,))
    assert {image.path: image.content.id for image in all_images(store)} == {
        ROOT + b"/a.jpg": 3,
        ROOT + b"/twin.jpg": 3,
        ROOT + b"/b.jpg": 2,
    }
    assert (due(store), store.check()) == (news, [])
    assert store.files.apply([read_anew]).added == ()


def test_files_of_another_extractor_differ_from_their_rows(store: Store, album: int) -> None:
    """With them those that could not be read, which nobody knows the extractor of; without any, none."""
    store.files.apply([indexed(album, b"a.jpg", 1), failed(album, b"bad.jpg", 2)])
    assert store.files.forget_extractors([EXTRACTOR]) == 0
    assert store.files.states(album)[b"a.jpg"] == state(1)
    assert store.files.forget_extractors(["grey64/2"]) == 2
    assert {row.size_bytes for row in store.files.states(album).values()} == {SIZE_UNKNOWN}


def test_same_inode_asks_for_the_whole_state(store: Store, album: int) -> None:
    """Size, mtime and inode must all be equal, and the file must have a content."""
    store.files.apply([indexed(album, b"a.jpg", 1), failed(album, b"b.jpg", 2)])
    same = state(1)
    assert store.files.same_inode(same) == [(1, b"/album/a.jpg")]
    for changed in (
        FileState(same.size_bytes + 1, same.mtime_ns, same.inode),
        FileState(same.size_bytes, same.mtime_ns + 1, same.inode),
        FileState(same.size_bytes, same.mtime_ns, same.inode + 1),
        state(2),
    ):
        assert store.files.same_inode(changed) == []


def test_same_inode_asks_for_the_disk(store: Store, album: int) -> None:
    """Each disk counts its inodes for itself; a disk that is not known, of row or file, may be any."""
    store.files.apply(
        [replace(indexed(album, b"a.jpg", 1), state=replace(state(1), device=5)), indexed(album, b"b.jpg", 2)]
    )
    for number, device, found in ((1, 5, True), (1, 6, False), (1, 0, True), (2, 5, True)):
        assert bool(store.files.same_inode(replace(state(number), device=device))) is found


def test_the_content_at_a_path(store: Store, album: int) -> None:
    """A path is album, slash and name: nothing else between or before them will do."""
    store.files.apply([indexed(album, NOT_TEXT, 1), indexed(album, b"x.jpg", 2)])
    found = store.contents.at_path(ROOT + b"/" + NOT_TEXT)
    assert found is not None
    assert found.digest == digest(1)
    for path in (b"/album", b"/album/", b"/album0x.jpg", b"/albumxx.jpg", b"/album/x.jp", b"x.jpg", b"/other/x.jpg"):
        assert store.contents.at_path(path) is None
    assert store.contents.by_digest(digest(2)) is not None
    assert store.contents.by_digest(digest(3)) is None


def test_more_ids_than_one_statement_holds(store: Store, album: int) -> None:
    """Long lists are asked for in pieces, and so is the whole collection."""
    ids = fill(store, range(5))
    many = [*range(-40_000, 0), *ids]
    assert list(store.contents.vectors(many)) == ids
    assert [image.content.id for image in store.files.images(many)] == ids
    assert len(store.contents.known_digests([*range(40_000)], [EXTRACTOR])) == 5
    assert [[content_id for content_id, _ in rows] for rows in store.contents.all_vectors(2)] == [[1, 2], [3, 4], [5]]


def test_counts_are_kept_until_something_is_written(store: Store, album: int) -> None:
    """Asked again they are the same answer, be it of one descriptor's kind or another's; any commit makes them new.

    Also one that leaves the clock as it is.
    """
    meaning = DescriptorKind("meaning", "1")
    assert store.files.counts() is store.files.counts()
    assert store.positions.coverage() is store.positions.coverage()
    assert (store.descriptors.count(LOOK), store.descriptors.count(meaning)) == (0, 0)
    ((content_id, _),) = store.files.apply([indexed(album, b"a.jpg", 1)]).added
    store.descriptors.put(meaning, {content_id: b"abc"})
    assert (store.descriptors.count(LOOK), store.descriptors.count(meaning)) == (0, 1)
    assert store.files.counts().images == store.positions.coverage().contents == 1
    assert store.files.counts_by_album() == {album: (1, 0)}


def test_counts_of_what_another_process_writes_are_not_kept(store: Store, album: int) -> None:
    """Who opened the index for reading only learns of no commit, so it looks each time."""
    reading = Store(store.path)
    reading.open_existing()
    try:
        assert reading.files.counts().images == 0
        store.files.apply([indexed(album, b"a.jpg", 1)])
        assert reading.files.counts().images == 1
    finally:
        reading.close()
