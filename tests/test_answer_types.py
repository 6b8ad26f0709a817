"""Handlers, client and manual have one type for each answer: that of `protocol.answers`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from cbir_daemon.cli import metrics
from cbir_daemon.cli.documents import DOCUMENTS
from cbir_daemon.client import Client
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.plan import ACTIONS
from cbir_daemon.records import TaskState
from cbir_daemon.serving import handlers
from cbir_daemon.serving.handlers import Reply
from tests import manual
from tests.answer_types import fields_of, type_of
from tests.manual import section
from tests.test_contract import METHODS, TABLES

RETURNED = {
    "alerts": Iterator[answers.Alert],
    "sheet": bytes,
    "map_tile": bytes,
    "preview": bytes,
    "error_preview": bytes,
    "thumbnail": bytes,
    "model_fit": Iterator[answers.ModelFit],
    "map": Iterator[tuple[answers.MapPart, bytes]],
}
"""Method -> what the client makes of its answers, where that is not one answer whole."""


def test_every_method_has_its_type() -> None:
    """The types of answers are those of the daemon's methods, and no others."""
    assert sorted(answers.ANSWERS) == METHODS


@pytest.mark.parametrize("name", TABLES)
def test_the_manual_says_what_the_type_says(name: str) -> None:
    """The fields of a list are those of the type: the same names, each of the same types, absent or not."""
    assert _compared(TABLES[name]) == _compared(fields_of(type_of(name)))


def _compared(fields: Mapping[str, str]) -> dict[str, set[str]]:
    """Return fields with the alternatives of each type in no order."""
    return {name: set(manual.alternatives(cell)) for name, cell in fields.items()}


def test_every_type_has_its_table() -> None:
    """Each type of an answer and of a document is that of a list of fields in the manual."""
    tabled = [type_of(name) for name in TABLES]
    assert all(document in tabled for document in (*answers.ANSWERS.values(), *DOCUMENTS.values()))


def test_the_manual_says_what_a_message_to_a_sink_is() -> None:
    """The list of docs/alerts.md has the fields of the message that a program or an address is sent."""
    assert _compared(section("alerts.md", "Messages").fields) == _compared(fields_of(answers.AlertMessage))


@pytest.mark.parametrize("method", METHODS)
def test_a_handler_gives_the_type(method: str) -> None:
    """A handler is annotated with a reply of its method's type, or with replies of it."""
    annotated = get_type_hints(handlers.METHODS[method])["return"]
    reply = get_args(annotated)[0] if get_origin(annotated) is Iterator else annotated
    assert (get_origin(reply), get_args(reply)) == (Reply, (answers.ANSWERS[method],))


@pytest.mark.parametrize("method", METHODS)
def test_the_client_returns_the_type(method: str) -> None:
    """A method of the client is annotated with the type of its answer, or with what it makes of its answers."""
    # The client has the types for type checkers only.
    returned = get_type_hints(getattr(Client, method), localns={"answers": answers})["return"]
    assert returned == RETURNED.get(method, answers.ANSWERS[method])


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (answers.TaskAction, ACTIONS),
        (answers.TaskState, TaskState),
        (answers.State, metrics.STATES),
        (answers.AlbumState, metrics.ALBUM_STATES),
    ],
    ids=["actions", "states of a task", "states of the daemon", "states of an album"],
)
def test_words_are_those_of_the_rooms(words: Any, known: Iterable[str]) -> None:  # noqa: ANN401 -- an `Annotated`
    """Where a room above the protocol has the same words, the types list just these."""
    assert words.__metadata__ == (tuple(known),)


def test_the_client_starts_without_the_types() -> None:
    """`cbir` does not make the types of answers: that would be a tenth of its start."""
    code = "import sys, cbir_daemon.cli.client; print('cbir_daemon.protocol.answers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603 -- our own
    assert done.stdout == "False\n"
