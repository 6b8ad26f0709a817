"""The process that fits a map: graph, tuning, fit, artifact.

In: one frame that names a folder with `codes.npy` and carries the settings.  Out: frames of progress, then the report
with rows and positions, or the sentence that says why there is no map.  Never here: choosing when to fit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import umap
from numpy.typing import NDArray

from cbir_daemon.child import Channel, serve
from cbir_daemon.errors import CbirError, ModelError
from cbir_daemon.model import artifact, tuning
from cbir_daemon.model.fit import FEWEST_IMAGES, FitSettings, Stage
from cbir_daemon.model.layout import fit_map, project
from cbir_daemon.model.memory import affordable_images, available_mib, needed_mib, peak_mib
from cbir_daemon.model.neighbors import Neighbors, nearest, nearest_others, to_points
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import Candidate

NICE = 19

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
        """Return the message that ends the fit, and rows and positions as bytes."""
        rows, points = self._load()
        curve = tuple(self._tune(points))
        chosen = tuning.choose(curve)
        model = self._fit(points, chosen)
        name, digest = self._save(points, model)
        report = {
            **asdict(chosen),
            "fitted_images": len(rows),
            "seed": self._settings.seed,
            "duration_s": time.monotonic() - self._started_s,
            "peak_mib": peak_mib(),
            "curve": [asdict(candidate) for candidate in curve],
            "artifact": name,
            "sha256": digest.hex(),
        }
        positions = np.ascontiguousarray(model.embedding_, dtype=np.float32)
        return {"report": report}, rows.astype(np.int64).tobytes() + positions.tobytes()

    def _load(self) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Return the rows to be fitted and their points.  The file may be written over afterwards."""
        codes = np.load(self._folder / artifact.CODES_FILE, mmap_mode="r")
        images, features = codes.shape
        most = min(self._settings.max_fit_images, self._affordable(features))
        rows = draw_rows(images, most, self._settings.seed)
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

    def _fit(self, points: NDArray[np.float32], chosen: Candidate) -> umap.UMAP:
        """Fit the chosen map of all rows."""
        images = len(points)
        self._tell("fit", 0, 2, f"finding the {chosen.n_neighbors} neighbours of each of {images} images")
        neighbors = nearest_others(points, chosen.n_neighbors)
        self._tell("fit", 1, 2, f"fitting the map of {images} images in {chosen.n_components} dimensions")
        return fit_chosen(points, neighbors, chosen.n_neighbors, chosen.n_components, self._settings)

    def _save(self, points: NDArray[np.float32], model: umap.UMAP) -> tuple[str, bytes]:
        self._tell("save", 0, 1, "saving the map")
        with artifact.new_file(self._folder / artifact.CODES_FILE) as file:
            np.save(file, points)
        with artifact.new_file(self._folder / artifact.MODEL_FILE) as file:
            joblib.dump(model, file)
        parameters = {
            "images": len(points),
            "min_dist": model.min_dist,
            "n_components": model.n_components,
            "n_neighbors": model.n_neighbors,
            "seed": self._settings.seed,
        }
        return artifact.seal(self._folder, self._settings.code_version, parameters)


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
        model = fit_chosen(self._points, self._neighbors, n_neighbors, n_components, self._settings)
        projected = project(model, self._held_out.first(n_neighbors))
        return self._judge.score(model.embedding_, projected, n_neighbors)


def fit_chosen(
    points: NDArray[np.float32], neighbors: Neighbors, n_neighbors: int, n_components: int, settings: FitSettings
) -> umap.UMAP:
    """Fit a map with what the settings say and the two hyper-parameters that they leave open."""
    return fit_map(
        points,
        neighbors,
        n_neighbors=n_neighbors,
        n_components=n_components,
        min_dist=settings.min_dist,
        seed=settings.seed,
    )


def draw_rows(images: int, most: int, seed: int) -> NDArray[np.intp]:
    """Return all rows, or `most` of them drawn without replacement; ascending."""
    if images <= most:
        return np.arange(images)
    return np.sort(np.random.default_rng(seed).choice(images, most, replace=False))


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
