"""The values that a key accepts: a value as TOML gives it in, the value as the program uses it out.

Never here: names of keys, defaults, files.
"""

from __future__ import annotations

import grp
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import time
from typing import Any

AUTO = "auto"
HOURS = re.compile(r"(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)")
NAME = re.compile(r"[a-z0-9_-]+")
HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
ADDRESS = re.compile(r"(https?://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9_-]*)?)?")
SCHEDULER = re.compile(r"((tcp|tls)://[A-Za-z0-9._:\[\]-]+:[0-9]{1,5})?")
COLLECTION = re.compile(r"[a-z][a-z0-9_]{0,40}")
VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)?")


@dataclass(frozen=True, slots=True)
class Check:
    """One rule for a value.

    Parameters
    ----------
    accepts : str
        What is accepted, in words that end the sentence "accepted is ...".
    read : callable
        Gets the value from the file, returns the one to use; raises `ValueError` or `TypeError` when it is not
        accepted.
    none_text : str
        The text that is read as None.
    """

    accepts: str
    read: Callable[[Any], Any]
    none_text: str = AUTO


def flag() -> Check:
    """Accept true or false."""

    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise TypeError
        return value

    return Check("true or false", read)


def number(minimum: float, maximum: float, unit: str = "") -> Check:
    """Accept a finite number between two bounds.

    Parameters
    ----------
    minimum, maximum : float
        Both are accepted.
    unit : str
        Word behind the bounds, for people.
    """

    def read(value: object) -> float:
        # nan passes no comparison, so it falls here too.
        if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= maximum:
            raise ValueError
        return float(value)

    return Check(f"a number from {written(minimum)} to {written(maximum)} {unit}".rstrip(), read)


def count(minimum: int, maximum: int, unit: str = "") -> Check:
    """Accept a whole number between two bounds.

    Parameters
    ----------
    minimum, maximum : int
        Both are accepted.
    unit : str
        Word behind the bounds, for people.
    """

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ValueError
        return value

    return Check(f"a whole number from {written(minimum)} to {written(maximum)} {unit}".rstrip(), read)


def automatic(check: Check, value: Callable[[], Any]) -> Check:
    """Accept what a check accepts, and "auto" besides.

    Parameters
    ----------
    check : Check
        For every other value.
    value : callable
        Returns what "auto" stands for; called when the configuration is read.
    """
    return Check(f'{check.accepts}, or "{AUTO}"', lambda text: value() if text == AUTO else check.read(text))


def one_of(words: Iterable[str]) -> Check:
    """Accept one of `words`."""
    known = tuple(words)

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError
        return str(value)

    return Check(_alternatives(known), read)


def list_of(words: Iterable[str]) -> Check:
    """Accept a list of `words`, each at most once; it may be empty."""
    known = tuple(words)

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(word in known and value.count(word) == 1 for word in value):
            raise ValueError
        return tuple(value)

    return Check(f"a list of {_alternatives(known)}", read)


def names() -> Check:
    """Accept a list of names, each at most once; it may be empty."""

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(_is_name(name) and value.count(name) == 1 for name in value):
            raise ValueError
        return tuple(value)

    return Check("a list of names", read)


def names_with(needed: str) -> Check:
    """Accept a list of names, each at most once, of which one is there always.

    Parameters
    ----------
    needed : str
        That one.
    """
    listed = names()

    def read(value: object) -> tuple[str, ...]:
        found = listed.read(value)
        if needed not in found:
            raise ValueError
        return tuple(found)

    return Check(f'a list of names, "{needed}" among them', read)


def name() -> Check:
    """Accept a name: small letters, digits, `-` and `_`."""

    def read(value: object) -> str:
        if not _is_name(value):
            raise ValueError
        return str(value)

    return Check("a name of small letters, digits, `-` and `_`", read)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def maybe_name() -> Check:
    """Accept a name, or empty text for none."""
    check = name()
    return Check(f'{check.accepts}, or ""', lambda value: value if value == "" else check.read(value))


