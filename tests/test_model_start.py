"""Where a cold fit starts: the same on every machine, with any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from cbir_daemon.map.start import first_positions

PROGRAM = """
import hashlib
import numpy as np
from cbir_daemon.map.start import first_positions
random = np.random.default_rng(3)
points = random.normal(size=(3000, 20)) @ random.normal(size=(20, 256))
points /= np.linalg.norm(points, axis=1, keepdims=True)
print(hashlib.sha256(first_positions(points.astype(np.float32), 16, 5).tobytes()).hexdigest())
"""

KERNELS = ["Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX"]


def executable(kernel: str) -> bool:
    """Return whether this processor has the instructions of one of OpenBLAS's kernels."""
    needed = {"Sandybridge": {"avx"}, "Haswell": {"avx2", "fma"}, "Zen": {"avx2", "fma"}, "SkylakeX": {"avx512f"}}
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    return "sse4_2" in flags and needed.get(kernel, set()) <= flags


def digest(**environment: str) -> str:
    """Return the digest of a start that a fresh process calculates."""
    done = subprocess.run(  # noqa: S603 -- our own interpreter and code
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, env=os.environ | environment
    )
    return done.stdout.strip()


def test_the_start_depends_neither_on_threads_nor_on_the_processor() -> None:
    """BLAS sums in another order with two threads and in each of its kernels; the start stays, bit for bit."""
    digests = {f"{count} threads": digest(OPENBLAS_NUM_THREADS=str(count)) for count in (1, 2)}
    digests |= {name: digest(OPENBLAS_CORETYPE=name, OPENBLAS_NUM_THREADS="1") for name in KERNELS if executable(name)}
    assert len(set(digests.values())) == 1, digests


def test_the_start_is_the_principal_components() -> None:
    """Counting in steps moves no image by more than a thousandth of the map's extent."""
    random = np.random.default_rng(1)
    points = (random.normal(size=(500, 3)) @ random.normal(size=(3, 64)) * 0.02).astype(np.float32)
    centred = (points - points.mean(axis=0)).astype(np.float64)
    exact = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    start = first_positions(points, 2, 0)
    for axis in range(2):
        assert abs(np.corrcoef(start[:, axis], exact[:, axis])[0, 1]) > 1 - 1e-6


def test_equal_points_start_apart() -> None:
    """Points without any direction have a start all the same: finite, and of some extent."""
    start = first_positions(np.zeros((5, 4), np.float32), 2, 0)
    assert np.isfinite(start).all()
    assert np.ptp(start, axis=0).min() > 0
