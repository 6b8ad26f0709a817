"""How long tuning and fitting take, how much memory, and how good the map is.

In: photographs (by default those beside the checkout, else scikit-learn's two), from which as many random crops as are
asked for are cut.  Out: tables.  Never here: correctness, which the tests hold; what `similar` finds (`similar`).

The notebook's procedure, which `--notebook` runs: for each candidate fit UMAP with its own neighbours on the 4096
numbers, and score it with scikit-learn's trustworthiness over everything.  Both sides try the same candidates, fit the
same images, are scored with the same k on the same held-out images, and run in a process of their own on the same
number of threads.  Each is asked for the neighbours in its own numbers: the grey ones there, the codes here.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
import umap
from _album import Album
from _maps import PHOTOS, SEED, TIMEOUT_S, Followed, fit, kept, photographs, random_crops
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import procrustes
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from cbir_daemon.map import Previous, Projector, graph, layout
from cbir_daemon.map.environment import CACHE_FOLDER
from cbir_daemon.map.inverted import InvertedLists
from cbir_daemon.map.memory import peak_mib
from cbir_daemon.map.neighbors import NEAREST, Neighbors, nearest, nearest_to_rows
from cbir_daemon.map.points import to_points
from cbir_daemon.map.quality import recall
from cbir_daemon.map.tuning import candidate_neighbors
from cbir_daemon.matching.codes import codes
from cbir_daemon.medium import Metric
from cbir_daemon.search.neighborhood import NEIGHBORHOOD_SHARE
from cbir_daemon.system.child import THREAD_VARIABLES

HELD_OUT = 500
COMPONENTS = 16
SINGLE_QUERIES = 50
GROWTH = (10_000, 20_000, 50_000, 100_000)
STAGES = ("start", "graph", "tune", "fit", "save")
GROWN_BY = 0.2
PART = 10_000
EXACT_PART = 1_000
JITTER = 0.3

METRICS = ("plain grey 64x64", "plain grey 16x16", "free 4x4", "free 8x8", "free 16x16", "free 32x32")
DIMENSIONS = (4, 8, 16, 32)
EPOCHS = (50, 100, 200, 500, 1000)
CHOICE_NEIGHBORS = 15
CHOICE_HELD_OUT = 250


@dataclass(frozen=True)
class Line:
    """What one procedure took and gave."""

    name: str
    n_neighbors: int
    seconds: float
    cpu_s: float
    peak_mib: float
    fitted_recall: float
    held_out_recall: float


@dataclass(frozen=True)
class Latency:
    """What a user waits for and what the processor does meanwhile, in milliseconds; what the worker takes, in MiB."""

    first_ms: float
    again_ms: float
    work_ms: float
    search_ms: float
    batch_ms_per_image: float
    worker_mib: float


@click.command()
@click.option("--size", default=2_000, show_default=True, help="Images fitted; 500 more are held out.")
@click.option("--threads", default=2, show_default=True, help="For either side.")
@click.option("--min-dist", default=(0.0,), multiple=True, show_default=True, help="Of our map; several to compare.")
@click.option("--notebook/--no-notebook", default=True, show_default=True, help="Whether the notebook's way runs too.")
@click.option("--growth", is_flag=True, help="Only show time and memory by stage, for collections that grow.")
@click.option("--at", default=GROWTH, multiple=True, show_default=True, help="With --growth: so many images.")
@click.option("--graph", "graph_of", type=int, help="Only make the neighbour graph of so many images, as far as told.")
@click.option(
    "--warm", is_flag=True, help="Only compare a warm re-fit, after SIZE images grew by a fifth, with a cold one."
)
@click.option("--choose", is_flag=True, help="Only compare metrics, dimensions and epochs, on the photographs.")
@click.option("--photos", type=click.Path(exists=True, path_type=Path), help="Folder of photographs to crop from.")
def model(
    size: int,
    threads: int,
    min_dist: tuple[float, ...],
    notebook: bool,
    growth: bool,
    at: tuple[int, ...],
    graph_of: int | None,
    warm: bool,
    choose: bool,
    photos: Path | None,
) -> None:
    """Tune and fit a map of SIZE images, ours and as the notebook did."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    if choose:
        show_choices(photos or PHOTOS)
        return
    pictures = photographs(photos or PHOTOS)
    if graph_of is not None:
        show_graph(pictures, graph_of, threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        os.environ.setdefault("NUMBA_CACHE_DIR", str(models / CACHE_FOLDER))
        small = codes(random_crops(pictures, 100))
        compile_s = timed(partial(fit, small, models, threads=threads, n_components=COMPONENTS))
        click.echo(f"compiling, once for each installation: {compile_s:.0f} s")
        if growth:
            show_growth(pictures, list(at), models, threads)
        elif warm:
            show_warm(pictures, size, models, threads)
        else:
            show(list(compared(random_crops(pictures, size + HELD_OUT), size, models, threads, min_dist, notebook)))


def compared(
    vectors: NDArray[np.uint8], size: int, models: Path, threads: int, min_dist: tuple[float, ...], notebook: bool
) -> Iterator[Line]:
    """Yield a line for our procedure with each `min_dist`, and one for the notebook's.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8
    size : int
        So many of the first are fitted, the rest are held out.
    models : Path
        Folder in which maps are written.
    threads : int
    min_dist : tuple of float
        As UMAP takes it.
    notebook : bool
        Whether the notebook's procedure is run.
    """
    ours = codes(vectors)
    for distance in min_dist:
        fitted = fit(ours[:size], models, threads=threads, n_components=COMPONENTS, min_dist=distance)
        report = fitted.result.report
        latency, recalls = used(fitted, ours, size, models, threads)
        say_latency(f"min_dist={distance:g}", latency)
        name = f"ours, min_dist={distance:g}"
        cpu_s = sum(fitted.cpu_s.values())
        yield Line(name, report.n_neighbors, fitted.total_s, cpu_s, report.peak_mib, *recalls)
    if notebook:
        yield in_own_process(vectors, size)


def show(lines: list[Line]) -> None:
    """Print the table, and the ratios to the notebook when it ran."""
    click.echo(f"{'':<22}{'n_neighbors':>12}{'clock s':>9}{'cpu s':>9}{'MiB':>7}{'fitted':>8}{'held out':>10}")
    for line in lines:
        click.echo(
            f"{line.name:<22}{line.n_neighbors:>12}{line.seconds:>9.1f}{line.cpu_s:>9.1f}{line.peak_mib:>7.0f}"
            f"{line.fitted_recall:>8.3f}{line.held_out_recall:>10.3f}"
        )
    click.echo(f"(recall: share of the {NEAREST} true nearest in the nearest {NEIGHBORHOOD_SHARE:.0%} of the map)")
    *ours, last = lines
    if ours and last.name == "notebook":
        for line in ours:
            faster, less = last.seconds / line.seconds, last.cpu_s / line.cpu_s
            leaner = last.peak_mib / line.peak_mib
            click.echo(f"{line.name}: {faster:.1f} x faster, {less:.1f} x less work, {leaner:.1f} x less memory")


def used(
    fitted: Followed, ours: NDArray[np.float32], size: int, models: Path, threads: int
) -> tuple[Latency, tuple[float, float]]:
    """Project what was held out, one by one and at once.

    Parameters
    ----------
    fitted : Followed
    ours : (n, 256) ndarray of float32
        Codes of what was fitted, then of what was held out.
    size : int
        So many of the first were fitted.
    models : Path
        Folder in which the map is.
    threads : int

    Returns
    -------
    Latency, (float, float)
        What projecting took, and what `kept` returns.
    """
    report, held_out = fitted.result.report, ours[size:]
    points = to_points(ours[:size])
    projector = Projector(models, report.artifact, report.sha256, idle_s=TIMEOUT_S, threads=threads)
    try:
        first_s = timed(partial(projector.place, held_out[:1], TIMEOUT_S))
        before_s = projector.cpu_s
        again_s = [timed(partial(projector.place, code[None], TIMEOUT_S)) for code in held_out[:SINGLE_QUERIES]]
        work_s = (projector.cpu_s - before_s) / SINGLE_QUERIES
        started = time.perf_counter()
        projected = projector.project(held_out, TIMEOUT_S)
        batch_s = time.perf_counter() - started
        worker_mib = peak_mib(Path(f"/proc/{projector.process_id}/status"))
    finally:
        projector.close()
    width = max(NEAREST, report.n_neighbors)
    before_s = time.process_time()
    for code in held_out[:SINGLE_QUERIES]:
        nearest(points, to_points(code[None]), width)
    search_s = (time.process_time() - before_s) / SINGLE_QUERIES
    latency = Latency(
        first_s * 1e3,
        statistics.median(again_s) * 1e3,
        work_s * 1e3,
        search_s * 1e3,
        batch_s * 1e3 / len(held_out),
        worker_mib,
    )
    return latency, kept(points.rows, to_points(held_out).rows, fitted.result.positions, projected)


def say_latency(name: str, latency: Latency) -> None:
    """Print what projecting takes."""
    click.echo(
        f"{name}: first projection of a new worker {latency.first_ms:.0f} ms, later ones {latency.again_ms:.1f} ms; of "
        f"the processor {latency.work_ms:.1f} ms, with {latency.search_ms:.1f} ms for the search of neighbours; in "
        f"batches {latency.batch_ms_per_image:.2f} ms an image; largest memory of the worker "
        f"{latency.worker_mib:.0f} MiB"
    )


def show_growth(pictures: list[Image.Image], sizes: list[int], models: Path, threads: int) -> None:
    """Print time and memory by stage, and how good the map is, for growing collections."""
    ours = codes(random_crops(pictures, max(sizes) + HELD_OUT))
    held_out = ours[max(sizes) :]
    titles = "".join(f"{stage:>9}{'MiB':>6}" for stage in STAGES)
    click.echo(f"{'images':>7}{titles}{'all':>8}{'n log n':>9}{'clock s':>9}{'fitted':>8}{'held out':>10}")
    click.echo("(seconds of processor time by stage, and the largest memory up to its end)")
    unit = None
    for size in sizes:
        here = models / str(size)
        fitted = fit(ours[:size], here, threads=threads, n_components=None)
        latency, recalls = used(fitted, np.concatenate([ours[:size], held_out]), size, here, threads)
        all_s = sum(fitted.cpu_s.values())
        unit = unit or all_s / (size * math.log(size))
        cells = "".join(
            f"{fitted.cpu_s.get(stage, 0.0):>9.1f}{fitted.peak_mib.get(stage, 0.0):>6.0f}" for stage in STAGES
        )
        ratio = all_s / (size * math.log(size)) / unit
        click.echo(
            f"{size:>7}{cells}{all_s:>8.0f}{ratio:>9.2f}{fitted.total_s:>9.0f}{recalls[0]:>8.3f}{recalls[1]:>10.3f}"
        )
        report = fitted.result.report
        say_latency(f"        {report.n_neighbors} neighbours, {report.n_components} dimensions", latency)


def show_warm(pictures: list[Image.Image], size: int, models: Path, threads: int) -> None:
    """Print what a warm re-fit of a collection that grew by a fifth takes and gives, beside a cold one."""
    grown = round(size * (1 + GROWN_BY))
    ours = codes(random_crops(pictures, grown + HELD_OUT))
    # The new ones are spread over all ids, as in a collection that grows in every album.
    ids = np.sort(np.random.default_rng(SEED).permutation(grown)[:size])
    before = fit(ours[ids], models, threads=threads, n_components=None, ids=ids)
    report = before.result.report
    previous = Previous(ids, before.result.positions, before.result.flat, report.n_neighbors, report.n_components)
    everybody = np.arange(grown)
    click.echo(f"{'':<14}{'seconds':>9}{'MiB':>6}{'fitted':>8}{'held out':>10}{'moved':>8}{'flat moved':>12}")
    runs = {"before": (before, ours[ids])}
    for name, start in (("warm", previous), ("cold", None)):
        again = fit(ours[:grown], models, threads=threads, n_components=None, ids=everybody, previous=start)
        runs[name] = (again, ours[:grown])
    for name, (run, codes_of_run) in runs.items():
        rows = slice(None) if name == "before" else ids
        latency_ours = np.concatenate([codes_of_run, ours[grown:]])
        _, recalls = used(run, latency_ours, len(codes_of_run), models, threads)
        moved = distance(before.result.positions, run.result.positions[rows])
        flat_moved = distance(before.result.flat, run.result.flat[rows])
        click.echo(
            f"{name:<14}{run.total_s:>9.1f}{run.result.report.peak_mib:>6.0f}{recalls[0]:>8.3f}{recalls[1]:>10.3f}"
            f"{moved:>8.4f}{flat_moved:>12.4f}"
        )
    click.echo("(moved: Procrustes distance of the images of before, 0 to 1)")


def distance(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Return the Procrustes distance of two maps of the same images; 1 when they have other dimensions.

    Parameters
    ----------
    before, after : (n, d) ndarray of float32
        Positions of the same images, in the same order.
    """
    return float(procrustes(before, after)[2]) if before.shape == after.shape else 1.0


def show_graph(pictures: list[Image.Image], size: int, threads: int) -> None:
    """Print what inverted lists of `size` images take, with the search of a part of them."""
    base = codes(random_crops(pictures, min(size, GROWTH[-1])))
    crops = np.tile(base, (math.ceil(size / len(base)), 1))[:size]
    draw = np.random.default_rng(SEED)
    for start in range(len(base), size, PART):
        # Crops are slow to make: the others are these with noise of their own.
        block = crops[start : start + PART]
        block += draw.normal(scale=JITTER / math.sqrt(crops.shape[1]), size=block.shape).astype(np.float32)
        block -= block.mean(axis=1, keepdims=True)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    points = to_points(crops)
    del crops
    started = time.perf_counter()
    lists = InvertedLists.trained(points, seed=SEED, threads=threads, probes=graph.PROBES)
    build_s = time.perf_counter() - started
    rows = np.sort(draw.choice(size, min(size, PART), replace=False))
    width = graph.width_of(size) + graph.SPARE
    started = time.perf_counter()
    near, _ = graph.best_of(points, rows, lists.propose(points[rows], width + 1), width)
    part_s = time.perf_counter() - started
    checked = rows[:EXACT_PART]
    started = time.perf_counter()
    true = nearest_to_rows(points, checked, width).ids
    exact_s = (time.perf_counter() - started) / len(checked) * size
    found = sum(len(np.intersect1d(*pair)) for pair in zip(near[: len(checked)], true, strict=True)) / true.size
    click.echo(
        f"{size:,} images: lists made in {build_s:.0f} s; {len(rows):,} rows searched in {part_s:.1f} s, so all in "
        f"{part_s / len(rows) * size:.0f} s (comparing all pairs: {exact_s:.0f} s); recall of {width} neighbours "
        f"{found:.3f}; graph {width * graph.NEIGHBOR_BYTES * size / 2**20:.0f} MiB; peak {peak_mib():.0f} MiB"
    )


def show_choices(folder: Path) -> None:
    """Print how good the map is under other metrics, dimensions and numbers of epochs.

    The truth is the same for all: nearest by correlation of the whole 64x64 vectors, which is no candidate itself.
    """
    warnings.simplefilter("ignore")
    vectors = Album.open([folder] if folder != PHOTOS else []).vectors
    order = np.random.default_rng(SEED).permutation(len(vectors))
    held_out, fitted = vectors[order[:CHOICE_HELD_OUT]], vectors[order[CHOICE_HELD_OUT:]]
    choices = Choices(fitted, held_out)
    click.echo(f"{'':<22}{'dimensions':>11}{'epochs':>8}{'fitted':>8}{'held out':>10}{'seconds':>9}")
    for metric in METRICS:
        choices.try_out(metric, COMPONENTS, layout.EPOCHS)
    for n_components in DIMENSIONS:
        choices.try_out("free 16x16", n_components, layout.EPOCHS)
    for epochs in EPOCHS:
        choices.try_out("free 16x16", COMPONENTS, epochs)
    click.echo(f"(recall: share of the {NEAREST} nearest by whole vectors in the nearest {NEIGHBORHOOD_SHARE:.0%})")


class Choices:
    """Fits the same photographs in different ways, and scores all by the same truth."""

    def __init__(self, fitted: NDArray[np.uint8], held_out: NDArray[np.uint8]) -> None:
        self._vectors = fitted, held_out
        points, queries = (points_of("free 64x64", vectors) for vectors in self._vectors)
        self._true, self._true_held_out = euclidean(points, None, NEAREST), euclidean(points, queries, NEAREST)

    def try_out(self, metric: str, n_components: int, epochs: int) -> None:
        """Fit, score, print."""
        points, queries = (points_of(metric, vectors) for vectors in self._vectors)
        started = time.process_time()
        recipe = layout.Recipe(CHOICE_NEIGHBORS, n_components, SEED, epochs=epochs)
        fitted = layout.fit_map(points, euclidean(points, None, CHOICE_NEIGHBORS), recipe)
        seconds = time.process_time() - started
        positions = fitted.embedding_
        projected = layout.project(fitted, euclidean(points, queries, CHOICE_NEIGHBORS))
        own = np.arange(len(points))
        shares = (
            float(recall(positions, positions, self._true.ids, own=own).mean()),
            float(recall(positions, projected, self._true_held_out.ids).mean()),
        )
        click.echo(f"{metric:<22}{n_components:>11}{epochs:>8}{shares[0]:>8.3f}{shares[1]:>10.3f}{seconds:>9.1f}")


def points_of(metric: str, vectors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return block means of vectors: plain grey levels, or unit rows free of brightness and contrast.

    Parameters
    ----------
    metric : str
        One of `METRICS`, such as "free 16x16": how, and the blocks of a side.
    vectors : (n, 4096) ndarray of uint8

    Returns
    -------
    (n, blocks) ndarray of float32
        Plain ones in [0, 1].
    """
    side = int(metric.rpartition("x")[2])
    block = 64 // side
    means = vectors.reshape(-1, side, block, side, block).mean(axis=(2, 4), dtype=np.float32).reshape(len(vectors), -1)
    if metric.startswith("plain"):
        return np.asarray(means / 255, dtype=np.float32)
    means -= means.mean(axis=1, keepdims=True)
    return to_points(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)).rows


def euclidean(points: NDArray[np.float32], queries: NDArray[np.float32] | None, k: int) -> Neighbors:
    """Return the nearest of queries, or of the points themselves; for unit rows the order is that of cosine distance.

    Parameters
    ----------
    points : (n, f) ndarray of float32
    queries : (m, f) ndarray of float32 or None
        None asks for the neighbours of each point, without itself.
    k : int
        1 to n, or to n - 1 without queries.
    """
    distances, ids = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points).kneighbors(queries)
    return Neighbors(ids.astype(np.int32), distances.astype(np.float32)).tied(Metric.COSINE)


