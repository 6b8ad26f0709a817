"""The answer of `status` as lines for people.

In: the answer.  Out: lines.  Never here: asking the daemon, printing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cbir_daemon.cli.lines import path, printable, table
from cbir_daemon.wording.counting import counted, duration, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cbir_daemon.protocol import answers

_ROUGH: dict[str | None, str] = {"rough": "rough, "}
"""What is said of a map by its kind; a word of `FitKind`, whose module takes 20 ms."""


def overview(answer: answers.Status) -> Iterator[str]:
    """Yield the state of the daemon on one screen."""
    images, errors = counted(answer["images"], "image"), counted(answer["errors"], "error")
    yield f"{answer['state']}: {images}, {errors}, {answer['pending']} pending"
    media = answer.get("media", ())
    if len(media) > 1:
        yield "contents: " + ", ".join(f"{medium['contents']} {medium['medium']}" for medium in media)
    yield from problems(answer.get("problems", ()))
    progress = answer.get("progress")
    if progress and progress["found"]:
        remaining = "" if progress["remaining_s"] is None else f", {duration(progress['remaining_s'])} left"
        yield f"indexing: {progress['done']} of {progress['found']} files, {progress['rate']:.0f}/s{remaining}"
    if answer.get("duplicates_pending"):
        yield f"looking for copies: {answer['duplicates_pending']} to go, contents and new files"
    if answer.get("looks_pending"):
        yield f"describing how older images look: {counted(answer['looks_pending'], 'content')} to go"
    if answer.get("features_pending"):
        yield f"taking local features: {counted(answer['features_pending'], 'content')} to go"
    if answer.get("meaning_pending"):
        yield f"describing by meaning: {counted(answer['meaning_pending'], 'content')} to go"
    yield from _shared(answer.get("shared"))
    yield from album_lines(answer["albums"])
    yield from _model(answer)
    yield from _refit(answer["refit"])
    for medium in media:
        # The lines above are of images; an earlier release has no other maps.
        if medium["medium"] != "image" and "model" in medium:
            yield from (f"{medium['medium']} {line}" for line in (*_model(medium), *_refit(medium["refit"])))


def _shared(shared: answers.Shared | None) -> Iterator[str]:
    if shared is None:
        return
    since = f" since {shared['due_since']}" if shared["due_since"] else ""
    yield (
        f"shared: site {shared['site']}, {shared['state']}; {shared['published']} published"
        f", {shared['due']} due{since}"
        f", {shared['unasked']} to look up; {counted(len(shared['sites']), 'other site')}"
    )


def problems(listed: Sequence[answers.Problem]) -> Iterator[str]:
    """Yield a line for each problem, and below it what to do."""
    for problem in listed:
        yield f"! {printable(problem['what'])}"
        yield f"  -> {printable(problem['do'])}"


def album_lines(listed: Sequence[answers.Album]) -> Iterator[str]:
    """Yield a line for each album."""
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


def _model(answer: answers.MediumMap | answers.Status) -> Iterator[str]:
    model = answer["model"]
    if model is None:
        yield f"model: none; {answer.get('model_reason', '')}"
        return
    rough = _ROUGH.get(model.get("kind"), "")
    yield (
        f"model: {rough}n_neighbors {model['n_neighbors']}, n_components {model['n_components']},"
        f" trustworthiness {model['trustworthiness']:.4f}; {counted(model['fitted_images'], 'image')} fitted,"
        f" {model['projected_images']} projected, {moment(model['fitted_at'])}"
    )


def _refit(refit: answers.Refit) -> Iterator[str]:
    progress = refit["progress"]
    if progress is not None:
        yield f"fit: running, {progress['fraction']:.0%}, {progress['stage']}: {progress['message']}"
    elif refit["changed_fraction"] is not None:
        yield f"fit: {refit['changed_fraction']:.1%} changed since; due above {refit['threshold']:.0%}"
    if refit.get("reason") and refit.get("waits_for"):
        yield f"fit: due, {printable(refit['reason'])}; waits for {refit['waits_for']}"
