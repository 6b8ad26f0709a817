"""The background search for copies, against a real store and a real searcher."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbir_daemon.duplicates import Pairing
from cbir_daemon.duplicates import pairing as pairing_module
from cbir_daemon.duplicates.pairing import _done, _reversed
from cbir_daemon.duplicates.watchlist import WatchList
from cbir_daemon.matching import GREY64
from cbir_daemon.records import Facts, FileState, Transform
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import Indexed, Store
from tests import pictures


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give an open index with one album."""
    store = Store(tmp_path / "index.sqlite")
    store.open()
    store.albums.add(b"/album")
    yield store
    store.close()


def indexed(number: int, picture: pictures.Picture) -> Indexed:
    """Return the change that brings a picture in."""
    grey = Image.fromarray(picture).convert("L").resize((64, 64), Image.Resampling.LANCZOS)
    vector = np.asarray(grey, dtype=np.uint8).tobytes()
    facts = Facts(bytes([number]) * 32, vector, 480, 320, "JPEG")
    return Indexed(1, b"%d.jpg" % number, FileState(1000, number, number), facts)


def test_contents_are_looked_up_only_once_they_can_be_found(store: Store) -> None:
    """Between their commit and the new view contents wait: looked up then, two copies miss each other."""
    searcher = Searcher(store, GREY64)
    pairing = Pairing(store, searcher, WatchList(store, searcher), lambda image, matches, works: None, lambda: False)
    picture = pictures.photograph(1)
    applied = store.files.apply([indexed(1, picture), indexed(2, pictures.brighter(picture))])
    assert not pairing._look_up()
    assert store.files.counts().unmatched == 2
    searcher.change(applied.added, applied.gone)
    assert pairing._look_up()
    assert [(pair.content_id, pair.other_id) for pair in store.pairs.listed()] == [(1, 2)]
    assert pairing.idle


@pytest.mark.parametrize("whole_first", [True, False])
def test_pairs_know_how_much_both_show_and_what_was_done(store: Store, whole_first: bool) -> None:
    """Whichever came first: the whole shows all of its mirrored part, and the transform leads from first to second."""
    searcher = Searcher(store, GREY64)
    pairing = Pairing(store, searcher, WatchList(store, searcher), lambda image, matches, works: None, lambda: False)
    whole = pictures.photograph(1)
    part = pictures.turned(pictures.cropped(whole, 0.2), 1)
    for number, picture in enumerate([whole, part] if whole_first else [part, whole], 1):
        applied = store.files.apply([indexed(number, picture)])
        searcher.change(applied.added, applied.gone)
        assert pairing._look_up()
    (pair,) = store.pairs.listed()
    whole_share, part_share = (pair.overlap, pair.other_overlap) if whole_first else (pair.other_overlap, pair.overlap)
    assert whole_share == pytest.approx(0.64, abs=0.05)
    assert part_share == pytest.approx(1.0, abs=0.02)
    assert pair.transform is not None
    assert (pair.transform.flip, pair.transform.turn) == (False, 90 if whole_first else 270)


@pytest.mark.parametrize(
    ("whole_first", "words"),
    [
        (True, "crop ({share} %), turned 90 degrees left"),
        (False, "inside something larger ({share} % of it), turned 90 degrees right"),
    ],
)
def test_an_alert_says_what_was_done(store: Store, whole_first: bool, words: str) -> None:
    """To the file that was there, to get the new one."""
    searcher = Searcher(store, GREY64)
    pairing = Pairing(store, searcher, WatchList(store, searcher), lambda image, matches, works: None, lambda: False)
    whole = pictures.photograph(1)
    part = pictures.turned(pictures.cropped(whole, 0.2), 1)
    for number, picture in enumerate([whole, part] if whole_first else [part, whole], 1):
        applied = store.files.apply([indexed(number, picture)])
        searcher.change(applied.added, applied.gone)
        assert pairing._look_up()
    (old,), (new,), (pair,) = store.files.images([1]), store.files.images([2]), store.pairs.listed()
    assert _done(pair, new, old) in {words.format(share=share) for share in range(62, 68)}


def test_a_transform_reversed_leads_back() -> None:
    """A turn goes the other way round; a mirror after a turn is the opposite turn after the mirror."""
    turned, mirrored = Transform(turn=90, angle=2.5, invert=True), Transform(flip=True, turn=90, angle=2.5)
    assert _reversed(turned) == Transform(turn=270, angle=-2.5, invert=True)
    assert _reversed(mirrored) == mirrored
    assert str(_reversed(Transform()).angle) == "0.0"
    # Pixel by pixel: mirrored first, then turned counter-clockwise.
    picture = pictures.photograph(1)
    there = pictures.turned(pictures.mirrored(picture), 1)
    assert np.array_equal(pictures.turned(pictures.mirrored(there), 1), picture)


def test_borders_are_no_picture(store: Store) -> None:
    """What is known of a content that has copies tells how much of it is picture; others are not asked."""
    searcher = Searcher(store, GREY64)
    pairing = Pairing(store, searcher, WatchList(store, searcher), lambda image, matches, works: None, lambda: False)
    picture = pictures.photograph(1)
    framed = pictures.bordered(picture, 0.1)
    applied = store.files.apply([indexed(1, picture), indexed(2, framed), indexed(3, pictures.photograph(2))])
    searcher.change(applied.added, applied.gone)
    assert pairing._look_up()
    shares = [image.content.picture for image in store.files.images([1, 2, 3])]
    assert shares == [1.0, pytest.approx(picture.size / framed.size, abs=0.04), None]


