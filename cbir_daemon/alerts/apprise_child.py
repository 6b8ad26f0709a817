"""The child that speaks to services: the one place that loads apprise.

In: a frame with addresses, title and text.  Out: a frame that says whether all of them took it.  Never here: our own
settings, files, the store.
"""

from __future__ import annotations

import logging

import apprise

from cbir_daemon.protocol.framing import Frame
from cbir_daemon.system.child import Channel, serve

UNKNOWN = "an address is of no kind that apprise knows, or incomplete"
WHERE = "https://appriseit.com lists the addresses of every service"


class _Said(logging.Handler):
    """Keeps what apprise complains of; its lesser lines have addresses in them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


def answer(frame: Frame, channel: Channel) -> None:
    """Deliver one message to services.

    Parameters
    ----------
    frame : Frame
        Its message has `addresses`, `title` and `text`.
    channel : Channel
        Gets `sent`, whether all addresses took it, and `why` and `hint` when not.
    """
    said = _listening()
    message = frame.message
    service = apprise.Apprise()
    if not all(service.add(address) for address in message["addresses"]):
        channel.send({"sent": False, "why": UNKNOWN, "hint": WHERE})
        return
    # Text as it is: paths would be taken for marks of Markdown.
    sent = service.notify(
        body=message["text"],
        title=message["title"],
        body_format=apprise.NotifyFormat.TEXT,
        interpret_escapes=False,
    )
    channel.send({"sent": bool(sent), "why": "; ".join(said.lines[-2:]), "hint": ""})


def _listening() -> _Said:
    said = _Said()
    log = logging.getLogger("apprise")
    log.handlers[:] = [said]
    # Not to standard error either, which is the daemon's log.
    log.propagate = False
    return said


if __name__ == "__main__":
    serve(answer)
