"""The spaces of the map: by what pictures may be near each other on it.

In: vectors, descriptors of how pictures look.  Out: codes of L2 norm 1; of `raw` at most 1.  Never here: maps,
descriptors themselves (`appearance`).

`model.features` chooses: `look` joins how a picture looks with its greys, `grey` is free of brightness and contrast,
`raw` takes the 4096 grey numbers as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.appearance import appearance_rows
from cbir_daemon.matching.codes import CODE_SIZE, CODE_VERSION, codes
from cbir_daemon.medium import MapSpace, Metric
from cbir_daemon.records import LOOK, LOOK_BYTES, VECTOR_BYTES

Floats = NDArray[np.float32]

GREY_WEIGHT = 0.05
"""Of the greys in the joined distance.  They differ ten times as much as looks: more, and they alone decide."""


def grey_codes(vectors: NDArray[np.uint8], _: NDArray[np.uint8]) -> Floats:
    """Return codes of the greys alone; see `codes`.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8
    _ : (n, d) ndarray of uint8
        Not looked at.
    """
    return codes(vectors)


def look_codes(vectors: NDArray[np.uint8], descriptors: NDArray[np.uint8]) -> Floats:
    """Return codes whose distance is the weighted sum of the distances of greys and looks.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8
    descriptors : (n, LOOK_BYTES) ndarray of uint8
        Rows of zeros where there are none: greys alone count then.

    Returns
    -------
    (n, 256 + LOOK_BYTES) ndarray of float32
        Of L2 norm 1; zeros where there is neither.
    """
    grey, look = codes(vectors), appearance_rows(descriptors)
    joined = np.concatenate([np.sqrt(GREY_WEIGHT) * grey, np.sqrt(1 - GREY_WEIGHT) * look], axis=1)
    norms = np.linalg.norm(joined, axis=1, keepdims=True)
    return np.asarray(joined / np.where(norms > 0, norms, 1), dtype=np.float32)


def raw_codes(vectors: NDArray[np.uint8], _: NDArray[np.uint8]) -> Floats:
    """Return the grey numbers as they are, scaled so that no code has a norm above 1.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8
    _ : (n, d) ndarray of uint8
        Not looked at.

    Returns
    -------
    (n, 4096) ndarray of float32
    """
    return np.asarray(vectors, dtype=np.float32) / np.float32(255 * np.sqrt(VECTOR_BYTES))


SPACES: Final[Mapping[str, MapSpace]] = MappingProxyType(
    {
        "look": MapSpace(
            f"mean16+{LOOK.name}{LOOK.version}/1",
            CODE_SIZE + LOOK_BYTES,
            look_codes,
            descriptor=LOOK,
            descriptor_bytes=LOOK_BYTES,
        ),
        "grey": MapSpace(CODE_VERSION, CODE_SIZE, grey_codes),
        "raw": MapSpace("raw64/1", VECTOR_BYTES, raw_codes, metric=Metric.EUCLIDEAN),
    }
)
