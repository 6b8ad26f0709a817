"""Recordings of two installations are compared down to a field, and nothing that one run differs in by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import pictures
from tests.answers.comparison import Kind, Maps, differences
from tests.answers.home import furnish, photographs
from tests.answers.recording import Answers, Recorder
from tests.process.daemon import Daemon

QUERY = "queries: cbir query ~/a.jpg --json"
TEXT = "texts: cbir status"


def match(path: str, kind: str, score: float, distance: float) -> dict[str, Any]:
    """Return a match."""
    return {"path": path, "kind": kind, "score": score, "map_distance": distance}


RECORDED: Answers = {
    QUERY: {
        "status": 0,
        "documents": [
            {
                "clock": "<clock>",
                "model": {"trustworthiness": 0.95, "n_neighbors": 15, "message": "keeps 0.503 of 166"},
                "matches": [
                    match("~/a.jpg", "exact", 1.0, 0.5),
                    match("~/b.jpg", "copy", 0.99, 0.5),
                    *(match(f"~/{name}.jpg", "similar", 0.6, 1.0) for name in "cdefgh"),
                ],
                "methods": ["query", "status"],
                "why": "is the oldest of equals",
            }
        ],
        "text": "",
        "stderr": "none",
    },
    TEXT: {"status": 0, "documents": [], "text": "ready\n2 images\n", "stderr": "none"},
}


Change = Callable[[Any, Any], object]
"""What is done to a recording and the document in it."""


def changed(change: Change) -> Answers:
    """Return the recording after a change to it, or to its document."""
    answers = copy.deepcopy(RECORDED)
    change(answers, answers[QUERY]["documents"][0])
    return answers


CHANGES: dict[str, tuple[Change, list[tuple[Kind, str]]]] = {
    "nothing": (lambda answers, document: None, []),
    "a question less": (lambda answers, document: answers.pop(TEXT), [(Kind.QUESTION, "")]),
    "a question more": (lambda answers, document: answers.update(more=answers[TEXT]), []),
    "a status": (lambda answers, document: answers[QUERY].update(status=1), [(Kind.STATUS, "")]),
    "an error of two lines": (lambda answers, document: answers[QUERY].update(stderr="more"), [(Kind.STDERR, "")]),
    "a field less": (lambda answers, document: document.pop("clock"), [(Kind.FIELDS, "clock")]),
    "a field more": (lambda answers, document: document.update(site="here"), [(Kind.ADDED, "site")]),
    "a value": (
        lambda answers, document: document["matches"][1].update(score=0.98),
        [(Kind.VALUE, "[0].matches[1].score")],
    ),
    "another type": (
        lambda answers, document: document["matches"][0].update(score=1),
        [(Kind.VALUE, "[0].matches[0].score")],
    ),
    "a match less": (lambda answers, document: document["matches"].pop(), [(Kind.VALUE, "[0].matches")]),
    "a sentence": (lambda answers, document: document.update(why="is older"), [(Kind.WORDING, "[0].why")]),
    "a name more": (lambda answers, document: document["methods"].append("page"), []),
    "a name less": (lambda answers, document: document["methods"].pop(), [(Kind.VALUE, "[0].methods")]),
    "a line less": (lambda answers, document: answers[TEXT].update(text="ready\n"), [(Kind.WORDING, "line 2")]),
    "a line more": (
        lambda answers, document: answers[TEXT].update(text="ready\n2 images\nmore\n"),
        [(Kind.ADDED, "line 3")],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_with_its_kind_and_place(name: str) -> None:
    """Each change to one answer is one difference, none is missed and none is made up."""
    change, expected = CHANGES[name]
    found = differences(RECORDED, changed(change))
    assert [(difference.kind, difference.place) for difference in found] == expected


MAP_CHANGES: dict[str, tuple[Callable[[Any], object], Kind]] = {
    "a score within its tolerance": (lambda document: document["model"].update(trustworthiness=0.94), Kind.NEAR),
    "a score beyond it": (lambda document: document["model"].update(trustworthiness=0.9), Kind.MAP),
    "another choice": (lambda document: document["model"].update(n_neighbors=30), Kind.NEAR),
    "no choice": (lambda document: document["model"].update(n_neighbors=None), Kind.VALUE),
    "a score in a sentence": (lambda document: document["model"].update(message="keeps 0.510 of 166"), Kind.NEAR),
    "a count in a sentence": (lambda document: document["model"].update(message="keeps 0.503 of 165"), Kind.WORDING),
    "a distance": (lambda document: document["matches"][1].update(map_distance=2.0), Kind.NEAR),
    "the score of a copy": (lambda document: document["matches"][1].update(score=0.98), Kind.VALUE),
    "the score of what is similar": (lambda document: document["matches"][5].update(score=0.98), Kind.VALUE),
    "the order of what was verified": (
        lambda document: document["matches"].insert(0, document["matches"].pop(1)),
        Kind.VALUE,
    ),
    "the order of what is similar": (
        lambda document: document["matches"].insert(2, document["matches"].pop()),
        Kind.ORDER,
    ),
    "something else similar": (lambda document: document["matches"][2].update(path="~/i.jpg"), Kind.ORDER),
    "nearly all else similar": (
        lambda document: [similar.update(path=f"{similar['path']}.png") for similar in document["matches"][3:]],
        Kind.MAP,
    ),
}


@pytest.mark.parametrize("name", MAP_CHANGES)
def test_two_maps_may_differ_in_what_a_map_decides(name: str) -> None:
    """Scores within a tolerance, distances and the order of `similar` are notes; all else stays strict."""
    change, expected = MAP_CHANGES[name]
    new = changed(lambda answers, document: change(document))
    kinds = {difference.kind for difference in differences(RECORDED, new, Maps.NEAR)}
    assert kinds == {expected}
    assert [difference.kind for difference in differences(RECORDED, new, Maps.SAME)] != []


def test_numbers_may_differ_by_a_tolerance() -> None:
    """With a tolerance only larger differences count."""
    new = changed(lambda answers, document: document["matches"][1].update(score=0.991))
    assert list(differences(RECORDED, new, tolerance=0.005)) == []
    assert [difference.kind for difference in differences(RECORDED, new, tolerance=0.0005)] == [Kind.VALUE]


def test_a_recording_has_nothing_of_its_own_run(tmp_path: Path) -> None:
    """Home, times since it began, measurements and the clock are hidden; older times, and paths of any bytes, stay."""
    recorder = Recorder(Daemon(tmp_path))
    document = {
        "clock": 12,
        "took_ms": None,
        "taken": "2019-07-14T12:45:01",
        "decided_at": "2019-07-14T12:45:01.000+00:00",
        "time": "2999-07-14T12:45:01.000+00:00",
        "text": f"{tmp_path}/a.jpg; resolved away on 2999-07-14, not on 2019-07-14",
        "path": {"b64": "L2NhZuk="},
    }
    recorder.keep("query(path='a.jpg')", {"status": 0, "documents": [document], "text": "", "stderr": "none"})
    assert recorder.answers[": query(path='a.jpg')"]["documents"] == [
        {
            "clock": "<clock>",
            "took_ms": None,
            "taken": "2019-07-14T12:45:01",
            "decided_at": "2019-07-14T12:45:01.000+00:00",
            "time": "<now>",
            "text": "~/a.jpg; resolved away on <today>, not on 2019-07-14",
            "path": "b64:/caf\udce9",
        }
    ]


def test_a_home_is_the_same_wherever_it_is_made(tmp_path: Path) -> None:
    """Two homes furnished from the same photographs hold the same files with the same times, in the same order."""
    source = tmp_path / "source"
    pictures.write_album(source, 8)
    homes = []
    for name in ("first", "second"):
        home = tmp_path / name
        home.mkdir()
        furnish(home, source)
        files = [path for path in home.rglob("*") if path.is_file()]
        homes.append({path.relative_to(home): (path.read_bytes(), path.stat().st_mtime_ns) for path in files})
        inodes = [path.stat().st_ino for path in sorted(files)]
        assert inodes == sorted(inodes)
    assert homes[0] == homes[1]
    assert len({mtime_ns for _, mtime_ns in homes[0].values()}) == len(homes[0])


def test_photographs_of_each_folder_are_counted_apart(tmp_path: Path) -> None:
    """So many of each folder at the top are taken, the first by name, however deep they lie."""
    for name in ("birds/one/a.jpg", "birds/two/b.jpg", "birds/two/c.png", "d.jpg", "trees/e.jpg", "trees/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    taken = [str(path.relative_to(tmp_path)) for path in photographs(tmp_path, 2)]
    assert taken == ["birds/one/a.jpg", "birds/two/b.jpg", "d.jpg", "trees/e.jpg"]
