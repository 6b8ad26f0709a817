"""Rows of files that are compared by their parts, beside those of images."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cbir_daemon.part_medium import FileFacts
from cbir_daemon.records import IMAGE, DescriptorKind, FileState, FitOutcome, Part
from cbir_daemon.store import FitBegun, Gone, Indexed, Placed, Store
from tests.rows import digest, indexed, opened, position, report, vector

NOW = 1_700_000_000.0
PARTS = (Part(vector(11), 0.0, 10.0, "first", b"words"), Part(vector(12), 5.0, 15.0))
CODES = (b"code 1", b"code 2")
OTHER = 3
"""Content id of the table."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give an index of two images and a table."""
    with opened(tmp_path / "index.sqlite") as store:
        album = store.albums.listed()[0].id
        store.files.apply([indexed(album, b"a.jpg", 1), indexed(album, b"b.jpg", 2)])
        facts = replace(
            indexed(album, b"c.csv", 3).facts, medium="columns", extractor="columns/1", parts=PARTS, details={"rows": 7}
        )
        applied = store.files.apply([Indexed(album, b"c.csv", FileState(9, 1, 3), facts, codes=CODES)])
        assert (applied.added, applied.added_by_medium) == ((), {"columns": (OTHER,)})
        yield store


def test_parts_come_back_as_they_were(store: Store) -> None:
    """With their codes and facts, in order; a file without parts has none."""
    assert store.parts.of([1, OTHER]) == {OTHER: PARTS}
    assert store.parts.codes([OTHER, 1]) == [(OTHER, CODES[0]), (OTHER, CODES[1])]
    assert store.contents.file_facts([OTHER])[OTHER] == FileFacts("JPEG", 9, {"rows": 7})
    content = store.contents.by_digest(digest(3))
    assert content is not None
    assert (content.medium, content.details) == ("columns", {"rows": 7})
    assert store.check() == []


def test_what_is_for_images_sees_images_alone(store: Store) -> None:
    """The collection, the pass, descriptors and the map leave out what is no image."""
    assert store.contents.ids() == [1, 2]
    assert store.contents.ids("columns") == [OTHER]
    assert store.contents.counts() == {IMAGE: 2, "columns": 1}
    assert store.descriptors.missing(DescriptorKind("look", "1"), 0, 10) == [1, 2]
    assert [content_id for content_id, _ in store.pairs.unmatched(10)] == [1, 2]
    assert [content_id for content_id, _ in store.pairs.unmatched(10, medium="columns")] == [OTHER]
    assert store.pairs.unmatched_count(0) == 2
    pieces = [*store.contents.all_vectors(medium=IMAGE), *store.contents.all_vectors(medium="columns")]
    assert [[content_id for content_id, _ in piece] for piece in pieces] == [[1, 2], [OTHER]]
    store.pairs.put_matched([1, 2, OTHER], [])
    store.pairs.start_pass(OTHER)
    assert store.pairs.unmatched(10, medium="columns") == []
    assert store.files.counts().unmatched == 2


def test_each_medium_has_its_map(store: Store) -> None:
    """Two maps are in use at once; one that is replaced takes its own positions along."""
    for medium, content_id in ((IMAGE, 1), ("columns", OTHER), (IMAGE, 2)):
        run = store.runs.start(FitBegun("asked", "1", 2, medium=medium), NOW)
        store.runs.activate(run, report(), [Placed(content_id, "fitted", position(0, 1))], NOW)
    image, table = store.runs.active(), store.runs.active("columns")
    assert image is not None
    assert table is not None
    assert [run.outcome for run in store.runs.listed()] == [FitOutcome.ACTIVE, FitOutcome.REPLACED]
    assert [content_id for content_id, _ in store.positions.listed(image.id)] == [2]
    assert [content_id for content_id, _ in store.positions.listed(table.id)] == [OTHER]
    assert [content_id for content_id, _ in store.positions.unplaced(image.id, 10)] == [1]
    assert store.positions.unplaced(table.id, 10) == []
    assert (store.positions.coverage().contents, store.positions.coverage("columns").contents) == (2, 1)


def test_parts_go_with_their_file(store: Store) -> None:
    """Nothing of them stays behind."""
    applied = store.files.apply([Gone(store.albums.listed()[0].id, b"c.csv")])
    assert applied.gone == (OTHER,)
    with closing(sqlite3.connect(store.path)) as connection:
        for table in ("part", "part_vector"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608 -- names of ours


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("DELETE FROM part_vector WHERE part_id = 1", "a part has no vector"),
        ("DELETE FROM part WHERE number = 0", "a content lacks some of its parts"),
        ("UPDATE part SET content_id = 1", "an image has parts"),
    ],
)
def test_doctor_sees_what_is_wrong_with_parts(store: Store, damage: str, finding: str) -> None:
    """Each in a sentence."""
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(damage)
    assert finding in store.check()
