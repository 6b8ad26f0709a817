"""The background search for copies, against a real store and a real searcher."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbir_daemon.duplicates import Pairing
from cbir_daemon.records import Facts, FileState
from cbir_daemon.searching import Searcher
from cbir_daemon.store import Indexed, Store
from tests import pictures


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give an open index with one album."""
    store = Store(tmp_path / "index.sqlite")
    store.open()
    store.add_album(b"/album")
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
    searcher = Searcher(store)
    pairing = Pairing(store, searcher, lambda image, matches: None, lambda: None, lambda: False)
    picture = pictures.photograph(1)
    applied = store.apply([indexed(1, picture), indexed(2, pictures.brighter(picture))])
    assert not pairing._look_up()
    assert store.counts().unmatched == 2
    searcher.change(applied.added, applied.gone)
    assert pairing._look_up()
    assert [(pair.content_id, pair.other_id) for pair in store.pairs()] == [(1, 2)]
    assert pairing.idle


def test_a_picture_with_many_copies_finds_them_all(store: Store) -> None:
    """However many copies there are, verification goes on until it meets none; strangers cost one round."""
    searcher = Searcher(store)
    picture = pictures.photograph(1)
    copies = [indexed(number, pictures.noisy(picture, 4.0, seed=number)) for number in range(1, 61)]
    strangers = [indexed(number, pictures.photograph(number)) for number in range(100, 130)]
    applied = store.apply([*copies, *strangers])
    searcher.change(applied.added, applied.gone)
    vectors = dict(applied.added)
    assert {found.content_id for found in searcher.copies(vectors[1], without=1)} == set(range(2, 61))
    assert searcher.copies(vectors[61], without=61) == []
