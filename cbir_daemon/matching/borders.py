"""How much of an image is picture, and how much are plain bars and borders around it.

In: a vector.  Out: a share.  Never here: what the bars hold (`tone`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.views import content_box
from cbir_daemon.records import VECTOR_SIDE_PX


def picture_share(vector: NDArray[np.uint8]) -> float:
    """Return the share of an image's area that lies inside plain bars and borders, in (0, 1].

    Parameters
    ----------
    vector : (4096,) ndarray of uint8
    """
    image = vector.astype(np.float32).reshape(VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    return float(abs(np.linalg.det(content_box(image).frames[0, :, :2])))
