"""Real UMAP in real child processes: what the map promises."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.errors import ChildError, ModelError, TimedOutError
from cbir_daemon.map import (
    ArtifactRefusedError,
    Fit,
    FitProgress,
    FitResult,
    FitSettings,
    Placement,
    Previous,
    Projector,
    check_artifact,
    remove_artifacts,
)
from cbir_daemon.map.artifact import CODES_FILE, MODEL_FILE, check_manifest
from cbir_daemon.map.between import interpolated
from cbir_daemon.map.environment import child_environment
from cbir_daemon.map.fit import FEWEST_IMAGES, ROUGH_COMPONENTS, ROUGH_IMAGES, ROUGH_NEIGHBORS
from cbir_daemon.map.memory import BASE_MIB, needed_mib
from cbir_daemon.map.stages import STAGES_FOLDER
from cbir_daemon.matching.spaces import raw_codes
from cbir_daemon.medium import Metric
from tests.patience import PATIENCE_S
from tests.processors import OLDEST_KERNEL, without_vectors

pytestmark = pytest.mark.slow

FEATURES = 256
CLUSTER_IMAGES = 45
IMAGES = 2 * CLUSTER_IMAGES
SETTINGS = FitSettings(n_components=4, seed=7, threads=1, code_version="test/1")
SILENT_CPU_S = 300.0
"""A first import of umap-learn on a machine without compiled code takes 46 s of processor time."""


def unit(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return rows free of their mean, of norm 1."""
    centred = numbers - numbers.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True), dtype=np.float32)


def two_clusters(seed: int = 0) -> NDArray[np.float32]:
    """Return codes around two directions, each cluster spread in five dimensions of its own."""
    draw = np.random.default_rng(seed)
    parts = [
        draw.normal(size=FEATURES) + draw.normal(size=(CLUSTER_IMAGES, 5)) @ draw.normal(size=(5, FEATURES)) * 0.3
        for _ in range(2)
    ]
    return unit(np.concatenate(parts))


