"""The fakes that tests may use: a clock that stands still, and a map that is a plain matrix.

UMAP compiles for tens of seconds, so a fit and a projector of the matrix stand in for it; everything else in the tests
is real.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.errors import CbirError
from cbir_daemon.map import Fit, FitProgress, FitResult, FitSettings, Placement, Previous, Projector
from cbir_daemon.records import DescriptorKind, FitReport, Trial

N_COMPONENTS = 2
ARTIFACT = "map-{}"


@dataclass
class FakeClock:
    """Monotonic seconds that pass only when told."""

    now_s: float = 1_000.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


def no_descriptor(_: DescriptorKind) -> bytes | None:
    """Return nothing: a query that was not described."""
    return None


def positions_of(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (n, 2) positions of codes on the fake map."""
    matrix = np.random.default_rng(0).standard_normal((codes.shape[1], N_COMPONENTS)).astype(np.float32)
    return np.asarray(codes @ matrix, dtype=np.float32)


class FakeProjector(Projector):
    """Projects by the matrix, in this process; raises `error` instead while there is one.

    `meanwhile` is called once, in the middle of the next projection.
    """

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"), "map-fake", b"", idle_s=0.0, threads=1)
        self.error: CbirError | None = None
        self.meanwhile: Callable[[], object] | None = None
        self.projected: list[int] = []
        self.closed = 0
        self.ready = True

    def project(self, codes: NDArray[np.float32], timeout_s: float) -> NDArray[np.float32]:
        """Return the positions of codes."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        if self.error is not None:
            raise self.error
        self.projected.append(len(codes))
        return positions_of(codes)

    def place(self, codes: NDArray[np.float32], timeout_s: float, *, measured: bool = False) -> Placement:
        """Return the placement of codes, all of them at distance 1 and with half of their neighbours kept."""
        positions = self.project(codes, timeout_s)
        kept = np.full(len(codes), 0.5 if measured else np.nan, np.float32)
        return Placement(positions, positions[:, :2], np.ones(len(codes), np.float32), kept)

    def is_ready(self) -> bool:
        """Return what it was told: it has nothing to start."""
        return self.ready

    def close(self) -> None:
        """Count."""
        self.closed += 1


@dataclass
class FakeFits:
    """Stands in for `Fit`: every fit begun writes an artifact's folder and gives the matrix's positions.

    Parameters
    ----------
    rows : int or None
        Contents that are fitted, the first ones; the others are left to the projector.  None fits all.
    error : CbirError or None
        Raised instead of a result.
    meanwhile : callable
        Called while the fit runs.
    endless : bool
        Whether the fit only ever says how far it is.
    spoilt : bool
        Whether the positions have nothing to do with the codes.
    """

    rows: int | None = None
    error: CbirError | None = None
    meanwhile: Callable[[], object] = lambda: None
    endless: bool = False
    spoilt: bool = False
    begun: list[FitSettings] = field(default_factory=list)
    named: list[NDArray[np.int64] | None] = field(default_factory=list)
    warm: list[Previous | None] = field(default_factory=list)
    cancelled: int = 0

    def start(
        self,
        codes: NDArray[np.float32],
        models_dir: Path,
        settings: FitSettings,
        *,
        ids: NDArray[np.int64] | None = None,
        previous: Previous | None = None,
    ) -> Fit:
        """Begin a fit."""
        self.named.append(ids)
        self.warm.append(previous)
        self.begun.append(settings)
        return _FakeFit(self, codes, models_dir / ARTIFACT.format(len(self.begun)))


class _FakeFit(Fit):
    def __init__(self, fits: FakeFits, codes: NDArray[np.float32], folder: Path) -> None:
        self._fits = fits
        self._codes = codes
        self._artifact = folder
        self._said = False

    @property
    def cpu_s(self) -> float:
        return 0.0

    def poll(self, timeout_s: float) -> FitProgress | FitResult | None:
        if not self._said or self._fits.endless:
            self._said = True
            self._fits.meanwhile()
            return FitProgress("tune", 1, 2, "trying 10")
        if self._fits.error is not None:
            raise self._fits.error
        self._artifact.mkdir(parents=True)
        rows = np.arange(len(self._codes) if self._fits.rows is None else self._fits.rows)
        curve = (Trial(10, N_COMPONENTS, 0.9, 0.5),)
        report = FitReport(10, N_COMPONENTS, 0.9, 0.5, len(rows), 42, 0.1, 100.0, curve, self._artifact.name, b"s" * 32)
        positions = positions_of(self._codes[rows])
        if self._fits.spoilt:
            positions = np.random.default_rng(1).permutation(positions)
        return FitResult(report, rows, positions, positions[:, :2], np.full(len(rows), 0.1, np.float32))

    def cancel(self) -> None:
        self._fits.cancelled += 1
