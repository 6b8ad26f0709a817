"""Tells the shared index what has changed here, and looks up at the other sites what is new here.

In: contents that are due; the engine.  Out: rows in the shared index; pairs and alerts across sites.  Never here: what
a row looks like (`layout`), how two vectors are compared.

What is due stands in the index, so a kill costs nothing, and a server that is away costs nothing but lag.  A content
is published before it is looked up: of two copies that come to two sites at once, at least one finds the other.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum

from cbir_daemon.config.settings import SharedConfig
from cbir_daemon.errors import SharedError, SiteTakenError
from cbir_daemon.kinds import rank
from cbir_daemon.medium import Medium
from cbir_daemon.records import Problem
from cbir_daemon.search.search import as_vectors
from cbir_daemon.shared.engine import Engine, is_installed
from cbir_daemon.shared.layout import CodeRow, code_rows, content_id, content_row, is_whole, pair_row
from cbir_daemon.shared.lookup import Lookup, Questions, SharedMatch
from cbir_daemon.store import AlertMatch, Image, Lag, NewAlert, Publication, Store
from cbir_daemon.system import heartbeat
from cbir_daemon.system.priority import be_nice

logger = logging.getLogger(__name__)

BATCH_CONTENTS = 256
"""Contents published and noted together: 1 MB of vectors."""

ASKED_CONTENTS = 16
"""Contents looked up and noted together."""

ASK_TIMEOUT_S = 30.0
"""For a look-up in the background: nobody waits for it."""

FIRST_RETRY_S, RETRY_S = 1.0, 30.0
"""Wait before a server that did not answer is tried again: twice the last one, at most this."""

CLAIM_S = 15.0
"""Time between two looks whether the site is still ours, and which others there are."""

STEP_S = 300.0
"""No single step takes longer: each call of it has its own time-out."""

AlertFor = Callable[[Image, Sequence[AlertMatch]], NewAlert | None]


class State(StrEnum):
    """How the shared index is."""

    STARTING = "starting"
    CONNECTED = "connected"
    AWAY = "away"
    """The server does not answer."""
    REFUSED = "refused"
    """The site is another daemon's, or the extra is missing."""


