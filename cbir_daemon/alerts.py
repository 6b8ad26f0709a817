"""What a user is told, and that it arrives.

In: images with their matches; alerts in the store's outbox.  Out: alerts wanted; each delivered at least once, with its
id.  Never here: how matches were found, sockets.

An alert is committed with the decision that caused it (`duplicates.Pairing`) and delivered afterwards; what was not
delivered when the daemon stopped is delivered at the next start.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from cbir_daemon import pulse
from cbir_daemon.config import AlbumConfig, AlertsConfig
from cbir_daemon.records import Kind
from cbir_daemon.store import AlertMatch, AlertRecord, Image, NewAlert, Store

logger = logging.getLogger(__name__)

BATCH = 256
MAX_MATCHES = 20
"""Matches that travel with an alert; a file with more copies has its first ones."""


class Policy:
    """Which new files raise an alert.

    Parameters
    ----------
    settings : AlertsConfig
        The weakest kind and lowest score worth an alert.
    albums : sequence of AlbumConfig
        Those that have alerts switched off.
    """

    def __init__(self, settings: AlertsConfig, albums: Sequence[AlbumConfig]) -> None:
        self._settings = settings
        # Images have the path that leads to them without symbolic links.
        self._silent = tuple(os.fsencode(os.path.realpath(album.path)) + b"/" for album in albums if not album.alerts)

    def wanted(self, image: Image, matches: Sequence[AlertMatch]) -> NewAlert | None:
        """Return the alert that a new image raises, or None."""
        if image.path.startswith(self._silent):
            return None
        kinds = (Kind.EXACT,) if self._settings.min_kind == Kind.EXACT else (Kind.EXACT, Kind.COPY)
        worth = [match for match in matches if match.kind in kinds and match.score >= self._settings.min_score]
        if not worth:
            return None
        return NewAlert(image.path, worth[0].kind, tuple(worth[:MAX_MATCHES]))


def to_log(alert: AlertRecord) -> None:
    """Write an alert to the log."""
    if not alert.matches:
        path = os.fsdecode(alert.path)
        logger.warning("alert id=%d kind=%s path=%s reason=%s", alert.id, alert.kind, path, alert.message)
        return
    first = alert.matches[0]
    logger.warning(
        "alert id=%d kind=%s path=%s match=%s score=%.3f matches=%d",
        alert.id,
        alert.kind,
        os.fsdecode(alert.path),
        os.fsdecode(first.path),
        first.score,
        len(alert.matches),
    )


SINKS: Mapping[str, Callable[[AlertRecord], None]] = {"log": to_log}
"""Name in the configuration -> what delivers one alert."""


class Outbox:
    """Delivers alerts from the store to the sinks.

    Parameters
    ----------
    store : Store
    sinks : sequence of str
        Keys of `SINKS`.

    Notes
    -----
    Thread-safe: deliveries take turns, so an alert is not delivered twice at once.
    """

    def __init__(self, store: Store, sinks: Sequence[str]) -> None:
        self._store = store
        self._sinks = {name: SINKS[name] for name in sinks}
        self._turn = threading.Lock()
        store.open_sinks(sinks)

    def deliver(self) -> None:
        """Deliver every alert that is not delivered yet."""
        with self._turn:
            for name, state in self._store.sinks().items():
                last = state.delivered_id
                while waiting := self._store.alerts(last, BATCH):
                    for alert in waiting:
                        pulse.beat()
                        self._sinks[name](alert)
                    last = waiting[-1].id
                    self._store.end_message(name, last, time.time())
