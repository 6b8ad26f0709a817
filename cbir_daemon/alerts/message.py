"""The wording of alerts: one document for programs, a title and lines for people.

In: alerts of the store.  Out: JSON and text.  Never here: where it goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cbir_daemon.kinds import ABOUT_ALBUMS, KINDS, facts_of
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import path_to_json, when
from cbir_daemon.store import AlertMatch, AlertRecord
from cbir_daemon.wording.counting import counted

TEST_ID = "test"


@dataclass(frozen=True, slots=True)
class Message:
    """A message: the alerts that go to a place at once.

    Parameters
    ----------
    alert_ids : tuple of int
        All alerts that it tells of, ascending; none in a test.
    alerts : tuple of AlertRecord
        The first of them.
    """

    alert_ids: tuple[int, ...]
    alerts: tuple[AlertRecord, ...]

    @property
    def id(self) -> str:
        """Name of the message, equal each time it is sent: the ids of its first and its last alert."""
        if not self.alert_ids:
            return TEST_ID
        first, last = self.alert_ids[0], self.alert_ids[-1]
        return str(first) if first == last else f"{first}-{last}"

    @property
    def title(self) -> str:
        """A few words."""
        if not self.alert_ids:
            return "Test of cbir-daemon"
        if len(self.alert_ids) > 1:
            return f"{counted(len(self.alert_ids), 'alert')} from your albums"
        return _title(self.alerts[0])

    @property
    def text(self) -> str:
        """A line for each of the first alerts, and a last line with the number of the further ones."""
        if not self.alert_ids:
            return "If you can read this, alerts arrive here."
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from (sentence(alert) for alert in self.alerts)
        unlisted = len(self.alert_ids) - len(self.alerts)
        if unlisted:
            yield f"and {unlisted} more: cbir alerts --since {self.alert_ids[0] - 1}"

    def to_json(self) -> answers.AlertMessage:
        """Return the document for programs."""
        return {
            "id": self.id,
            "test": not self.alert_ids,
            "title": self.title,
            "text": self.text,
            "count": len(self.alert_ids),
            "ids": list(self.alert_ids),
            "alerts": [alert_to_json(alert) for alert in self.alerts],
        }


def alert_to_json(alert: AlertRecord) -> answers.Alert:
    """Return an alert as `cbir alerts` and every place has it."""
    return {
        "id": alert.id,
        "time": when(alert.time),
        "path": path_to_json(alert.path),
        "kind": alert.kind,
        "text": sentence(alert),
        "returned": when(alert.returned),
        "watched": [{"name": work.name, "kind": work.kind, "score": round(work.score, 4)} for work in alert.watched],
        "matches": [_match_to_json(match) for match in alert.matches],
        "message": alert.message,
    }


def _match_to_json(match: AlertMatch) -> answers.AlertMatch:
    described: answers.AlertMatch = {
        "path": path_to_json(match.path),
        "kind": match.kind,
        "score": round(match.score, 4),
        "done": match.done,
    }
    if match.site:
        described["site"] = match.site
    return described


def sentence(alert: AlertRecord) -> str:
    """Return an alert as one line for people."""
    path = shown(alert.path)
    if alert.kind in ABOUT_ALBUMS:
        return f"album {path} is {alert.kind}: {alert.message}"
    if alert.kind not in KINDS:
        twins = f"; {_named(alert.matches)} had the same bytes" if alert.matches else ""
        return f"{path} is {alert.kind}: {alert.message}{twins}"
    parts = [f"contains {', '.join(_work(work.name, work.kind, work.score) for work in alert.watched)}"]
    said = [*(parts if alert.watched else []), *([_match(alert.matches)] if alert.matches else [])]
    if alert.returned is None:
        return f"{path} {' and '.join(said)}"
    day = datetime.fromtimestamp(alert.returned, UTC).date().isoformat()
    return f"{path} {' and '.join(said)}; resolved away on {day}, it is back"


def _named(matches: Sequence[AlertMatch]) -> str:
    more = len(matches) - 1
    return f"{shown(matches[0].path)}{f' and {more} more' if more else ''}"


def _match(matches: Sequence[AlertMatch]) -> str:
    first, more = matches[0], len(matches) - 1
    same = facts_of(first.kind).alert.format(score=first.score)
    done = f" [{first.done}]" if first.done else ""
    place = f"{first.site}:{shown(first.path)}" if first.site else shown(first.path)
    return f"{same} {place}{done}{f' and {more} more' if more else ''}"


def _work(name: str, kind: str, score: float) -> str:
    return f"your work {name} ({'the same bytes' if facts_of(kind).has_same_bytes else f'{score:.3f}'})"


def _title(alert: AlertRecord) -> str:
    name = shown(alert.path.rpartition(b"/")[2])
    if alert.kind in ABOUT_ALBUMS:
        return f"Album {name} is {alert.kind}"
    if alert.kind not in KINDS:
        return f"{alert.kind.capitalize()}: {name}"
    return f"Your work in {name}" if alert.watched else f"Duplicate: {name}"


def shown(path: bytes) -> str:
    """Return a path as text that any program takes; bytes that are none become a mark."""
    return path.decode(errors="replace")
