"""How new contents look: their descriptors, made of what was read.

In: changes of files.  Out: the same with descriptors, which are committed with their contents; descriptors of contents
that an older release indexed, from their files.  Never here: how a descriptor is made (`Appearance`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cbir_daemon.decode import DecodePool
from cbir_daemon.errors import NoAccessError, NotFoundError, UnreadableImageError
from cbir_daemon.medium import Appearance, Medium
from cbir_daemon.records import DescriptorKind, Facts
from cbir_daemon.search.descriptors import can_describe, descriptors_of
from cbir_daemon.search.filling import Filler
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import Change, Image, Indexed, Store

logger = logging.getLogger(__name__)

BATCH_CONTENTS = 256
"""Contents described before they are committed: a second or two."""


def described(medium: Medium, changes: Sequence[Change]) -> list[Change]:
    """Return changes in which each file that was decoded has its descriptor.

    Parameters
    ----------
    medium : Medium
    changes : sequence of Change
    """
    appearance = medium.appearance
    seen = [change for change in changes if isinstance(change, Indexed) and can_describe(change.facts)]
    if appearance is None or not seen:
        return list(changes)
    rows = descriptors_of(appearance, [change.facts for change in seen])
    by_path = {(change.album_id, change.path): row for change, row in zip(seen, rows, strict=True)}
    return [
        replace(change, descriptors=((appearance.kind, by_path[change.album_id, change.path]),))
        if isinstance(change, Indexed) and can_describe(change.facts)
        else change
        for change in changes
    ]


class Describer(Filler[Facts]):
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

    def _make(self, content_id: int) -> Facts | None:
        """Return what the first file of a content tells that can be read and still holds it."""
        for image in self._store.files.images([content_id]):
            facts = None if image.missing else self._read(image)
            if facts is not None and facts.digest == image.content.digest and can_describe(facts):
                return facts
        return None

    def _keep(self, made: Mapping[int, Facts]) -> None:
        rows = descriptors_of(self._appearance, list(made.values()))
        self._store.descriptors.put(self._appearance.kind, dict(zip(made, rows, strict=True)))
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
