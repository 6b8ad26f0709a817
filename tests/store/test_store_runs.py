"""Runs of fits and positions on their maps: one map is active, and what it covers is counted."""

from __future__ import annotations

import pytest

from cbir_daemon.errors import StorageError
from cbir_daemon.records import DescriptorKind, FitOutcome
from cbir_daemon.store import AlbumDrift, Baseline, Coverage, Drift, FitBegun, Gone, Placed, Store
from tests.rows import ROOT, position, report, vector
from tests.store.index import NOW, fill, fitted


def test_a_run_comes_back_as_it_was_written(store: Store) -> None:
    """Every score, and the curve with all candidates."""
    run_id = fitted(store, [])
    run = store.runs.active()
    assert run is not None
    expected = report()
    assert (run.id, run.reason, run.outcome, run.code_version) == (run_id, "asked for", "active", "code/1")
    assert (run.started_at, run.finished_at, run.present_images) == (NOW, NOW + 5, 3)
    assert (run.curve, run.artifact, run.sha256) == (expected.curve, expected.artifact, expected.sha256)
    assert (run.n_neighbors, run.n_components, run.trustworthiness) == (10, 2, 0.9375)
    # An active run without positions is a finding; the album is empty here.
    store.runs.end(run_id, FitOutcome.SET_ASIDE, "no reason", NOW)


def test_one_run_is_active(store: Store, album: int) -> None:
    """A new map replaces the one before in the same step, with its positions; what was late for the old is dropped."""
    first, second, third = fill(store, range(3))
    old = fitted(store, [Placed(first, "fitted", position(0, 0))])
    new = fitted(store, [Placed(first, "fitted", position(1, 2)), Placed(second, "present", position(3, 4))])
    assert [(run.id, run.outcome) for run in store.runs.listed()] == [(new, "active"), (old, "replaced")]
    store.positions.put(old, [Placed(third, "added", position(9, 9))])
    assert store.positions.listed(old) == []
    assert store.positions.listed(new) == [(first, position(1, 2)), (second, position(3, 4))]
    assert store.positions.unplaced(new, 10) == [(third, vector(2))]
    kind = DescriptorKind("meaning", "1")
    assert store.positions.unplaced(new, 10, kind, third - 1) == []
    assert store.positions.unplaced(new, 10, kind, third) == [(third, vector(2))]
    store.descriptors.put(DescriptorKind("meaning", "0"), {third: b"of another network"})
    assert store.positions.unplaced(new, 10, kind, 0) == []
    store.descriptors.put(kind, {third: b"numbers"})
    assert store.positions.unplaced(new, 10, kind, 0) == [(third, vector(2))]
    store.positions.put(new, [Placed(third, "added", position(5, 6)), Placed(99, "added", position(7, 8))])
    assert store.positions.unplaced(new, 10) == []


def test_drift_is_measured_on_what_was_added(store: Store, album: int) -> None:
    """By the fit's own limit, over all albums and in each; what was there at the fit says nothing."""
    first, second, third, fourth = fill(store, range(4))
    run_id = store.runs.start(FitBegun("due", "code/1", 1, "warm", {"changed_fraction": 0.25}), NOW)
    assert store.positions.drift(run_id) == Drift()
    place = position(0, 0)
    there = [Placed(first, "fitted", place, place), Placed(second, "present", place, place, 9.0, 0.0)]
    store.runs.activate(run_id, report(), there, NOW, Baseline(0.5, 0.75))
    assert store.positions.drift(run_id) == Drift()
    store.positions.put(
        run_id, [Placed(third, "added", place, None, 0.5, 0.25), Placed(fourth, "added", place, None, 0.6)]
    )
    assert store.positions.drift(run_id) == Drift(2, 1, 1, 0.25, (AlbumDrift(ROOT, 2, 1),))
    assert store.positions.flat(run_id) == [(first, place), (second, place)]
    store.runs.add_numbers(run_id, {"kept": 0.5})
    run = store.runs.active()
    assert run is not None
    assert (run.kind, dict(run.numbers)) == ("warm", {"changed_fraction": 0.25, "kept": 0.5})
    assert (run.far_distance, run.kept) == (0.5, 0.75)


def test_two_runs_cannot_run_at_once(store: Store) -> None:
    """The index refuses it; a run that was cut short is closed first."""
    run_id = store.runs.start(FitBegun("first", "code/1", 0), NOW)
    with pytest.raises(StorageError, match="UNIQUE"):
        store.runs.start(FitBegun("second", "code/1", 0), NOW)
    store.runs.end_interrupted(NOW + 1)
    (run,) = store.runs.listed()
    assert (run.id, run.outcome, run.finished_at) == (run_id, "cancelled", NOW + 1)
    assert run.message == "the daemon stopped during the fit"
    store.runs.start(FitBegun("second", "code/1", 0), NOW)
    store.runs.end_interrupted(NOW + 2, FitOutcome.FAILED, "why")
    assert [(run.outcome, run.message) for run in store.runs.listed()] == [
        ("failed", "why"),
        (run.outcome, run.message),
    ]


def test_a_failed_run_leaves_the_active_one(store: Store, album: int) -> None:
    """Its message is kept, and the map before stays in use."""
    (first,) = fill(store, range(1))
    active = fitted(store, [Placed(first, "fitted", position(0, 0))])
    run_id = store.runs.start(FitBegun("due", "code/1", 1), NOW)
    store.runs.end(run_id, FitOutcome.FAILED, "out of memory", NOW)
    assert [(run.id, run.outcome, run.message) for run in store.runs.listed()] == [
        (run_id, "failed", "out of memory"),
        (active, "active", ""),
    ]


def test_coverage_counts_what_came_and_went(store: Store, album: int) -> None:
    """Changed is gone plus added, placed or not, over what there was at the fit."""
    assert store.positions.coverage() == Coverage(0, 0, 0, 0, 0)
    first, second, third, fourth = fill(store, range(4))
    assert store.positions.coverage() == Coverage(4, 0, 0, 0, 0)
    placed = [Placed(content_id, "fitted", position(0, 0)) for content_id in (first, second, third)]
    run = fitted(store, [*placed, Placed(fourth, "present", position(1, 1))], present=4)
    assert store.positions.coverage() == Coverage(4, 3, 1, 0, 4)
    assert store.positions.coverage().changed == 0
    fifth, _ = fill(store, range(4, 6))
    store.positions.put(run, [Placed(fifth, "added", position(2, 2))])
    store.files.apply([Gone(album, b"0.jpg"), Gone(album, b"3.jpg")])
    now = store.positions.coverage()
    assert now == Coverage(4, 2, 0, 1, 4)
    assert (now.unplaced, now.changed, now.changed_fraction) == (1, 4, 1.0)
    # What came after the fit and went again leaves no trace.
    store.files.apply([Gone(album, b"4.jpg"), Gone(album, b"5.jpg")])
    assert (store.positions.coverage().unplaced, store.positions.coverage().changed) == (0, 2)