def in_own_process(vectors: NDArray[np.uint8], size: int) -> Line:
    """Run the notebook's procedure where its memory can be told from ours.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8
    size : int
        So many of the first are fitted, the rest are held out.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(measure_notebook, vectors, size).result()


def measure_notebook(vectors: NDArray[np.uint8], size: int) -> Line:
    """Fit each candidate on the grey numbers, score each over everything, keep the best.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8
    size : int
        So many of the first are fitted, the rest are held out.
    """
    warnings.simplefilter("ignore")
    grey: NDArray[np.float32] = (vectors / 255).astype(np.float32)
    fitted, held_out = grey[:size], grey[size:]
    started, started_cpu_s = time.perf_counter(), time.process_time()
    best, best_trust = None, -1.0
    for n_neighbors in candidate_neighbors(size):
        candidate = umap.UMAP(
            n_neighbors=n_neighbors, n_components=COMPONENTS, min_dist=0.0, random_state=SEED, n_jobs=1
        ).fit(fitted)
        trust = trustworthiness(fitted, candidate.embedding_, n_neighbors=NEAREST)
        if trust > best_trust:
            best, best_trust = candidate, trust
    assert best is not None
    seconds, cpu_s, peak = time.perf_counter() - started, time.process_time() - started_cpu_s, peak_mib()
    recalls = kept(fitted, held_out, best.embedding_, best.transform(held_out))
    return Line("notebook", best.n_neighbors, seconds, cpu_s, peak, *recalls)


def timed(call: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
