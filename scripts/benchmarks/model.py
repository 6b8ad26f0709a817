"""How long tuning and fitting take, how much memory, and how good the map is, beside the notebook's procedure.

In: photographs (by default those beside the checkout, else scikit-learn's two), from which as many random crops as are
asked for are cut.  Out: two tables.  Never here: correctness, which the tests hold.

The notebook's procedure: for each candidate fit UMAP with its own neighbours on the 4096 numbers, and score it with
scikit-learn's trustworthiness over everything.  Both sides try the same candidates, fit the same images, are scored
with the same k on the same held-out images, and run in a process of their own on the same number of threads.  Each is
asked for the neighbours in its own numbers: the grey ones there, the codes here.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import umap
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from cbir_daemon.matching.codes import CODE_VERSION, codes
from cbir_daemon.model import Fit, FitResult, FitSettings, Projector
from cbir_daemon.model.environment import CACHE_FOLDER, THREAD_VARIABLES
from cbir_daemon.model.memory import peak_mib
from cbir_daemon.model.neighbors import to_points
from cbir_daemon.model.tuning import SCORING_K, candidate_neighbors, neighbor_recall

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos"
SEED = 1
HELD_OUT = 500
NEIGHBORHOOD_SHARE = 0.01
COMPONENTS = 16
SHRUNK_PX = 256
SIDE_PX = 64
SINGLE_QUERIES = 50
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Line:
    """What one procedure took and gave."""

    name: str
    n_neighbors: int
    seconds: float
    peak_mib: float
    fitted_recall: float
    held_out_recall: float


@dataclass(frozen=True)
class Latency:
    """What a user waits for, in milliseconds."""

    first_ms: float
    again_ms: float
    batch_ms_per_image: float


@click.command()
@click.option("--size", default=2_000, show_default=True, help="Images fitted; 500 more are held out.")
@click.option("--threads", default=2, show_default=True, help="For either side.")
@click.option("--min-dist", default=(0.0,), multiple=True, show_default=True, help="Of our map; several to compare.")
@click.option("--notebook/--no-notebook", default=True, show_default=True, help="Whether the notebook's way runs too.")
@click.option("--photos", type=click.Path(exists=True, path_type=Path), help="Folder of photographs to crop from.")
def model(size: int, threads: int, min_dist: tuple[float, ...], notebook: bool, photos: Path | None) -> None:
    """Tune and fit a map of SIZE images, ours and as the notebook did."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    vectors = random_crops(photographs(photos or PHOTOS), size + HELD_OUT)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        os.environ.setdefault("NUMBA_CACHE_DIR", str(models / CACHE_FOLDER))
        compile_s = timed(fit, codes(vectors[:100]), models, threads, 0.0)
        click.echo(f"compiling, once for each installation: {compile_s:.0f} s")
        for distance in min_dist:
            line, latency = measure_ours(vectors, size, models, threads, distance)
            lines.append(line)
            click.echo(
                f"min_dist={distance:g}: first projection of a new worker {latency.first_ms:.0f} ms, "
                f"later ones {latency.again_ms:.1f} ms, in batches {latency.batch_ms_per_image:.2f} ms an image"
            )
        if notebook:
            lines.append(in_own_process(vectors, size))
    show(lines)


def show(lines: list[Line]) -> None:
    """Print the table, and the ratios to the notebook when it ran."""
    click.echo(f"{'':<22}{'n_neighbors':>12}{'seconds':>9}{'MiB':>7}{'fitted':>8}{'held out':>10}")
    for line in lines:
        click.echo(
            f"{line.name:<22}{line.n_neighbors:>12}{line.seconds:>9.1f}{line.peak_mib:>7.0f}"
            f"{line.fitted_recall:>8.3f}{line.held_out_recall:>10.3f}"
        )
    click.echo(f"(share of the {SCORING_K} true nearest within the nearest {NEIGHBORHOOD_SHARE:.0%} of the map)")
    *ours, last = lines
    if ours and last.name == "notebook":
        for line in ours:
            faster, leaner = last.seconds / line.seconds, last.peak_mib / line.peak_mib
            click.echo(f"{line.name}: {faster:.1f} x faster, {leaner:.1f} x less memory")


def measure_ours(
    vectors: NDArray[np.uint8], size: int, models: Path, threads: int, min_dist: float
) -> tuple[Line, Latency]:
    """Tune, fit and project as the daemon does."""
    ours = codes(vectors)
    started = time.perf_counter()
    result = fit(ours[:size], models, threads, min_dist)
    seconds = time.perf_counter() - started
    report = result.report
    projector = Projector(models, report.artifact, report.sha256, idle_s=TIMEOUT_S, threads=threads)
    try:
        held_out = ours[size:]
        latency = measure_latency(projector, held_out)
        positions = projector.project(held_out, TIMEOUT_S)
    finally:
        projector.close()
    recalls = both_recalls(to_points(ours[:size]), to_points(held_out), result.positions, positions)
    line = Line(f"ours, min_dist={min_dist:g}", report.n_neighbors, seconds, report.peak_mib, *recalls)
    return line, latency