def awkward(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return fitted codes, new ones, exact and near duplicates, and a flat image."""
    new = two_clusters(seed=1)[::9]
    near = codes[:3] + np.float32(1e-6) * new[:3]
    return np.concatenate([codes[::11], new, codes[:2], codes[:2], near, np.zeros((2, FEATURES), np.float32)])


def finish(fit: Fit) -> tuple[FitResult, list[FitProgress]]:
    """Wait for the result; the progress comes with it.  A fit is nice: it may wait long, and is not hung."""
    progress: list[FitProgress] = []
    silent_since_s = 0.0
    while not isinstance(news := fit.poll(PATIENCE_S), FitResult):
        if news is None:
            assert fit.cpu_s - silent_since_s < SILENT_CPU_S, "the fit worked on and said nothing"
        else:
            assert isinstance(news, FitProgress)
            silent_since_s = fit.cpu_s
            progress.append(news)
    return news, progress


@dataclass(frozen=True)
class Fitted:
    """A finished fit that several tests look at."""

    models: Path
    codes: NDArray[np.float32]
    result: FitResult
    progress: list[FitProgress]

    def projector(self, idle_s: float = 60.0) -> Projector:
        """Return a worker for the map, not started."""
        report = self.result.report
        return Projector(self.models, report.artifact, report.sha256, idle_s=idle_s, threads=1)


@pytest.fixture(scope="module", autouse=True)
def _compiled_code(pytestconfig: pytest.Config) -> Iterator[None]:
    """Keep what numba compiles from one run of the tests to the next, or where the environment says."""
    assert pytestconfig.cache is not None
    with pytest.MonkeyPatch.context() as patch:
        if "NUMBA_CACHE_DIR" not in os.environ:
            patch.setenv("NUMBA_CACHE_DIR", str(pytestconfig.cache.mkdir("numba")))
        yield


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, _compiled_code: None) -> Fitted:
    """Fit two clusters once."""
    models = tmp_path_factory.mktemp("models")
    codes = two_clusters()
    result, progress = finish(Fit.start(codes, models, SETTINGS))
    return Fitted(models, codes, result, progress)


@pytest.fixture(scope="module")
def projector(fitted: Fitted) -> Iterator[Projector]:
    """Return the worker that several tests share."""
    shared = fitted.projector()
    yield shared
    shared.close()


def test_the_report_tells_what_was_tried_and_chosen(fitted: Fitted) -> None:
    """Every candidate is on the curve, the chosen one among them, and the artifact passes its check."""
    report = fitted.result.report
    assert [candidate.n_neighbors for candidate in report.curve] == [5, 10, 15]
    chosen = next(c for c in report.curve if c.n_neighbors == report.n_neighbors)
    assert (report.trustworthiness, report.neighbor_recall) == (chosen.trustworthiness, chosen.neighbor_recall)
    assert 0.8 < report.trustworthiness <= 1.0
    assert (report.fitted_images, report.n_components, report.seed) == (IMAGES, 4, 7)
    assert 100 < report.peak_mib < 2000
    check_artifact(fitted.models, report.artifact, report.sha256, code_version="test/1")


def test_progress_goes_through_all_stages(fitted: Fitted) -> None:
    """In order, and it never goes back."""
    assert list(dict.fromkeys(step.stage for step in fitted.progress)) == ["graph", "tune", "fit", "save"]
    fractions = [step.fraction for step in fitted.progress]
    assert fractions == sorted(fractions)


def test_clusters_stay_apart_on_the_map(fitted: Fitted) -> None:
    """The ten nearest positions of every image belong to its own cluster."""
    positions = fitted.result.positions
    distances = np.linalg.norm(positions[:, np.newaxis] - positions[np.newaxis], axis=2)
    nearest = np.argsort(distances, axis=1)[:, :11]
    cluster = np.arange(IMAGES) // CLUSTER_IMAGES
    assert (cluster[nearest] == cluster[:, np.newaxis]).all()


def test_a_fitted_code_lands_near_its_own_position(fitted: Fitted, projector: Projector) -> None:
    """For nine in ten, its own is among the five nearest positions: it is tied as fully to nine others."""
    projected = projector.project(fitted.codes, PATIENCE_S)
    distances = np.linalg.norm(projected[:, np.newaxis] - fitted.result.positions[np.newaxis], axis=2)
    nearer = (distances < distances.diagonal()[:, np.newaxis]).sum(axis=1)
    assert np.mean(nearer < 5) >= 0.9


def test_a_code_has_one_position_alone_and_in_any_company(fitted: Fitted, projector: Projector) -> None:
    """Bit for bit, for duplicates and flat images too, whatever the batch and its order."""
    codes = awkward(fitted.codes)
    together = projector.project(codes, PATIENCE_S)
    assert together.shape == (len(codes), 4)
    assert np.isfinite(together).all()
    alone = np.concatenate([projector.project(code[np.newaxis], PATIENCE_S) for code in codes])
    assert (alone == together).all()
    assert (projector.project(codes[::-1], PATIENCE_S) == together[::-1]).all()


def test_no_codes_have_no_positions(projector: Projector) -> None:
    """An empty batch is answered, with the right width."""
    assert projector.project(np.empty((0, FEATURES), np.float32), PATIENCE_S).shape == (0, 4)


def test_codes_of_another_size_are_refused_and_the_worker_goes_on(fitted: Fitted, projector: Projector) -> None:
    """One bad request costs one error."""
    with pytest.raises(ModelError, match="256"):
        projector.project(np.ones((1, 64), np.float32), PATIENCE_S)
    with pytest.raises(ModelError, match="finite"):
        projector.project(np.full((1, FEATURES), np.nan, np.float32), PATIENCE_S)
    assert projector.project(fitted.codes[:1], PATIENCE_S).shape == (1, 4)


def test_a_code_lies_between_its_neighbours_until_the_worker_has_started(fitted: Fitted) -> None:
    """Nobody waits for the start, which goes on; a fitted code lies at its own position as good as exactly."""
    worker = fitted.projector()
    with closing(worker):
        assert not worker.is_ready()
        assert worker.running
        worker.close_if_idle(time.monotonic() + 120)
        assert worker.running
        folder = fitted.models / fitted.result.report.artifact
        for code, position in zip(fitted.codes, fitted.result.positions, strict=True):
            near = interpolated(folder, code[np.newaxis], Metric.COSINE)
            assert near is not None
            np.testing.assert_allclose(near, position, atol=1e-3)
        worker.project(fitted.codes[:1], PATIENCE_S)
        assert worker.is_ready()
        with pytest.raises(ModelError, match="256"):
            interpolated(folder, fitted.codes[:1, :64], Metric.COSINE)


def test_a_rough_map_is_one_of_a_sample(fitted: Fitted, tmp_path: Path) -> None:
    """Nothing is tuned, the map's own scores are told, and the graph of the fit before is left alone."""
    codes = np.random.default_rng(0).normal(size=(ROUGH_IMAGES + 100, 16)).astype(np.float32)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    result, progress = finish(Fit.start(codes, tmp_path, replace(SETTINGS, n_components=None, is_rough=True)))
    report = result.report
    assert len(result.rows) == report.fitted_images == ROUGH_IMAGES
    assert (report.n_neighbors, report.n_components) == (ROUGH_NEIGHBORS, ROUGH_COMPONENTS)
    assert "tune" not in {step.stage for step in progress}
    assert 0.5 < report.trustworthiness < 1
    assert not (tmp_path / "graph").exists()


def test_what_was_compiled_is_not_compiled_again(fitted: Fitted, projector: Projector, tmp_path: Path) -> None:
    """Neither by another fit, beside other models, nor by another worker: both find what is kept, and add nothing."""
    projector.project(fitted.codes[:1], PATIENCE_S)
    kept = Path(child_environment(fitted.models)["NUMBA_CACHE_DIR"])
    compiled = {path: path.stat().st_mtime_ns for path in kept.rglob("*.nb?")}
    assert compiled
    finish(Fit.start(fitted.codes, tmp_path, SETTINGS))
    with closing(fitted.projector()) as worker:
        worker.project(fitted.codes[:1], PATIENCE_S)
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*.nb?")} == compiled


def test_the_same_seed_gives_the_same_map(fitted: Fitted, tmp_path: Path) -> None:
    """Positions, scores and the whole curve are equal, bit for bit, with other numbers of threads too."""
    again, _ = finish(Fit.start(fitted.codes, tmp_path, replace(SETTINGS, threads=2)))
    assert (again.positions == fitted.result.positions).all()
    assert again.report.curve == fitted.result.report.curve


MANY_NEIGHBORS = 30
"""So many that a sort of them may change the order of equals; numpy sorts up to 16 in another way."""


def everything(codes: NDArray[np.float32], models: Path, threads: int) -> dict[str, bytes]:
    """Fit a map, go on from it with more neighbours, project onto that, and return the bits of all that came out."""
    settings = replace(SETTINGS, threads=threads)
    cold, _ = finish(Fit.start(codes, models, settings))
    previous = Previous(cold.rows, cold.positions, cold.flat, MANY_NEIGHBORS, cold.report.n_components)
    warm, _ = finish(Fit.start(codes, models, settings, previous=previous))
    worker = Fitted(models, codes, warm, []).projector()
    placed = worker.place(awkward(codes), PATIENCE_S, measured=True)
    worker.close()
    arrays = {f"projected {name}": getattr(placed, name) for name in Placement.__slots__}
    for kind, result in (("cold", cold), ("warm", warm)):
        arrays |= {f"{kind} {name}": getattr(result, name) for name in ("positions", "flat", "distances")}
    curves = {"cold curve": cold.report.curve, "warm curve": warm.report.curve}
    return {name: array.tobytes() for name, array in arrays.items()} | {
        name: repr(curve).encode() for name, curve in curves.items()
    }


def test_another_processor_gives_the_same_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the oldest kernel of OpenBLAS, without vector instructions in numpy, on two threads, bit for bit.

    There are more duplicates than neighbours: who sorts them may take any, in any order.
    """
    codes = two_clusters()
    codes = np.concatenate([codes, np.repeat(codes[:1], 40, axis=0), np.zeros((3, FEATURES), np.float32)])
    here = everything(codes, tmp_path / "here", threads=1)
    for name, value in {"OPENBLAS_CORETYPE": OLDEST_KERNEL, **without_vectors()}.items():
        monkeypatch.setenv(name, value)
    elsewhere = everything(codes, tmp_path / "elsewhere", threads=2)
    assert [name for name in here if here[name] != elsewhere[name]] == []


def test_min_dist_is_that_of_every_candidate(fitted: Fitted, tmp_path: Path) -> None:
    """What is tuned is what is fitted: the whole curve is another one, and the artifact says why."""
    result, _ = finish(Fit.start(fitted.codes, tmp_path, replace(SETTINGS, min_dist=0.8)))
    pairs = zip(result.report.curve, fitted.result.report.curve, strict=True)
    assert all(ours != theirs for ours, theirs in pairs)
    manifest = check_manifest(tmp_path, result.report.artifact, result.report.sha256)
    assert manifest.parameters["min_dist"] == 0.8


RAW = replace(SETTINGS, code_version="raw64/1", metric=Metric.EUCLIDEAN)
GREY_SHADES = 30


def shades(seed: int = 0) -> NDArray[np.uint8]:
    """Return vectors of three pictures in many shades, each times another brightness; some black, some duplicates."""
    draw = np.random.default_rng(seed)
    pictures = np.repeat(draw.integers(0, 160, size=(3, 4096)), GREY_SHADES, axis=0)
    vectors = (pictures * draw.uniform(0.2, 1.5, size=(len(pictures), 1)) + draw.normal(size=pictures.shape)).clip(0)
    vectors[5:8] = vectors[4]
    vectors[:2] = 0
    return vectors.astype(np.uint8)


def test_raw_codes_are_as_far_apart_as_they_lie(tmp_path: Path) -> None:
    """Distances of fit and projection are the Euclidean ones of 4096 numbers; a fitted code has its own neighbours."""
    codes = raw_codes(shades(), np.empty((3 * GREY_SHADES, 0), np.uint8))
    result, _ = finish(Fit.start(codes, tmp_path, RAW))
    numbers = codes.astype(np.float64)
    apart = np.linalg.norm(numbers[:, np.newaxis] - numbers[np.newaxis], axis=2)
    np.fill_diagonal(apart, np.inf)
    expected = np.maximum(np.sort(apart, axis=1)[:, :10], 1e-7).mean(axis=1)
    np.testing.assert_allclose(result.distances, expected, rtol=1e-4)

    report = result.report
    assert check_manifest(tmp_path, report.artifact, report.sha256).metric is Metric.EUCLIDEAN
    assert not np.load(tmp_path / report.artifact / CODES_FILE)[:2].any()
    new = raw_codes(shades(seed=0)[::7] // 2, np.empty((13, 0), np.uint8))
    worker = Projector(tmp_path, report.artifact, report.sha256, idle_s=60, threads=1)
    placed = worker.place(new, PATIENCE_S, measured=True)
    alone = np.concatenate([worker.project(code[np.newaxis], PATIENCE_S) for code in new])
    worker.close()
    assert (alone == placed.positions).all()
    apart = np.linalg.norm(new.astype(np.float64)[:, np.newaxis] - numbers[np.newaxis], axis=2)
    expected = np.maximum(np.sort(apart, axis=1)[:, :10], 1e-7).mean(axis=1)
    np.testing.assert_allclose(placed.distances, expected, rtol=1e-4)
    assert needed_mib(len(codes), 4096, 30) > report.peak_mib


def test_a_large_collection_is_sampled(tmp_path: Path) -> None:
    """The result says which rows were fitted; the others can be projected."""
    codes = two_clusters()
    settings = replace(SETTINGS, n_components=2, max_fit_images=40, tune_images=12)
    result, _ = finish(Fit.start(codes, tmp_path, settings))
    assert result.rows.shape == (40,)
    assert (np.diff(result.rows) > 0).all()
    assert result.positions.shape == (40, 2)
    rest = Projector(tmp_path, result.report.artifact, result.report.sha256, idle_s=60, threads=1)
    assert rest.project(np.delete(codes, result.rows, axis=0), PATIENCE_S).shape == (IMAGES - 40, 2)
    rest.close()


@pytest.mark.parametrize(
    "codes",
    [
        pytest.param(np.repeat(two_clusters()[:1], 30, axis=0), id="duplicates"),
        pytest.param(np.zeros((30, FEATURES), np.float32), id="flat"),
        pytest.param(two_clusters()[:5], id="five"),
    ],
)
def test_an_awful_collection_has_a_map_too(codes: NDArray[np.float32], tmp_path: Path) -> None:
    """Useless, but finite: nobody's album stops the daemon."""
    result, _ = finish(Fit.start(codes, tmp_path, SETTINGS))
    assert np.isfinite(result.positions).all()


def test_cancel_waits_for_no_map_and_leaves_nothing(tmp_path: Path) -> None:
    """Whatever the fit was doing."""
    fit = Fit.start(two_clusters(), tmp_path, SETTINGS)
    fit.cancel()
    fit.cancel()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".fit-", "map-"))]


