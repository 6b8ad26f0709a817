"""Whole fits with a Dask cluster: the map is the map that is fitted without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cbir_daemon.map import Fit, FitResult, FitSettings, FitWarning
from tests import pictures
from tests.dask_cluster import DaskCluster, free_port
from tests.patience import PATIENCE_S
from tests.process.daemon import living

pytest.importorskip("distributed", reason="the extra `dask` is not installed")
pytestmark = pytest.mark.slow

IMAGES = 2_100
SETTINGS = FitSettings(n_components=2, seed=7, threads=1, code_version="test/1", tune_images=150)


def fitted(models: Path, settings: FitSettings) -> tuple[FitResult, list[str]]:
    """Return a fit of points around a few directions, and its warnings."""
    draw = np.random.default_rng(3)
    codes = draw.normal(size=(7, 64)).repeat(IMAGES // 7, axis=0) + draw.normal(size=(IMAGES, 64)) * 0.5
    codes -= codes.mean(axis=1, keepdims=True)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    models.mkdir()
    fit = Fit.start(codes.astype(np.float32), models, settings)
    warnings: list[str] = []
    while not isinstance(news := fit.poll(PATIENCE_S), FitResult):
        assert news is not None, "the fit said nothing for long"
        if isinstance(news, FitWarning):
            warnings.append(news.message)
    return news, warnings


def test_a_fit_with_workers_gives_the_same_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions, flat map and every score, bit for bit."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    here, _ = fitted(tmp_path / "here", SETTINGS)
    with DaskCluster(tmp_path, 2) as dask:
        there, warnings = fitted(tmp_path / "there", replace(SETTINGS, scheduler=dask.address))
    assert warnings == []
    assert there.report.curve == here.report.curve
    for name in ("rows", "positions", "flat", "distances"):
        assert np.array_equal(getattr(there, name), getattr(here, name))


@pytest.mark.process
def test_a_daemon_fits_although_its_scheduler_is_away() -> None:
    """One line in the log says so, and there is a map."""
    address = f"tcp://127.0.0.1:{free_port()}"
    with living(f'min_images = 20\nn_components = 2\nscheduler = "{address}"') as daemon:
        for seed in range(24):
            pictures.save(pictures.photograph(seed, (160, 112)), daemon.album / f"{seed}.jpg", quality=90)
        daemon.start()
        assert daemon.settle()["model"] is not None
        lines = [line for line in daemon.log.read_text().splitlines() if address in line]
        assert len(lines) == 1
        assert "does not help, the fit goes on here" in lines[0]
        assert "Traceback" not in daemon.log.read_text()
