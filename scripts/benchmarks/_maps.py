"""What the benchmarks of the map share: crops of photographs, fits followed stage by stage, shares of neighbours kept.

In: photographs.  Out: vectors, results with what each stage took.  Never here: what is compared with what.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.neighbors import NearestNeighbors

from cbir_daemon.map import Fit, FitProgress, FitResult, FitSettings, Previous
from cbir_daemon.map.memory import peak_mib
from cbir_daemon.map.neighbors import NEAREST
from cbir_daemon.map.quality import recall
from cbir_daemon.matching.codes import CODE_VERSION
from cbir_daemon.medium import Metric

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos"
SEED = 1
LOOKED_AT = 500
SHRUNK_PX = 256
SIDE_PX = 64
TIMEOUT_S = 3600.0


@dataclass
class Followed:
    """A fit, and for each stage its seconds by the clock and of the processor, and the largest memory up to its end.

    Parameters
    ----------
    result : FitResult
    seconds, cpu_s, peak_mib : dict
        By stage.
    """

    result: FitResult
    seconds: dict[str, float]
    cpu_s: dict[str, float]
    peak_mib: dict[str, float]

    @property
    def total_s(self) -> float:
        """All stages, with the start of the process."""
        return sum(self.seconds.values())


def fit(
    codes: NDArray[np.float32],
    models: Path,
    *,
    threads: int,
    n_components: int | None,
    min_dist: float = 0.0,
    ids: NDArray[np.int64] | None = None,
    previous: Previous | None = None,
    code_version: str = CODE_VERSION,
    metric: Metric = Metric.COSINE,
) -> Followed:
    """Fit as the daemon does, and measure each stage.

    Parameters
    ----------
    codes : (n, 256) ndarray of float32
        As `matching.codes` returns them.
    models : Path
        Folder in which the map is written.
    threads : int
    n_components : int or None
        Dimensions of the map; None to have them tuned.
    min_dist : float
        As UMAP takes it.
    ids : (n,) ndarray of int64, optional
        Content ids of the rows, ascending; without them the row numbers.
    previous : Previous, optional
        The map from which a warm fit begins; without it the fit is cold.
    code_version : str
        How the codes were made.
    metric : Metric
        How far apart they are.
    """
    settings = FitSettings(n_components, SEED, threads, code_version, min_dist=min_dist, metric=metric)
    at = time.perf_counter()
    running = Fit.start(codes, models, settings, ids=ids, previous=previous)
    status = Path(f"/proc/{running.process_id}/status")
    stage, used_s = "start", 0.0
    seconds, cpu_s, peaks = defaultdict[str, float](float), defaultdict[str, float](float), dict[str, float]()
    while not isinstance(news := running.poll(TIMEOUT_S), FitResult):
        assert isinstance(news, FitProgress), f"instead of progress within an hour: {news}"
        # What came before the news belongs to the stage before.
        now, cpu_now_s = time.perf_counter(), running.cpu_s
        seconds[stage] += now - at
        cpu_s[stage] += cpu_now_s - used_s
        peaks[stage] = peak_mib(status)
        stage, at, used_s = news.stage, now, cpu_now_s
    seconds[stage] += time.perf_counter() - at
    peaks[stage] = news.report.peak_mib
    return Followed(news, seconds, cpu_s, peaks)


def kept(
    points: NDArray[np.float32],
    held_out: NDArray[np.float32],
    positions: NDArray[np.float32],
    projected: NDArray[np.float32],
) -> tuple[float, float]:
    """Return the share of the true nearest in the map's neighbourhood, for fitted and for held-out images.

    Parameters
    ----------
    points : (n, f) ndarray of float32
        What the map was fitted on.
    held_out : (m, f) ndarray of float32
        What it was not fitted on.
    positions : (n, d) ndarray of float32
        Of `points` on the map.
    projected : (m, d) ndarray of float32
        Of `held_out` on the map.

    Returns
    -------
    fitted, held out : float
        Mean recall of the `NEAREST` by Euclidean distance, in [0, 1]; some `LOOKED_AT` of the fitted are asked about.
    """
    own = np.arange(0, len(points), max(1, len(points) // LOOKED_AT))
    search = NearestNeighbors(n_neighbors=NEAREST + 1, algorithm="brute").fit(points)
    others = search.kneighbors(points[own], return_distance=False)
    true_ids = np.array([row[row != me][:NEAREST] for row, me in zip(others, own, strict=True)], np.int32)
    held_out_ids = search.kneighbors(held_out, NEAREST, return_distance=False).astype(np.int32)
    return (
        float(recall(positions, positions[own], true_ids, own=own).mean()),
        float(recall(positions, projected, held_out_ids).mean()),
    )


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
