"""A running fit, as the daemon sees it.

In: codes and settings.  Out: progress, then a report with positions; or one error.  Never here: umap, numba,
scikit-learn, joblib.  All the work is done by `cbir_daemon.map.fit_child` in its own process, as nice as the threads
that work in the background.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.errors import CbirError, ChildError, ModelError, TimedOutError
from cbir_daemon.map.artifact import CODES_FILE, new_file, save_array, start_folder
from cbir_daemon.map.environment import child_environment
from cbir_daemon.medium import Metric
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import FitReport, Trial
from cbir_daemon.system.child import Child

NAMES_FILE = "names.npz"

FEWEST_IMAGES = 5
"""Below this there is nothing to learn from neighbourhoods."""

ROUGH_IMAGES = 2_500
"""Most images that a rough map is fitted on: a second of work, and what is projected then costs little, too."""

ROUGH_NEIGHBORS, ROUGH_COMPONENTS = 15, 8
"""Hyper-parameters of a rough map: those that won most often."""

Stage = Literal["graph", "tune", "fit", "save"]

STAGE_SPANS: dict[Stage, tuple[float, float]] = {
    "graph": (0.0, 0.1),
    "tune": (0.1, 0.5),
    "fit": (0.5, 0.97),
    "save": (0.97, 1.0),
}
"""Where each stage begins and ends in the whole of a fit: between what was measured at 2 500 and at 100 000 images."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """The settings of a fit.

    Parameters
    ----------
    n_components : int or None
        Dimensions of the map; None tries 8, 16 and 32 and takes the best.
    seed : int
        Of every random choice, 0 to 2**32 - 1.
    threads : int
        For matrix products; the layout itself is single-threaded, or it could not be repeated.
    code_version : str
        How the codes were made; an artifact of another one is refused.
    max_fit_images : int
        More images than this are sampled; the rest is projected by the caller.
    tune_images : int
        Hyper-parameters are tuned on a sample of at most so many images: tuning does not grow with the collection.
    score_sample : int
        Images on which candidates are scored.  Scoring takes memory and time of its square.
    max_memory_mib : int or None
        As many images as need more are sampled; None takes what the system has to spare when the fit begins.
    min_dist : float
        How far apart the map keeps its closest images, 0 to 1.  Near 0 it packs groups tightly, which shows them;
        near 1 recall is higher (see docs/model-figures.md).
    metric : Metric
        How far apart the codes are.
    scheduler : str
        Address of a Dask scheduler whose workers find neighbours and try hyper-parameters; empty: all is done here.
    is_rough : bool
        Whether a small sample is fitted, with usual hyper-parameters and few rounds: a map within seconds.
    """

    n_components: int | None
    seed: int
    threads: int
    code_version: str
    max_fit_images: int = 100_000
    tune_images: int = 5_000
    score_sample: int = 2_000
    max_memory_mib: int | None = None
    min_dist: float = 0.0
    metric: Metric = Metric.COSINE
    scheduler: str = ""
    is_rough: bool = False


@dataclass(frozen=True, slots=True)
class FitProgress:
    """How far a fit is: `done` of `total` steps of one stage, and a sentence for people."""

    stage: Stage
    done: int
    total: int
    message: str

    @property
    def fraction(self) -> float:
        """Share of the whole fit that is done, in [0, 1]."""
        start, end = STAGE_SPANS[self.stage]
        return start + (end - start) * self.done / max(1, self.total)


@dataclass(frozen=True, slots=True)
class FitWarning:
    """What an operator should know of a fit that goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class Previous:
    """The map before, for a warm re-fit.

    Parameters
    ----------
    ids : (m,) ndarray of int64
        Contents that it was fitted on, ascending.
    positions : (m, n_components) ndarray of float32
        Of these.
    flat : (m, 2) ndarray of float32
        Of these, in two dimensions.
    n_neighbors, n_components : int
        Its hyper-parameters.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.float32]
    flat: NDArray[np.float32]
    n_neighbors: int
    n_components: int


@dataclass(frozen=True, slots=True)
class FitResult:
    """A finished fit.

    Parameters
    ----------
    report : FitReport
        Scores, parameters, and the artifact that is now on disk.
    rows : (m,) ndarray of intp
        Rows of the codes that were fitted, ascending: all of them, or the sample.
    positions : (m, n_components) ndarray of float32
        Of these rows.
    flat : (m, 2) ndarray of float32
        Of these rows, in two dimensions, for the viewer.
    distances : (m,) ndarray of float32
        Mean distance of each of these rows to its nearest others, as many as `Projector.place` looks at: what the
        distances of new images are compared with.
    """

    report: FitReport
    rows: NDArray[np.intp]
    positions: NDArray[np.float32]
    flat: NDArray[np.float32]
    distances: NDArray[np.float32]


class Fit:
    """A fit in its own process.  Made by `start`; ended by its result, its error or `cancel`.

    Parameters
    ----------
    child : Child
        The process, which has been told what to do.
    folder : Path
        Where the artifact grows.
    """

    def __init__(self, child: Child, folder: Path) -> None:
        self._child = child
        self._folder = folder

    @classmethod
    def start(
        cls,
        codes: NDArray[np.float32],
        models_dir: Path,
        settings: FitSettings,
        *,
        ids: NDArray[np.int64] | None = None,
        previous: Previous | None = None,
    ) -> Fit:
        """Begin to fit a map of `codes`.

        Parameters
        ----------
        codes : (n, f) ndarray of float32
            As `to_points` takes them.
        models_dir : Path
            Folder of all artifacts.  The codes are written there first: a child that is still importing would let
            the caller wait on a socket.
        settings : FitSettings
            What to fit.
        ids : (n,) ndarray of int64, optional
            Names of the rows, ascending, so that what is known of them from the fit before is used again.
        previous : Previous, optional
            Makes a warm re-fit: no tuning, the hyper-parameters of the map before, and a start from its positions.
            Without an image in common it is a fit like any other.

        Raises
        ------
        ModelError
            When there are too few images, or codes that are no numbers.
        StorageError
            When the codes cannot be written.
        ChildError
            When the process cannot be started.
        """
        if len(codes) < FEWEST_IMAGES:
            raise ModelError(f"a map needs at least {FEWEST_IMAGES} images, there are {len(codes)}")
        if not np.isfinite(codes).all():
            raise ModelError("a code holds something that is no number")
        folder = start_folder(models_dir)
        try:
            with new_file(folder / CODES_FILE) as file:
                save_array(file, np.ascontiguousarray(codes, dtype=np.float32))
            with new_file(folder / NAMES_FILE) as file:
                np.savez(file, **_names(len(codes), ids, previous))  # type: ignore[arg-type]  # arrays by name, none of them `allow_pickle`
            child = Child.started(
                "cbir_daemon.map.fit_child",
                {"folder": str(folder), "settings": asdict(settings)},
                threads=settings.threads,
                env=child_environment(models_dir),
            )
        except CbirError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(child, folder)

    def fileno(self) -> int:
        """Return a descriptor for `select`.  When it is readable, `poll` until that returns None."""
        return self._child.fileno()

    def poll(self, timeout_s: float) -> FitProgress | FitWarning | FitResult | None:
        """Return the next message of the fit, or None when none comes within `timeout_s`.

        Raises
        ------
        ModelError
            When no map can be fitted; the message says why.
        ChildError
            When the process died.
        """
        try:
            frame = self._child.receive(timeout_s)
        except TimedOutError:
            return None
        except ChildError:
            self.cancel()
            raise
        message = frame.message
        if "stage" in message:
            return FitProgress(message["stage"], message["done"], message["total"], message["message"])
        if "warning" in message:
            return FitWarning(message["warning"])
        if "failed" in message:
            self.cancel()
            raise ModelError(message["failed"], hint=message["hint"])
        self._child.close()
        return _result(frame)

    @property
    def process_id(self) -> int:
        """Id of the process that fits."""
        return self._child.pid

    @property
    def cpu_s(self) -> float:
        """Processor time that the fit has used, in seconds."""
        return self._child.cpu_s

    def cancel(self) -> None:
        """Kill the process and remove what it wrote.  Harmless when the fit has ended."""
        self._child.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _names(images: int, ids: NDArray[np.int64] | None, previous: Previous | None) -> dict[str, NDArray[Any]]:
    """Return the input of the child beside the codes, as arrays with names."""
    named: dict[str, NDArray[Any]] = {"ids": np.arange(images) if ids is None else np.asarray(ids, np.int64)}
    if len(named["ids"]) != images or (np.diff(named["ids"]) <= 0).any():
        raise ValueError("each row needs an id, and they must ascend")
    if previous is not None:
        named |= {f"previous_{name}": np.asarray(getattr(previous, name)) for name in Previous.__slots__}
    return named


def _result(frame: Frame) -> FitResult:
    report = _report(frame.message["report"])
    images = report.fitted_images
    rows = np.frombuffer(frame.blob, np.int64, images).astype(np.intp)
    numbers = np.frombuffer(frame.blob, np.float32, offset=images * np.dtype(np.int64).itemsize)
    positions, flat, distances = np.split(numbers, np.cumsum([images * report.n_components, images * 2]))
    return FitResult(report, rows, positions.reshape(images, -1), flat.reshape(images, 2), distances)


def _report(fields: dict[str, Any]) -> FitReport:
    curve = tuple(Trial(**trial) for trial in fields["curve"])
    return FitReport(**{**fields, "curve": curve, "sha256": bytes.fromhex(fields["sha256"])})