def test_a_killed_fit_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    """A kill in the middle, as by the kernel when memory runs out."""
    fit = Fit.start(two_clusters(), tmp_path, SETTINGS)
    assert select.select([fit], [], [], PATIENCE_S)[0]
    os.kill(fit.process_id, signal.SIGKILL)
    with pytest.raises(ChildError, match="killed"):
        finish(fit)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".fit-", "map-"))]


def test_a_killed_worker_is_replaced(fitted: Fitted, projector: Projector) -> None:
    """One call fails, the next starts another process and answers as before."""
    before = projector.project(fitted.codes[:3], PATIENCE_S)
    assert projector.process_id is not None
    os.kill(projector.process_id, signal.SIGKILL)
    with pytest.raises(ChildError):
        projector.project(fitted.codes[:3], PATIENCE_S)
    assert not projector.running
    assert (projector.project(fitted.codes[:3], PATIENCE_S) == before).all()


def test_a_worker_that_takes_too_long_is_replaced(fitted: Fitted, projector: Projector) -> None:
    """An answer that comes late must not be taken for that of the next question."""
    # It must have started: one that starts survives.
    projector.project(fitted.codes[:1], PATIENCE_S)
    with pytest.raises(TimedOutError):
        projector.project(fitted.codes[:3], 0.0)
    assert not projector.running
    assert projector.project(fitted.codes[3:4], PATIENCE_S).shape == (1, 4)


