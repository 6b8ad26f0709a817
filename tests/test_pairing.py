"""The background search for copies, against a real store and a real searcher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from cbir_daemon.comparison import Transform
from cbir_daemon.duplicates import Pairing
from cbir_daemon.store import AlertMatch, ContainedWork, Image, Indexed
from tests import pictures, rows
from tests.worlds import World

SMALL_PASS = {"least_pass": 16, "joined_contents": 8, "batch_contents": 8}
"""Sixteen contents are many."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give an index with one album that is indexed for the first time."""
    with closing(World(tmp_path, indexed_before=False)) as world:
        yield world


def indexed(number: int, picture: pictures.Picture) -> Indexed:
    """Return the change that brings a picture in."""
    return rows.indexed(1, b"%d.jpg" % number, number, rows.vector_of(picture))


def test_contents_are_looked_up_only_once_they_can_be_found(world: World) -> None:
    """Between their commit and the new view contents wait: looked up then, two copies miss each other."""
    pairing = world.new_pairing()
    picture = pictures.photograph(1)
    applied = world.store.files.apply([indexed(1, picture), indexed(2, pictures.brighter(picture))])
    assert not pairing.step()
    assert world.store.files.counts().unmatched == 2
    world.publish(applied)
    assert pairing.step()
    assert [(pair.content_id, pair.other_id) for pair in world.store.pairs.listed()] == [(1, 2)]
    assert pairing.idle


@pytest.mark.parametrize("whole_first", [True, False])
def test_pairs_know_how_much_both_show_and_what_was_done(world: World, whole_first: bool) -> None:
    """Whichever came first: the whole shows all of its mirrored part, and the transform leads from first to second."""
    pairing = world.new_pairing()
    whole = pictures.photograph(1)
    part = pictures.turned(pictures.cropped(whole, 0.2), 1)
    for number, picture in enumerate([whole, part] if whole_first else [part, whole], 1):
        world.apply([indexed(number, picture)])
        assert pairing.step()
    (pair,) = world.store.pairs.listed()
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
def test_an_alert_says_what_was_done(tmp_path: Path, whole_first: bool, words: str) -> None:
    """To the file that was there, to get the new one."""
    named: list[AlertMatch] = []

    def note(image: Image, matches: Sequence[AlertMatch], works: Sequence[ContainedWork]) -> None:
        named.extend(matches)

    whole = pictures.photograph(1)
    part = pictures.turned(pictures.cropped(whole, 0.2), 1)
    with closing(World(tmp_path, (tmp_path,))) as world:
        pairing = world.new_pairing(alert_for=note)
        for number, picture in enumerate([whole, part] if whole_first else [part, whole], 1):
            # A match is named only while its file is there.
            (tmp_path / f"{number}.jpg").touch()
            world.apply([indexed(number, picture)])
            look_up_all(pairing)
    (match,) = named
    assert match.done in {words.format(share=share) for share in range(62, 68)}


def test_a_transform_reversed_leads_back() -> None:
    """A turn goes the other way round; a mirror after a turn is the opposite turn after the mirror."""
    turned, mirrored = Transform(turn=90, angle=2.5, invert=True), Transform(flip=True, turn=90, angle=2.5)
    assert turned.reversed() == Transform(turn=270, angle=-2.5, invert=True)
    assert mirrored.reversed() == mirrored
    assert str(Transform().reversed().angle) == "0.0"
    # Pixel by pixel: mirrored first, then turned counter-clockwise.
    picture = pictures.photograph(1)
    there = pictures.turned(pictures.mirrored(picture), 1)
    assert np.array_equal(pictures.turned(pictures.mirrored(there), 1), picture)


def test_borders_are_no_picture(world: World) -> None:
    """What is known of a content that has copies tells how much of it is picture; others are not asked."""
    pairing = world.new_pairing()
    picture = pictures.photograph(1)
    framed = pictures.bordered(picture, 0.1)
    world.apply([indexed(1, picture), indexed(2, framed), indexed(3, pictures.photograph(2))])
    assert pairing.step()
    shares = [image.content.picture for image in world.store.files.images([1, 2, 3])]
    assert shares == [1.0, pytest.approx(picture.size / framed.size, abs=0.04), None]


def test_a_picture_with_many_copies_finds_them_all(world: World) -> None:
    """However many copies there are, verification goes on until it meets none; strangers cost one round."""
    picture = pictures.photograph(1)
    copies = [indexed(number, pictures.noisy(picture, 4.0, seed=number)) for number in range(1, 41)]
    strangers = [indexed(number, pictures.photograph(number)) for number in range(100, 120)]
    applied = world.apply([*copies, *strangers])
    vectors = dict(applied.added)
    assert {found.content_id for found in world.searcher.copies(vectors[1], without=1)} == set(range(2, 41))
    assert world.searcher.copies(vectors[41], without=41) == []


# The pass over all contents.


def all_edits(picture: pictures.Picture, seed: int) -> list[pictures.Picture]:
    """Return a picture and edits of it, of which one is a part of another and one is framed."""
    return [
        picture,
        pictures.mirrored(pictures.cropped(picture, 0.15)),
        pictures.bordered(picture, 0.1),
        pictures.turned(pictures.noisy(picture, 4.0, seed=seed), 1),
    ]


def look_up_all(pairing: Pairing) -> None:
    """Let a search for copies do all there is to do."""
    while pairing.step():
        pass


def looked_up(world: World, changes: Sequence[Indexed], bounds: Mapping[str, int]) -> set[tuple[int, int]]:
    """Bring contents in, look all up and return the pairs."""
    world.apply(changes)
    look_up_all(world.new_pairing(bounds=bounds))
    return {(pair.content_id, pair.other_id) for pair in world.store.pairs.listed()}


