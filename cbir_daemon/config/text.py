"""Write the declared settings down: a sample file, the values in force with their origins, the tables of the manual.

In: the declaration, or a `Config`.  Out: text.  Never here: reading, checking, printing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, Field, fields
from datetime import time
from typing import TYPE_CHECKING, NamedTuple

from cbir_daemon.config.checks import AUTO, written
from cbir_daemon.config.settings import (
    ABOUT,
    LISTS,
    MEDIA,
    PLACES,
    SECTIONS,
    TOP,
    About,
    AlbumConfig,
    Config,
    SinkConfig,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PLACE = "see above"
"""Instead of a default: state and socket are found out as the manual tells."""
REQUIRED = "required"
"""Instead of a default: there is none."""

SAMPLE_HEAD = """\
# Configuration of cbir-daemon.  What is commented out shows the default.
"""


def sample() -> str:
    """Return a configuration file in which every key is explained and commented out."""
    lines = [SAMPLE_HEAD]
    for key, about in PLACES.items():
        lines += [*_comment(about), f'# {key} = "~/.local/state/cbir{"" if key == "state" else "/socket"}"', ""]
    for key, about in TOP.items():
        lines += [*_comment(about), f"# {key} = {toml(MEDIA)}", ""]
    for title, kind in _titles():
        lines += [f"# {(kind.__doc__ or '').strip()}", f"{'# ' if kind in LISTS.values() else ''}{title}"]
        for entry in fields(kind):
            lines += [*_comment(entry.metadata[ABOUT]), f"# {entry.name} = {_example(entry)}", ""]
    return "\n".join(lines)


def _titles() -> Iterator[tuple[str, type[DataclassInstance]]]:
    yield from ((f"[[{name}]]", kind) for name, kind in LISTS.items())
    yield from ((f"[{name}]", kind) for name, kind in SECTIONS.items())


def show(config: Config) -> str:
    """Return every value in force as TOML, each with its origin behind it."""
    lines = [
        f"# configuration: {config.config_path or 'no file'} ({config.origins['config']})",
        _shown("state", toml(config.state_dir), config.origins["state"]),
        _shown("socket", toml(config.socket_path), config.origins["socket"]),
        *(_shown(key, toml(getattr(config, key)), config.origins[key]) for key in TOP),
    ]
    for number, album in enumerate(config.albums):
        lines += ["", "[[album]]", *_shown_fields(AlbumConfig, album, f"album[{number}].", config)]
    for number, sink in enumerate(config.sinks):
        lines += ["", "[[sink]]", *_shown_fields(SinkConfig, sink, f"sink[{number}].", config)]
    for name, kind in SECTIONS.items():
        lines += ["", f"[{name}]", *_shown_fields(kind, getattr(config, name), f"{name}.", config)]
    return "\n".join(lines) + "\n"


class Key(NamedTuple):
    """What the manual says of a key: its default as TOML writes it, what is accepted, what it does."""

    name: str
    default: str
    accepts: str
    help: str


def reference() -> list[tuple[str, str, list[Key]]]:
    """Return all keys by section: its title as in TOML, what it is about, its keys; what stands above has no title."""
    places = [Key(key, PLACE, about.check.accepts, about.help) for key, about in PLACES.items()]
    places += [Key(key, toml(MEDIA), about.check.accepts, about.help) for key, about in TOP.items()]
    return [
        ("", "", places),
        *((title, (kind.__doc__ or "").strip(), [_key(entry) for entry in fields(kind)]) for title, kind in _titles()),
    ]


def tables() -> str:
    """Return the reference of all keys as Markdown tables, one for each section."""
    return "\n".join(
        _table(f"`{title}`: {about.rstrip('.').lower()}" if title else "Above the first section", map(_row, keys))
        for title, about, keys in reference()
    )


def toml(value: object, none_text: str = AUTO) -> str:
    """Return a value as TOML writes it.

    Parameters
    ----------
    value : object
        A pair of times is a span of the day.
    none_text : str
        What None is written as.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return written(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, tuple) and all(isinstance(part, time) for part in value) and value:
        return _quoted("-".join(f"{part:%H:%M}" for part in value))
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml, value))}]"
    return _quoted(none_text if value is None else str(value))


def _quoted(text: str) -> str:
    # Bytes of a name that are not UTF-8 cannot be printed.
    printable = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    # JSON's escapes are TOML's too, but TOML wants one for DEL as well.
    return json.dumps(printable, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(about: About) -> Iterator[str]:
    yield f"# {about.help}  Accepted: {about.check.accepts}."


def _example(entry: Field[object]) -> str:
    """Return the default, or where that would not do, what a user might write."""
    example = entry.metadata[ABOUT].example
    if not example:
        return _default(entry)
    return toml([example]) if isinstance(entry.default, tuple) else toml(example)


def _default(entry: Field[object]) -> str:
    if entry.default is not MISSING:
        return toml(entry.default, entry.metadata[ABOUT].check.none_text)
    # Only a number of processors has a default that is found out.
    return _quoted(AUTO)


def _key(entry: Field[object]) -> Key:
    about: About = entry.metadata[ABOUT]
    required = entry.default is MISSING and entry.default_factory is MISSING
    return Key(entry.name, REQUIRED if required else _default(entry), about.check.accepts, about.help)


def _shown(key: str, text: str, origin: str) -> str:
    return f"{key} = {text}  # {origin}"


def _shown_fields(kind: type[DataclassInstance], section: object, prefix: str, config: Config) -> Iterator[str]:
    for entry in fields(kind):
        text = toml(getattr(section, entry.name), entry.metadata[ABOUT].check.none_text)
        yield _shown(entry.name, text, config.origins[prefix + entry.name])


def _row(key: Key) -> str:
    default = key.default if key.default in (PLACE, REQUIRED) else f"`{key.default}`"
    return f"| `{key.name}` | {default} | {key.accepts} | {key.help} |"


def _table(title: str, rows: Iterable[str]) -> str:
    return "\n".join(
        [f"### {title}", "", "| key | default | accepted | what it does |", "|---|---|---|---|", *rows, ""]
    )
