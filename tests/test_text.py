"""What people read: aligned, in their units, and harmless to the terminal that shows it."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_daemon.cli import lines, matches, overview, text
from cbir_daemon.cli.documents import ResolvedFile
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import path_to_json

UNCHANGED: answers.Transform = {"flip": False, "turn": 0, "angle": 0.0, "invert": False}


QUERY: answers.QueryImage = {
    "digest": "00",
    "width": 640,
    "height": 480,
    "medium": "image",
    "summary": "",
    "position": "projected",
}


def match(**fields: Any) -> answers.Match:  # noqa: ANN401 -- JSON
    """Return a match as it travels, from a daemon that tells as little as the first release did."""
    described = {
        "path": "/album/a.jpg",
        "kind": "copy",
        "score": 0.9512,
        "map_distance": None,
        "transform": UNCHANGED,
        "overlap": {"query": 1.0, "match": 1.0},
        "width": 640,
        "height": 480,
        "size": 1_000,
    }
    return cast(answers.Match, described | fields)


def query(*matches: answers.Match) -> answers.Query:
    """Return an answer with matches."""
    return {"clock": 1, "took_ms": 1.0, "query": QUERY, "matches": list(matches)}


# Paths, sizes, tables.


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"/album/a b.jpg", "/album/a b.jpg"),
        ("/album/Grüße 🏖.jpg".encode(), "/album/Grüße 🏖.jpg"),
        (b"/album/new\nline\t.jpg", "/album/new\\nline\\t.jpg"),
        (b"/album/\x1b[31mred\x07.jpg", "/album/\\x1b[31mred\\x07.jpg"),
        (b"/album/\xff.jpg", "/album/\\udcff.jpg"),
        ("/album/\u202egpj.exe".encode(), "/album/\\u202egpj.exe"),
    ],
)
def test_a_path_cannot_upset_a_terminal(name: bytes, shown: str) -> None:
    """What would be obeyed, and what is no text, is escaped."""
    assert lines.path(path_to_json(name)) == shown


@given(st.binary().map(lambda name: name.replace(b"\0", b"x")))
def test_any_path_can_be_shown(name: bytes) -> None:
    """On one line, as text that any terminal can print."""
    shown = lines.path(path_to_json(name))
    assert shown.isprintable()
    shown.encode()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 B"),
        (1_023, "1023 B"),
        (1_024, "1 KiB"),
        (1_536, "2 KiB"),
        (1_048_063, "1023 KiB"),
        (1_048_575, "1 MiB"),
        (5 * 2**20, "5 MiB"),
        (2**30, "1.0 GiB"),
        (3 * 2**40, "3072.0 GiB"),
    ],
)
def test_sizes_are_short(value: int, shown: str) -> None:
    """With the unit that keeps them below 1024."""
    assert lines.size(value) == shown


def test_columns_are_aligned() -> None:
    """The last one is as long as it is, and nothing ends in blanks."""
    assert list(lines.table([["a", "bb", "c"], ["aaa", "b", ""], ["", "", "longer"]])) == [
        "a    bb  c",
        "aaa  b",
        "         longer",
    ]
    assert list(lines.table([])) == []


# Matches.


def test_a_match_is_a_line() -> None:
    """Kind, score, distance on the map, size, path."""
    copy = match(origin="smaller copy (50 %) of {path}")
    near = match(kind="similar", score=0.5, map_distance=1.234, width=64, height=48)
    assert list(matches.matches(query(copy, near))) == [
        "copy     0.951  map -     640x480  smaller copy (50 %) of /album/a.jpg",
        "similar  0.500  map 1.23  64x48    /album/a.jpg",
    ]
    assert list(matches.matches(query())) == []


def test_a_distance_from_between_fitted_images_is_about_right() -> None:
    """While the process that holds the map starts; a daemon of an earlier release does not say."""
    near = match(kind="similar", score=0.5, map_distance=1.234, width=64, height=48)
    answer = query(near)
    interpolated: answers.Query = {**answer, "query": {**QUERY, "position": "interpolated"}}
    assert list(matches.matches(interpolated)) == ["similar  0.500  map ~1.23  64x48  /album/a.jpg"]
    silent = {name: value for name, value in QUERY.items() if name != "position"}
    assert list(matches.matches(cast(answers.Query, {**answer, "query": silent}))) == [
        "similar  0.500  map 1.23  64x48  /album/a.jpg"
    ]


def test_the_path_stands_where_the_daemon_says() -> None:
    """What cannot be shown is escaped, whatever the words around it."""
    crop = match(path={"b64": "L2EveO+/vQ=="}, origin="crop (50 %) of {path}, brighter")
    assert matches.origin(crop) == "crop (50 %) of /a/x\ufffd, brighter"
    assert matches.origin(match(path="/a/{path}\n", origin="copy of {path}")) == "copy of /a/{path}\\n"


def test_a_daemon_of_an_earlier_release_says_only_the_path() -> None:
    """It has no words of its own for it."""
    assert matches.origin(match()) == "/album/a.jpg"


# Status.

ALBUM: answers.Album = {
    "path": "/album",
    "state": "watching",
    "images": 12,
    "errors": 0,
    "file_system": "ext4",
    "unwatched_folders": 0,
    "out_of_reach": 0,
    "events_lost": 0,
    "watch_restarts": 0,
}
MODEL: answers.ModelInUse = {
    "kind": "tuned",
    "n_neighbors": 10,
    "n_components": 16,
    "trustworthiness": 0.98765,
    "fitted_images": 500,
    "projected_images": 3,
    "fitted_at": "2024-06-01T12:00:00+00:00",
}
NO_FIT = {"running": False, "changed_fraction": None, "threshold": 0.2, "progress": None}


def status(**fields: Any) -> list[str]:  # noqa: ANN401 -- JSON
    """Return the lines of a status, from a daemon that tells as little as the first release did."""
    answer = {
        "state": "ready",
        "images": 12,
        "errors": 0,
        "pending": 0,
        "albums": [ALBUM],
        "model": None,
        "model_reason": "no map was fitted yet",
        "refit": NO_FIT,
    }
    return list(overview.overview(cast(answers.Status, answer | fields)))


def test_a_quiet_daemon_says_little() -> None:
    """One line for itself, one for each album, one for the model."""
    assert status() == [
        "ready: 12 images, 0 errors, 0 pending",
        "album  watching  12 images  0 errors  /album",
        "model: none; no map was fitted yet",
    ]


def test_one_is_no_plural() -> None:
    """What there is one of is said in the singular, wherever it is counted."""
    assert status(images=1, errors=1, albums=[{**ALBUM, "images": 1, "errors": 1}], duplicates_pending=1)[:3] == [
        "ready: 1 image, 1 error, 0 pending",
        "looking for copies: 1 to go, contents and new files",
        "album  watching  1 image  1 error  /album",
    ]
    assert list(text.settled({"clock": 1, "images": 1, "errors": 1})) == ["settled: 1 image, 1 error"]
    assert text.reviewed({"planned": 1, "dismissed": 0, "skipped": 0, "plan": "/p"}).startswith("1 group planned,")


def test_a_busy_daemon_says_how_far_it_is() -> None:
    """Reading, looking for copies, fitting; the time left only when it is known."""
    progress = {"found": 500, "done": 20, "errors": 1, "rate": 123.4, "remaining_s": None}
    running = NO_FIT | {"running": True, "progress": {"stage": "tune", "fraction": 0.5, "message": "trying 10"}}
    lines = status(state="indexing", pending=480, progress=progress, duplicates_pending=7, refit=running)
    assert lines[1:3] == ["indexing: 20 of 500 files, 123/s", "looking for copies: 7 to go, contents and new files"]
    assert lines[-1] == "fit: running, 50%, tune: trying 10"
    lines = status(state="indexing", progress=progress | {"remaining_s": 3.9})
    assert lines[1] == "indexing: 20 of 500 files, 123/s, 4 s left"


def test_a_model_and_its_distance_from_the_next_fit() -> None:
    """Its hyper-parameters and score, and how much has changed since."""
    assert status(model=MODEL, refit=NO_FIT | {"changed_fraction": 0.054})[-2:] == [
        "model: n_neighbors 10, n_components 16, trustworthiness 0.9877; 500 images fitted, 3 projected,"
        " 2024-06-01 12:00 UTC",
        "fit: 5.4% changed since; due above 20%",
    ]


def test_a_rough_map_is_called_one() -> None:
    """Until a tuned one is there."""
    assert status(model=MODEL | {"kind": "rough"})[-1].startswith("model: rough, n_neighbors 10,")


def test_what_needs_somebody_is_said_with_what_to_do() -> None:
    """Problems come right after the first line, each with its remedy; a name in one cannot upset the terminal."""
    lines = status(problems=[{"what": "album /a\x1b[2J is missing", "do": "mount the disk"}])
    assert lines[1:3] == ["! album /a\\x1b[2J is missing", "  -> mount the disk"]
    assert lines[3].startswith("album")
    missing = list(text.albums([{**ALBUM, "state": "missing"}]))
    assert missing[1:] == [
        "missing: nothing is forgotten; mount the disk, or accept the loss: `cbir scan --accept-losses`"
    ]
    assert list(text.albums([])) == []


# The rest.


def test_a_group_shows_the_one_to_keep_and_why() -> None:
    """Each of its images on a line."""
    kept: answers.GroupImage = {
        "path": "/a",
        "width": 640,
        "height": 480,
        "medium": "image",
        "summary": "",
        "size": 2_048,
        "keep": True,
        "why": "has the most pixels",
        "score": 1.0,
        "format": "JPEG",
        "taken": None,
        "mtime_ns": 0,
        "digest": "",
        "names": [],
        "done": "",
        "transform": None,
        "overlap": None,
    }
    spare: answers.GroupImage = {
        **kept,
        "path": "/b",
        "width": 64,
        "height": 48,
        "size": 10,
        "keep": False,
        "why": "is smaller",
    }
    group: answers.Group = {"id": "", "kind": "copy", "look": "files", "saves": 10, "images": [kept, spare]}
    assert list(text.groups({"clock": 1, "saves": 10, "total": 1, "files": 1, "groups": [group]})) == [
        "copy  2 images, frees 10 B",
        "  keep  640x480  2 KiB  /a  (has the most pixels)",
        "        64x48    10 B   /b  (is smaller)",
        "1 group, frees 10 B",
    ]
    assert list(text.groups({"clock": 1, "saves": 0, "total": 1, "files": 0, "groups": []})) == []
    unlooked: answers.Group = {**group, "look": "vectors"}
    assert next(text.groups({"clock": 1, "saves": 10, "total": 1, "files": 1, "groups": [unlooked]})) == (
        "copy  2 images, frees 10 B, in part by the vectors alone"
    )
    burst: answers.Group = {
        "id": "",
        "kind": "shot",
        "look": "files",
        "saves": 0,
        "images": [kept, {**kept, "path": "/b"}],
    }
    assert list(text.groups({"clock": 1, "saves": 0, "total": 1, "files": 0, "groups": [burst]})) == [
        "shot  2 images",
        "  keep  640x480  2 KiB  /a  (has the most pixels)",
        "  keep  640x480  2 KiB  /b  (has the most pixels)",
        "1 group",
    ]


def test_a_decision_is_a_line() -> None:
    """Files of the two contents, the beginning of a digest that no file has, or that all files are wanted."""
    decision: answers.Decision = {
        "digest": "a" * 64,
        "other_digest": "b" * 64,
        "decided_at": "2024",
        "paths": ["/a"],
        "other_paths": [],
    }
    same: answers.Decision = {**decision, "other_digest": "a" * 64}
    assert list(text.decisions([decision, same])) == [
        "2024  /a is no duplicate of bbbbbbbbbbbb..., which is in no album",
        "2024  all files with the bytes of /a are wanted",
    ]


def test_what_was_done_to_a_file_is_a_line() -> None:
    """Where it went, what it shares its bytes with, or why it stays."""
    file: ResolvedFile = {
        "path": "/a",
        "keep": "/k",
        "action": "trash",
        "state": "done",
        "kind": "copy",
        "size": 10,
        "target": "/t",
        "why": "",
    }
    assert text.task(file) == "trash  /a -> /t"
    assert text.task({**file, "action": "hardlink"}) == "hardlink  /a = /k"
    assert text.task({**file, "state": "skipped", "why": "is not indexed"}) == "skipped  /a is not indexed"
    assert text.task({**file, "state": "undone"}) == "undone  /a"
    assert list(text.tasks({"run": None, "saves": 0, "tasks": []})) == []


def test_a_run_is_a_line() -> None:
    """How many files are in which state; one that was broken off says what to do."""
    run: answers.ResolveRun = {
        "run": 2,
        "started_at": "2024",
        "open": True,
        "planned": 1,
        "begun": 0,
        "done": 3,
        "skipped": 0,
        "undone": 0,
    }
    broken = "2  2024  3 done, 1 planned; broken off: go on with --continue, or take it back with --undo"
    assert list(text.runs([run, {**run, "open": False, "planned": 0}])) == [broken, "2  2024  3 done"]


def test_an_alert_is_a_line() -> None:
    """What the daemon says of it, with nothing in it that a terminal would obey."""
    alert: answers.Alert = {
        "id": 8,
        "time": "2024-06-02",
        "path": "/disk",
        "kind": "missing",
        "text": "album /disk is missing: it is\nempty",
        "returned": None,
        "watched": [],
        "matches": [],
        "message": "it is\nempty",
    }
    assert text.alert(alert) == "8  2024-06-02  album /disk is missing: it is\\nempty"


def test_a_test_message_says_whether_alerts_go_there() -> None:
    """A place that works and is not used is more likely a mistake than a wish."""
    answer: answers.AlertsTested = {"sink": "phone", "took_ms": 12.4, "used": True}
    assert list(text.tested(answer)) == ["phone: delivered in 12 ms"]
    assert list(text.tested({**answer, "used": False}))[1:] == ["no alert goes there: phone is not in alerts.sinks"]


def test_a_work_that_is_watched_for_is_a_line() -> None:
    """With what the list has, and where the work is; names cannot upset a terminal."""
    work: answers.Work = {"name": "a\nb", "path": None, "digest": "", "added_at": "2024-06-02", "found": 2}
    assert list(text.watched({"added": True, "work": work, "found": []})) == ["watching for a\\nb; it is in no album"]
    assert list(text.watched({"added": False, "work": work, "found": []})) == ["a\\nb is on the watch list already"]
    assert list(text.works({"works": [work]})) == ["2024-06-02  found in 2  a\\nb"]
    assert list(text.works({"works": []})) == []


def test_errors_are_lines() -> None:
    """None at all without any."""
    assert list(
        text.errors({"errors": [{"code": "empty", "path": "/a\n", "message": "no bytes", "drawable": False}]})
    ) == ["empty  /a\\n: no bytes"]
    assert list(text.errors({"errors": []})) == []


RUN: answers.ModelRun = {
    "id": 2,
    "reason": "asked for",
    "kind": "warm",
    "numbers": {"contents": 30, "changed_fraction": 0.25},
    "outcome": "failed",
    "message": "no memory",
    "started_at": "2024",
    "fitted_at": None,
    "n_neighbors": None,
    "n_components": None,
    "trustworthiness": None,
    "neighbor_recall": None,
    "fitted_images": None,
    "present_images": None,
    "seed": None,
    "duration_s": 12.0,
    "peak_mib": None,
    "curve": [{"n_neighbors": 10, "n_components": 16, "trustworthiness": 0.98, "neighbor_recall": 0.5}],
}


def test_a_model_is_shown_with_its_curve() -> None:
    """Numbers without needless digits; what is not known is a dash."""
    assert list(text.model(RUN)) == [
        "id: 2",
        "reason: asked for",
        "kind: warm",
        "numbers: contents 30, changed_fraction 0.25",
        "outcome: failed",
        "started_at: 2024",
        *(f"{name}: -" for name in ("fitted_at", "n_neighbors", "n_components", "trustworthiness", "neighbor_recall")),
        *(f"{name}: -" for name in ("fitted_images", "present_images", "seed")),
        "duration_s: 12",
        "peak_mib: -",
        "  n_neighbors  n_components  trustworthiness  neighbor_recall",
        "  10           16            0.98             0.5",
    ]


def test_history_is_a_table() -> None:
    """A line a run, with its reason and what it said; none without runs."""
    header, line = text.history({"runs": [RUN]})
    assert header.split()[:2] == ["id", "outcome"]
    assert line.split()[:8] == ["2", "failed", "warm", "2024", "-", "-", "-", "-"]
    assert line.endswith(" asked for (contents 30, changed_fraction 0.25) no memory")
    assert list(text.history({"runs": []})) == []
