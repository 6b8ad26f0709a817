"""Describes contents by meaning: reads their files, and shows them to the network.

In: contents.  Out: descriptors as bytes.  Never here: when (`descriptors`), the network (`meaning`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.decode import Colour, DecodePool
from cbir_daemon.duplicates.looks import Files
from cbir_daemon.meaning import Meaning
from cbir_daemon.records import DescriptorKind
from cbir_daemon.store import Store


class Meanings:
    """What contents show.

    Parameters
    ----------
    store : Store
    pool : DecodePool
        Its workers read the files.
    meaning : Meaning
    """

    def __init__(self, store: Store, pool: DecodePool, meaning: Meaning) -> None:
        self._files = Files(store, pool)
        self._meaning = meaning

    @property
    def enabled(self) -> bool:
        """Whether pictures are described."""
        return self._meaning.enabled

    @property
    def kind(self) -> DescriptorKind:
        """Names the network."""
        return self._meaning.kind

    def describe_content(self, content_id: int) -> bytes | None:
        """Return the descriptor of a content; None when its files cannot be read, or the network fails.

        Raises
        ------
        ChildError
            When no process can be started.
        StorageError
            When the disk refuses the network's file.
        UnavailableError
            When the pool is closed.
        """
        side_px = self._meaning.side_px()
        colour = self._files.colour(content_id, side_px) if side_px else None
        numbers = None if colour is None else self._meaning.describe(pixels_of(colour))
        return None if numbers is None else numbers.tobytes()


def pixels_of(colour: Colour) -> NDArray[np.uint8]:
    """Return a picture as the network takes it, (height, width, 3)."""
    return np.frombuffer(colour.pixels, np.uint8).reshape(colour.height_px, colour.width_px, 3)
