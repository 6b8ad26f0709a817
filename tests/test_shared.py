"""What is noted for a shared index, and which rows of it are believed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir_daemon.shared.layout import (
    MAX_FACTS_CHARACTERS,
    code_rows,
    content_from,
    content_id,
    content_of_code,
    content_row,
    is_whole,
    site_number,
)
from cbir_daemon.store import Content, Gone, Moved, Publication, Store
from tests.rows import all_images, digest, indexed, opened, vector

NOW = 1_700_000_000.0
PATH = b"/home/ana/\xff\n.jpg"
PUBLISHED = Publication(Content(1, digest(1), 640, 480, 1000, "JPEG", "2019-07-14T12:45:01"), vector(1), PATH)


def row(**changes: object) -> dict[str, Any]:
    """Return a row as a site writes it and the engine gives it, but for some columns."""
    written = content_row("studio", PUBLISHED, share_paths=True)
    return {**written, "vector": [written["vector"]], **changes}


def facts(**changes: object) -> str:
    """Return the facts of a row, but for some."""
    written: dict[str, object] = json.loads(row()["facts"])
    return json.dumps({**written, **changes})


def test_nothing_foreign_is_imported_without_a_configuration() -> None:
    """The daemon's modules load neither the engine's client nor what that loads; the first connection does."""
    loaded = "import sys, cbir_daemon.daemon.service; print(*({'pymilvus', 'grpc', 'pandas'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)  # noqa: S603 -- ours
    assert done.stdout.split() == []


# -- rows that are believed, and rows that are not ---------------------------------------------------------------------


def test_a_row_comes_back_as_it_was_written() -> None:
    """With a path of any bytes; without one where the site keeps it to itself."""
    found = content_from(row())
    assert found is not None
    assert (found.site, found.digest, found.vector, found.path) == ("studio", digest(1), vector(1), PATH)
    assert (found.width_px, found.height_px, found.size_bytes) == (640, 480, 1000)
    assert (found.format, found.taken) == ("JPEG", "2019-07-14T12:45:01")
    hidden = content_row("studio", PUBLISHED, share_paths=False)
    assert PATH.hex() not in str(hidden)
    without = content_from({**hidden, "vector": [hidden["vector"]]})
    assert without is not None
    assert without.path == b""


@pytest.mark.parametrize(
    "changes",
    [
        {"vector": [vector(1)[:-1]]},
        {"vector": [vector(1) + b"\0"]},
        {"vector": [vector(1), vector(1)]},
        {"vector": "x" * 4096},
        {"vector": None},
        {"site": "Studio\x1b[2J"},
        {"site": ""},
        {"site": 7},
        {"digest": "zz" * 32},
        {"digest": digest(1).hex().upper()},
        {"id": 1},
        # Of another site, or another content: it would answer in its place.
        {"site": "archive"},
        {"digest": digest(2).hex()},
        {"site_number": site_number("archive")},
        {"facts": "no JSON"},
        {"facts": "[]"},
        {"facts": "[" * 10_000},
        {"facts": "{" + " " * MAX_FACTS_CHARACTERS + "}"},
        {"facts": facts(width=-1)},
        {"facts": facts(width=1e300)},
        {"facts": facts(height=True)},
        {"facts": facts(size=2**70)},
        {"facts": facts(format="<script>")},
        {"facts": facts(taken="now")},
        {"facts": facts(path="../etc/passwd")},
        {"facts": facts(path=b"relative".hex())},
        {"facts": facts(path=b"/a\0b".hex())},
        {"facts": facts(path="2f" * 5000)},
        {"facts": facts(path=None)},
    ],
    ids=str,
)
def test_a_row_that_no_site_writes_is_refused(changes: dict[str, object]) -> None:
    """Whoever may write to the server may have written it."""
    assert content_from(row(**changes)) is None


def test_a_row_without_columns_is_refused() -> None:
    """Whatever the server gives, there is no error."""
    assert content_from({}) is None


def test_ids_follow_from_site_and_digest() -> None:
    """So that publishing twice changes nothing; a code's id names its content; flat codes are left out."""
    codes = np.ones((4, 20), dtype=np.int8)
    codes[2] = 0
    rows = code_rows("studio", digest(1), codes)
    first = content_id("studio", digest(1))
    assert [code["id"] - first for code in rows] == [0, 1, 3]
    assert {content_of_code(code["id"]) for code in rows} == {first}
    assert [is_whole(code["id"]) for code in rows] == [True, False, False]
    assert len({first, content_id("studio", digest(2)), content_id("archive", digest(1))}) == 3
    assert 0 <= first < 2**63


