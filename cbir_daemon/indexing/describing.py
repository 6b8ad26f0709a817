"""How contents look: their descriptors, as workers made them of what they read.

In: facts.  Out: descriptors that are committed with a new content; those of contents that an older release indexed,
from their files.  Never here: how a descriptor is made (`decode.reader.Reader`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from cbir_daemon.decode import DecodePool, Readers
from cbir_daemon.errors import NoAccessError, NotFoundError, UnreadableImageError
from cbir_daemon.medium import Appearance
from cbir_daemon.records import DescriptorKind, Facts
from cbir_daemon.search.filling import Filler
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import Image, Store

logger = logging.getLogger(__name__)

BATCH_CONTENTS = 256
"""Contents described before they are committed: a second or two."""


def described(readers: Readers, facts: Facts) -> tuple[tuple[DescriptorKind, bytes], ...]:
    """Return the descriptors that are written with a content; none of a file whose digest was known.

    Parameters
    ----------
    readers : Readers
        By one of which it was read.
    facts : Facts
    """
    kind = readers.of(facts.medium).descriptor if facts.descriptor else None
    return () if kind is None else ((kind, facts.descriptor),)


class Describer(Filler[bytes]):
    """Describes the contents that an older release indexed, from their files.

    Parameters
    ----------
    store : Store
    searcher : Searcher
        Gets the descriptors.
    pool : DecodePool
        Its workers read the files.
    quiet : callable
        Whether nothing is being indexed.
    """

    def __init__(self, store: Store, searcher: Searcher, pool: DecodePool, quiet: Callable[[], bool]) -> None:
        super().__init__(store, quiet, BATCH_CONTENTS)
        self._searcher = searcher
        self._pool = pool

    @property
    def enabled(self) -> bool:
        """Whether what is indexed can be looked at."""
        return self._searcher.medium.appearance is not None

    def load(self) -> None:
        """Do nothing: the searcher has what the store has."""

    @property
    def _kind(self) -> DescriptorKind:
        return self._appearance.kind

    def _make(self, content_id: int) -> bytes | None:
        """Return the descriptor by the first file of a content that can be read and still holds it."""
        for image in self._store.files.images([content_id]):
            facts = None if image.missing else self._read(image)
            if facts is not None and facts.digest == image.content.digest and facts.descriptor:
                return facts.descriptor
        return None

    def _keep(self, made: Mapping[int, bytes]) -> None:
        self._store.descriptors.put(self._appearance.kind, made)
        self._searcher.describe(list(made))

    @property
    def _appearance(self) -> Appearance:
        appearance = self._searcher.medium.appearance
        assert appearance is not None
        return appearance

    def _read(self, image: Image) -> Facts | None:
        try:
            return self._pool.read_image(Path(os.fsdecode(image.path)))
        except (NotFoundError, NoAccessError, UnreadableImageError) as error:
            logger.debug("not described path=%s reason=%s", os.fsdecode(image.path), error)
            return None
