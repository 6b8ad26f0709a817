"""A map is fitted when it is old and not before, replaced in one step, and every content has its place on it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon import matching
from cbir_daemon.config import ModelConfig
from cbir_daemon.errors import BadRequestError, ChildError, ModelError, StorageError, TimedOutError
from cbir_daemon.map import ArtifactRefusedError
from cbir_daemon.map.artifact import CODES_FILE, POSITIONS_FILE
from cbir_daemon.map.maps import Maps, MediumMap
from cbir_daemon.map.projection import BACK_OFF_S, BATCH_CONTENTS, Projection
from cbir_daemon.map.refit import HUNG_S, Refit
from cbir_daemon.map.refit_policy import FitDecision
from cbir_daemon.search.search import as_vectors
from cbir_daemon.store import Coverage, Gone
from tests.fakes import FakeClock, FakeFits, FakeProjector, no_descriptor, positions_of
from tests.patience import PATIENCE_S
from tests.rows import indexed, photographed, vector
from tests.worlds import World

SETTINGS = ModelConfig(min_images=5, refit_min_changes=2, refit_min_interval_s=600.0, fit_hours=None)
COUNT = 8


# Replacing the map.

SPACE = matching.GREY64.spaces["look"]
"""Of the map that the default settings ask for."""


class Loft(World):
    """An index of eight photographs, a projection on the fake map, and the refit under test."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fits = FakeFits()
        self.quiet = True
        self.add(range(COUNT))
        self.projectors: list[FakeProjector] = []
        self.time = FakeClock()
        self.place_by(BATCH_CONTENTS)

    def place_by(self, batch_contents: int, *, hung_s: float = HUNG_S) -> None:
        """Begin as after a start, with other bounds."""
        self.projection = self.new_projection(
            SETTINGS, batch_contents=batch_contents, make_projector=self.projector, clock=self.time
        )
        self.refit = Refit(
            self.store,
            self.searcher,
            self.projection,
            self.models_dir,
            SETTINGS,
            lambda: self.quiet,
            start_fit=self.fits.start,
            batch_contents=batch_contents,
            hung_s=hung_s,
        )
        self.maps = Maps(self.store, [MediumMap(self.projection, self.refit)])

    def projector(self, *_: object, **settings: object) -> FakeProjector:
        """Return a projector of the fake map."""
        self.projectors.append(self.make_fake())
        return self.projectors[-1]

    def make_fake(self) -> FakeProjector:
        """Return a projector that only projects."""
        return FakeProjector()

    def add(self, numbers: range) -> None:
        """Index new contents."""
        self.apply(indexed(self.album_id, b"%d.jpg" % number, number) for number in numbers)

    def add_alike(self, numbers: range) -> None:
        """Index new contents in four groups whose members are alike, so that a map can be good or bad."""
        random = np.random.default_rng(0)
        kinds = random.integers(60, 190, (4, 4096))
        vectors = [(kinds[number % 4] + random.integers(-9, 9, 4096)).astype(np.uint8).tobytes() for number in numbers]
        self.apply(
            indexed(self.album_id, b"%d.jpg" % number, number, shown)
            for number, shown in zip(numbers, vectors, strict=True)
        )

    def remove(self, numbers: range) -> None:
        """Take contents away."""
        self.apply(Gone(self.album_id, b"%d.jpg" % number) for number in numbers)

    def fit(self, kind: str = "tuned") -> str:
        """Fit now, and return how it came out."""
        self.refit.replace_map(FitDecision("asked for", kind=kind))
        return self.store.runs.listed()[0].outcome

    def place(self) -> None:
        """Place what has no place."""
        while self.projection.step():
            pass

    def map_ids(self) -> list[int] | None:
        """Return the contents on the map in use."""
        current = self.searcher.snapshot.map
        return None if current is None else current.ids.tolist()

    def artifacts(self) -> list[str]:
        """Return the names of the artifacts on disk."""
        return sorted(path.name for path in self.models_dir.iterdir())

    def placed_truly(self) -> None:
        """Every position in the store and in the searcher is that of its vector."""
        run = self.store.runs.active()
        current = self.searcher.snapshot.map
        assert run is not None
        assert current is not None
        assert (current.run_id, current.ids.tolist()) == (
            run.id,
            [row[0] for row in self.store.positions.listed(run.id)],
        )
        vectors = self.store.contents.vectors(current.ids.tolist())
        codes = matching.codes(as_vectors([vectors[content_id] for content_id in current.ids.tolist()]))
        np.testing.assert_allclose(current.positions, positions_of(codes), rtol=1e-5)
        assert self.store.check() == []


