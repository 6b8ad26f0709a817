"""A fit from codes to artifact: graph, tuning, map, flat map, files.

In: a folder with codes and ids, settings.  Out: the artifact, and what the daemon wants to know of it.  Each stage
leaves a file, and a fit that was killed resumes behind the last (`stages`).  Never here: frames, when to fit.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import umap
from numpy.typing import NDArray

from cbir_daemon.errors import ModelError
from cbir_daemon.map import artifact, graph, trials, tuning
from cbir_daemon.map.cluster import Cluster, Warn
from cbir_daemon.map.fit import (
    FEWEST_IMAGES,
    NAMES_FILE,
    ROUGH_COMPONENTS,
    ROUGH_IMAGES,
    ROUGH_NEIGHBORS,
    FitSettings,
    Previous,
    Stage,
)
from cbir_daemon.map.graph import Graph
from cbir_daemon.map.layout import Progress, Recipe, fit_graph, flatten, lay_out, only_for_projecting, project
from cbir_daemon.map.memory import affordable_images, available_mib, needed_mib, peak_mib
from cbir_daemon.map.neighbors import NEAREST, Neighbors
from cbir_daemon.map.points import Points, to_points
from cbir_daemon.map.sample import draw_rows
from cbir_daemon.map.stages import Stages
from cbir_daemon.map.trials import Trials
from cbir_daemon.map.tuning import TrialKey
from cbir_daemon.map.warm import WarmStart, carried_over
from cbir_daemon.records import Trial
from cbir_daemon.wording.counting import counted

GRAPH_FILE = "graph"
"""Below the folder of models: it outlives the fit."""

TUNE_STAGE = "tune.json"
MAP_STAGE = artifact.MODEL_FILE
FLAT_STAGE = artifact.FLAT_FILE

FIT_STEPS = 100
"""Progress within a fit, to which the map and the flat map, laid out side by side, add half each."""

CHANGE_NOTHING = ("threads", "max_memory_mib", "scheduler")
"""Settings with which a fit comes out the same."""

Tell = Callable[[Stage, int, int, str], None]


@dataclass(frozen=True, slots=True)
class FitInput:
    """The images that are fitted.

    Parameters
    ----------
    rows : (n,) ndarray of intp
        Of what was offered, ascending.
    ids : (n,) ndarray of int64
        Names of these rows.
    points : (n, f) Points
        Of their codes.
    """

    rows: NDArray[np.intp]
    ids: NDArray[np.int64]
    points: Points


class Fitting:
    """One fit.

    Parameters
    ----------
    folder : Path
        Holds the codes and their names; becomes the artifact.
    settings : FitSettings
        What to fit.
    tell : callable
        Gets stage, steps done, steps in all and a sentence.
    warn : callable
        Gets a sentence when a cluster fails.
    """

    def __init__(self, folder: Path, settings: FitSettings, tell: Tell, warn: Warn) -> None:
        self._folder = folder
        self._settings = settings
        self._tell = tell
        # A rough map is made sooner than a connection.
        self._cluster = Cluster(settings.scheduler, warn) if settings.scheduler and not settings.is_rough else None
        self._started_s = time.monotonic()

    def run(self) -> tuple[dict[str, Any], bytes]:
        """Return the message that ends the fit, and rows, positions and what else was found of them as bytes."""
        ids, previous = _read_names(self._folder / NAMES_FILE)
        images = self._load(ids)
        warm = None if previous is None else WarmStart.of(previous, images.ids)
        stages = Stages.open(self._folder.parent, self._key(images, previous if warm else None))
        with self._cluster or nullcontext():
            known = self._find_neighbors(images)
            is_tuned = warm is None and not self._settings.is_rough
            curve = self._tune(images, known, stages) if is_tuned else ()
        recipe = self._recipe(warm, curve, len(images.rows))
        # The wide lists are not needed any more.
        wide = known.neighbors(self._settings.metric)
        neighbors = wide.first(max(NEAREST, recipe.n_neighbors)).copied()
        del known, wide
        model, flat = self._fit(images.points.rows, neighbors, recipe, warm, stages)
        curve = curve or (self._score(images.points.rows, neighbors, model),)
        name, digest = self._save(images.points.rows, model, flat)
        report = {
            **asdict(tuning.choose(curve)),
            "fitted_images": len(images.rows),
            "seed": self._settings.seed,
            "duration_s": time.monotonic() - self._started_s,
            "peak_mib": peak_mib(),
            "curve": [asdict(trial) for trial in curve],
            "artifact": name,
            "sha256": digest.hex(),
        }
        parts = (images.rows.astype(np.int64), model.embedding_, flat, neighbors.first(NEAREST).distances.mean(axis=1))
        return {"report": report}, b"".join(np.ascontiguousarray(part).tobytes() for part in parts)

    def _load(self, ids: NDArray[np.int64]) -> FitInput:
        """Return the images that will be fitted.  The files may be written over afterwards."""
        codes = np.load(self._folder / artifact.CODES_FILE, mmap_mode="r")
        images, features = codes.shape
        most = min(self._settings.max_fit_images, self._affordable(features))
        if self._settings.is_rough:
            most = min(most, ROUGH_IMAGES)
        rows = draw_rows(ids, most, self._settings.seed)
        if len(rows) == images:
            return FitInput(rows, ids, to_points(codes, self._settings.metric))
        self._tell("graph", 0, 1, f"fitting a sample of {len(rows)} of {images} images")
        return FitInput(rows, ids[rows], to_points(codes[rows], self._settings.metric))

    def _affordable(self, features: int) -> int:
        limit_mib = self._settings.max_memory_mib or available_mib()
        images = affordable_images(limit_mib, features, max(tuning.N_NEIGHBORS))
        if images < FEWEST_IMAGES:
            needed = needed_mib(FEWEST_IMAGES, features, max(tuning.N_NEIGHBORS))
            raise ModelError(
                f"{limit_mib:.0f} MiB of memory are too few to fit a map",
                hint=f"at least {math.ceil(needed)} MiB are needed",
            )
        return images

    def _key(self, images: FitInput, previous: Previous | None) -> str:
        """Return the key of the fit: two fits with equal keys give the same map."""
        settings = {name: value for name, value in asdict(self._settings).items() if name not in CHANGE_NOTHING}
        facts = [artifact.MODEL_VERSION, artifact.running_versions(), settings, graph.is_exact(len(images.rows))]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for part in (images.ids, images.points.rows, *(astuple(previous) if previous else ())):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def _find_neighbors(self, images: FitInput) -> Graph:
        """Bring the graph of the fit before up to date, and keep it; that of a rough map, a small one, is made anew."""
        path = self._folder.parent / GRAPH_FILE
        count = len(images.rows)
        self._tell("graph", 0, 1, f"finding the neighbours of {counted(count, 'image')}")

        def progress(done: int, total: int) -> None:
            self._tell("graph", done, total, f"found the neighbours of {done} of {total} images that are new")

        old = None if self._settings.is_rough else Graph.load(path)
        settings = self._settings
        known = graph.updated(
            old,
            images.ids,
            images.points,
            seed=settings.seed,
            threads=settings.threads,
            progress=progress,
            cluster=self._cluster,
        )
        if not settings.is_rough and (old is None or not known.equals(old)):
            known.save(path)
        return known

    def _tune(self, images: FitInput, known: Graph, stages: Stages) -> tuple[Trial, ...]:
        """Return the curve; each score is kept as soon as it is there."""
        settings = self._settings
        fitted = len(tuning.split(len(images.rows), settings.tune_images, settings.seed)[0])
        scores: list[list[Any]] = json.loads(stages.load(TUNE_STAGE) or b"[]")
        ready = {TrialKey(*row[:3]): Trial(row[0], row[1], row[3], row[4]) for row in scores}
        prepared: list[Trials] = []

        def scored(keys: Sequence[TrialKey]) -> Iterator[Trial]:
            if keys and not prepared:
                prepared.append(Trials.of(known, images.points, settings, self._cluster))
            for key, found in zip(keys, prepared[0].run(keys) if keys else (), strict=True):
                scores.append([*key, found.trustworthiness, found.neighbor_recall])
                stages.keep(TUNE_STAGE, json.dumps(scores).encode())
                yield found

        def progress(done: int, total: int, message: str) -> None:
            self._tell("tune", done, total, message)

        dimensions = (settings.n_components,) if settings.n_components else tuning.N_COMPONENTS
        return tuning.Search(tuning.candidate_neighbors(fitted), dimensions, scored, progress, ready).run()

    def _recipe(self, warm: WarmStart | None, curve: Sequence[Trial], images: int) -> Recipe:
        settings = self._settings
        if settings.is_rough:
            n_neighbors = min(ROUGH_NEIGHBORS, images - 1)
            n_components = settings.n_components or ROUGH_COMPONENTS
            return Recipe(n_neighbors, n_components, settings.seed, settings.min_dist, trials.EPOCHS)
        chosen = warm or tuning.choose(curve)
        recipe = Recipe(chosen.n_neighbors, chosen.n_components, settings.seed, settings.min_dist)
        return recipe.with_care(images)

    def _fit(
        self,
        points: NDArray[np.float32],
        neighbors: Neighbors,
        recipe: Recipe,
        warm: WarmStart | None,
        stages: Stages,
    ) -> tuple[umap.UMAP, NDArray[np.float32]]:
        """Fit the chosen map of all images, and the flat map of the same graph, side by side."""
        saved_map, saved_flat = stages.load(MAP_STAGE), stages.load(FLAT_STAGE)
        if saved_map is not None:
            self._tell("fit", FIT_STEPS // 2, FIT_STEPS, "taking up the map of the fit that was broken off")
        model = fit_graph(neighbors, recipe) if saved_map is None else joblib.load(io.BytesIO(saved_map))
        progress = _Shares(self._tell, len(points))

        def start(positions: NDArray[np.float32]) -> NDArray[np.float32]:
            assert warm is not None
            return carried_over(warm.rows, positions, neighbors, recipe.seed)

        def fitted() -> umap.UMAP:
            if saved_map is None:
                first = None if warm is None else start(warm.positions)
                lay_out(model, points, start=first, progress=progress.of("map"))
                stages.keep(MAP_STAGE, _pickled(model))
            return model

        def flattened() -> NDArray[np.float32]:
            if saved_flat is not None:
                return np.asarray(np.load(io.BytesIO(saved_flat), allow_pickle=False))
            first = None if warm is None else start(warm.flat)
            flat = flatten(model, points, start=first, progress=progress.of("flat map"))
            stages.keep(FLAT_STAGE, _saved(flat))
            return flat

        with ThreadPoolExecutor(min(2, self._settings.threads)) as threads:
            halves = threads.submit(fitted), threads.submit(flattened)
            return halves[0].result(), halves[1].result()

    def _score(self, points: NDArray[np.float32], neighbors: Neighbors, model: umap.UMAP) -> Trial:
        """Score a map of a fit that held no image out: a sample is projected anew, each image without itself."""
        size, seed = self._settings.score_sample, self._settings.seed
        scorer = tuning.Scorer.prepare(points, neighbors, None, size=size, seed=seed)
        sampled = Neighbors(neighbors.ids[scorer.sample], neighbors.distances[scorer.sample])
        projected = project(model, sampled.first(model.n_neighbors))
        return scorer.score(model.embedding_, projected, model.n_neighbors)

    def _save(self, points: NDArray[np.float32], model: umap.UMAP, flat: NDArray[np.float32]) -> tuple[str, bytes]:
        self._tell("save", 0, 1, "saving the map")
        with artifact.new_file(self._folder / artifact.CODES_FILE) as file:
            artifact.save_array(file, points)
        with artifact.new_file(self._folder / artifact.POSITIONS_FILE) as file:
            artifact.save_array(file, model.embedding_)
        with artifact.new_file(self._folder / artifact.FLAT_FILE) as file:
            artifact.save_array(file, flat)
        with artifact.new_file(self._folder / artifact.MODEL_FILE) as file:
            joblib.dump(only_for_projecting(model), file)
        parameters = {
            "images": len(points),
            "min_dist": model.min_dist,
            "n_components": model.n_components,
            "n_neighbors": model.n_neighbors,
            "seed": self._settings.seed,
        }
        (self._folder / NAMES_FILE).unlink()
        settings = self._settings
        return artifact.seal(self._folder, settings.code_version, parameters, settings.metric)


class _Shares:
    """The progress of the two halves of a fit, as one."""

    def __init__(self, tell: Tell, images: int) -> None:
        self._tell = tell
        self._images = images
        # Two threads tell, and what is told goes into one stream.
        self._lock = threading.Lock()
        self._done: dict[str, float] = {}

    def of(self, name: str) -> Progress:
        """Return the function that takes the epochs of a half."""

        def progress(epochs: int, of: int) -> None:
            with self._lock:
                self._done[name] = epochs / of
                steps = int(FIT_STEPS / 2 * sum(self._done.values()))
                message = f"fitting the {name} of {self._images} images: {epochs} of {of} epochs"
                self._tell("fit", steps, FIT_STEPS, message)

        return progress


def _read_names(path: Path) -> tuple[NDArray[np.int64], Previous | None]:
    with np.load(path, allow_pickle=False) as named:
        if "previous_ids" not in named:
            return named["ids"], None
        numbers = (int(named[f"previous_{name}"]) for name in ("n_neighbors", "n_components"))
        arrays = (named[f"previous_{name}"] for name in ("ids", "positions", "flat"))
        return named["ids"], Previous(*arrays, *numbers)


def _pickled(model: umap.UMAP) -> bytes:
    stream = io.BytesIO()
    joblib.dump(model, stream)
    return stream.getvalue()


def _saved(array: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