def album_of(seeds: range, first: int = 1) -> list[Indexed]:
    """Return four contents for each seed."""
    made = [picture for seed in seeds for picture in all_edits(pictures.photograph(seed), seed)]
    return [indexed(number, picture) for number, picture in enumerate(made, first)]


def test_all_are_looked_up_again_when_many_come(world: World) -> None:
    """From a fifth of all on; what came one by one in between is looked up once."""
    looked_up(world, album_of(range(5)), SMALL_PASS)
    looked_up(world, [indexed(100 + n, pictures.photograph(40 + n)) for n in range(4)], SMALL_PASS)
    assert world.store.pairs.pass_bound() == 20
    cropped = [pictures.cropped(pictures.photograph(n // 4), 0.1 + n % 4 / 40) for n in range(16)]
    pairs = looked_up(world, [indexed(200 + n, picture) for n, picture in enumerate(cropped)], SMALL_PASS)
    assert world.store.pairs.pass_bound() == 40
    assert len(pairs) == 4 * 8 * 7 / 2 + 4 * 3 / 2


def test_a_pass_finds_what_single_look_ups_find(tmp_path: Path) -> None:
    """All contents are looked up among each other once there are many; the pairs are the same."""
    found = []
    for name, least_pass, bound in (("joined", 16, 20), ("single", 21, 0)):
        (tmp_path / name).mkdir()
        with closing(World(tmp_path / name, indexed_before=False)) as world:
            found.append(looked_up(world, album_of(range(5)), {**SMALL_PASS, "least_pass": least_pass}))
            assert world.store.pairs.pass_bound() == bound
            assert world.store.files.counts().unmatched == 0
    assert found[0] == found[1] == families(5)


def families(count: int) -> set[tuple[int, int]]:
    """Return the pairs of `album_of` so many seeds."""
    return {
        (4 * seed + first, 4 * seed + second)
        for seed in range(count)
        for first, second in ((1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4))
    }


def test_a_pass_begins_while_files_are_being_read(tmp_path: Path) -> None:
    """In a search process, from many contents on, and again once there are twice as many."""
    with closing(World(tmp_path, codes_path=tmp_path / "codes.rows", search_processes=1)) as world:
        store, processes = world.store, world.processes
        assert processes is not None
        world.searcher.load()
        pairing = world.new_pairing(bounds=SMALL_PASS)
        world.apply(album_of(range(3)))
        assert not pairing.step_early()
        assert processes.running + processes.starting == 0
        world.apply(album_of(range(3, 6), first=13))
        while not pairing.step_early():
            assert processes.starting
        while pairing.step_early():
            pass
        assert processes.running == 1
        assert (store.pairs.pass_bound(), store.pairs.unmatched_count(0)) == (24, 0)
        assert {(pair.content_id, pair.other_id) for pair in store.pairs.listed()} == families(6)
        world.apply(album_of(range(6, 11), first=25))
        assert not pairing.step_early()
        assert store.pairs.unmatched_count(0) == 20
        world.apply(album_of(range(11, 12), first=45))
        assert pairing.step_early()
        assert store.pairs.pass_bound() == 48
        look_up_all(pairing)
        assert {(pair.content_id, pair.other_id) for pair in store.pairs.listed()} == families(12)


def test_without_a_search_process_nothing_is_looked_up_while_files_are_being_read(world: World) -> None:
    """It would take the interpreter from the thread that reads."""
    world.apply(album_of(range(5)))
    pairing = world.new_pairing(bounds=SMALL_PASS)
    assert not pairing.step_early()
    assert (world.store.pairs.pass_bound(), world.store.pairs.unmatched_count(0)) == (0, 20)


def test_what_comes_after_a_pass_is_looked_up_by_itself(world: World) -> None:
    """The others are not looked up again, so a new content looks for all that it may be to them; and it comes first."""
    store = world.store
    world.apply([indexed(n, pictures.cropped(pictures.photograph(n), 0.2)) for n in range(1, 21)])
    pairing = world.new_pairing(bounds=SMALL_PASS)
    assert pairing.step()
    assert store.pairs.unmatched_count(0) == 4
    world.apply([indexed(20 + n, pictures.photograph(n)) for n in range(1, 13)])
    for unmatched in (4, 0):
        assert pairing.step()
        assert store.pairs.unmatched_count(20) == unmatched
    assert pairing.step()
    assert {(pair.content_id, pair.other_id) for pair in store.pairs.listed()} == {(n, 20 + n) for n in range(1, 13)}
    assert (store.pairs.pass_bound(), pairing.step()) == (20, False)


def test_a_pass_waits_until_a_map_is_fitted(world: World) -> None:
    """Both would take all processors; what comes after the pass began goes on, for somebody may wait for its alert."""
    world.apply(album_of(range(9)))
    fitting = True
    pairing = world.new_pairing(bounds=SMALL_PASS, fitting=lambda: fitting)
    assert not pairing.step()
    assert (world.store.pairs.pass_bound(), world.store.files.counts().unmatched) == (36, 36)
    world.apply([indexed(100, pictures.photograph(3))])
    assert pairing.step()
    assert world.store.files.counts().unmatched == 36
    fitting = False
    assert pairing.step()
    assert world.store.files.counts().unmatched == 20


def test_a_pass_goes_on_after_a_restart(world: World) -> None:
    """What was committed is not looked up again, and the rest still among all."""
    world.apply(album_of(range(9)))
    for unmatched in (20, 4, 0):
        assert world.new_pairing(bounds=SMALL_PASS).step()
        assert world.store.files.counts().unmatched == unmatched
    assert world.store.pairs.pass_bound() == 36
    assert len(world.store.pairs.listed()) == 9 * 6
