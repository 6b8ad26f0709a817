"""Answers as text for people.

In: answers.  Out: lines, with units and aligned columns; paths in them cannot upset a terminal.  Never here: asking the
daemon, printing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from cbir_daemon import wording
from cbir_daemon.comparison import Around, LookedAt, Overlap, Tone, Transform
from cbir_daemon.kinds import facts_of
from cbir_daemon.protocol.messages import path_from_json
from cbir_daemon.protocol.plan import MOVE, TRASH
from cbir_daemon.records import AlbumState, TaskState
from cbir_daemon.wording import counted

if TYPE_CHECKING:
    from cbir_daemon.cli import documents
    from cbir_daemon.protocol import answers

KIB = 1024


def raw_path(value: object) -> str:
    """Return a path from an answer, as it is on disk: stdout writes bytes that are no text as they were."""
    return os.fsdecode(path_from_json(value))


def path(value: object) -> str:
    """Return a path from an answer for a terminal: what is not printable is escaped, as are bytes that are no text."""
    return printable(raw_path(value))


def printable(text: str) -> str:
    """Return `text` for a terminal: what is not printable is escaped, as are bytes that are no text."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def size(value: int) -> str:
    """Return a number of bytes with its unit."""
    amount = float(value)
    for unit in ("B", "KiB", "MiB"):
        # As it is shown: 1023.6 would be 1024.
        if round(amount) < KIB:
            return f"{amount:.0f} {unit}"
        amount /= KIB
    return f"{amount:.1f} GiB"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows as lines with aligned columns; the last column is not padded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        yield "  ".join([*cells, row[-1]]).rstrip()


def matches(answer: answers.Query, *, explain: bool = False) -> Iterator[str]:
    """Yield a line for each match: kind, score, distance on the map, size in pixels, where the query is from.

    Below a match that has an explanation, the lines of `explanation` follow; with `explain`, also below what local
    features found.

    Parameters
    ----------
    answer : dict
        Of `query`.
    explain : bool
        Whether the user asked how each match was verified.
    """
    rows = [
        (
            f"{match['kind']} by {match['why']}" if match.get("why") else match["kind"],
            f"{match['score']:.3f}",
            "map -" if match["map_distance"] is None else f"map {match['map_distance']:.2f}",
            f"{match['width']}x{match['height']}",
            origin(answer["query"], match),
        )
        for match in answer["matches"]
    ]
    for match, line in zip(answer["matches"], table(rows), strict=True) if rows else ():
        yield line
        if "explanation" in match:
            yield from explanation(match["explanation"])
        elif explain and match.get("features"):
            found_by = f"{match['features']} local features lie as in the image"
            yield f"    {found_by}; the files agree there by {match['score']:.3f}"


_OUTCOMES = {
    "copy": "a copy: {score:.3f} reaches {threshold:.3f}",
    "below": "no copy: {score:.3f} is below {threshold:.3f}",
    "given-up": "no copy: given up at a correlation of {correlation:.3f}; a copy needs {threshold:.3f}",
    "plain": "no copy: the query is too plain to be a copy of anything but the same bytes",
}

_FAMILIES = {
    "whole": "the whole image",
    "crop": "a part of it",
    "content": "the picture inside the query's bars",
    "border": "it inside a border",
    "caption": "it with a bar on one side",
    "bars": "it between two bars",
    "part": "a picture that it is a part of",
    "tilt": "it at a small angle, cropped",
    "grown": "it at a small angle, in a larger frame",
}


def explanation(explained: answers.Explanation) -> Iterator[str]:
    """Yield how a match was verified: the outcome, the view it began from, the scales, and what made the score."""
    guess = explained["guess"]
    yield "    " + _OUTCOMES[explained["outcome"]].format(**explained)
    negative = ["negative"] if guess["invert"] else []
    view = [_FAMILIES[guess["family"]], *wording.turns(_transform(guess)), *negative]
    parts = ((guess["query_window"], "of the query"), (guess["stored_window"], "of the image"))
    seen = " like ".join(f"{_window(window)} {whose}" for window, whose in parts)
    yield f"    view: {', '.join(view)}; {seen}"
    yield f"    scales: {explained['scale_x']:.3f} x {explained['scale_y']:.3f} stored pixels a query pixel"
    measures = [
        f"correlation: {explained['correlation']:.4f}",
        f"area ratio {explained['area_ratio']:.2f}",
        f"cost {explained['cost']:.2f}",
    ]
    if explained["evidence_px"] is not None:
        measures.append(f"evidence {explained['evidence_px']:.0f} px ({explained['evidence_needed_px']:.0f} needed)")
    yield f"    {', '.join(measures)}"