def test_a_worker_that_still_starts_survives_impatient_callers(fitted: Fitted) -> None:
    """Otherwise a query with a short time limit would start and kill workers for ever."""
    worker = fitted.projector()
    assert not worker.is_ready()
    first = worker.process_id
    assert first is not None
    with pytest.raises(TimedOutError):
        worker.project(fitted.codes[:1], 0.0)
    assert worker.project(fitted.codes[:1], PATIENCE_S).shape == (1, 4)
    assert worker.process_id == first
    worker.close()


def test_a_query_does_not_wait_for_a_large_batch(fitted: Fitted) -> None:
    """It is answered between two parts of the batch."""
    worker = fitted.projector()
    worker.project(fitted.codes[:1], PATIENCE_S)
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(worker.project, np.tile(fitted.codes, (500, 1)), PATIENCE_S)
        while not worker.busy:
            assert not waiting.done()
        assert worker.project(fitted.codes[:1], PATIENCE_S).shape == (1, 4)
        assert not waiting.done()
        worker.close()
        with pytest.raises(ChildError):
            waiting.result(PATIENCE_S)


def test_closing_does_not_wait_for_a_batch(fitted: Fitted) -> None:
    """A daemon that stops tells who waits for positions that there will be none."""
    worker = fitted.projector()
    worker.project(fitted.codes[:1], PATIENCE_S)
    batch = np.tile(fitted.codes, (500, 1))
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(worker.project, batch, PATIENCE_S)
        while not worker.busy:
            assert not waiting.done()
        worker.close()
        with pytest.raises(ChildError, match=r"killed|closed"):
            waiting.result(PATIENCE_S)
    assert not worker.running


