"""Answers as text for people, but for those of `status` and `query` (`overview`, `matches`).

In: answers.  Out: lines.  Never here: asking the daemon, printing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from cbir_daemon.cli.lines import path, printable, size, table
from cbir_daemon.cli.overview import album_lines
from cbir_daemon.comparison import LookedAt
from cbir_daemon.kinds import facts_of
from cbir_daemon.protocol.plan import MOVE, TRASH
from cbir_daemon.records import AlbumState, TaskState
from cbir_daemon.wording.counting import counted, moment

if TYPE_CHECKING:
    from cbir_daemon.cli import documents
    from cbir_daemon.protocol import answers


def settled(answer: answers.Settled) -> Iterator[str]:
    """Yield how many images and errors there are."""
    yield f"settled: {counted(answer['images'], 'image')}, {counted(answer['errors'], 'error')}"


def albums(listed: Sequence[answers.Album]) -> Iterator[str]:
    """Yield a line for each album, and what to do when one is missing."""
    yield from album_lines(listed)
    if any(album["state"] == AlbumState.MISSING for album in listed):
        yield "missing: nothing is forgotten; mount the disk, or accept the loss: `cbir scan --accept-losses`"


def errors(answer: answers.Errors) -> Iterator[str]:
    """Yield a line for each file that could not be read."""
    rows = [(error["code"], f"{path(error['path'])}: {error['message']}") for error in answer["errors"]]
    yield from table(rows) if rows else ()


def groups(answer: answers.Duplicates) -> Iterator[str]:
    """Yield the groups of duplicates, the one to keep first."""
    for group in answer["groups"]:
        yield ", ".join(_about(group))
        yield from table(
            [
                (
                    "  keep" if image["keep"] else "      ",
                    image.get("summary") or f"{image['width']}x{image['height']}",
                    size(image["size"]),
                    f"{_place(image)}  ({image['why']})",
                )
                for image in group["images"]
            ]
        )
    if answer["groups"]:
        count = counted(len(answer["groups"]), "group")
        all_stay = not any(facts_of(group["kind"]).may_go for group in answer["groups"])
        yield count if all_stay else f"{count}, frees {size(answer['saves'])}"


def _place(image: answers.GroupImage) -> str:
    """Return where an image lies: `studio:/path`, or its digest where that site keeps its paths to itself."""
    shown = path(image["path"])
    return f"{image['site']}:{shown or image['digest'][:12]}" if "site" in image else shown


def _about(group: answers.Group) -> Iterator[str]:
    yield f"{group['kind']}  {counted(len(group['images']), 'image')}"
    if facts_of(group["kind"]).may_go:
        yield f"frees {size(group['saves'])}"
    if group.get("look") == LookedAt.VECTORS:
        yield "in part by the vectors alone"


def decisions(decided: Sequence[answers.Decision]) -> Iterator[str]:
    """Yield a line for each decision, with a file of each content, or its digest when no file has it."""
    for decision in decided:
        first = _named(decision["digest"], decision["paths"])
        if decision["digest"] == decision["other_digest"]:
            yield f"{moment(decision['decided_at'])}  all files with the bytes of {first} are wanted"
        else:
            second = _named(decision["other_digest"], decision["other_paths"])
            yield f"{moment(decision['decided_at'])}  {first} is no duplicate of {second}"


def _named(digest: str, paths: Sequence[answers.WirePath]) -> str:
    return path(paths[0]) if paths else f"{digest[:12]}..., which is in no album"


def tasks(answer: documents.Resolved) -> Iterator[str]:
    """Yield a line for each file of a plan, and how much space it frees."""
    rows = [
        (noted["action"], size(noted["size"]), f"{path(noted['path'])}  ({noted['why']}; kept: {path(noted['keep'])})")
        for noted in answer["tasks"]
    ]
    yield from table(rows) if rows else ()
    if rows:
        yield f"{counted(len(rows), 'file')}, frees {size(answer['saves'])}; nothing is done yet"


def task(noted: documents.ResolvedFile) -> str:
    """Return the work on a file as one line."""
    if noted["state"] == TaskState.DONE and noted["target"] is not None and noted["action"] in (TRASH, MOVE):
        return f"{noted['action']}  {path(noted['path'])} -> {path(noted['target'])}"
    if noted["state"] == TaskState.DONE:
        return f"{noted['action']}  {path(noted['path'])} = {path(noted['keep'])}"
    return f"{noted['state']}  {path(noted['path'])} {noted['why']}".rstrip()


def runs(listed: Sequence[answers.ResolveRun]) -> Iterator[str]:
    """Yield a line for each run, newest first."""
    for run in listed:
        counts = [f"{run[state]} {state}" for state in ("done", "skipped", "undone", "begun", "planned") if run[state]]
        broken = "; broken off: go on with --continue, or take it back with --undo" if run["open"] else ""
        yield f"{run['run']}  {moment(run['started_at'])}  {', '.join(counts)}{broken}"


def reviewed(answer: documents.Reviewed) -> str:
    """Return how a review came out as one line."""
    return (
        f"{counted(answer['planned'], 'group')} planned, {answer['dismissed']} dismissed, {answer['skipped']} skipped"
    )


def alert(raised: answers.Alert) -> str:
    """Return an alert as one line."""
    return f"{raised['id']}  {moment(raised['time'])}  {printable(raised['text'])}"


def tested(answer: answers.AlertsTested) -> Iterator[str]:
    """Yield how long a test message took, and whether alerts go to that sink."""
    yield f"{answer['sink']}: delivered in {answer['took_ms']:.0f} ms"
    if not answer["used"]:
        yield f"no alert goes there: {answer['sink']} is not in alerts.sinks"


def watched(answer: answers.WatchAdded) -> Iterator[str]:
    """Yield a work that was put on the watch list, and the files that contain it."""
    name = printable(answer["work"]["name"])
    if not answer["added"]:
        yield f"{name} is on the watch list already"
    elif not answer["found"]:
        yield f"watching for {name}; it is in no album"
    else:
        yield f"watching for {name}; found in the albums:"
        rows = [("  " + match["kind"], f"{match['score']:.3f}", path(match["path"])) for match in answer["found"]]
        yield from table(rows)


def works(answer: answers.WatchList) -> Iterator[str]:
    """Yield a line for each work on the watch list."""
    rows = [
        (
            moment(work["added_at"]),
            f"found in {work['found']}",
            printable(work["name"]),
            "" if work["path"] is None else path(work["path"]),
        )
        for work in answer["works"]
    ]
    yield from table(rows) if rows else ()


def model(answer: answers.ModelShown | answers.ModelRun) -> Iterator[str]:
    """Yield the map's hyper-parameters and scores, and the curve from which they were chosen."""
    for name, value in answer.items():
        if name not in ("curve", "message"):
            yield f"{name}: {_numbers(answer['numbers']) if name == 'numbers' else _number(value)}"
    names = ["n_neighbors", "n_components", "trustworthiness", "neighbor_recall"]
    rows = [names, *(_cells(candidate, names) for candidate in answer["curve"])]
    yield from (f"  {line}" for line in table(rows))


def cancelled(answer: answers.ModelCancelled) -> Iterator[str]:
    """Yield whether a fit was running and is cancelled."""
    yield "the fit is ended; `cbir model fit` fits again" if answer["cancelled"] else "no fit runs"


def history(answer: answers.ModelHistory) -> Iterator[str]:
    """Yield a line for each run, newest first."""
    names = ("id", "outcome", "kind", "started_at", "fitted_images", "n_neighbors", "n_components", "trustworthiness")
    rows = [[*names, "duration_s", "reason"]]
    for run in answer["runs"]:
        why = f"{printable(run['reason'])} ({_numbers(run['numbers'])}) {printable(run['message'])}".replace("() ", "")
        rows.append([*_cells(run, (*names, "duration_s")), why.strip()])
    yield from table(rows) if len(rows) > 1 else ()


def _cells(row: Mapping[str, object], names: Sequence[str]) -> list[str]:
    return [_number(row[name]) for name in names]


def _numbers(numbers: answers.FitNumbers) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in numbers.items())


def _number(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
