"""Messages are read whole or refused in a sentence that names the field; codes and paths survive the wire."""

from __future__ import annotations

import contextlib
import inspect
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_daemon import errors
from cbir_daemon.errors import BadRequestError, CbirError, NotFoundError, ProtocolError
from cbir_daemon.map import ArtifactRefusedError
from cbir_daemon.protocol.framing import FrameReader, encode
from cbir_daemon.protocol.messages import (
    ERRORS,
    VERSION,
    Params,
    Request,
    answer,
    error_from,
    path_from_json,
    path_to_json,
    refusal,
)

EXIT_STATUS = {
    "internal": 70,
    "bad-request": 64,
    "unknown-method": 64,
    "unreadable-image": 65,
    "too-plain": 65,
    "not-found": 66,
    "no-access": 66,
    "unavailable": 69,
    "in-use": 73,
    "storage": 74,
    "schema-too-new": 74,
    "busy": 75,
    "timed-out": 75,
    "protocol": 76,
    "forbidden": 77,
    "config": 78,
    "sink": 69,
    "shared": 69,
    "site-taken": 69,
    "model": 70,
    "child": 71,
}
"""Wire code -> exit status (sysexits.h).  A contract: entries may be added, none changed or taken out."""

RETRYABLE = {"unavailable", "busy", "timed-out", "model", "child", "sink", "shared", "site-taken"}

NOT_TEXT = b"/album/\xff\xfe.jpg"


def through_the_wire(message: dict[str, Any]) -> dict[str, Any]:
    """Return what the other side reads."""
    reader = FrameReader(0)
    reader.receive(encode(message))
    (frame,) = reader.frames()
    return frame.message


# Errors.


def test_codes_are_those_of_the_contract() -> None:
    """Every code has its exit status, and none is missing or new."""
    assert {code: kind.exit_status for code, kind in ERRORS.items()} == EXIT_STATUS
    assert {code for code, kind in ERRORS.items() if kind.retryable} == RETRYABLE


def test_each_error_has_a_code_of_its_own() -> None:
    """No two classes of the tree share one, and each is found under its own."""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, CbirError)]
    assert sorted(kind.code for kind in kinds) == sorted(EXIT_STATUS)
    assert all(ERRORS[kind.code] is kind for kind in kinds)


def test_an_error_of_another_room_goes_by_its_family() -> None:
    """A subclass made elsewhere keeps the code, and does not take the place of the class that owns it."""
    assert ArtifactRefusedError("refused").code == "model"
    assert ERRORS["model"] is errors.ModelError


@pytest.mark.parametrize("code", EXIT_STATUS)
def test_an_error_is_raised_again_on_the_other_side(code: str) -> None:
    """Class, message and hint are those of the daemon."""
    sent = ERRORS[code]("what happened", hint="what to do")
    got = error_from(through_the_wire(refusal(7, sent, 5))["error"])
    assert (type(got), got.message, got.hint) == (type(sent), "what happened", "what to do")
    assert str(got) == "what happened: what to do"


@pytest.mark.parametrize("described", [{}, {"code": "from-the-future", "message": "m"}, {"code": 7}])
def test_an_unknown_code_is_an_error_all_the_same(described: dict[str, Any]) -> None:
    """A newer daemon may know more of them."""
    got = error_from(described)
    assert type(got) is CbirError
    assert got.exit_status == 70


def test_a_refusal_may_name_a_path_that_is_no_text() -> None:
    """What UTF-8 cannot carry is escaped, in message, hint and id."""
    name = os.fsdecode(NOT_TEXT)
    message = through_the_wire(refusal("\ud800", NotFoundError(f"{name}: gone", hint=name), 5))
    assert message["error"]["message"] == "/album/\\udcff\\udcfe.jpg: gone"
    assert message["error"]["hint"] == "/album/\\udcff\\udcfe.jpg"
    assert message["id"] == "\\ud800"


# Requests and answers.


@pytest.mark.parametrize("request_id", [0, -1, 2**63, "", "seven"])
def test_a_request_survives_the_wire(request_id: int | str) -> None:
    """Whatever it is called, and with bytes behind it."""
    request = Request(request_id, "query", {"limit": 3}, b"image")
    assert Request.from_message(through_the_wire(request.to_message()), b"image") == request


def test_unknown_fields_are_ignored_and_params_may_be_absent() -> None:
    """A newer client may say more, a lazy one less."""
    message = {"v": 1, "id": 1, "method": "status", "colour": "red"}
    assert Request.from_message(message) == Request(1, "status", {})