def test_the_worker_leaves_when_idle(fitted: Fitted) -> None:
    """Not before its time, and it comes back when needed."""
    worker = fitted.projector(idle_s=60.0)
    worker.project(fitted.codes[:1], PATIENCE_S)
    now = time.monotonic()
    lives = []
    for later_s in (30.0, 61.0):
        worker.close_if_idle(now + later_s)
        lives.append(worker.running)
    assert lives == [True, False]
    worker.project(fitted.codes[:1], PATIENCE_S)
    worker.close()


@pytest.mark.parametrize("file", [MODEL_FILE, CODES_FILE])
def test_a_damaged_artifact_is_refused_by_the_worker(file: str, tmp_path: Path, fitted: Fitted) -> None:
    """The worker checks what it loads; nothing is unpickled before."""
    report = fitted.result.report
    copy = tmp_path / report.artifact
    copy.mkdir()
    for path in (fitted.models / report.artifact).iterdir():
        data = bytearray(path.read_bytes())
        if path.name == file:
            data[-1] ^= 1
        (copy / path.name).write_bytes(data)
    worker = Projector(tmp_path, report.artifact, report.sha256, idle_s=60, threads=1)
    with pytest.raises(ArtifactRefusedError, match=file):
        worker.project(fitted.codes[:1], PATIENCE_S)
    assert not worker.running


