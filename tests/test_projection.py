"""What projection does when the map it works on is replaced under its hands; the model worker itself never starts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cbir_daemon import config
from cbir_daemon.config import ModelConfig
from cbir_daemon.map import ArtifactRefusedError
from cbir_daemon.map.projection import Projection
from cbir_daemon.matching import GREY64
from cbir_daemon.records import Candidate, Facts, FileState, FitReport
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import FitBegun, Indexed, Placed, Store

POSITION = np.array([1.0, 2.0], dtype="<f4").tobytes()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give an index with one content and a map that was replaced by another."""
    store = Store(tmp_path / "index.sqlite")
    store.open()
    store.albums.add(b"/album")
    facts = Facts(b"d" * 32, bytes(range(256)) * 16, 480, 320, "JPEG")
    store.files.apply([Indexed(1, b"1.jpg", FileState(1000, 1, 1), facts)])
    for name in ("map-old", "map-new"):
        run_id = store.runs.start(FitBegun("asked for", "code/1", 1), time.time())
        report = FitReport(10, 2, 0.9, 0.4, 1, 42, 1.0, 100.0, (Candidate(10, 2, 0.9, 0.4),), name, b"s" * 32)
        store.runs.activate(run_id, report, [Placed(1, "fitted", POSITION)], time.time())
    yield store
    store.close()


def test_a_replaced_map_that_cannot_be_loaded_takes_nothing_with_it(store: Store, tmp_path: Path) -> None:
    """Its artifact went with it: the new map stays in use, and the history tells the truth."""
    searcher = Searcher(store, GREY64)
    searcher.load()
    projection = Projection(store, searcher, tmp_path / "models", ModelConfig())
    projection._set_aside(1, ArtifactRefusedError("manifest.json cannot be read"))
    assert searcher.snapshot.map is not None
    assert [run.outcome for run in store.runs.listed()] == ["active", "replaced"]


def test_a_replaced_map_has_nothing_left_to_place(store: Store) -> None:
    """A thread that still holds the old map finds no work on it."""
    assert store.positions.unplaced(1, 10) == []
    assert store.positions.coverage().unplaced == 0


def test_the_map_in_use_is_set_aside_when_its_artifact_is_damaged(store: Store, tmp_path: Path) -> None:
    """At the start a map without its artifact is set aside: vectors answer until another is fitted."""
    searcher = Searcher(store, GREY64)
    searcher.load()
    projection = Projection(store, searcher, tmp_path / "models", ModelConfig())
    projection.open()
    assert searcher.snapshot.map is None
    assert [run.outcome for run in store.runs.listed()] == ["set-aside", "replaced"]
    assert projection.position(bytes(4096), 2) is None
    assert projection.idle


def test_settings_reach_the_map_in_use_and_one_that_was_fitted_under_those_before(store: Store, tmp_path: Path) -> None:
    """Neither keeps the seconds after which its process leaves, or the threads, with which it was made."""
    plain = config.load(environ={"HOME": str(tmp_path)})
    changed = replace(plain, model=replace(plain.model, model_idle_s=7.0, threads=3))
    projection = Projection(store, Searcher(store, GREY64), tmp_path / "models", plain.model)
    run = store.runs.listed()[0]
    in_use, fitted = projection.projector("map-new", b""), projection.projector("map-new", b"")
    projection.adopt(run, in_use)
    projection.configure(changed)
    assert (in_use._idle_s, in_use._threads) == (7.0, 3)
    projection.adopt(run, fitted)
    assert (fitted._idle_s, fitted._threads) == (7.0, 3)
