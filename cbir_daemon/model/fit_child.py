"""The process that fits a map: graph, tuning, fit, artifact.

In: one frame that names a folder with the codes and their ids, and carries the settings.  Out: frames of progress, then
the report with rows, positions and what else was found, or the sentence that says why there is no map.  Never here:
choosing when to fit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import umap
from numpy.typing import NDArray

from cbir_daemon.child import Channel, serve
from cbir_daemon.errors import CbirError, ModelError
from cbir_daemon.model import artifact, tuning
from cbir_daemon.model.fit import FEWEST_IMAGES, NAMES_FILE, FitSettings, Previous, Stage
from cbir_daemon.model.layout import Recipe, carried_over, fit_map, flatten, project
from cbir_daemon.model.memory import affordable_images, available_mib, needed_mib, peak_mib
from cbir_daemon.model.neighbors import NEAREST, Neighbors, nearest, nearest_others, to_points
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import Candidate

NICE = 19

FIT_STEPS = 100
"""Progress within a fit: one half is the map, the other the flat one."""

Tell = Callable[[Stage, int, int, str], None]


class Fitting:
    """One fit from codes to artifact.

    Parameters
    ----------
    folder : Path
        Holds `codes.npy`; becomes the artifact.
    settings : FitSettings
        What to fit.
    tell : callable
        Gets stage, steps done, steps in all and a sentence.
    """

    def __init__(self, folder: Path, settings: FitSettings, tell: Tell) -> None:
        self._folder = folder
        self._settings = settings
        self._tell = tell
        self._started_s = time.monotonic()

    def run(self) -> tuple[dict[str, Any], bytes]:
        """Return the message that ends the fit, and rows, positions and what else was found of them as bytes."""
        rows, points = self._load()
        warm = None if self._previous is None else WarmStart.of(self._previous, self._ids[rows])
        curve = tuple(self._tune(points)) if warm is None else ()
        recipe = self._recipe(tuning.choose(curve)) if warm is None else self._recipe(warm)
        neighbors = self._find_neighbors(points, recipe.n_neighbors)
        model, flat = self._fit(points, neighbors, recipe, warm)
        curve = curve or (self._judge(points, neighbors, model),)
        name, digest = self._save(points, model, flat)
        report = {
            **asdict(tuning.choose(curve)),
            "fitted_images": len(rows),
            "seed": self._settings.seed,
            "duration_s": time.monotonic() - self._started_s,
            "peak_mib": peak_mib(),
            "curve": [asdict(candidate) for candidate in curve],
            "artifact": name,
            "sha256": digest.hex(),
        }
        parts = (rows.astype(np.int64), model.embedding_, flat, neighbors.first(NEAREST).distances.mean(axis=1))
        return {"report": report}, b"".join(np.ascontiguousarray(part).tobytes() for part in parts)

    def _load(self) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Return the rows to be fitted and their points.  The files may be written over afterwards."""
        self._ids, self._previous = _read_names(self._folder / NAMES_FILE)
        codes = np.load(self._folder / artifact.CODES_FILE, mmap_mode="r")
        images, features = codes.shape
        most = min(self._settings.max_fit_images, self._affordable(features))
        rows = draw_rows(self._ids, most, self._settings.seed)
        if len(rows) == images:
            return rows, to_points(codes)
        self._tell("graph", 0, 1, f"fitting a sample of {len(rows)} of {images} images")
        return rows, to_points(codes[rows])

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

    def _tune(self, points: NDArray[np.float32]) -> Iterator[Candidate]:
        """Try `n_neighbors` at one number of dimensions, then the other numbers with the winner."""
        trials = Trials(points, self._settings, self._tell)
        n_components = self._settings.n_components
        tried_first = n_components or tuning.COMPONENTS_TUNED_FIRST
        todo = [(n, tried_first) for n in trials.candidates]
        later = 0 if n_components else len(tuning.N_COMPONENTS) - 1
        curve: list[Candidate] = []
        while todo:
            total = len(curve) + len(todo) + later
            self._tell("tune", len(curve), total, f"trying n_neighbors={todo[0][0]}, n_components={todo[0][1]}")
            curve.append(trials.run(*todo.pop(0)))
            yield curve[-1]
            if later and not todo:
                winner = tuning.choose(curve).n_neighbors
                todo, later = [(winner, n) for n in tuning.N_COMPONENTS if n != tried_first], 0

    def _recipe(self, chosen: Candidate | WarmStart) -> Recipe:
        return Recipe(chosen.n_neighbors, chosen.n_components, self._settings.seed, self._settings.min_dist)

    def _find_neighbors(self, points: NDArray[np.float32], n_neighbors: int) -> Neighbors:
        width = min(len(points) - 1, max(n_neighbors, NEAREST))
        self._tell("fit", 0, FIT_STEPS, f"finding the {width} neighbours of each of {len(points)} images")
        return nearest_others(points, width)

    def _fit(
        self, points: NDArray[np.float32], neighbors: Neighbors, recipe: Recipe, warm: WarmStart | None
    ) -> tuple[umap.UMAP, NDArray[np.float32]]:
        """Fit the chosen map of all rows, and the flat one."""
        images, before = len(points), FIT_STEPS // 2

        def told_map(epochs: int, of: int) -> None:
            steps = before * epochs // of
            self._tell("fit", steps, FIT_STEPS, f"fitting the map of {images} images: {epochs} of {of} epochs")

        def told_flat(epochs: int, of: int) -> None:
            steps = before + before * epochs // of
            self._tell("fit", steps, FIT_STEPS, f"fitting the flat map: {epochs} of {of} epochs")

        seed = self._settings.seed
        starts = (None, None) if warm is None else warm.starts(neighbors, seed)
        model = fit_map(points, neighbors, recipe, start=starts[0], told=told_map)
        return model, flatten(model, points, start=starts[1], told=told_flat)

    def _judge(self, points: NDArray[np.float32], neighbors: Neighbors, model: umap.UMAP) -> Candidate:
        """Score a map of all rows, on which nobody was held out: the sample is projected anew, each without itself."""
        size, seed = self._settings.score_sample, self._settings.seed
        judge = tuning.Judge.prepare(points, neighbors, None, size=size, seed=seed)
        sampled = Neighbors(neighbors.ids[judge.sample], neighbors.distances[judge.sample])
        projected = project(model, sampled.first(model.n_neighbors))
        return judge.score(model.embedding_, projected, model.n_neighbors)

    def _save(self, points: NDArray[np.float32], model: umap.UMAP, flat: NDArray[np.float32]) -> tuple[str, bytes]:
        self._tell("save", 0, 1, "saving the map")
        with artifact.new_file(self._folder / artifact.CODES_FILE) as file:
            np.save(file, points)
        with artifact.new_file(self._folder / artifact.FLAT_FILE) as file:
            np.save(file, flat)
        with artifact.new_file(self._folder / artifact.MODEL_FILE) as file:
            joblib.dump(model, file)
        parameters = {
            "images": len(points),
            "min_dist": model.min_dist,
            "n_components": model.n_components,
            "n_neighbors": model.n_neighbors,
            "seed": self._settings.seed,
        }
        (self._folder / NAMES_FILE).unlink()
        return artifact.seal(self._folder, self._settings.code_version, parameters)


