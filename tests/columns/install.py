"""Install the example medium for a process of its own, as its package would be.

In: a folder.  Out: the folder with the package and its entry point, for PYTHONPATH.  Never here: what the medium does.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

METADATA = "Metadata-Version: 2.1\nName: cbir-columns\nVersion: 1.0\n"
ENTRY_POINTS = "[cbir_daemon.media]\ncolumns = tests.columns:COLUMNS\n"


def install(site: Path) -> None:
    """Put the medium and its entry point into a folder, with nothing else of the tests."""
    package = site / "tests" / "columns"
    package.mkdir(parents=True)
    (site / "tests" / "__init__.py").write_text('"""Nothing but the example."""\n')
    for module in Path(__file__).parent.glob("*.py"):
        shutil.copyfile(module, package / module.name)
    info = site / "cbir_columns-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)


def table(seed: int, columns: int = 5, rows: int = 200) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return numbers whose columns wander, each on its own, (rows, columns)."""
    return np.cumsum(np.random.default_rng(seed).normal(size=(rows, columns)), axis=0)


def written(numbers: np.ndarray[tuple[int, int], np.dtype[np.float64]], names: str = "abcdefgh") -> bytes:
    """Return a table as a file."""
    lines = [",".join(names[: numbers.shape[1]]), *(",".join(f"{cell:.6g}" for cell in row) for row in numbers)]
    return "\n".join(lines).encode()