class Cancelling(FakeProjector):
    """Has the fit cancelled while it projects."""

    def __init__(self, room: Refit) -> None:
        super().__init__()
        self.room = room

    def project(self, codes: NDArray[np.float32], timeout_s: float) -> NDArray[np.float32]:
        """Cancel, and project."""
        assert self.room.cancel()
        return super().project(codes, timeout_s)


def idle(room: Projection | Refit) -> bool:
    """Whether a room has nothing to do, asked anew each time."""
    return room.idle


@pytest.fixture
def loft(tmp_path: Path) -> Iterator[Loft]:
    """Eight contents without a map."""
    with closing(Loft(tmp_path)) as loft:
        yield loft


def test_a_fit_places_everything(loft: Loft) -> None:
    """Run, positions, searcher and projection change together; a second fit leaves nothing of the first."""
    assert loft.fit() == "active"
    loft.placed_truly()
    assert loft.map_ids() == list(range(1, COUNT + 1))
    assert loft.store.positions.coverage() == Coverage(COUNT, COUNT, 0, 0, COUNT)
    assert idle(loft.projection)
    assert loft.fit() == "active"
    loft.placed_truly()
    assert [run.outcome for run in loft.store.runs.listed()] == ["active", "replaced"]
    assert loft.artifacts() == ["map-2"]
    assert [projector.closed for projector in loft.projectors] == [1, 0]
    assert loft.fits.begun[0].code_version == SPACE.version


def test_what_was_not_in_the_sample_is_projected(loft: Loft) -> None:
    """In batches, before the map is taken into use."""
    loft.place_by(2)
    loft.fits.rows = 3
    assert loft.fit() == "active"
    assert loft.projectors[0].projected == [2, 2, 1]
    assert loft.store.positions.coverage() == Coverage(COUNT, 3, 5, 0, COUNT)
    loft.placed_truly()


def test_what_comes_and_goes_during_a_fit_is_no_obstacle(loft: Loft) -> None:
    """What came is placed afterwards, what went is passed over, and both count as change."""

    def happen() -> None:
        loft.add(range(20, 23))
        loft.remove(range(2))

    loft.fits.meanwhile = happen
    assert loft.fit() == "active"
    assert loft.store.positions.coverage() == Coverage(9, 6, 0, 0, COUNT)
    assert not idle(loft.projection)
    loft.place()
    assert idle(loft.projection)
    loft.placed_truly()
    assert loft.store.positions.coverage() == Coverage(9, 6, 0, 3, COUNT)
    assert loft.store.positions.coverage().changed == 5


def test_a_collection_may_vanish_during_a_fit(loft: Loft) -> None:
    """Its album was removed: there is nothing to place, and nothing fails; what comes later is placed."""
    loft.fits.meanwhile = lambda: loft.remove(range(COUNT))
    assert loft.fit() == "active"
    assert loft.map_ids() is None
    loft.add(range(30, 32))
    loft.place()
    loft.placed_truly()


def test_a_fit_that_fails_leaves_the_map_before(loft: Loft) -> None:
    """Its reason is kept, and it holds back the next one."""
    loft.fit()
    for error in (ModelError("no memory"), ChildError("killed"), TimedOutError("hangs"), StorageError("disk full")):
        loft.fits.error = error
        assert loft.fit() == "failed"
        assert loft.store.runs.listed()[0].message == str(error)
    loft.placed_truly()
    assert loft.artifacts() == ["map-1"]
    loft.add(range(20, 30))
    assert not loft.refit.decision().due
    assert loft.refit.state is None