def address() -> Check:
    """Accept the address of a server, or empty text for none."""
    return _matching(ADDRESS, 'an address such as "https://milvus.lan:19530", or ""')


def scheduler() -> Check:
    """Accept the address of a Dask scheduler, or empty text for none."""
    return _matching(SCHEDULER, 'an address such as "tcp://dask.lan:8786" or "tls://dask.lan:8786", or ""')


def collection() -> Check:
    """Accept the beginning of names of collections."""
    return _matching(COLLECTION, "a name of small letters, digits and `_`, a letter first")


def _matching(pattern: re.Pattern[str], accepts: str) -> Check:
    def read(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError
        return value

    return Check(accepts, read)


def hosts() -> Check:
    """Accept a list of hosts as they stand in a browser's address, each at most once; it may be empty."""

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(_is_host(host) and value.count(host) == 1 for host in value):
            raise ValueError
        return tuple(value)

    return Check('a list of hosts in small letters, such as "photos.example.org" or "nas.lan:8443"', read)


def _is_host(value: object) -> bool:
    return isinstance(value, str) and HOST.fullmatch(value) is not None


def command() -> Check:
    """Accept a program, by its whole path, and its arguments; an empty list for none."""

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(word, str) and "\0" not in word for word in value):
            raise ValueError
        if value and not value[0].startswith("/"):
            raise ValueError
        return tuple(value)

    return Check("a list: the whole path of a program, then its arguments", read)


def maybe_path() -> Check:
    """Accept the text of a path, or empty text for none."""
    check = path_text()
    return Check(f'{check.accepts}, or ""', lambda value: None if value == "" else check.read(value), none_text="")


def variable() -> Check:
    """Accept the name of an environment variable, or empty text for none."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not VARIABLE.fullmatch(value):
            raise ValueError
        return value

    return Check('the name of an environment variable, or ""', read)


def globs() -> Check:
    """Accept a list of patterns, each with more in it than slashes."""

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(glob, str) and glob.strip("/") for glob in value):
            raise ValueError
        return tuple(value)

    return Check("a list of patterns", read)


def hours() -> Check:
    """Accept a span of the day, which may pass midnight; empty text for the whole day."""

    def read(value: object) -> tuple[time, time] | None:
        if value == "":
            return None
        found = HOURS.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError
        from_hour, from_minute, to_hour, to_minute = map(int, found.groups())
        # time() refuses 24:00 and 12:60 with a ValueError of its own.
        begin, end = time(from_hour, from_minute), time(to_hour, to_minute)
        if begin == end:
            raise ValueError
        return begin, end

    return Check('a span of the day such as "22:00-06:30", or ""', read, none_text="")


def is_within(span: tuple[time, time], now: time) -> bool:
    """Return whether a time of day lies in a span.

    Parameters
    ----------
    span : (time, time)
        Begin, which belongs to it, and end, which does not; an end before the begin is on the next day.
    now : time
        Local time of day.
    """
    begin, end = span
    return begin <= now < end if begin <= end else now >= begin or now < end


def group_name() -> Check:
    """Accept the name of a group that this machine knows, or empty text."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise TypeError
        if value:
            try:
                grp.getgrnam(value)
            except KeyError as error:
                raise ValueError from error
        return value

    return Check('the name of a group on this machine, or ""', read)


def path_text() -> Check:
    """Accept the text of a path."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError
        return value

    return Check("a path", read)


def network(name: str) -> Check:
    """Accept the name of a network, the text of the path of an ONNX file, or empty text for none."""

    def read(value: object) -> str:
        if not isinstance(value, str) or "\0" in value or not (value in ("", name) or value.endswith(".onnx")):
            raise ValueError
        return value

    return Check(f'"{name}", the path of a file .onnx, or ""', read)


def _alternatives(words: tuple[str, ...]) -> str:
    *others, last = (f'"{word}"' for word in words)
    return f"{', '.join(others)} or {last}" if others else last


def written(value: float) -> str:
    """Return `value` without an exponent, thousands set apart once there are many."""
    if value != int(value):
        return repr(value)
    return f"{int(value):_}" if value >= 10_000 else str(int(value))
