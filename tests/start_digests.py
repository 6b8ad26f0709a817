"""A process for the tests of `cbir_daemon.map.start`: it digests what a layout starts from and what scores it."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map.points import to_points
from cbir_daemon.map.start import first_positions
from cbir_daemon.map.tuning import Scorer
from tests.neighbors import nearest_others

SAMPLE = 500


def digest(*arrays: NDArray[Any]) -> str:
    """Return a digest of the bits of arrays."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def digests(path: Path) -> dict[str, str]:
    """Return the digests for the codes in a file."""
    points = to_points(np.load(path)).rows
    found = {f"start in {d}": digest(first_positions(points, d, 7)) for d in (2, 16, 32)}
    found["start of five"] = digest(first_positions(points[:5], 16, 7))
    found["start of ten, five times each"] = digest(first_positions(np.tile(points[:10], (5, 1)), 16, 7))
    # The end holds the duplicates.
    sample = points[-SAMPLE:]
    neighbors = nearest_others(to_points(sample), 20)
    found["neighbors"] = digest(neighbors.ids, neighbors.distances)
    # A poor map, so that the scores say something.
    positions = np.ascontiguousarray(sample[:, :3])
    scorer = Scorer.prepare(sample, neighbors, None, size=SAMPLE, seed=1)
    found["ranks"] = digest(scorer.ranks)
    found["scores"] = repr(scorer.score(positions, positions, 20))
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(digests(Path(sys.argv[1]))))