def _window(window: answers.Window) -> str:
    if (window["left"], window["top"], window["right"], window["bottom"]) == (0, 0, 1, 1):
        return "all"
    return "{left:.0%}-{right:.0%} across, {top:.0%}-{bottom:.0%} down".format(**window)


def origin(query: answers.QueryImage, match: answers.Match) -> str:
    """Return where a query is from, by one of its matches.

    Parameters
    ----------
    query : QueryImage
        What the answer says of the query itself.
    match : Match
        A match of the same answer.
    """
    said = wording.origin(_edit(query, match), path(match["path"]))
    # A daemon of an earlier release does not say by what it tells.
    if facts_of(match["kind"]).is_paired and match.get("look") == LookedAt.VECTORS:
        said += "; by the vectors alone"
    return f"{said}; its album is missing" if match.get("missing") else said


def _edit(query: answers.QueryImage, match: answers.Match) -> wording.Edit:
    """Return what was done to a match's image to get the query; a daemon of another release may say less or more."""
    areas = [image["width"] * image["height"] for image in (query, match)]
    return wording.Edit(
        kind=match["kind"],
        transform=_transform(match["transform"]),
        overlap=Overlap(match["overlap"]["query"], match["overlap"]["match"]),
        tone=_tone(match),
        around=_around(match.get("around", Around.NOTHING)),
        scale=(areas[0] / areas[1]) ** 0.5 if all(areas) else 0.0,
        match_around=_around(match.get("match_around", Around.NOTHING)),
        later_s=match.get("later_s"),
    )


def _around(said: str) -> Around:
    return Around(said) if said in tuple(Around) else Around.PICTURE


def _tone(match: answers.Match) -> Tone:
    """Return how the greys follow; a daemon of an earlier release says nothing of them, and they count as unchanged."""
    same, described = Tone(), match.get("tone", {})
    return Tone(
        described.get("gain", same.gain), described.get("offset", same.offset), described.get("shift", same.shift)
    )


def _transform(done: answers.Transform) -> Transform:
    return Transform(done["flip"], done["turn"], done["angle"], done["invert"])


def status(answer: answers.Status) -> Iterator[str]:
    """Yield the state of the daemon on one screen."""
    images, errors = counted(answer["images"], "image"), counted(answer["errors"], "error")
    yield f"{answer['state']}: {images}, {errors}, {answer['pending']} pending"
    yield from problems(answer.get("problems", ()))
    progress = answer.get("progress")
    if progress and progress["found"]:
        remaining = "" if progress["remaining_s"] is None else f", {progress['remaining_s']:.0f} s left"
        yield f"indexing: {progress['done']} of {progress['found']} files, {progress['rate']:.0f}/s{remaining}"
    if answer.get("duplicates_pending"):
        yield f"looking for copies: {answer['duplicates_pending']} to go, contents and new files"
    if answer.get("looks_pending"):
        yield f"describing how older images look: {counted(answer['looks_pending'], 'content')} to go"
    if answer.get("features_pending"):
        yield f"taking local features: {counted(answer['features_pending'], 'content')} to go"
    if answer.get("meaning_pending"):
        yield f"describing by meaning: {counted(answer['meaning_pending'], 'content')} to go"
    yield from _albums(answer["albums"])
    yield from _model(answer)
    yield from _refit(answer["refit"])


def settled(answer: answers.Settled) -> Iterator[str]:
    """Yield how many images and errors there are."""
    yield f"settled: {counted(answer['images'], 'image')}, {counted(answer['errors'], 'error')}"


def problems(listed: Sequence[answers.Problem]) -> Iterator[str]:
    """Yield a line for each problem, and below it what to do."""
    for problem in listed:
        yield f"! {printable(problem['what'])}"
        yield f"  -> {printable(problem['do'])}"


def albums(listed: Sequence[answers.Album]) -> Iterator[str]:
    """Yield a line for each album, and what to do when one is missing."""
    yield from _albums(listed)
    if any(album["state"] == AlbumState.MISSING for album in listed):
        yield "missing: nothing is forgotten; mount the disk, or accept the loss: `cbir scan --accept-losses`"


