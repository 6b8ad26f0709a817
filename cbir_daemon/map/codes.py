"""The codes of contents and queries in the space of a map.

In: vectors, descriptors.  Out: codes.  Never here: how a space makes them (`Medium.spaces`), maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.medium import MapSpace, Medium
from cbir_daemon.search.search import as_vectors
from cbir_daemon.store import Store

NO_DESCRIPTORS: Mapping[int, bytes] = {}


def codes_of(
    store: Store, medium: Medium, space: MapSpace, contents: Sequence[tuple[int, bytes]]
) -> NDArray[np.float32]:
    """Return the codes of contents.

    Parameters
    ----------
    store : Store
        Gives the descriptors.
    medium : Medium
    space : MapSpace
        One of the medium.
    contents : sequence of (content id, vector)

    Returns
    -------
    (n, space.size) ndarray of float32
    """
    ids = [content_id for content_id, _ in contents]
    appearance = medium.appearance
    asked = appearance is not None and space.sees_looks
    found = store.descriptors.of(appearance.kind, ids) if asked and appearance is not None else NO_DESCRIPTORS
    return _codes(medium, space, [vector for _, vector in contents], [found.get(content_id) for content_id in ids])


def code_of(medium: Medium, space: MapSpace, vector: bytes, look: bytes | None) -> NDArray[np.float32]:
    """Return the (1, space.size) code of a query.

    Parameters
    ----------
    medium : Medium
    space : MapSpace
    vector : bytes
    look : bytes or None
        Its descriptor.
    """
    return _codes(medium, space, [vector], [look])


def _codes(
    medium: Medium, space: MapSpace, vectors: Sequence[bytes], looks: Sequence[bytes | None]
) -> NDArray[np.float32]:
    size = 0 if medium.appearance is None else medium.appearance.size
    rows = b"".join(look or bytes(size) for look in looks)
    return space.codes(as_vectors(vectors), np.frombuffer(rows, np.uint8).reshape(len(vectors), size))
