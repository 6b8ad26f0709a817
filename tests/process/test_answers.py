"""Earlier releases' states answer as they did, and two installations are compared down to a field."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import manual, pictures
from tests.answers import script
from tests.answers.comparison import NOTES, Kind, differences
from tests.answers.home import furnish
from tests.answers.recording import Answers, Recorder
from tests.process.daemon import COMMANDS, Daemon, ended
from tests.states import ANSWERS, states
from tests.states.make import answers

pytestmark = pytest.mark.process

PROCESSORS = 0.005
"""Share by which scores may differ from those recorded elsewhere: processors sum in different orders."""

OTHER_CBIR = """#!/usr/bin/env bash
set -o pipefail
"{commands}/cbir" "$@" | sed 's/"around":/"beside":/g; s/"keep": *true/"keep": false/g'
"""
"""Renames a field, and says of no image that it is kept."""


UNLOOKED = re.compile(r"opened: cbir (duplicates|resolve)\b(?!.*--kind exact)")
"""Questions about what may go.  The states' pictures are too small to be compared: since copies that only the vectors
tell stay, these have other answers than the release gave that made the states of schema 6."""


SIMILAR = re.compile(r"cbir query\b.*--(kind similar|sheet)")
"""Questions about what is similar alone, and pictures of it: releases up to schema 10 ranked that by greys."""


@pytest.mark.parametrize("state", states(), ids=lambda state: str(state.name))
def test_the_state_of_an_earlier_release_answers_as_it_did(daemon: Daemon, state: Path) -> None:
    """Everything is asked of it, and taken back, with the answers that the release which made it gave."""
    recorded = without_similar(json.loads((state / ANSWERS).read_text()))
    now = without_similar(answers(daemon, state))
    found = [
        difference
        for difference in differences(recorded, now, tolerance=PROCESSORS)
        # A sentence may become plainer from release to release; what scripts read may not.
        if difference.kind not in NOTES | {Kind.WORDING} and not UNLOOKED.match(difference.question)
    ]
    assert [str(difference) for difference in found] == []
    asked = "opened: cbir duplicates --json"
    assert grouped(now[asked]) == grouped(recorded[asked])


def without_similar(recorded: Answers) -> Answers:
    """Return answers without what is similar: it is what looks alike since schema 11."""
    kept = {question: answer for question, answer in recorded.items() if not SIMILAR.search(question)}
    for answer in kept.values():
        for document in answer["documents"]:
            if isinstance(document, dict) and "matches" in document and "query" in document:
                document["matches"] = [match for match in document["matches"] if match["kind"] != "similar"]
    return kept


def grouped(answer: Any) -> set[tuple[str, frozenset[str]]]:  # noqa: ANN401 -- JSON
    """Return the kind and the files of each group."""
    groups = (group for document in answer["documents"] for group in document["groups"])
    return {(group["kind"], frozenset(str(image["path"]) for image in group["images"])) for group in groups}


@pytest.fixture
def work() -> Iterator[Path]:
    """Give a folder with a short name, and an album in it."""
    folder = Path(tempfile.mkdtemp(prefix="cbir"))
    pictures.write_album(folder / "source", 8)
    yield folder
    shutil.rmtree(folder)


def recorded_on(home: Path, commands: Path) -> Answers:
    """Return what an installation answers to queries and about duplicates."""
    home.mkdir()
    furnish(home, home.parent / "source")
    with ended(Daemon(home, commands=commands)) as daemon:
        recorder = Recorder(daemon)
        script.configure(recorder, script.NO_MAP)
        daemon.start()
        script.settled(recorder)
        recorder.cbir("album", "add", home / "phone")
        script.settled(recorder)
        script.queries(recorder)
        script.duplicates(recorder)
        script.stopped(recorder)
    return recorder.answers


def test_an_installation_is_compared_with_itself_and_with_one_that_answers_otherwise(work: Path) -> None:
    """A renamed field is gone and added, a changed value is found wherever it stands, and nothing else differs."""
    altered = work / "bin"
    altered.mkdir()
    (altered / "cbir-daemon").symlink_to(COMMANDS / "cbir-daemon")
    (altered / "cbir").write_text(OTHER_CBIR.format(commands=COMMANDS))
    (altered / "cbir").chmod(0o755)
    with ThreadPoolExecutor() as pool:
        own, theirs = pool.map(recorded_on, (work / "own", work / "alt"), (COMMANDS, altered))
    found = list(differences(own, theirs))
    assert {(difference.kind, difference.place.rpartition(".")[2]) for difference in found} == {
        (Kind.FIELDS, "around"),
        (Kind.ADDED, "beside"),
        (Kind.VALUE, "keep"),
    }
    asked = {question for question in own if "matches[].around" in manual.seen(own[question]["documents"])}
    assert {difference.question for difference in found if difference.kind is Kind.FIELDS} == asked
