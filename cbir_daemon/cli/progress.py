"""Shows how far indexing, the search for copies and a fit are: as bars in a terminal, as lines in a log.

In: the rooms of a running service.  Out: stderr.  Never here: doing any of the work.
"""

from __future__ import annotations

import logging
import threading

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from cbir_daemon.serving.handlers import Rooms
from cbir_daemon.wording.counting import counted

logger = logging.getLogger(__name__)

TERMINAL_S = 0.2
LOG_S = 5.0


class Reporter:
    """Shows progress from `start` to `close`, on a thread of its own.

    Parameters
    ----------
    console : Console
        On stderr.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, rooms: Rooms) -> None:
        """Begin to show the progress of these rooms."""
        self._thread = threading.Thread(target=self._run, args=(rooms,), name="progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop showing progress, and give the terminal back; harmless before `start`."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, rooms: Rooms) -> None:
        if self._console.is_terminal:
            self._in_terminal(rooms)
        else:
            self._in_log(rooms)

    def _in_log(self, rooms: Rooms) -> None:
        while not self._closed.wait(LOG_S):
            for line in _lines(rooms):
                logger.info("%s", line)

    def _in_terminal(self, rooms: Rooms) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            bars = {
                name: progress.add_task(name, total=None, visible=False, rate="", note="")
                for name in ("reading", "finding copies", "fitting the map")
            }
            most = 0
            while not self._closed.wait(TERMINAL_S):
                most = _draw(progress, bars, rooms, most)


def _draw(progress: Progress, bars: dict[str, TaskID], rooms: Rooms, most: int) -> int:
    """Bring the bars up to date; return the largest backlog of the copy search so far."""
    reading, fit = rooms.ingest.progress, rooms.maps.fitting
    busy = rooms.ingest.pending > 0 and reading.found > 0
    rate, errors = f"{reading.rate:.0f}/s", counted(reading.errors, "error") if reading.errors else ""
    progress.update(bars["reading"], visible=busy, total=reading.found, completed=reading.done, rate=rate, note=errors)
    backlog = rooms.store.files.counts().unmatched
    most = max(most, backlog) if backlog else 0
    progress.update(bars["finding copies"], visible=backlog > 0, total=most, completed=most - backlog)
    progress.update(
        bars["fitting the map"],
        visible=fit is not None,
        total=100,
        completed=100 * fit.fraction if fit is not None else 0,
        note=f"{fit.stage}: {fit.message}" if fit is not None else "",
    )
    return most


def _lines(rooms: Rooms) -> list[str]:
    lines = []
    reading, fit = rooms.ingest.progress, rooms.maps.fitting
    if rooms.ingest.pending and reading.found:
        remaining_s = reading.remaining_s
        lines.append(
            f"progress reading found={reading.found} done={reading.done} errors={reading.errors}"
            f" rate={reading.rate:.1f} remaining_s={'unknown' if remaining_s is None else f'{remaining_s:.0f}'}"
        )
    if backlog := rooms.store.files.counts().unmatched:
        lines.append(f"progress copies contents_left={backlog}")
    if fit is not None:
        lines.append(f"progress fit run={fit.run_id} done={fit.fraction:.0%} stage={fit.stage} now={fit.message!r}")
    return lines
