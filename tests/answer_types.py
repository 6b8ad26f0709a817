"""The types of answers as lists of fields, in the words of the manual.

In: a `TypedDict`.  Out: name -> type, as `Section.fields` in `tests.manual` has them.  Never here: the manual, answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from cbir_daemon.cli.documents import DOCUMENTS
from cbir_daemon.protocol import answers
from tests.manual import ABSENT

WORDS = {str: "text", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
"""Type -> the manual's word for it."""

OTHER_DOCUMENTS = {
    **DOCUMENTS,
    "cbir alerts": answers.Alert,
    "cbir decisions list": answers.Decision,
    "cbir model fit": answers.ModelRun,
}
"""Command -> type of what it prints where that is no answer, or a part of one."""


def type_of(name: str) -> type:
    """Return the type of what has a list of fields in the manual: a command's document, or a method's answer."""
    return OTHER_DOCUMENTS.get(name) or answers.ANSWERS[name.removeprefix("cbir ").replace(" ", "_")]


def fields_of(document: type, place: str = "") -> dict[str, str]:
    """Return the fields of a type, those of inner objects included."""
    optional: frozenset[str] = getattr(document, "__optional_keys__", frozenset())
    fields: dict[str, str] = {}
    for name, annotation in get_type_hints(document, include_extras=True).items():
        is_optional = get_origin(annotation) is NotRequired or name in optional
        hint = get_args(annotation)[0] if get_origin(annotation) is NotRequired else annotation
        here = f"{place}{name}"
        fields[here] = _joined([*_words(hint), *([ABSENT] if is_optional else [])])
        fields |= _below(hint, here)
    return fields


def _joined(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _words(hint: Any) -> Iterator[str]:  # noqa: ANN401 -- a type, or one of the forms of `typing`
    """Yield the alternatives of a type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated and isinstance(said := hint.__metadata__[0], str):
        yield said
    elif origin is Annotated:
        yield from (f"`{json.dumps(word)}`" for word in said)
    elif origin in (Union, UnionType):
        for alternative in arguments:
            yield from _words(alternative)
    elif origin is Literal:
        yield from (f"`{json.dumps(value)}`" for value in arguments)
    elif origin is list:
        yield "list"
    else:
        yield "object" if is_typeddict(hint) else WORDS[hint]


def _below(hint: Any, place: str) -> dict[str, str]:  # noqa: ANN401 -- a type, or one of the forms of `typing`
    """Return the fields of the objects inside a value, and the entries of a list that are no objects."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_typeddict(hint):
        return fields_of(hint, f"{place}.")
    if origin is list:
        (entry,) = arguments
        return _below(entry, f"{place}[]") or {f"{place}[]": _joined(list(_words(entry)))}
    fields: dict[str, str] = {}
    for alternative in arguments if origin in (Union, UnionType) else ():
        fields |= _below(alternative, place)
    return fields
