"""The work of the daemon now, in one line for `systemctl status`.

In: the rooms.  Out: a sentence or a few.  Never here: the whole of `cbir status`.
"""

from __future__ import annotations

from cbir_daemon.indexing.batches import Progress
from cbir_daemon.serving.handlers.problems import problems
from cbir_daemon.serving.handlers.rooms import Rooms
from cbir_daemon.wording.counting import counted


def is_busy(rooms: Rooms) -> bool:
    """Whether files are being read or a map fitted; costs nothing to ask."""
    return rooms.ingest.pending > 0 or rooms.maps.fitting is not None


def summary(rooms: Rooms) -> str:
    """Return the work of now, or else the size of the index; and how many problems `cbir status` shows."""
    counts = rooms.store.files.counts()
    parts = []
    if rooms.ingest.pending:
        parts.append(reading(rooms.ingest.progress) or f"{counted(rooms.ingest.pending, 'path')} to look at")
    if counts.unmatched:
        parts.append(f"looking for copies of {counted(counts.unmatched, 'content')}")
    if counts.parts_due:
        parts.append(f"looking inside {counted(counts.parts_due, 'new file')}")
    fit = rooms.maps.fitting
    if fit is not None:
        parts.append(f"fitting the map: {fit.fraction:.0%}, {fit.stage}")
    if not parts:
        parts.append(f"{counted(counts.images, 'image')}, {counted(counts.errors, 'error')}, {_map(rooms)}")
    found = len(problems(rooms))
    if found:
        parts.append(f"{counted(found, 'problem')}, see `cbir status`")
    return "; ".join(parts)


def reading(progress: Progress) -> str:
    """Return how far reading is: found, done, errors, rate, time left; empty when it is not known how much there is."""
    if not progress.found:
        return ""
    remaining = "" if progress.remaining_s is None else f", {progress.remaining_s:.0f} s left"
    counts = f"{progress.done} of {counted(progress.found, 'file')}, {counted(progress.errors, 'error')}"
    return f"indexing: {counts}, {progress.rate:.0f}/s{remaining}"


def _map(rooms: Rooms) -> str:
    run = rooms.store.runs.active()
    return "no map" if run is None else f"map of {run.fitted_images}, trustworthiness {run.trustworthiness:.3f}"
