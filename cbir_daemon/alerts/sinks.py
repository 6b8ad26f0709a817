"""Every kind of place that alerts go to, made from the configuration.

In: settings of a place.  Out: a `Sink`.  Never here: when something is delivered.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from cbir_daemon.alerts.command import Command
from cbir_daemon.alerts.message import Message
from cbir_daemon.alerts.secret import Secret
from cbir_daemon.alerts.services import Services
from cbir_daemon.alerts.webhook import Webhook
from cbir_daemon.config import SinkConfig
from cbir_daemon.records import SinkType
from cbir_daemon.store import AlertRecord

logger = logging.getLogger(__name__)

LOG = "log"
LOG_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Bundling:
    """How alerts are put into messages.

    Parameters
    ----------
    most : int
        Alerts in one message.
    few : int
        How many of them it has in full.
    is_patient : bool
        Whether it waits for more of them, keeps an interval and quiet hours.
    """

    most: int
    few: int
    is_patient: bool


BUNDLED = Bundling(most=10_000, few=10, is_patient=True)
"""For people; the ids alone of so many alerts are 60 KB."""

AT_ONCE = Bundling(most=1, few=1, is_patient=False)
"""For programs."""

LINES = Bundling(most=256, few=256, is_patient=False)
"""For the log, a line each."""


@dataclass(frozen=True, slots=True)
class Sink:
    """A place that alerts go to.

    Parameters
    ----------
    name : str
    send : callable
        Delivers one message; raises `SinkError` when it did not.
    timeout_s : float
        By then `send` should have come back.
    bundling : Bundling
    """

    name: str
    send: Callable[[Message], None]
    timeout_s: float
    bundling: Bundling


def log_sink() -> Sink:
    """Return the place that is always there."""
    return Sink(LOG, to_log, LOG_TIMEOUT_S, LINES)


def sink_of(config: SinkConfig, stopping: threading.Event) -> Sink:
    """Return the place that a table of the configuration describes.

    Parameters
    ----------
    config : SinkConfig
    stopping : threading.Event
        Set when the daemon stops: a program that runs is ended then.
    """
    return Sink(config.name, _SENDERS[config.type](config, stopping), config.timeout_s, _bundling(config))


def _bundling(config: SinkConfig) -> Bundling:
    return AT_ONCE if config.at_once else BUNDLED


def _command(config: SinkConfig, stopping: threading.Event) -> Command:
    return Command(config.command, config.timeout_s, stopping)


def _webhook(config: SinkConfig, stopping: threading.Event) -> Webhook:
    address, secret = Secret(config.url_file, config.url_env), Secret(config.secret_file, config.secret_env)
    return Webhook(address, secret, config.timeout_s)


def _services(config: SinkConfig, stopping: threading.Event) -> Services:
    return Services(Secret(config.url_file, config.url_env), config.timeout_s)


_SENDERS: dict[str, Callable[[SinkConfig, threading.Event], Callable[[Message], None]]] = {
    SinkType.COMMAND: _command,
    SinkType.WEBHOOK: _webhook,
    SinkType.APPRISE: _services,
}


def to_log(message: Message) -> None:
    """Write each alert of a message to the log."""
    if not message.alert_ids:
        logger.warning("alert test")
    for alert in message.alerts:
        _to_log(alert)


def _to_log(alert: AlertRecord) -> None:
    path = os.fsdecode(alert.path)
    if alert.matches:
        first = alert.matches[0]
        logger.warning(
            "alert id=%d kind=%s path=%s match=%s score=%.3f matches=%d watched=%s",
            alert.id,
            alert.kind,
            path,
            os.fsdecode(first.path),
            first.score,
            len(alert.matches),
            _names(alert),
        )
    elif alert.watched:
        logger.warning("alert id=%d kind=%s path=%s watched=%s", alert.id, alert.kind, path, _names(alert))
    else:
        logger.warning("alert id=%d kind=%s path=%s reason=%s", alert.id, alert.kind, path, alert.message)


def _names(alert: AlertRecord) -> str:
    return ", ".join(work.name for work in alert.watched) or "-"
