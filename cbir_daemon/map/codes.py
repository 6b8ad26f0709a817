"""The codes of contents and queries in the space of a map.

In: vectors, descriptors.  Out: codes.  Never here: how a space makes them (`MapSpace.codes`), maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.medium import MapSpace
from cbir_daemon.search.search import as_vectors
from cbir_daemon.store import Store

NO_DESCRIPTORS: Mapping[int, bytes] = {}


def codes_of(store: Store, space: MapSpace, contents: Sequence[tuple[int, bytes]]) -> NDArray[np.float32]:
    """Return the codes of contents.

    Parameters
    ----------
    store : Store
        Gives the descriptors.
    space : MapSpace
    contents : sequence of (content id, vector)

    Returns
    -------
    (n, space.size) ndarray of float32
    """
    ids = [content_id for content_id, _ in contents]
    found = NO_DESCRIPTORS if space.descriptor is None else store.descriptors.of(space.descriptor, ids)
    return _codes(space, [vector for _, vector in contents], [found.get(content_id) for content_id in ids])


def code_of(space: MapSpace, vector: bytes, descriptor: bytes | None) -> NDArray[np.float32]:
    """Return the (1, space.size) code of a query.

    Parameters
    ----------
    space : MapSpace
    vector : bytes
    descriptor : bytes or None
        Of the kind that the space takes.
    """
    return _codes(space, [vector], [descriptor])


def _codes(space: MapSpace, vectors: Sequence[bytes], descriptors: Sequence[bytes | None]) -> NDArray[np.float32]:
    size = space.descriptor_bytes
    rows = b"".join(descriptor or bytes(size) for descriptor in descriptors)
    return space.codes(as_vectors(vectors), np.frombuffer(rows, np.uint8).reshape(len(vectors), size))