def test_an_artifact_of_other_codes_is_refused(fitted: Fitted) -> None:
    """When the way codes are made changes, positions of the old map mean nothing."""
    report = fitted.result.report
    worker = Projector(fitted.models, report.artifact, report.sha256, idle_s=60, threads=1, code_version="test/2")
    with pytest.raises(ArtifactRefusedError, match="codes are test/2"):
        worker.project(fitted.codes[:1], PATIENCE_S)


def test_the_artifact_in_use_survives_the_cleaning(fitted: Fitted, projector: Projector) -> None:
    """As the daemon cleans after each fit."""
    remove_artifacts(fitted.models, [fitted.result.report.artifact])
    assert projector.project(fitted.codes[:1], PATIENCE_S).shape == (1, 4)


def test_a_placement_tells_how_well_an_image_belongs(fitted: Fitted, projector: Projector) -> None:
    """Strangers are farther from what was fitted than the fitted images are from each other; the rest fits together."""
    near, far = fitted.codes[::9], two_clusters(seed=5)[::9]
    placed, strange = (projector.place(codes, PATIENCE_S, measured=True) for codes in (near, far))
    assert (placed.positions == projector.project(near, PATIENCE_S)).all()
    assert placed.flat.shape == (len(near), 2)
    assert strange.distances.min() > 2 * np.median(fitted.result.distances)
    assert placed.distances.mean() < np.median(fitted.result.distances)
    assert ((placed.recalls >= 0) & (placed.recalls <= 1)).all()
    assert np.isnan(projector.place(near, PATIENCE_S).recalls).all()


def test_a_placement_is_the_same_alone_and_in_any_company(fitted: Fitted, projector: Projector) -> None:
    """Bit for bit, all that it tells."""
    codes = awkward(fitted.codes)
    together = projector.place(codes, PATIENCE_S, measured=True)
    alone = Placement.joined([projector.place(code[np.newaxis], PATIENCE_S, measured=True) for code in codes])
    for name in Placement.__slots__:
        assert (getattr(alone, name) == getattr(together, name)).all(), name


def test_the_flat_map_keeps_clusters_apart(fitted: Fitted, projector: Projector) -> None:
    """In two dimensions the ten nearest of every image belong to its cluster, projected ones included."""
    cluster = np.arange(IMAGES) // CLUSTER_IMAGES
    for flat in (fitted.result.flat, projector.place(fitted.codes, PATIENCE_S).flat):
        distances = np.linalg.norm(flat[:, np.newaxis] - fitted.result.flat[np.newaxis], axis=2)
        nearest = np.argsort(distances, axis=1)[:, :11]
        assert (cluster[nearest] == cluster[:, np.newaxis]).all()


def test_a_warm_fit_keeps_the_map_and_tunes_nothing(fitted: Fitted, tmp_path: Path) -> None:
    """Images that stayed are near where they were, new ones are among their own, and hyper-parameters are the same."""
    before, report = fitted.result, fitted.result.report
    new = unit(fitted.codes[::10] + 0.1 * fitted.codes[1::10])
    ids = np.concatenate([np.arange(IMAGES), 500 + np.arange(len(new))])
    previous = Previous(ids[:IMAGES], before.positions, before.flat, report.n_neighbors, report.n_components)
    fit = Fit.start(np.concatenate([fitted.codes, new]), tmp_path, SETTINGS, ids=ids, previous=previous)
    result, progress = finish(fit)
    assert "tune" not in {step.stage for step in progress}
    assert (result.report.n_neighbors, result.report.n_components) == (report.n_neighbors, report.n_components)
    assert [candidate.n_neighbors for candidate in result.report.curve] == [report.n_neighbors]
    assert len(result.positions) == len(ids)
    for old, now in ((before.positions, result.positions), (before.flat, result.flat)):
        moved = np.linalg.norm(now[:IMAGES] - old, axis=1)
        apart = np.linalg.norm(old[:CLUSTER_IMAGES].mean(axis=0) - old[CLUSTER_IMAGES:].mean(axis=0))
        assert np.median(moved) < apart / 4