def test_a_large_collection_holds_some_out(loft: Loft) -> None:
    """They are projected, never fitted, and say how far from the fitted is far, and what projection keeps."""
    loft.add(range(100, 100 + 592))
    assert loft.fit() == "active"
    offered = loft.fits.named[0]
    assert offered is not None
    out = set(range(1, 601)) - set(offered.tolist())
    assert 20 <= len(out) <= 40
    assert loft.store.positions.coverage() == Coverage(600, 600 - len(out), len(out), 0, 600)
    run = loft.store.runs.active()
    assert run is not None
    assert run.far_distance == pytest.approx(0.1)
    assert run.kept == 0.5
    loft.add(range(800, 1100))
    assert loft.fit() == "active"
    offered = loft.fits.named[1]
    assert offered is not None
    assert out & set(offered.tolist()) == set()


def test_a_worse_map_is_refused(loft: Loft) -> None:
    """The one in use stays, and nothing of the other is left but its row."""
    loft.add_alike(range(100, 140))
    loft.fit()
    loft.fits.spoilt = True
    assert loft.fit() == "refused"
    run = loft.store.runs.listed()[0]
    assert re.fullmatch(r"neighbour recall of \d+ images: 0\.\d+ on the new map, 0\.\d+ on the one in use", run.message)
    assert run.numbers["kept_after"] < run.numbers["kept_before"]
    assert run.numbers["compared"] == 48
    loft.placed_truly()
    assert loft.artifacts() == ["map-1"]
    assert loft.projectors[-1].closed == 1


def test_a_worse_map_replaces_one_that_covers_too_little(loft: Loft) -> None:
    """Fitted on less than half of what there is now, the map in use is no measure."""
    loft.fit()
    loft.add_alike(range(100, 150))
    loft.fits.spoilt = True
    assert loft.fit() == "active"


def test_a_map_of_other_settings_is_not_compared(loft: Loft) -> None:
    """Who asks for closer groups has chosen to keep fewer neighbours."""
    loft.add_alike(range(100, 140))
    loft.refit.replace_map(FitDecision("asked for", numbers={"min_dist": 0.5}))
    loft.fits.spoilt = True
    assert loft.fit() == "active"
    assert "compared" not in loft.store.runs.listed()[0].numbers


def test_a_rough_map_is_replaced_whatever_its_recall(loft: Loft) -> None:
    """It is fitted as a rough one, and the map that follows is not compared with it."""
    loft.add_alike(range(100, 140))
    assert loft.fit("rough") == "active"
    loft.placed_truly()
    run = loft.store.runs.active()
    assert run is not None
    assert run.kind == "rough"
    loft.fits.spoilt = True
    assert loft.fit() == "active"
    assert [begun.is_rough for begun in loft.fits.begun] == [True, False]
    assert "compared" not in loft.store.runs.listed()[0].numbers


def test_a_warm_fit_begins_at_the_map_in_use(loft: Loft) -> None:
    """With its hyper-parameters, and with the curve they were chosen by."""
    loft.fit()
    loft.add(range(100, 102))
    loft.place()
    assert loft.fit("warm") == "active"
    first, previous = loft.fits.warm
    assert first is None
    assert previous is not None
    assert previous.ids.tolist() == list(range(1, COUNT + 3))
    assert (previous.n_neighbors, previous.n_components, previous.flat.shape) == (10, 2, (COUNT + 2, 2))
    vectors = loft.store.contents.vectors(previous.ids.tolist())
    codes = matching.codes(as_vectors([vectors[content_id] for content_id in previous.ids.tolist()]))
    np.testing.assert_allclose(previous.positions, positions_of(codes), rtol=1e-5)
    run = loft.store.runs.active()
    assert run is not None
    assert (run.kind, len(run.curve)) == ("warm", 1)