# -- what is noted -----------------------------------------------------------------------------------------------------


def due(store: Store) -> list[tuple[bytes, bool]]:
    """Return (digest, whether it is news) of what is due, in order, and write that it was done."""
    entries = store.published.due(100)
    there = store.published.publications([entry.digest for entry in entries])
    store.published.put(entries, set(there), NOW)
    return [(entry.digest, entry.news) for entry in entries]


def test_nothing_is_noted_unless_an_index_is_shared(tmp_path: Path) -> None:
    """Before the first time, and after the last."""
    with opened(tmp_path / "index.sqlite") as store:
        album = store.albums.listed()[0].id
        store.files.apply([indexed(album, b"a.jpg", 1)])
        assert store.published.lag().due == 0
        store.published.begin("studio", NOW)
        store.published.rest()
        store.files.apply([indexed(album, b"b.jpg", 2)])
        assert store.published.lag().due == 0
        # All of it once it is shared again.
        store.published.begin("studio", NOW)
        assert {number for number, _ in due(store)} == {digest(1), digest(2)}


def test_changes_of_files_are_noted_with_them(tmp_path: Path) -> None:
    """New, moved and gone ones; news is what came after the first scan."""
    with opened(tmp_path / "index.sqlite") as store:
        album = store.albums.listed()[0].id
        site = store.published.begin("studio", NOW)
        store.files.apply([indexed(album, b"a.jpg", 1), indexed(album, b"b.jpg", 2)])
        assert due(store) == [(digest(1), True), (digest(2), True)]
        store.files.apply([indexed(album, b"c.jpg", 3)])
        assert due(store) == [(digest(3), True)]
        assert (digest(3), True) in store.published.unasked(10)
        moved = next(image for image in all_images(store) if image.path.endswith(b"a.jpg"))
        store.files.apply([Moved(moved.file_id, album, b"elsewhere.jpg")])
        assert due(store) == [(digest(1), False)]
        assert store.published.publications([digest(1)])[digest(1)].path == b"/album/elsewhere.jpg"
        store.files.apply([Gone(album, b"b.jpg")])
        assert due(store) == [(digest(2), False)]
        assert store.published.digests() == sorted([digest(1), digest(3)])
        store.files.apply([indexed(album, b"c.jpg", 4)])
        assert sorted(due(store)) == sorted([(digest(3), False), (digest(4), True)])
        assert store.published.begin("studio", NOW) == site


def test_a_change_during_publishing_stays_due(tmp_path: Path) -> None:
    """Only the note that was read is deleted, so a kill or a change between costs nothing."""
    with opened(tmp_path / "index.sqlite") as store:
        album = store.albums.listed()[0].id
        store.published.begin("studio", NOW)
        store.files.apply([indexed(album, b"a.jpg", 1)])
        read = store.published.due(10)
        store.files.apply([Gone(album, b"a.jpg")])
        store.published.put(read, {digest(1)}, NOW)
        assert due(store) == [(digest(1), True)]
        assert store.published.digests() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.published.begin("archive", NOW),
        lambda store: store.published.note_all(NOW),
    ],
    ids=["another name", "asked for"],
)
def test_all_is_due_again(tmp_path: Path, change: Callable[[Store], object]) -> None:
    """Under another name, or when somebody asks for it."""
    with opened(tmp_path / "index.sqlite") as store:
        store.published.begin("studio", NOW)
        store.files.apply([indexed(store.albums.listed()[0].id, b"a.jpg", 1)])
        due(store)
        change(store)
        assert due(store) == [(digest(1), False)]
        assert store.published.digests() == [digest(1)]
