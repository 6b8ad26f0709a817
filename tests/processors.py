"""Environments in which numpy calculates as it does on other processors, with one thread or two.

In: what this processor can do.  Out: environment variables for a fresh process.  Never here: what is calculated.

Only what this processor can do as well can be tried: older ones than itself, and its own kind.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

OLDEST_KERNEL = "Prescott"

KERNELS = {
    OLDEST_KERNEL: {"pni"},
    "Nehalem": {"sse4_2"},
    "Sandybridge": {"avx"},
    "Haswell": {"avx2", "fma"},
    "Zen": {"avx2", "fma"},
    "SkylakeX": {"avx512f", "avx512dq", "avx512bw", "avx512vl"},
}
"""Kernels of OpenBLAS, and what a processor needs for each."""


def processors() -> dict[str, dict[str, str]]:
    """Return the variables that turn this machine into others, each by a name."""
    machines = {f"{threads} threads": _with_threads(threads) for threads in (1, 2)}
    for kernel in KERNELS:
        if KERNELS[kernel] <= _flags():
            machines[kernel] = _with_threads(2) | {"OPENBLAS_CORETYPE": kernel}
    machines["no vectors"] = _with_threads(2) | without_vectors()
    return machines


def without_vectors() -> dict[str, str]:
    """Return the variables with which numpy uses no more than every processor of the architecture has."""
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    return {"NPY_DISABLE_CPU_FEATURES": " ".join(extensions.get("found", []))}


def _with_threads(threads: int) -> dict[str, str]:
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))


def _flags() -> set[str]:
    """Return what the processor can do; nothing where Linux calls it otherwise."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return set(next((line.split() for line in lines if line.startswith("flags")), []))
