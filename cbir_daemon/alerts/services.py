"""E-mail, telephones, desktops and a hundred services more, through apprise in a child process of its own.

In: a message.  Out: nothing when apprise has delivered it, else why not.  Never here: apprise itself, which is loaded
by the child alone: it costs a second and 60 MB, and whatever hangs in it is ended with the child.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re

from cbir_daemon.alerts.message import Message
from cbir_daemon.alerts.secret import Secret
from cbir_daemon.errors import CbirError, SinkError
from cbir_daemon.system.child import Child

LIBRARY = "apprise"
CHILD = "cbir_daemon.alerts.apprise_child"
START_S = 20.0
"""Longest time in which the child loads apprise, on top of the time for the message."""

SHORTEST_SECRET = 4


class Services:
    """Delivers through apprise.

    Parameters
    ----------
    address : Secret
        Where the address of apprise is, such as `mailtos://...`; several stand on lines of their own.
    timeout_s : float
        Longest time for one message.
    """

    def __init__(self, address: Secret, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s

    def __call__(self, message: Message) -> None:
        """Deliver a message to every address; raises `SinkError` unless all of them took it."""
        if importlib.util.find_spec(LIBRARY) is None:
            raise SinkError("apprise is not installed", hint="pip install 'cbir-daemon[alerts]', then restart")
        addresses = self._address.read()
        # Never as an argument or a variable: those can be seen by others.
        order = {"addresses": addresses.split(), "title": message.title, "text": message.text}
        try:
            with contextlib.closing(Child.started(CHILD, order)) as child:
                answer = child.receive(START_S + self._timeout_s).message
        except CbirError as error:
            raise SinkError(f"apprise: {error.message}", hint=error.hint) from error
        if not answer["sent"]:
            said = without(addresses, str(answer["why"]))
            raise SinkError(f"apprise: {said or 'it could not be delivered'}", hint=str(answer["hint"]))


def without(addresses: str, said: str) -> str:
    """Return the words of apprise, without any part of the addresses: each may be a token or a password.

    Parameters
    ----------
    addresses : str
        White space stands between them.  Parts of fewer than `SHORTEST_SECRET` characters are no secrets.
    said : str
    """
    parts = {part for part in re.split(r"[\s:/@?&=,]+", addresses) if len(part) >= SHORTEST_SECRET}
    for part in sorted(parts, key=len, reverse=True):
        said = said.replace(part, "***")
    return said