def _albums(listed: Sequence[answers.Album]) -> Iterator[str]:
    rows = [
        (
            "album",
            album["state"],
            counted(album["images"], "image"),
            counted(album["errors"], "error"),
            path(album["path"]),
        )
        for album in listed
    ]
    yield from table(rows) if rows else ()


def _model(answer: answers.Status) -> Iterator[str]:
    model = answer["model"]
    if model is None:
        yield f"model: none; {answer.get('model_reason', '')}"
        return
    yield (
        f"model: n_neighbors {model['n_neighbors']}, n_components {model['n_components']},"
        f" trustworthiness {model['trustworthiness']:.4f}; {counted(model['fitted_images'], 'image')} fitted,"
        f" {model['projected_images']} projected, {model['fitted_at']}"
    )


def _refit(refit: answers.Refit) -> Iterator[str]:
    progress = refit["progress"]
    if progress is not None:
        yield f"fit: running, {progress['fraction']:.0%}, {progress['stage']}: {progress['message']}"
    elif refit["changed_fraction"] is not None:
        yield f"fit: {refit['changed_fraction']:.1%} changed since; due above {refit['threshold']:.0%}"
    if refit.get("reason") and refit.get("waits_for"):
        yield f"fit: due, {printable(refit['reason'])}; waits for {refit['waits_for']}"


def groups(answer: answers.Duplicates) -> Iterator[str]:
    """Yield the groups of duplicates, the one to keep first."""
    for group in answer["groups"]:
        yield ", ".join(_about(group))
        yield from table(
            [
                (
                    "  keep" if image["keep"] else "      ",
                    f"{image['width']}x{image['height']}",
                    size(image["size"]),
                    f"{path(image['path'])}  ({image['why']})",
                )
                for image in group["images"]
            ]
        )
    if answer["groups"]:
        count = counted(len(answer["groups"]), "group")
        all_stay = not any(facts_of(group["kind"]).may_go for group in answer["groups"])
        yield count if all_stay else f"{count}, frees {size(answer['saves'])}"


def _about(group: answers.Group) -> Iterator[str]:
    yield f"{group['kind']}  {len(group['images'])} images"
    if facts_of(group["kind"]).may_go:
        yield f"frees {size(group['saves'])}"
    if group.get("look") == LookedAt.VECTORS:
        yield "in part by the vectors alone"


def decisions(decided: Sequence[answers.Decision]) -> Iterator[str]:
    """Yield a line for each decision, with a file of each content, or its digest when no file has it."""
    for decision in decided:
        first = _named(decision["digest"], decision["paths"])
        if decision["digest"] == decision["other_digest"]:
            yield f"{decision['decided_at']}  all files with the bytes of {first} are wanted"
        else:
            second = _named(decision["other_digest"], decision["other_paths"])
            yield f"{decision['decided_at']}  {first} is no duplicate of {second}"


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
    """Return what was done to a file as one line."""
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
        yield f"{run['run']}  {run['started_at']}  {', '.join(counts)}{broken}"


def reviewed(answer: documents.Reviewed) -> str:
    """Return how a review came out as one line."""
    return (
        f"{counted(answer['planned'], 'group')} planned, {answer['dismissed']} dismissed, {answer['skipped']} skipped"
    )


def alert(raised: answers.Alert) -> str:
    """Return an alert as one line."""
    return f"{raised['id']}  {raised['time']}  {printable(raised['text'])}"


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
        rows = [
            ("  " + sighting["kind"], f"{sighting['score']:.3f}", path(sighting["path"]))
            for sighting in answer["found"]
        ]
        yield from table(rows)


def works(answer: answers.WatchList) -> Iterator[str]:
    """Yield a line for each work on the watch list."""
    rows = [
        (
            work["added_at"],
            f"found in {work['found']}",
            printable(work["name"]),
            "" if work["path"] is None else path(work["path"]),
        )
        for work in answer["works"]
    ]
    yield from table(rows) if rows else ()


def errors(answer: answers.Errors) -> Iterator[str]:
    """Yield a line for each file that could not be read."""
    rows = [(error["code"], f"{path(error['path'])}: {error['message']}") for error in answer["errors"]]
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
