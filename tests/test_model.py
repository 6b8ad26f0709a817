"""The daemon's side of fitting and projecting, without umap: what is refused before a process is started."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cbir_daemon.errors import ModelError
from cbir_daemon.map import ArtifactRefusedError, Fit, FitProgress, FitSettings, Projector
from cbir_daemon.map.environment import CACHE_VERSION, child_environment

SETTINGS = FitSettings(n_components=8, seed=1, threads=1, code_version="test/1")


def test_the_daemon_side_imports_no_heavy_library() -> None:
    """Umap alone would cost every start 2 s and 250 MB."""
    heavy = {"umap", "numba", "sklearn", "joblib", "scipy"}
    program = f"import sys, cbir_daemon.map; assert not {heavy} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603 -- our own interpreter


def test_too_few_images_have_no_map(tmp_path: Path) -> None:
    """The message says how many there are, and nothing is written."""
    with pytest.raises(ModelError, match="there are 4"):
        Fit.start(np.eye(4, 256, dtype=np.float32), tmp_path, SETTINGS)
    assert not list(tmp_path.iterdir())


def test_codes_that_are_no_numbers_have_no_map(tmp_path: Path) -> None:
    """One NaN would spread over the whole map."""
    codes = np.eye(40, 256, dtype=np.float32)
    codes[7, 7] = np.nan
    with pytest.raises(ModelError, match="no number"):
        Fit.start(codes, tmp_path, SETTINGS)


def test_progress_rises_from_stage_to_stage() -> None:
    """The fraction never falls while the stages follow each other."""
    steps = [FitProgress(stage, done, 4, "") for stage in ("graph", "tune", "fit", "save") for done in range(5)]
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)


def test_a_refused_artifact_starts_no_process(tmp_path: Path) -> None:
    """What the manifest tells is told at once."""
    projector = Projector(tmp_path, "map-0", bytes(32), idle_s=60, threads=1)
    with pytest.raises(ArtifactRefusedError):
        projector.project(np.eye(1, 256, dtype=np.float32), 10.0)
    assert not projector.running
    projector.close()


def test_threads_are_bounded_for_every_library(tmp_path: Path) -> None:
    """BLAS and OpenMP get the configured number, numba one: a repeatable layout has no use for more."""
    fit = Fit.start(np.eye(40, 256, dtype=np.float32), tmp_path, replace(SETTINGS, threads=3))
    # Empty for a moment, between the kernel's taking up of the program and of its environment.
    while not (shown := Path(f"/proc/{fit.process_id}/environ").read_bytes()):
        pass
    fit.cancel()
    environment = shown.decode().split("\0")
    for name, threads in (("NUMBA", 1), ("OMP", 3), ("OPENBLAS", 3), ("MKL", 3)):
        assert f"{name}_NUM_THREADS={threads}" in environment


def test_code_is_compiled_for_every_processor_of_an_architecture() -> None:
    """For its own, numba would add in another order, and another processor would get another map."""
    assert child_environment(Path("/models"))["NUMBA_CPU_NAME"] == "generic"


def test_compiled_code_is_kept_beside_the_models_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default of numba, beside its packages, is read-only for many services; code of other options lies apart."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert child_environment(Path("/models"))["NUMBA_CACHE_DIR"] == f"/models/.numba/{CACHE_VERSION}"
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/elsewhere")
    assert child_environment(Path("/models"))["NUMBA_CACHE_DIR"] == f"/elsewhere/{CACHE_VERSION}"