def killed_when(codes: NDArray[np.float32], models: Path, says: str) -> list[str]:
    """Fit until the progress says something, kill it there, and return what was said until then."""
    said: list[str] = []
    fit = Fit.start(codes, models, SETTINGS)
    while not said or says not in said[-1]:
        news = fit.poll(PATIENCE_S)
        assert isinstance(news, FitProgress), f"the fit ended before it said {says!r}: {said}"
        said.append(news.message)
    os.kill(fit.process_id, signal.SIGKILL)
    with pytest.raises(ChildError):
        finish(fit)
    return said


def stages_of(said: list[str], works: tuple[str, ...]) -> list[str]:
    """Return the kinds of work that were told, each once, in order."""
    return list(dict.fromkeys(work for message in said for work in works if message.startswith(work)))


@pytest.mark.parametrize(
    ("says", "again"),
    [
        pytest.param("trying n_neighbors=5", ["trying", "fitting the map", "fitting the flat map"], id="graph"),
        pytest.param("fitting the map", ["fitting the map", "fitting the flat map"], id="tuning"),
        pytest.param("fitting the flat map", ["fitting the flat map"], id="map"),
        pytest.param("saving the map", [], id="flat map"),
    ],
)
def test_a_killed_fit_goes_on_behind_its_last_stage(
    says: str, again: list[str], fitted: Fitted, tmp_path: Path
) -> None:
    """What was finished is not done again, and the map is the one that an undisturbed fit gives, bit for bit."""
    said = killed_when(fitted.codes, tmp_path, says)
    result, progress = finish(Fit.start(fitted.codes, tmp_path, SETTINGS))
    works = ("found the neighbours", "trying", "fitting the map", "fitting the flat map")
    assert stages_of(said, works)[0] == "found the neighbours"
    assert stages_of([step.message for step in progress], works) == again
    assert (result.positions == fitted.result.positions).all()
    assert (result.flat == fitted.result.flat).all()
    assert result.report.curve == fitted.result.report.curve


def test_a_fit_killed_within_tuning_tries_the_rest_only(fitted: Fitted, tmp_path: Path) -> None:
    """Each score is kept as soon as it is there."""
    said = killed_when(fitted.codes, tmp_path, "trying n_neighbors=15")
    result, progress = finish(Fit.start(fitted.codes, tmp_path, SETTINGS))
    tried = [message for message in said + [step.message for step in progress] if "trying" in message]
    assert len(tried) - len(set(tried)) == 1
    assert result.report.curve == fitted.result.report.curve


def test_too_little_memory_is_said_and_some_memory_is_a_sample(fitted: Fitted, tmp_path: Path) -> None:
    """Nothing is begun that would end in the middle."""
    with pytest.raises(ModelError, match="too few") as caught:
        finish(Fit.start(fitted.codes, tmp_path, replace(SETTINGS, max_memory_mib=400)))
    assert "MiB are needed" in caught.value.hint
    result, progress = finish(
        Fit.start(fitted.codes, tmp_path, replace(SETTINGS, max_memory_mib=math.ceil(BASE_MIB) + 1))
    )
    assert FEWEST_IMAGES <= len(result.rows) < IMAGES
    assert any(f"a sample of {len(result.rows)} of {IMAGES}" in step.message for step in progress)


def test_the_artifact_holds_what_projecting_needs_and_no_graph(fitted: Fitted) -> None:
    """A worker would hold four times as much otherwise."""
    kept = fitted.models / STAGES_FOLDER / MODEL_FILE
    stored = fitted.models / fitted.result.report.artifact / MODEL_FILE
    assert stored.stat().st_size < kept.stat().st_size / 2
