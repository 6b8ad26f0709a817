"""Work of a fit on a Dask cluster: the results of here, bit for bit, whatever happens to scheduler and workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.errors import ModelError
from cbir_daemon.map import cluster
from cbir_daemon.map.cluster import Broadcast, Cluster, ClusterError, perform
from cbir_daemon.map.graph import Graph, GraphSizes, Progress, built
from cbir_daemon.map.points import Points, to_points
from cbir_daemon.medium import Metric
from tests.dask_cluster import DaskCluster, deadly_once, free_port, kill, process_and_sum, refused

pytest.importorskip("distributed", reason="the extra `dask` is not installed")

IMAGES = 600
SIZES = GraphSizes(width=20, spare=5, remote_images=50)
BY_LISTS = GraphSizes(exact_images=100, width=20, spare=5, remote_images=50, block_images=64)
SHORT_S = 0.2


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """Give a cluster of two workers, which no test harms."""
    with DaskCluster(tmp_path_factory.mktemp("dask"), 2) as started:
        yield started


@pytest.fixture
def warnings() -> list[str]:
    """Give the list that clusters of a test write their warnings to."""
    return []


def points(metric: Metric = Metric.COSINE) -> Points:
    """Return points with duplicates and flat images among them."""
    rows = np.random.default_rng(8).normal(size=(IMAGES, 32))
    rows[100:120] = rows[99]
    unit = np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
    unit[300:310] = 0
    return to_points(unit, metric)


def made(
    points: Points, cluster: Cluster | None = None, sizes: GraphSizes = SIZES, progress: Progress = lambda *_: None
) -> Graph:
    """Return the graph of points."""
    ids: NDArray[np.int64] = np.arange(len(points), dtype=np.int64)
    return built(ids, points, cluster=cluster, sizes=sizes, progress=progress)


def test_nothing_foreign_is_imported_without_a_scheduler() -> None:
    """Neither by the daemon nor by the process that fits."""
    modules = "cbir_daemon.daemon.service, cbir_daemon.map.graph, cbir_daemon.map.cluster"
    loaded = f"import sys, {modules}; print(*({{'dask', 'distributed', 'tornado'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)  # noqa: S603 -- ours
    assert done.stdout.split() == []


def test_workers_compute_in_order(dask: DaskCluster, warnings: list[str]) -> None:
    """In other processes than this one, twice with what was sent once."""
    with Cluster(dask.address, warnings.append) as workers:
        shared = Broadcast(100)
        for _ in range(2):
            found = list(workers.map(process_and_sum, shared, range(20)))
            assert [total for _, total in found] == list(range(100, 120))
            assert {who for who, _ in found} <= {worker.pid for worker in dask.workers}
    assert warnings == []


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("sizes", [SIZES, BY_LISTS], ids=["exact", "lists"])
def test_the_graph_of_workers_is_the_graph_of_here(
    dask: DaskCluster, warnings: list[str], metric: Metric, sizes: GraphSizes
) -> None:
    """Bit for bit, with progress, exact and by inverted lists."""
    steps: list[tuple[int, int]] = []
    with Cluster(dask.address, warnings.append) as workers:
        theirs = made(points(metric), workers, sizes, lambda done, total: steps.append((done, total)))
    assert theirs.equals(made(points(metric), sizes=sizes))
    assert steps == [(done, IMAGES) for done in range(50, IMAGES + 1, 50)]
    assert warnings == []


def test_a_lost_worker_costs_its_block(tmp_path: Path, warnings: list[str]) -> None:
    """Killed between two blocks, and in the middle of one; no result is missing and none is computed here."""
    with DaskCluster(tmp_path, 3) as dask, Cluster(dask.address, warnings.append) as workers:

        def kill_one(done: int, _total: int) -> None:
            if done == SIZES.remote_images:
                kill(dask.workers[0])

        assert made(points(), workers, progress=kill_one).equals(made(points()))
        marker = tmp_path / "marker"
        squares = workers.map(deadly_once, Broadcast(str(marker)), range(10))
        assert list(squares) == [number**2 for number in range(10)]
        assert marker.exists()
        assert sorted(worker.poll() is None for worker in dask.workers) == [False, False, True]
    assert warnings == []


def test_the_only_worker_is_replaced(tmp_path: Path, warnings: list[str]) -> None:
    """What was sent to it is sent again to the next one."""
    with DaskCluster(tmp_path, 1) as dask, Cluster(dask.address, warnings.append) as workers:

        def replace(done: int, _total: int) -> None:
            if done == SIZES.remote_images:
                kill(dask.workers[0])
                dask.add_worker()

        assert made(points(), workers, progress=replace).equals(made(points()))
    assert warnings == []


def test_a_dead_scheduler_leaves_the_rest_to_us(tmp_path: Path, warnings: list[str]) -> None:
    """The same graph, one warning, and no second try."""
    with DaskCluster(tmp_path, 2) as dask, Cluster(dask.address, warnings.append) as workers:

        def kill_it(done: int, _total: int) -> None:
            if done == SIZES.remote_images:
                assert dask.scheduler is not None
                kill(dask.scheduler)

        assert made(points(), workers, progress=kill_it).equals(made(points()))
        assert [who for who, _ in workers.map(process_and_sum, Broadcast(0), range(3))] == [os.getpid()] * 3
        (warning,) = warnings
        assert warning.startswith(f"the Dask scheduler {dask.address} does not help, the fit goes on here: ")
        assert "\n" not in warning


def test_no_scheduler(warnings: list[str]) -> None:
    """Nobody listens at the address: all is done here, with one warning."""
    with Cluster(f"tcp://127.0.0.1:{free_port()}", warnings.append, connect_s=SHORT_S) as workers:
        assert made(points(), workers).equals(made(points()))
    assert len(warnings) == 1


def test_no_workers(tmp_path: Path, warnings: list[str]) -> None:
    """A scheduler without workers is not waited for for ever."""
    with DaskCluster(tmp_path, 0) as dask, Cluster(dask.address, warnings.append, workers_s=SHORT_S) as workers:
        assert [total for _, total in workers.map(process_and_sum, Broadcast(1), range(3))] == [1, 2, 3]
    assert len(warnings) == 1


def test_workers_of_other_versions_are_not_used(
    dask: DaskCluster, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their results might differ; the warning names package and versions."""
    with pytest.raises(ClusterError, match=r"a worker has cbir-daemon .*, the daemon None"):
        perform({}, process_and_sum.__module__, process_and_sum.__name__, 1, 1)
    here = cluster.versions()
    monkeypatch.setattr(cluster, "versions", lambda: here | {"umap-learn": "0.0.1"})
    with Cluster(dask.address, warnings.append) as workers:
        assert list(workers.map(process_and_sum, Broadcast(1), [1])) == [(os.getpid(), 2)]
    (warning,) = warnings
    assert warning.endswith(f"a worker has umap-learn {here['umap-learn']}, the daemon 0.0.1")


def test_an_error_of_ours_comes_back(dask: DaskCluster, warnings: list[str]) -> None:
    """It is what the fit fails with, as it would here; the cluster is not to blame."""
    with (
        Cluster(dask.address, warnings.append) as workers,
        pytest.raises(ModelError, match="no map of 3: add images"),
    ):
        list(workers.map(refused, Broadcast(0), [3]))
    assert warnings == []
