"""Which new files raise an alert.

In: an image, its matches and the works it contains.  Out: the alert that is wanted, if any.  Never here: delivering it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cbir_daemon.config import AlbumConfig, AlertsConfig, Config
from cbir_daemon.kinds import facts_of, rank
from cbir_daemon.store import AlertMatch, ContainedWork, Image, NewAlert

MAX_MATCHES = 20
"""Matches that travel with an alert; a file with more copies has its first ones."""


class Policy:
    """Which new files raise an alert.

    Parameters
    ----------
    settings : AlertsConfig
        The weakest kind and lowest score of a duplicate worth an alert; a watched work always is.
    albums : sequence of AlbumConfig
        Those that have alerts switched off.
    """

    def __init__(self, settings: AlertsConfig, albums: Sequence[AlbumConfig]) -> None:
        self.settings = settings
        self._silent = _silent(albums)

    def configure(self, config: Config) -> None:
        """Take the settings that may change while it runs."""
        self.settings, self._silent = config.alerts, _silent(config.albums)

    def alert_for(
        self, image: Image, matches: Sequence[AlertMatch], watched: Sequence[ContainedWork] = ()
    ) -> NewAlert | None:
        """Return the alert that a new image raises, or None when it raises none.

        Parameters
        ----------
        image : Image
            The file that came; none of a silent album raises an alert.
        matches : sequence of AlertMatch
            Files with the same content, and copies; of those that the settings ask for the alert has the first ones.
        watched : sequence of ContainedWork
            Works of the watch list that the image contains; they always count.
        """
        if image.path.startswith(self._silent):
            return None
        worth = [match for match in matches if self._is_worth(match)]
        found = [*(match.kind for match in worth), *(work.kind for work in watched)]
        if not found:
            return None
        best = min(found, key=rank)
        return NewAlert(image.path, best, tuple(worth[:MAX_MATCHES]), watched=tuple(watched[:MAX_MATCHES]))

    def _is_worth(self, match: AlertMatch) -> bool:
        is_strong = facts_of(match.kind).raises_alerts and rank(match.kind) <= rank(self.settings.min_kind)
        return is_strong and match.score >= self.settings.min_score


def _silent(albums: Sequence[AlbumConfig]) -> tuple[bytes, ...]:
    """Return the roots, each with a slash behind it, of the albums that have alerts switched off."""
    # Images have the path that leads to them without symbolic links.
    return tuple(os.fsencode(os.path.realpath(album.path)) + b"/" for album in albums if not album.alerts)