@dataclass(frozen=True, slots=True)
class WarmStart:
    """The part of the map before that goes on.

    Parameters
    ----------
    rows : (m,) ndarray of intp
        Rows that it had, ascending.
    positions : (m, d) ndarray of float32
    flat : (m, 2) ndarray of float32
    n_neighbors, n_components : int
        Hyper-parameters of the map before.
    """

    rows: NDArray[np.intp]
    positions: NDArray[np.float32]
    flat: NDArray[np.float32]
    n_neighbors: int
    n_components: int

    @classmethod
    def of(cls, previous: Previous, ids: NDArray[np.int64]) -> WarmStart | None:
        """Return what the rows named by `ids` have of the map before; None when there is nothing."""
        _, old, rows = np.intersect1d(previous.ids, ids, assume_unique=True, return_indices=True)
        if not len(rows):
            return None
        n_neighbors = min(previous.n_neighbors, len(ids) - 1)
        return cls(rows, previous.positions[old], previous.flat[old], n_neighbors, previous.n_components)

    def starts(self, neighbors: Neighbors, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return where the map and the flat map start."""
        return (
            carried_over(self.rows, self.positions, neighbors, seed),
            carried_over(self.rows, self.flat, neighbors, seed),
        )


class Trials:
    """Candidates fitted and scored on one sample, which share one graph of the largest k.

    Parameters
    ----------
    points : (n, f) ndarray of float32
        Unit rows; a sample of them is fitted, another held out and projected.
    settings : FitSettings
        Sizes of the samples, and the seed.
    tell : callable
        Gets the progress of the graph.
    """

    def __init__(self, points: NDArray[np.float32], settings: FitSettings, tell: Tell) -> None:
        fitted_rows, held_out_rows = tuning.split(len(points), settings.tune_images, settings.seed)
        images = len(fitted_rows)
        self.candidates = tuning.candidate_neighbors(images)
        self._settings = settings
        self._points = points[fitted_rows]
        width = min(images - 1, max(*self.candidates, tuning.SCORING_K))
        self._neighbors = nearest_others(
            self._points, width, lambda done: tell("graph", done, images, f"found the neighbours of {done} images")
        )
        self._held_out = nearest(self._points, points[held_out_rows], width)
        self._judge = tuning.Judge.prepare(
            self._points, self._neighbors, self._held_out, size=settings.score_sample, seed=settings.seed
        )

    def run(self, n_neighbors: int, n_components: int) -> Candidate:
        """Fit and score one candidate."""
        recipe = Recipe(n_neighbors, n_components, self._settings.seed, self._settings.min_dist)
        model = fit_map(self._points, self._neighbors, recipe)
        projected = project(model, self._held_out.first(n_neighbors))
        return self._judge.score(model.embedding_, projected, n_neighbors)


def draw_rows(ids: NDArray[np.int64], most: int, seed: int) -> NDArray[np.intp]:
    """Return all rows, or `most` of them drawn uniformly; ascending.

    Notes
    -----
    Each id has its lot, whatever other ids there are: a collection that grows keeps most of its sample, and with it
    what is known of its neighbours.

    References
    ----------
    G. L. Steele, D. Lea, C. H. Flood: Fast splittable pseudorandom number generators. OOPSLA 2014 (the mixing).
    """
    if len(ids) <= most:
        return np.arange(len(ids))
    lots = (ids.astype(np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        lots = (lots ^ (lots >> np.uint64(shift))) * np.uint64(factor)
    lots ^= lots >> np.uint64(31)
    return np.sort(np.argsort(lots, kind="stable")[:most])


def _read_names(path: Path) -> tuple[NDArray[np.int64], Previous | None]:
    with np.load(path, allow_pickle=False) as named:
        if "previous_ids" not in named:
            return named["ids"], None
        numbers = (int(named[f"previous_{name}"]) for name in ("n_neighbors", "n_components"))
        arrays = (named[f"previous_{name}"] for name in ("ids", "positions", "flat"))
        return named["ids"], Previous(*arrays, *numbers)


def answer(frame: Frame, channel: Channel) -> None:
    """Fit what the frame asks for; the daemon ends the process."""
    settings = FitSettings(**frame.message["settings"])

    def tell(stage: Stage, done: int, total: int, message: str) -> None:
        channel.send({"stage": stage, "done": done, "total": total, "message": message})

    try:
        message, blob = Fitting(Path(frame.message["folder"]), settings, tell).run()
    except CbirError as error:
        channel.send({"failed": error.message, "hint": error.hint})
    except MemoryError:
        channel.send({"failed": "not enough memory to fit the map", "hint": "lower max_fit_images"})
    else:
        channel.send(message, blob)


if __name__ == "__main__":
    serve(answer, nice=NICE)
