"""The codes of a map's images as they are compared.

In: codes (unit rows; rows of zeros for uniform images), or codes of a Euclidean space (rows of norm 1 at most).  Out:
points, which know by which metric they are compared.  Never here: neighbours, files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.medium import Metric


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Rows that are compared.

    Parameters
    ----------
    rows : (n, f) ndarray of float32
        Unit rows, uniform images included; of any norm up to 1 in a Euclidean space.
    metric : Metric
        How far apart they are.
    """

    rows: NDArray[np.float32]
    metric: Metric

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> Points:
        return Points(self.rows[rows], self.metric)


def to_points(codes: NDArray[np.float32], metric: Metric = Metric.COSINE) -> Points:
    """Return codes as the points that are compared.

    A uniform image has the code 0, which has no direction.  It becomes the constant unit vector: codes are free of
    their mean, so this one is at distance 1 from every code and at distance 0 from other uniform images.  In a
    Euclidean space zeros are a place like any other.

    Parameters
    ----------
    codes : (n, f) ndarray of float32
        Unit rows free of their mean; rows of zeros for uniform images.  In a Euclidean space rows of norm 1 at most.
    metric : Metric
        Of their space.

    Returns
    -------
    Points
        With rows of their own.
    """
    rows = np.array(codes, dtype=np.float32, order="C")
    if metric is Metric.COSINE:
        rows[~rows.any(axis=1)] = 1.0 / np.sqrt(rows.shape[1])
    return Points(rows, metric)