class Publisher:
    """Publishes the contents of one site.

    Parameters
    ----------
    store : Store
    engine : Engine
    lookup : Lookup
    questions : Questions
        Told when the server answers again.
    medium : Medium
    settings : SharedConfig
    alert_for : callable
        Takes an image and its matches, and returns the alert that it raises, if any.
    now : callable
        Seconds since the epoch.
    batch_contents : int
        Contents published and noted together.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        lookup: Lookup,
        questions: Questions,
        medium: Medium,
        settings: SharedConfig,
        alert_for: AlertFor,
        now: Callable[[], float] = time.time,
        batch_contents: int = BATCH_CONTENTS,
    ) -> None:
        self._store = store
        self._engine = engine
        self._lookup = lookup
        self._questions = questions
        self._medium = medium
        self._settings = settings
        self._alert_for = alert_for
        self._now = now
        self._batch_contents = batch_contents
        self._stopping = threading.Event()
        self._claimed_at = -CLAIM_S
        self.state = State.STARTING
        self.trouble = ""
        """What the last call was refused for; empty while all is well."""

    # -- asked from other threads ------------------------------------------------------------------------------------

    @property
    def site(self) -> str:
        """The name of this site."""
        return self._settings.site

    @property
    def lag(self) -> Lag:
        """How far the shared index is behind."""
        return self._store.published.lag()

    @property
    def idle(self) -> bool:
        """Whether nothing is due, or nothing can be done about it now."""
        if self.state is State.CONNECTED:
            lag = self.lag
            return not lag.due and not lag.unasked
        return self.state is not State.STARTING

    def problems(self) -> list[Problem]:
        """Return what is wrong with the shared index."""
        if not self.trouble:
            return []
        return [
            Problem(
                f"the shared index is left out: {self.trouble}",
                "this site goes on by itself; what changes is published when the server answers",
            )
        ]

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()

    # -- the thread --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Publish until stopped; a server that is away is tried again and again."""
        be_nice()
        self._store.published.begin(self.site, self._now())
        wait_s = FIRST_RETRY_S
        while not self._stopping.is_set():
            moment = self._store.moment
            heartbeat.beat(STEP_S, waits_for="the shared index")
            try:
                worked = self.step()
            except SharedError as error:
                self._refused(error)
                heartbeat.idle(wait_s)
                self._stopping.wait(wait_s)
                wait_s = min(2 * wait_s, RETRY_S)
                continue
            wait_s = FIRST_RETRY_S
            if not worked:
                heartbeat.idle(CLAIM_S)
                self._store.wait_for_change(moment, CLAIM_S)

    def _refused(self, error: SharedError) -> None:
        is_ours = isinstance(error, SiteTakenError) or not is_installed()
        state, trouble = State.REFUSED if is_ours else State.AWAY, str(error)
        if trouble != self.trouble:
            logger.warning("the shared index is left out state=%s reason=%s", state, trouble)
        self.state, self.trouble = state, trouble
        self._claimed_at = -CLAIM_S
        self._questions.note(trouble)
        self._engine.close()
        self._store.wake()

    def step(self) -> bool:
        """Publish or look up some contents; False when there was nothing to do.

        Raises
        ------
        SharedError
            When the server is away, or the site is another's.
        """
        self._claim()
        return self.publish() or self._ask()

    def begin_anew(self) -> None:
        """Note all contents as due, and take out what the shared index has of this site besides.

        Raises
        ------
        SharedError
            When the server is away, or the site is another's.
        """
        self._claim()
        self._store.published.note_all(self._now())
        own = {content_id(self.site, entry.digest) for entry in self._store.published.due(sys.maxsize)}
        strays = [found for found in self._engine.content_ids(self.site) if found not in own]
        for start in range(0, len(strays), self._batch_contents):
            self._engine.remove(strays[start : start + self._batch_contents])

    def _claim(self) -> None:
        """Make sure that the collections are there and the site is ours, once in a while."""
        now = time.monotonic()
        if now - self._claimed_at < CLAIM_S:
            return
        site = self._store.published.begin(self.site, self._now())
        if self.state is not State.CONNECTED:
            self._engine.open()
        was_known = self._engine.claim(site.name, site.key.hex())
        if not was_known and self.lag.published:
            # The server was emptied, or is another one.
            noted = self._store.published.note_all(self._now())
            logger.warning("the shared index has nothing of this site, all is published anew contents=%d", noted)
        self._lookup.sites = tuple(name for name in self._engine.site_names(ASK_TIMEOUT_S) if name != site.name)
        self._claimed_at = now
        if self.state is not State.CONNECTED:
            logger.info("shared index connected site=%s others=%d", site.name, len(self._lookup.sites))
            self.state, self.trouble = State.CONNECTED, ""
            self._questions.note("")
            self._store.wake()

    def publish(self) -> bool:
        """Publish or withdraw the next contents; False when none are due.

        Raises
        ------
        SharedError
            When the server is away.
        """
        due = self._store.published.due(self._batch_contents)
        if not due:
            return False
        found = self._store.published.publications([entry.digest for entry in due])
        # First what has gone: a moved file is another row with the same id.
        self._engine.remove([content_id(self.site, entry.digest) for entry in due if entry.digest not in found])
        self._put(list(found.values()))
        self._store.published.put(due, set(found), self._now())
        logger.debug("published contents=%d withdrawn=%d", len(found), len(due) - len(found))
        return True

    def _put(self, found: Sequence[Publication]) -> None:
        if not found:
            return
        packed = self._medium.packed_codes(as_vectors([published.vector for published in found]))[
            :, self._medium.few_windows
        ]
        codes: list[CodeRow] = []
        for published, own in zip(found, packed, strict=True):
            codes += code_rows(self.site, published.content.digest, own)
        share_paths = self._settings.share_paths
        self._engine.put(
            [content_row(self.site, published, share_paths=share_paths) for published in found],
            [row for row in codes if is_whole(row["id"])],
            [row for row in codes if not is_whole(row["id"])],
        )

    # -- copies at other sites ---------------------------------------------------------------------------------------

    def _ask(self) -> bool:
        """Look up published contents at the other sites; False when there were none."""
        unasked = self._store.published.unasked(ASKED_CONTENTS)
        if not unasked:
            return False
        found = self._store.published.publications([digest for digest, _ in unasked])
        alerts: list[NewAlert] = []
        for digest, news in unasked:
            if digest not in found or self._stopping.is_set():
                continue
            heartbeat.beat(STEP_S, waits_for="the shared index")
            matches = self._lookup.copies(found[digest].vector, digest, ASK_TIMEOUT_S, strong=news)
            dismissed = self._store.decisions.dismissed_with(digest)
            matches = [match for match in matches if match.content.digest not in dismissed]
            self._engine.put_pairs([pair_row(self.site, digest, match.content) for match in matches])
            if news and matches:
                alerts += self._alert(found[digest], matches)
        if self._stopping.is_set():
            return False
        self._store.published.put_asked([digest for digest, _ in unasked], alerts, self._now())
        return True

    def _alert(self, published: Publication, matches: Sequence[SharedMatch]) -> list[NewAlert]:
        """Return the alert that the newest file of a content raises, if any."""
        images = [image for image in self._store.files.images([published.content.id]) if not image.missing]
        if not images:
            return []
        newest = max(images, key=lambda image: (image.since, image.file_id))
        listed = [
            AlertMatch(match.content.path, match.kind, match.score, site=match.content.site)
            for match in sorted(matches, key=lambda match: (rank(match.kind), -match.score))
        ]
        alert = self._alert_for(newest, listed)
        return [] if alert is None else [alert]
