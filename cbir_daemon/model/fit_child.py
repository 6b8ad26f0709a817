"""The process that fits a map: graph, tuning, fit, artifact.

In: one frame that names a folder with `codes.npy` and carries the settings.  Out: frames of progress, then the report
with rows and positions, or the sentence that says why there is no map.  Never here: choosing when to fit.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import umap
from numpy.typing import NDArray

from cbir_daemon.child import Channel, serve
from cbir_daemon.errors import CbirError
from cbir_daemon.model import artifact, tuning
from cbir_daemon.model.fit import FitSettings
from cbir_daemon.model.layout import fit_map, project
from cbir_daemon.model.neighbors import Neighbors, nearest, nearest_others, to_points
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import Candidate

NICE = 19
KIB = 1024


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

    def __init__(self, folder: Path, settings: FitSettings, tell: Callable[[str, int, int, str], None]) -> None:
        self._folder = folder
        self._settings = settings
        self._tell = tell
        self._started_s = time.monotonic()

    def run(self) -> tuple[dict[str, Any], bytes]:
        """Return the message that ends the fit, and rows and positions as bytes."""
        codes = np.load(self._folder / artifact.CODES_FILE)
        rows = self._choose_rows(codes)
        points = to_points(codes[rows])
        neighbors = self._find_neighbors(points)
        chosen, curve, model = self._tune(points, neighbors)
        self._tell("fit", 1, 1, f"map of {len(rows)} images fitted")
        parameters = {
            "n_neighbors": chosen.n_neighbors,
            "n_components": chosen.n_components,
            "seed": self._settings.seed,
            "images": len(rows),
        }
        self._tell("save", 0, 1, "saving the map")
        name, digest = self._save(points, model, parameters)
        message = {
            "report": {
                **asdict(chosen),
                "fitted_images": len(rows),
                "seed": self._settings.seed,
                "duration_s": time.monotonic() - self._started_s,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB,
                "curve": [asdict(candidate) for candidate in curve],
                "artifact": name,
                "sha256": digest.hex(),
            }
        }
        positions = np.ascontiguousarray(model.embedding_, dtype=np.float32)
        return message, rows.astype(np.int64).tobytes() + positions.tobytes()

    def _choose_rows(self, codes: NDArray[np.float32]) -> NDArray[np.intp]:
        rows = np.arange(len(codes))
        if len(rows) <= self._settings.max_fit_images:
            return rows
        drawn = np.random.default_rng(self._settings.seed).choice(rows, self._settings.max_fit_images, replace=False)
        return np.sort(drawn)

    def _find_neighbors(self, points: NDArray[np.float32]) -> Neighbors:
        n = len(points)
        width = min(n - 1, max(*tuning.candidate_neighbors(n), tuning.SCORING_K))
        return nearest_others(
            points, width, lambda done: self._tell("graph", done, n, f"neighbours of {done} of {n} images")
        )

    def _tune(self, points: NDArray[np.float32], neighbors: Neighbors) -> tuple[Candidate, list[Candidate], umap.UMAP]:
        judge = tuning.Judge.prepare(points, neighbors, self._settings.score_sample, self._settings.seed)
        curve: list[Candidate] = []
        best: umap.UMAP | None = None
        trials = self._trials(len(points))
        while trials:
            n_neighbors, n_components = trials.pop(0)
            model = fit_map(
                points, neighbors, n_neighbors=n_neighbors, n_components=n_components, seed=self._settings.seed
            )
            curve.append(judge.score(model.embedding_, n_neighbors))
            if tuning.choose(curve) is curve[-1]:
                best = model
            if not trials and self._settings.n_components is None and n_components == tuning.TUNED_FIRST:
                winner = tuning.choose(curve).n_neighbors
                trials = [(winner, n) for n in tuning.N_COMPONENTS if n != tuning.TUNED_FIRST]
            self._tell("tune", len(curve), len(curve) + len(trials), f"tried n_neighbors={n_neighbors}")
        chosen = tuning.choose(curve)
        if best is None or best.n_neighbors != chosen.n_neighbors or best.n_components != chosen.n_components:
            best = fit_map(
                points,
                neighbors,
                n_neighbors=chosen.n_neighbors,
                n_components=chosen.n_components,
                seed=self._settings.seed,
            )
        return chosen, curve, best

    def _trials(self, images: int) -> list[tuple[int, int]]:
        n_components = self._settings.n_components or tuning.TUNED_FIRST
        return [(n, n_components) for n in tuning.candidate_neighbors(images)]

    def _save(
        self, points: NDArray[np.float32], model: umap.UMAP, parameters: Mapping[str, int | float | str]
    ) -> tuple[str, bytes]:
        # A map that cannot project would be noticed at the first query; this also leaves compiled code in the cache.
        project(model, nearest(points, points[:1], model.n_neighbors))
        with artifact.new_file(self._folder / artifact.CODES_FILE) as file:
            np.save(file, points)
        with artifact.new_file(self._folder / artifact.MODEL_FILE) as file:
            joblib.dump(model, file)
        return artifact.seal(self._folder, self._settings.code_version, parameters)


def answer(frame: Frame, channel: Channel) -> None:
    """Fit what the frame asks for; the daemon ends the process."""
    settings = FitSettings(**frame.message["settings"])

    def tell(stage: str, done: int, total: int, message: str) -> None:
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
