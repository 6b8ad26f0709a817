"""The rooms that share an index, opened for a daemon or for `cbir-daemon publish`.

In: a configuration, an open index.  Out: what publishes, what asks.  Never here: threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from cbir_daemon.config import Config
from cbir_daemon.errors import ConfigError
from cbir_daemon.medium import Medium
from cbir_daemon.shared.engine import Engine
from cbir_daemon.shared.lookup import Lookup, Questions
from cbir_daemon.shared.publisher import AlertFor, Publisher
from cbir_daemon.store import Store


def opened(
    config: Config, store: Store, medium: Medium, alert_for: AlertFor, closing: ExitStack
) -> tuple[Publisher, Questions]:
    """Return what publishes the contents of an index, and what asks the shared one; nothing is connected yet.

    Parameters
    ----------
    config : Config
        With an address.
    store : Store
    medium : Medium
    alert_for : callable
        See `Publisher`.
    closing : ExitStack
        Closes both.
    """
    engine = Engine(config.shared, medium.terms, medium.extractor)
    closing.callback(engine.close)
    lookup = Lookup(engine, medium, config.shared.site, config.match.copy_threshold)
    questions = Questions(lookup, config.shared.timeout_s)
    closing.callback(questions.close)
    return Publisher(store, engine, lookup, questions, medium, config.shared, alert_for), questions


def publish_all(config: Config, store: Store, medium: Medium, show: Callable[[int], None]) -> int:
    """Publish all contents of an index anew, take out what the shared index has besides, and return how many there are.

    Parameters
    ----------
    config : Config
    store : Store
        Open, of a daemon that does not run.
    medium : Medium
    show : callable
        Told now and then how many are still due.

    Raises
    ------
    ConfigError
        When no index is shared.
    SharedError
        When the server is away, or the site is another's.
    """
    _require_shared(config)
    with ExitStack() as closing:
        publisher, _ = opened(config, store, medium, lambda image, matches: None, closing)
        publisher.begin_anew()
        while publisher.publish():
            show(publisher.lag.due)
        return publisher.lag.published


def withdraw(config: Config, store: Store, medium: Medium, site: str) -> None:
    """Take all that a site has published out of the shared index.

    Parameters
    ----------
    config : Config
    store : Store
        Open, of a daemon that does not run.
    medium : Medium
    site : str
        This one, or another one whose daemon is no more.

    Raises
    ------
    ConfigError
        When no index is shared.
    SharedError
        When the server is away.
    """
    _require_shared(config)
    with ExitStack() as closing:
        engine = Engine(config.shared, medium.terms, medium.extractor)
        closing.callback(engine.close)
        engine.open()
        if site == config.shared.site:
            # Before anything goes: the site may be another daemon's.
            engine.claim(site, store.published.begin(site, time.time()).key.hex())
        engine.withdraw(site)
    if site == config.shared.site:
        store.published.forget()


def _require_shared(config: Config) -> None:
    if not config.shared.uri:
        raise ConfigError("no index is shared", hint="set uri and site of [shared]")