def test_what_is_added_is_measured(loft: Loft) -> None:
    """Each with its distance to what was fitted and what of its neighbours it keeps."""
    loft.fit()
    loft.add(range(100, 103))
    loft.place()
    run = loft.store.runs.active()
    assert run is not None
    drift = loft.store.positions.drift(run.id)
    assert (drift.added, drift.far, drift.measured, drift.kept) == (3, 3, 3, 0.5)
    assert len(loft.store.positions.flat(run.id)) == COUNT + 3


def test_a_fit_that_hangs_is_ended(loft: Loft) -> None:
    """One that uses no processor time is recorded as failed, whatever it says, and holds back the next one."""
    loft.fit()
    loft.place_by(BATCH_CONTENTS, hung_s=0.0)
    loft.fits.endless = True
    assert loft.fit() == "failed"
    assert "did nothing" in loft.store.runs.listed()[0].message
    assert loft.fits.cancelled == 1
    loft.placed_truly()


def test_a_map_that_cannot_be_taken_into_use_leaves_nothing(loft: Loft, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its artifact nor its worker."""
    loft.fit()

    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(loft.store.runs, "activate", refuse)
    assert loft.fit() == "failed"
    assert loft.artifacts() == ["map-1"]
    assert loft.projectors[-1].closed == 1
    loft.placed_truly()


def test_a_run_whose_end_was_refused_is_closed_first(loft: Loft, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full disk not even a failure can be written; it is, before anything else, once there is room again."""
    loft.fits.error = StorageError("the disk is full")

    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(loft.store.runs, "end", refuse)
        with pytest.raises(StorageError):
            loft.maps.run_fits()
    assert loft.store.runs.listed()[0].outcome == "running"
    assert loft.refit.state is None
    loft.fits.error = None
    loft.maps.stop()
    loft.maps.run_fits()
    assert [(run.outcome, run.message) for run in loft.store.runs.listed()] == [
        ("failed", "its end could not be written")
    ]
    assert not loft.refit.decision().due


def test_a_collection_that_is_too_small_is_not_fitted(loft: Loft) -> None:
    """Whoever asks is told the least."""
    loft.remove(range(COUNT - 4))
    with pytest.raises(BadRequestError, match="4 contents are too few for a map: a map needs 5"):
        loft.refit.request()


# The thread.


@pytest.fixture
def start(loft: Loft) -> Iterator[Callable[[], threading.Thread]]:
    """Return a function that starts the thread; it is stopped at the end."""
    threads: list[threading.Thread] = []

    def begin() -> threading.Thread:
        threads.append(threading.Thread(target=loft.maps.run_fits))
        threads[-1].start()
        return threads[-1]

    yield begin
    loft.maps.stop()
    loft.store.wake()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_the_first_map_comes_by_itself_once_all_is_quiet(loft: Loft, start: Callable[[], threading.Thread]) -> None:
    """A large copy is let finish; a fit that is asked for does not wait."""
    loft.quiet = False
    start()
    assert not idle(loft.refit)
    ticket = loft.refit.request()
    run = loft.refit.outcome(ticket, PATIENCE_S)
    assert run is not None
    assert (run.outcome, run.reason) == ("active", "asked for")
    assert idle(loft.refit)
    loft.quiet = True
    loft.store.wake()
    assert len(loft.fits.begun) == 1


def test_a_due_fit_begins_when_the_line_is_quiet(loft: Loft, start: Callable[[], threading.Thread]) -> None:
    """Whoever waits for the end of it hears of it."""
    ended = threading.Event()
    loft.fits.meanwhile = ended.set
    start()
    assert ended.wait(PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while not idle(loft.refit) and time.monotonic() < deadline:
        loft.store.wait_for_change(loft.store.moment, 0.01)
    assert idle(loft.refit)
    assert loft.store.runs.listed()[0].reason == "there is no map"


def test_a_fit_asked_for_during_a_fit_is_another_one(loft: Loft, start: Callable[[], threading.Thread]) -> None:
    """It takes what has come since; asking twice meanwhile is asking once."""
    tickets: list[int] = []

    def ask() -> None:
        if not tickets:
            assert loft.refit.state is not None
            assert 0.0 <= loft.refit.state.fraction <= 1.0
            assert loft.refit.state.elapsed_s >= 0.0
            tickets.extend([loft.refit.request(), loft.refit.request()])

    loft.fits.meanwhile = ask
    loft.quiet = False
    start()
    loft.refit.outcome(loft.refit.request(), PATIENCE_S)
    run = loft.refit.outcome(tickets[0], PATIENCE_S)
    assert run is not None
    assert tickets[0] == tickets[1]
    assert len(loft.fits.begun) == 2


def test_an_outcome_is_waited_for_only_so_long(loft: Loft) -> None:
    """Nobody fits here."""
    assert loft.refit.outcome(loft.refit.request(), 0.01) is None


def test_a_user_cancels_a_fit(loft: Loft) -> None:
    """It ends, the map in use stays, and no other begins until more has changed."""
    assert not loft.refit.cancel()
    loft.fits.meanwhile = loft.refit.cancel
    assert loft.fit() == "cancelled"
    run = loft.store.runs.listed()[0]
    assert (run.message, run.numbers["cancelled_by_user"]) == ("a user cancelled it", 1)
    assert loft.fits.cancelled == 1
    assert not loft.refit.cancel()
    loft.fits.meanwhile = lambda: None
    assert loft.fit() == "active"


def test_a_fit_cancelled_at_its_end_is_not_taken_into_use(loft: Loft, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when all that is left to do is to place what was not fitted."""
    loft.fits.rows = 3
    monkeypatch.setattr(loft, "make_fake", lambda: Cancelling(loft.refit))
    assert loft.fit() == "cancelled"
    assert loft.store.runs.active() is None
    assert loft.artifacts() == []


def test_stopping_cancels_a_fit(loft: Loft, start: Callable[[], threading.Thread]) -> None:
    """It counts as cut short, not as failed, and is due again at the next start."""
    running = threading.Event()
    loft.fits.endless = True
    loft.fits.meanwhile = running.set
    thread = start()
    assert running.wait(PATIENCE_S)
    loft.maps.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert loft.fits.cancelled == 1
    assert [(run.outcome, run.message) for run in loft.store.runs.listed()] == [
        ("cancelled", "the daemon stopped during the fit")
    ]
    assert loft.refit.decision().reason == "there is no map"


# Projection.


@pytest.fixture
def placed(loft: Loft) -> Loft:
    """The same with a map, and two contents more that have no place on it."""
    loft.fit()
    loft.add(range(20, 22))
    return loft


def test_new_contents_are_placed_in_batches(loft: Loft) -> None:
    """Through the saved model, without a new fit; the thread ends when told."""
    loft.place_by(1)
    loft.fit()
    loft.add(range(20, 22))
    thread = threading.Thread(target=loft.maps.run_projections)
    thread.start()
    for _ in range(2):
        moment = loft.store.moment
        if loft.projection.idle:
            break
        loft.store.wait_for_change(moment, PATIENCE_S)
    loft.maps.stop()
    loft.store.wake()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    loft.place()
    assert loft.projectors[0].projected == [1, 1]
    loft.placed_truly()


def test_a_query_has_a_place_on_the_map_in_use(placed: Loft) -> None:
    """On another map, or when the worker does not answer, it has none."""
    query = photographed(3)
    run = placed.store.runs.active()
    assert run is not None
    found = placed.projection.position(query, no_descriptor, run.id)
    assert found is not None
    assert found.placed_by == "projected"
    np.testing.assert_allclose(found.coordinates, positions_of(matching.codes(as_vectors([query])))[0], rtol=1e-5)
    assert placed.projection.position(query, no_descriptor, run.id + 1) is None
    for error in (ModelError("bad codes"), ChildError("killed"), TimedOutError("hangs")):
        placed.projectors[0].error = error
        assert placed.projection.position(query, no_descriptor, run.id) is None
    assert placed.store.runs.active() == run


def test_a_query_does_not_wait_for_the_worker_to_start(placed: Loft) -> None:
    """Its position is between the nearest fitted contents; a map of a release that saved none is waited for."""
    query = photographed(3)
    run = placed.store.runs.active()
    assert run is not None
    assert run.artifact is not None
    projector = placed.projectors[0]
    projector.ready = False
    found = placed.projection.position(query, no_descriptor, run.id)
    assert found is not None
    assert (found.placed_by, projector.projected) == ("projected", [1])
    vectors = as_vectors([photographed(number) for number in range(COUNT)])
    codes = SPACE.codes(vectors, np.zeros((COUNT, SPACE.descriptor_bytes), np.uint8))
    np.save(placed.models_dir / run.artifact / CODES_FILE, codes)
    np.save(placed.models_dir / run.artifact / POSITIONS_FILE, positions_of(codes))
    found = placed.projection.position(query, no_descriptor, run.id)
    assert found is not None
    assert (found.placed_by, projector.projected) == ("interpolated", [1])
    np.testing.assert_allclose(found.coordinates, positions_of(codes[3:4])[0], atol=1e-3)
    (placed.models_dir / run.artifact / CODES_FILE).write_bytes(b"no array")
    assert placed.projection.position(query, no_descriptor, run.id) is None


def test_a_worker_that_fails_is_left_alone_for_a_while(placed: Loft) -> None:
    """Nobody waits for it meanwhile; then what had no place gets one."""
    placed.projectors[0].error = ChildError("killed")
    assert not placed.projection.step()
    placed.projectors[0].error = None
    placed.time.advance(BACK_OFF_S - 1.0)
    assert idle(placed.projection)
    assert not placed.projection.step()
    placed.time.advance(1.0)
    assert not idle(placed.projection)
    placed.place()
    placed.placed_truly()


def test_a_worker_that_was_replaced_holds_nobody_back(placed: Loft) -> None:
    """It ends in the middle of its batch because another map took its place: that one places at once."""

    def replace_map() -> None:
        placed.fit()
        placed.add(range(22, 24))

    placed.projectors[0].meanwhile = replace_map
    placed.projectors[0].error = ChildError("closed")
    assert placed.projection.step()
    assert not idle(placed.projection)
    placed.place()
    placed.placed_truly()


def test_a_map_that_may_not_be_loaded_is_set_aside(placed: Loft) -> None:
    """Found out by a query or by a batch: searches go on without it, and a fit is due."""
    run = placed.store.runs.active()
    assert run is not None
    placed.projectors[0].error = ArtifactRefusedError("of another version")
    assert not placed.projection.step()
    assert placed.map_ids() is None
    assert placed.projection.position(vector(1), no_descriptor, run.id) is None
    assert placed.store.runs.listed()[0].outcome == "set-aside"
    assert placed.refit.decision().reason == "there is no map"
    assert placed.fit() == "active"
    placed.placed_truly()


def test_a_replaced_map_is_not_set_aside(placed: Loft) -> None:
    """A query that was under way when the map changed finds its artifact gone: the new map stays."""
    before = placed.store.runs.active()
    assert before is not None
    placed.projectors[0].meanwhile = placed.fit
    placed.projectors[0].error = ArtifactRefusedError("gone")
    assert placed.projection.position(vector(1), no_descriptor, before.id) is None
    placed.placed_truly()
    assert [run.outcome for run in placed.store.runs.listed()] == ["active", "replaced"]


def test_a_map_is_taken_up_at_the_start(placed: Loft) -> None:
    """When its artifact may be loaded; one that may not is set aside before anybody asks."""
    again = placed.new_projection(SETTINGS)
    again.open()
    assert placed.store.runs.active() is None
    again.open()
    assert not again.worker_running
    assert again.idle
    again.stop()