def measure_latency(projector: Projector, ours: NDArray[np.float32]) -> Latency:
    """Project one code with a new worker, single ones with a warm worker, and all at once."""
    first_s = timed(projector.project, ours[:1], TIMEOUT_S)
    again_s = [timed(projector.project, code[np.newaxis], TIMEOUT_S) for code in ours[:SINGLE_QUERIES]]
    batch_s = timed(projector.project, ours, TIMEOUT_S)
    return Latency(first_s * 1e3, statistics.median(again_s) * 1e3, batch_s * 1e3 / len(ours))


def fit(ours: NDArray[np.float32], models: Path, threads: int, min_dist: float) -> FitResult:
    """Wait for a fit."""
    settings = FitSettings(COMPONENTS, SEED, threads, CODE_VERSION, min_dist=min_dist)
    running = Fit.start(ours, models, settings)
    while not isinstance(news := running.poll(TIMEOUT_S), FitResult):
        pass
    return news


def in_own_process(vectors: NDArray[np.uint8], size: int) -> Line:
    """Run the notebook's procedure where its memory can be told from ours."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(measure_notebook, vectors, size).result()


def measure_notebook(vectors: NDArray[np.uint8], size: int) -> Line:
    """Fit each candidate on the grey numbers, score each over everything, keep the best."""
    warnings.simplefilter("ignore")
    grey: NDArray[np.float32] = (vectors / 255).astype(np.float32)
    fitted, held_out = grey[:size], grey[size:]
    started = time.perf_counter()
    best, best_trust = None, -1.0
    for n_neighbors in candidate_neighbors(size):
        candidate = umap.UMAP(
            n_neighbors=n_neighbors, n_components=COMPONENTS, min_dist=0.0, random_state=SEED, n_jobs=1
        ).fit(fitted)
        trust = trustworthiness(fitted, candidate.embedding_, n_neighbors=SCORING_K)
        if trust > best_trust:
            best, best_trust = candidate, trust
    assert best is not None
    seconds, peak = time.perf_counter() - started, peak_mib()
    recalls = both_recalls(fitted, held_out, best.embedding_, best.transform(held_out))
    return Line("notebook", best.n_neighbors, seconds, peak, *recalls)


def both_recalls(
    points: NDArray[np.float32],
    held_out: NDArray[np.float32],
    positions: NDArray[np.float32],
    projected: NDArray[np.float32],
) -> tuple[float, float]:
    """Return the share of the true nearest in the map's neighbourhood, for fitted and for held-out images."""
    own = np.arange(0, len(points), max(1, len(points) // HELD_OUT))
    width = max(SCORING_K, round(NEIGHBORHOOD_SHARE * len(points)))
    search = NearestNeighbors(n_neighbors=SCORING_K + 1, algorithm="brute").fit(points)
    others = search.kneighbors(points[own], return_distance=False)
    true_ids = np.array([row[row != me][:SCORING_K] for row, me in zip(others, own, strict=True)], np.int32)
    held_out_ids = search.kneighbors(held_out, SCORING_K, return_distance=False).astype(np.int32)
    return (
        neighbor_recall(positions, positions[own], true_ids, own=own, width=width),
        neighbor_recall(positions, projected, held_out_ids, width=width),
    )


def timed(call: Callable[..., object], *arguments: object) -> float:
    """Return how many seconds a call takes."""
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


def photographs(folder: Path) -> list[Image.Image]:
    """Return shrunk grey photographs of `folder`, or scikit-learn's two."""
    if not folder.is_dir():
        return [Image.fromarray(image).convert("L") for image in load_sample_images().images]
    shrunk = []
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as image:
            image.draft("L", (SHRUNK_PX, SHRUNK_PX))
            shrunk.append(image.convert("L"))
    return shrunk


def random_crops(pictures: list[Image.Image], count: int) -> NDArray[np.uint8]:
    """Return vectors of random crops of 30 to 90 % of each side; (count, 4096) uint8."""
    draw = np.random.default_rng(SEED)
    vectors = np.empty((count, SIDE_PX, SIDE_PX), np.uint8)
    for row in range(count):
        picture = pictures[draw.integers(len(pictures))]
        size = np.array(picture.size)
        sides = size * draw.uniform(0.3, 0.9, 2)
        corner = (size - sides) * draw.uniform(0, 1, 2)
        box = (*corner, *(corner + sides))
        vectors[row] = np.asarray(picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS, box=box))
    return vectors.reshape(count, -1)
