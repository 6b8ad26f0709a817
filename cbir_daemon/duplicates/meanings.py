"""Describes by meaning the contents that have no descriptor yet, in the background.

In: contents, files.  Out: descriptors in the store, and in the table that queries are compared with.  Never here: how
a picture is described (`meaning`), queries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.decode import Colour, DecodePool
from cbir_daemon.duplicates.looks import Files
from cbir_daemon.meaning import NUMBERS, Meaning
from cbir_daemon.records import DescriptorKind
from cbir_daemon.search.filling import Filler
from cbir_daemon.search.meaning_table import MeaningTable
from cbir_daemon.store import Store
from cbir_daemon.system import heartbeat

BATCH_CONTENTS = 16
"""Contents described before they are committed: about half a second."""


class MeaningFiller(Filler[bytes]):
    """Shows the pictures of contents to the network.

    Parameters
    ----------
    store : Store
    pool : DecodePool
        Its workers read the files.
    meaning : Meaning
    quiet : callable
        Whether nothing is being indexed.
    """

    def __init__(self, store: Store, pool: DecodePool, meaning: Meaning, quiet: Callable[[], bool]) -> None:
        super().__init__(store, quiet, BATCH_CONTENTS)
        self._files = Files(store, pool)
        self._meaning = meaning
        self.table = MeaningTable(NUMBERS)

    @property
    def enabled(self) -> bool:
        """Whether contents are described: a network that is refused ends it."""
        return self._meaning.enabled

    def load(self) -> None:
        """Take up the descriptors that the store has."""
        newest_id = 0
        while rows := self._store.descriptors.after(self._meaning.kind, newest_id):
            heartbeat.beat()
            newest_id = rows[-1][0]
            self.table.add(rows)

    @property
    def _kind(self) -> DescriptorKind:
        return self._meaning.kind

    def _make(self, content_id: int) -> bytes | None:
        """Return the descriptor of a content; None when its files cannot be read, or the network fails."""
        side_px = self._meaning.side_px()
        colour = self._files.colour(content_id, side_px) if side_px else None
        numbers = None if colour is None else self._meaning.describe(pixels_of(colour))
        return None if numbers is None else numbers.tobytes()

    def _keep(self, made: Mapping[int, bytes]) -> None:
        # First: the commit wakes who waits for them.
        self.table.add(list(made.items()))
        self._store.descriptors.put(self._meaning.kind, made)


def pixels_of(colour: Colour) -> NDArray[np.uint8]:
    """Return a picture as the network takes it, (height, width, 3)."""
    return np.frombuffer(colour.pixels, np.uint8).reshape(colour.height_px, colour.width_px, 3)
