"""Where images lie between the fitted ones that are nearest to them: without umap-learn.

In: neighbours and positions, or an artifact and a code.  Out: positions.  Never here: umap, whether an artifact may be
read (`artifact`).

The flat map places what was not fitted so, and so does a query while the model worker starts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.errors import ModelError
from cbir_daemon.map.artifact import CODES_FILE, POSITIONS_FILE
from cbir_daemon.map.neighbors import NEAREST, Neighbors, nearest
from cbir_daemon.map.points import Points, to_points
from cbir_daemon.medium import Metric


def between(positions: NDArray[np.float32], near: Neighbors) -> NDArray[np.float32]:
    """Return positions between neighbours, the nearer the closer.

    Parameters
    ----------
    positions : (n, d) ndarray of float32
        Of the fitted images.
    near : Neighbors
        Of m images among them, with the distances that a map is made of.

    Returns
    -------
    (m, d) ndarray of float32
    """
    # float64: a mean must not depend on the size of the batch.
    weights = 1.0 / near.distances.astype(np.float64)
    shares = weights / weights.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("mk,mkd->md", shares, positions[near.ids]), dtype=np.float32)


def interpolated(folder: Path, code: NDArray[np.float32], metric: Metric) -> NDArray[np.float32] | None:
    """Return where a code lies on a saved map, between the `NEAREST` fitted codes.

    Parameters
    ----------
    folder : Path
        Of the artifact.
    code : (1, f) ndarray of float32
        As the map's codes were made.
    metric : Metric
        Of the map's space.

    Returns
    -------
    (n_components,) ndarray of float32 or None
        None for an artifact of a release that saved no positions.

    Raises
    ------
    ModelError
        When the artifact cannot be read, or is of other codes.

    Notes
    -----
    Reads all codes: 15 MB, and 10 ms, for 5 000 images by looks; they are mapped while it lasts.
    """
    if not (folder / POSITIONS_FILE).exists():
        return None
    try:
        rows, positions = (
            np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in (CODES_FILE, POSITIONS_FILE)
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"the saved map {folder.name!r} cannot be read: {error}") from error
    if rows.shape[1] != code.shape[1]:
        raise ModelError(f"the map takes codes of {rows.shape[1]} numbers")
    near = nearest(Points(rows, metric), to_points(code, metric), min(NEAREST, len(rows)))
    return np.asarray(between(positions, near)[0])
