"""Options, declared once for click and for the start without it.

In: declarations; words of a command line.  Out: values by name.  Never here: click (`declared`), messages: a line that
is not ordinary is left to click, which takes it or says what is wrong with it.

A line is ordinary when each option stands once, as `--name value`, `--name=value` or `-n value`, no value but `-`
begins with a dash, numbers are plain digits, and nothing is missing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any


class UnusualError(Exception):
    """What click is to judge."""


class Text:
    """Any text, such as a path."""

    def read(self, word: str) -> str:
        """Return the text."""
        return word


class Whole:
    """A whole number within a range.

    Parameters
    ----------
    least, most : int
        Both allowed.
    """

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most

    def read(self, word: str) -> int:
        """Return the number."""
        if not (word.isascii() and word.isdigit() and self.least <= int(word) <= self.most):
            raise UnusualError(word)
        return int(word)


class Share:
    """A number from 0 to 1."""

    def read(self, word: str) -> float:
        """Return the number."""
        digits = word.replace(".", "", 1)
        if not (digits.isascii() and digits.isdigit() and float(word) <= 1):
            raise UnusualError(word)
        return float(word)


class Words:
    """One of a few words.

    Parameters
    ----------
    known : tuple of str
    """

    def __init__(self, known: tuple[str, ...]) -> None:
        self.known = known

    def read(self, word: str) -> str:
        """Return the word."""
        if word not in self.known:
            raise UnusualError(word)
        return word


if TYPE_CHECKING:
    Check = Text | Whole | Share | Words


class Option:
    """An option, or an argument, of a command.

    Parameters
    ----------
    name : str
        Of the value.
    flag : str
        "-n", "--kind"; empty for the argument, which is required.
    check : Text, Whole, Share, Words or None
        What values are accepted; None for an option that has no value and is on or off.
    default : object, optional
        The value when the option is not given, which the help text shows unless it is None.
    about : str
        For the help text.
    metavar : str or None
        What the help text calls the value.
    """

    def __init__(
        self,
        name: str,
        flag: str = "",
        check: Check | None = None,
        *,
        default: Any = None,  # noqa: ANN401 -- of the option's own type
        about: str = "",
        metavar: str | None = None,
    ) -> None:
        self.name = name
        self.flag = flag
        self.check = check
        self.default = False if check is None else default
        self.about = about
        self.metavar = metavar


AS_JSON = Option("as_json", "--json", about="Print JSON instead of text.")
SOCKET = Option(
    "socket",
    "--socket",
    Text(),
    about="Socket of the daemon.  [default: CBIR_SOCKET, or where a daemon listens]",
)


def values_of(options: Sequence[Option], words: Sequence[str]) -> dict[str, Any] | None:
    """Return the values of all options by name; None for a line that is not ordinary.

    Parameters
    ----------
    options : sequence of Option
    words : sequence of str
        What follows the name of the command.
    """
    try:
        read = dict(_read(options, words))
    except UnusualError:
        return None
    missing = any(not option.flag and option.name not in read for option in options)
    return None if missing else {option.name: option.default for option in options} | read


def _read(options: Sequence[Option], words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    known = {option.flag: option for option in options}
    coming = iter(words)
    for word in coming:
        is_value = not word.startswith("-") or word == "-"
        flag, equals, value = ("", "", word) if is_value else word.partition("=") if word[1] == "-" else (word, "", "")
        option = known.pop(flag, None)
        if option is None or (option.check is None and equals):
            raise UnusualError(word)
        if option.check is None:
            yield option.name, True
        else:
            yield option.name, option.check.read(value or _value(next(coming, "")))


def _value(word: str) -> str:
    """Return a word that is to be a value: what looks like an option is left to click."""
    if not word or (word.startswith("-") and word != "-"):
        raise UnusualError(word)
    return word
