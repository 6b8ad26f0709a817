"""What projection does when the map it works on is replaced under its hands; the model worker itself never starts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cbir_daemon import config, matching
from cbir_daemon.map import ArtifactRefusedError
from cbir_daemon.meaning import meaning_space
from cbir_daemon.records import DescriptorKind
from cbir_daemon.store import FitBegun, Placed
from tests import rows
from tests.fakes import FakeProjector, no_descriptor
from tests.worlds import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give an index with one content and a map that was replaced by another."""
    with closing(World(tmp_path)) as world:
        world.apply([rows.indexed(world.album_id, b"1.jpg", 1)])
        for name in ("map-old", "map-new"):
            run_id = world.store.runs.start(FitBegun("asked for", matching.CODE_VERSION, 1), time.time())
            placed = [Placed(1, "fitted", rows.position(1.0, 2.0))]
            world.store.runs.activate(run_id, replace(rows.report(), artifact=name), placed, time.time())
        world.searcher.load()
        yield world


def test_a_replaced_map_that_cannot_be_loaded_takes_nothing_with_it(world: World) -> None:
    """Its artifact went with it: the new map stays in use, and the history tells the truth."""
    projector = FakeProjector()
    projector.error = ArtifactRefusedError("manifest.json cannot be read")
    new, old = world.store.runs.listed()
    projection = world.new_projection()
    projection.adopt(old, projector)
    assert projection.position(rows.vector(1), no_descriptor, old.id) is None
    assert world.searcher.snapshot.map is not None
    assert world.searcher.snapshot.map.run_id == new.id
    assert [run.outcome for run in world.store.runs.listed()] == ["active", "replaced"]


def test_a_replaced_map_has_nothing_left_to_place(world: World) -> None:
    """A thread that still holds the old map finds no work on it."""
    assert world.store.positions.unplaced(1, 10) == []
    assert world.store.positions.coverage().unplaced == 0


def test_a_content_waits_for_what_the_map_goes_by(world: World) -> None:
    """It is placed once it is described, or once that was tried; a query without a descriptor has no place."""
    kind = DescriptorKind("meaning", "test")
    spaces = {"meaning": meaning_space(kind)}
    tried_id = 0
    projection = world.new_projection(
        spaces=spaces, tried_id=lambda _: tried_id, make_projector=lambda *_, **__: FakeProjector()
    )
    run_id = world.store.runs.start(FitBegun("asked for", spaces["meaning"].version, 1), time.time())
    placed = [Placed(1, "fitted", rows.position(1.0, 2.0))]
    world.store.runs.activate(run_id, replace(rows.report(), artifact="map-meaning"), placed, time.time())
    run = world.store.runs.active()
    assert run is not None
    projection.adopt(run)
    world.apply([rows.indexed(world.album_id, b"%d.jpg" % number, number) for number in (2, 3, 4)])
    world.store.descriptors.put(kind, {3: bytes(range(128))})
    assert projection.step()
    assert [content_id for content_id, _ in world.store.positions.listed(run_id)] == [1, 3]
    assert (projection.step(), projection.idle) == (False, False)
    tried_id = 2
    assert projection.step()
    assert [content_id for content_id, _ in world.store.positions.listed(run_id)] == [1, 2, 3]
    assert projection.position(rows.vector(1), no_descriptor, run_id) is None
    assert projection.position(rows.vector(1), lambda _: bytes(range(128)), run_id) is not None


def test_the_map_in_use_is_set_aside_when_its_artifact_is_damaged(world: World) -> None:
    """At the start a map without its artifact is set aside: vectors answer until another is fitted."""
    projection = world.new_projection()
    projection.open()
    assert world.searcher.snapshot.map is None
    assert [run.outcome for run in world.store.runs.listed()] == ["set-aside", "replaced"]
    assert projection.position(bytes(4096), no_descriptor, 2) is None
    assert projection.idle


def test_settings_reach_the_map_in_use_and_one_that_was_fitted_under_those_before(world: World, tmp_path: Path) -> None:
    """Neither keeps the seconds after which its process leaves, or the threads, with which it was made."""
    plain = config.load(environ={"HOME": str(tmp_path)})
    changed = replace(plain, model=replace(plain.model, model_idle_s=7.0, threads=3))
    projection = world.new_projection(plain.model)
    run = world.store.runs.listed()[0]
    in_use, fitted = (projection.projector(name, b"", run.code_version) for name in ("map-old", "map-new"))
    projection.adopt(run, in_use)
    projection.configure(changed)
    assert (in_use.idle_s, in_use.threads) == (7.0, 3)
    projection.adopt(run, fitted)
    assert (fitted.idle_s, fitted.threads) == (7.0, 3)