def test_a_picture_with_many_copies_finds_them_all(store: Store) -> None:
    """However many copies there are, verification goes on until it meets none; strangers cost one round."""
    searcher = Searcher(store, GREY64)
    picture = pictures.photograph(1)
    copies = [indexed(number, pictures.noisy(picture, 4.0, seed=number)) for number in range(1, 61)]
    strangers = [indexed(number, pictures.photograph(number)) for number in range(100, 130)]
    applied = store.files.apply([*copies, *strangers])
    searcher.change(applied.added, applied.gone)
    vectors = dict(applied.added)
    assert {found.content_id for found in searcher.copies(vectors[1], without=1)} == set(range(2, 61))
    assert searcher.copies(vectors[61], without=61) == []


# The pass over all contents.


def all_edits(picture: pictures.Picture, seed: int) -> list[pictures.Picture]:
    """Return a picture and edits of it, of which one is a part of another and one is framed."""
    return [
        picture,
        pictures.mirrored(pictures.cropped(picture, 0.15)),
        pictures.bordered(picture, 0.1),
        pictures.turned(pictures.noisy(picture, 4.0, seed=seed), 1),
    ]


def looked_up(store: Store, searcher: Searcher, changes: list[Indexed]) -> set[tuple[int, int]]:
    """Bring contents in, look all up and return the pairs."""
    pairing = Pairing(store, searcher, WatchList(store, searcher), lambda image, matches, works: None, lambda: False)
    applied = store.files.apply(changes)
    searcher.change(applied.added, applied.gone)
    while pairing._look_up():
        pass
    return {(pair.content_id, pair.other_id) for pair in store.pairs.listed()}


def album_of(seeds: range, first: int = 1) -> list[Indexed]:
    """Return four contents for each seed."""
    made = [picture for seed in seeds for picture in all_edits(pictures.photograph(seed), seed)]
    return [indexed(number, picture) for number, picture in enumerate(made, first)]


@pytest.mark.usefixtures("small_pass")
def test_all_are_looked_up_again_when_many_come(store: Store) -> None:
    """From a fifth of all on; what came one by one in between is looked up once."""
    searcher = Searcher(store, GREY64)
    looked_up(store, searcher, album_of(range(5)))
    looked_up(store, searcher, [indexed(100 + n, pictures.photograph(40 + n)) for n in range(4)])
    assert store.pairs.pass_bound() == 20
    cropped = [pictures.cropped(pictures.photograph(n // 4), 0.1 + n % 4 / 40) for n in range(20)]
    pairs = looked_up(store, searcher, [indexed(200 + n, picture) for n, picture in enumerate(cropped)])
    assert store.pairs.pass_bound() == 44
    assert len(pairs) == 5 * 8 * 7 / 2


@pytest.fixture
def small_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sixteen contents be many."""
    monkeypatch.setattr(pairing_module, "LEAST_PASS", 16)
    monkeypatch.setattr(pairing_module, "JOINED_CONTENTS", 8)
    monkeypatch.setattr(pairing_module, "BATCH_CONTENTS", 8)


@pytest.mark.usefixtures("small_pass")
def test_a_pass_finds_what_single_look_ups_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All contents are looked up among each other once there are many; the pairs are the same."""
    found = []
    for name, bound in (("joined", 32), ("single", 0)):
        with closing(Store(tmp_path / name)) as store:
            store.open()
            store.albums.add(b"/album")
            found.append(looked_up(store, Searcher(store, GREY64), album_of(range(8))))
            assert store.pairs.pass_bound() == bound
            assert store.files.counts().unmatched == 0
        monkeypatch.setattr(pairing_module, "LEAST_PASS", 33)
    families = {
        (one, other) for one in range(1, 33) for other in range(one + 1, 33) if (one - 1) // 4 == (other - 1) // 4
    }
    assert found[0] == found[1] == families


@pytest.mark.usefixtures("small_pass")
def test_what_comes_after_a_pass_is_looked_up_by_itself(store: Store) -> None:
    """The others are not looked up again, so a new content looks for all that it may be to them; and it comes first."""
    searcher = Searcher(store, GREY64)
    parts = store.files.apply([indexed(n, pictures.cropped(pictures.photograph(n), 0.2)) for n in range(1, 21)])
    searcher.change(parts.added, parts.gone)
    pairing = Pairing(store, searcher, WatchList(store, searcher), lambda image, matches, works: None, lambda: False)
    assert pairing._look_up()
    assert store.pairs.unmatched_count(0) == 4
    wholes = store.files.apply([indexed(20 + n, pictures.photograph(n)) for n in range(1, 13)])
    searcher.change(wholes.added, wholes.gone)
    for left in (4, 0):
        assert pairing._look_up()
        assert store.pairs.unmatched_count(20) == left
    assert pairing._look_up()
    assert {(pair.content_id, pair.other_id) for pair in store.pairs.listed()} == {(n, 20 + n) for n in range(1, 13)}
    assert (store.pairs.pass_bound(), pairing._look_up()) == (20, False)


@pytest.mark.usefixtures("small_pass")
def test_a_pass_goes_on_after_a_restart(store: Store) -> None:
    """What was committed is not looked up again, and the rest still among all."""
    searcher = Searcher(store, GREY64)
    applied = store.files.apply(album_of(range(9)))
    searcher.change(applied.added, applied.gone)
    for left in (20, 4, 0):
        pairing = Pairing(
            store, searcher, WatchList(store, searcher), lambda image, matches, works: None, lambda: False
        )
        assert pairing._look_up()
        assert store.files.counts().unmatched == left
    assert store.pairs.pass_bound() == 36
    assert len(store.pairs.listed()) == 9 * 6