@pytest.mark.parametrize("version", [None, 0, 2, "1", [1]])
def test_another_version_is_refused(version: object) -> None:
    """The message says which one is spoken."""
    with pytest.raises(ProtocolError, match="this daemon speaks 1"):
        Request.from_message({"v": version, "id": 1, "method": "status"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None),
        ("id", True),
        ("id", 1.5),
        ("id", "\ud800"),
        ("method", None),
        ("method", 7),
        ("method", ["status"]),
        ("params", []),
        ("params", "x"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(field: str, value: object) -> None:
    """One sentence, with the field in it."""
    with pytest.raises(BadRequestError, match=f"field '{field}'"):
        Request.from_message({"v": 1, "id": 1, "method": "status", "params": {}, field: value})


def test_an_answer_says_whether_more_comes() -> None:
    """Only then is the field there at all."""
    assert answer(7, {"x": 1}, 12) == {"v": VERSION, "id": 7, "ok": {"x": 1}, "clock": 12}
    assert answer("a", {}, 12, more=True)["more"] is True


# Parameters.


def test_integer_parameters_keep_their_bounds() -> None:
    """Absent is the default; a fraction, a flag, a text and what lies outside are refused by name."""
    assert Params({}).integer("limit", 10) == 10
    assert Params({"limit": 1}).integer("limit", 10, least=1, most=5) == 1
    for bad in (0, 6, 2.0, True, "3", None, float("nan")):
        with pytest.raises(BadRequestError, match="'limit' must be a whole number from 1 to 5"):
            Params({"limit": bad}).integer("limit", 10, least=1, most=5)


def test_number_parameters_keep_their_bounds() -> None:
    """Whole numbers are numbers; what is none of the kind is refused by name."""
    assert Params({"score": 1}).number("score", 0.5, least=0.0, most=1.0) == 1.0
    assert Params({}).number("score", 0.5, least=0.0, most=1.0) == 0.5
    for bad in (-0.1, 1.1, True, "0.5", None, float("nan"), float("inf")):
        with pytest.raises(BadRequestError, match=r"'score' must be a number from 0.0 to 1.0"):
            Params({"score": bad}).number("score", 0.5, least=0.0, most=1.0)


def test_choices_and_flags() -> None:
    """Absent is none and false."""
    assert Params({}).choice("kind", ("exact", "copy")) is None
    assert Params({"kind": "copy"}).choice("kind", ("exact", "copy")) == "copy"
    assert not Params({}).flag("follow")
    assert Params({"follow": True}).flag("follow")


@pytest.mark.parametrize("bad", ["", "Exact", 1, ["exact"], {}])
def test_a_bad_choice_is_refused(bad: object) -> None:
    """With what is offered."""
    with pytest.raises(BadRequestError, match="'kind' must be one of exact, copy"):
        Params({"kind": bad}).choice("kind", ("exact", "copy"))


@pytest.mark.parametrize("bad", [1, "yes", None])
def test_a_bad_flag_is_refused(bad: object) -> None:
    """A number or a text is neither true nor false."""
    with pytest.raises(BadRequestError, match="'follow' must be true or false"):
        Params({"follow": bad}).flag("follow")


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("/a/b", b"/a/b"),
        ("/a/b/", b"/a/b"),
        ("//a//b", b"/a/b"),
        ("///a", b"/a"),
        ("/a/./b/../c", b"/a/c"),
        ("/", b"/"),
        ("/a\nb", b"/a\nb"),
        ({"b64": "L2FsYnVtL//+LmpwZw=="}, NOT_TEXT),
    ],
)
def test_paths_come_out_absolute_and_plain(path: object, read: bytes) -> None:
    """Without double slashes, dots and slashes at the end, which would name the same place twice."""
    assert Params({"path": path}).path("path") == read


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "a/b",
        "./a",
        "/a\0b",
        7,
        [],
        {},
        {"b64": 7},
        {"b64": "&"},
        {"b64": "L"},
        {"b64": "é"},
        {"b64": ""},
        "/\ud800",
    ],
)
def test_bad_paths_are_refused(bad: object) -> None:
    """In one sentence that names the parameter."""
    with pytest.raises(BadRequestError, match="parameter 'where'"):
        Params({"where": bad}).path("where")


def test_a_path_may_be_missing_where_it_may() -> None:
    """And is asked for where it may not."""
    assert Params({}).maybe_path("path") is None
    with pytest.raises(BadRequestError, match="'path' is missing"):
        Params({}).path("path")


@given(st.binary(max_size=60).map(lambda name: name.replace(b"\0", b"x")))
def test_any_path_survives_the_wire(path: bytes) -> None:
    """Text, newlines, bytes that are no text: what comes out is what went in."""
    assert path_from_json(through_the_wire({"path": path_to_json(path)})["path"]) == path


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2)))
def test_nonsense_is_refused_and_nothing_else(value: object) -> None:
    """Whatever a client sends as a path, it is one or is refused as one."""
    with contextlib.suppress(BadRequestError):
        assert Params({"path": value}).path("path").startswith(b"/")
