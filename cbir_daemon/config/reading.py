"""Read the configuration whole: file, environment and flags in, one frozen `Config` or every fault at once out.

Never here: whether a folder exists, or what a value does.
"""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cbir_daemon.config.places import (
    DEFAULT,
    MAX_SOCKET_PATH_BYTES,
    Place,
    absolute,
    config_place,
    path_in_file,
    place_in_file,
    read_table,
    socket_place,
    state_place,
)
from cbir_daemon.config.settings import (
    ABOUT,
    EFFICIENTNET_LITE0,
    LISTS,
    LOG_SINK,
    MEANING,
    MEDIA,
    PLACES,
    SECTIONS,
    TOP,
    About,
    AlbumConfig,
    Config,
    MeaningConfig,
    SharedConfig,
    SinkConfig,
)
from cbir_daemon.config.text import toml
from cbir_daemon.errors import ConfigError
from cbir_daemon.records import SinkType

COMMAND_LINE = "command line"
ALBUM = "album"
SINK = "sink"


def load(
    *,
    config: Path | None = None,
    state: Path | None = None,
    socket: Path | None = None,
    albums: Sequence[Path] = (),
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Return the configuration in force.

    Parameters
    ----------
    config, state, socket : Path or None
        From the command line.  They beat CBIR_CONFIG, CBIR_STATE and CBIR_SOCKET, which beat the file.
    albums : sequence of Path
        From the command line, relative to the current folder.  They come after those of the file.
    environ : mapping of str to str
        Of the process.

    Raises
    ------
    ConfigError
        With one line for each fault: the file, the key, the value, and what is accepted.
    """
    cwd = Path.cwd()
    file = config_place(config, environ, cwd)
    table = read_table(file)
    reader = _Reader(Path(file.path), environ)
    media = reader.top(table)
    sections: dict[str, Any] = {name: reader.section(name, table.get(name, {})) for name in SECTIONS}
    sections["meaning"] = reader.with_whole_path(sections["meaning"])
    sections["shared"] = reader.with_whole_paths(sections["shared"])
    found = reader.albums(table.get(ALBUM, []), [Path(absolute(album, cwd)) for album in albums])
    places = _places(state, socket, environ, cwd, file, table)
    sinks = reader.sinks(table.get(SINK, []))
    reader.check_together(sections, found, places["socket"])
    reader.check_sinks(sections["alerts"].sinks, sinks)
    reader.raise_faults()
    reader.origins |= {key: place.origin for key, place in {"config": file, **places}.items()}
    return Config(
        albums=tuple(found),
        sinks=tuple(sinks),
        state_dir=Path(places["state"].path),
        socket_path=Path(places["socket"].path),
        config_path=reader.file if reader.file.exists() else None,
        media=media,
        origins=MappingProxyType(reader.origins),
        **sections,
    )


def _places(
    state: Path | None,
    socket: Path | None,
    environ: Mapping[str, str],
    cwd: Path,
    file: Place,
    table: Mapping[str, object],
) -> dict[str, Place]:
    state_found = state_place(state, environ, cwd, place_in_file(table, "state", file.path, environ))
    in_file = place_in_file(table, "socket", file.path, environ)
    return {"state": state_found, "socket": socket_place(socket, environ, cwd, in_file, state_found.path)}


@dataclass(slots=True)
class _Reader:
    """Collects values, their origins and every fault on the way."""

    file: Path
    environ: Mapping[str, str]
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[ConfigError] = field(default_factory=list)

    def raise_faults(self) -> None:
        """Raise one error for all faults, if there are any."""
        if len(self.faults) == 1:
            raise self.faults[0]
        if self.faults:
            raise ConfigError("\n".join(map(str, self.faults)))

    def top(self, table: Mapping[str, object]) -> tuple[str, ...]:
        """Find keys outside of every section that mean nothing, check `state` and `socket`, and return `media`."""
        self._refuse_unknown("", table, (*PLACES, *TOP, *LISTS, *SECTIONS))
        for key, about in PLACES.items():
            if key in table:
                self._value(key, key, table[key], about)
        self.origins |= {key: f"file {self.file}" if key in table else DEFAULT for key in TOP}
        read = self._value("media", "media", table["media"], TOP["media"]) if "media" in table else MEDIA
        return read if isinstance(read, tuple) else MEDIA

    def section(self, name: str, table: object) -> object:
        """Return section `name`: what the file says of it, defaults for the rest."""
        origin = f"file {self.file}"
        return SECTIONS[name](**self._values(SECTIONS[name], f"[{name}] ", f"{name}.", table, origin))

    def with_whole_path(self, meaning: MeaningConfig) -> MeaningConfig:
        """Return the section with the whole path of the network, where it is a file."""
        if meaning.model in ("", EFFICIENTNET_LITE0):
            return meaning
        return MeaningConfig(path_in_file(meaning.model, self.file, self.environ))

    def with_whole_paths(self, shared: SharedConfig) -> SharedConfig:
        """Return the section with the whole paths of its files."""
        return replace(shared, token_file=self._whole(shared.token_file), ca_file=self._whole(shared.ca_file))

    def _whole(self, file: Path | None) -> Path | None:
        return None if file is None else Path(path_in_file(str(file), self.file, self.environ))

    def albums(self, tables: object, from_flags: Iterable[Path]) -> list[AlbumConfig]:
        """Return the file's albums, then those of the command line that the file does not have."""
        found = [self._album(number, table) for number, table in self._numbered(tables, ALBUM, "a path")]
        albums = [album for album in found if album]
        for path in dict.fromkeys(from_flags):
            if all(path != album.path for album in albums):
                self._note_origins(AlbumConfig, f"{ALBUM}[{len(albums)}].", {"path": path}, COMMAND_LINE)
                albums.append(AlbumConfig(path))
        return albums

    def sinks(self, tables: object) -> list[SinkConfig]:
        """Return the file's sinks, without those that have no name or type."""
        found = [self._sink(number, table) for number, table in self._numbered(tables, SINK, "a name and a type")]
        return [sink for sink in found if sink]

    def _numbered(self, tables: object, name: str, needs: str) -> Iterable[tuple[int, object]]:
        if not isinstance(tables, list):
            self._fault(f"{self.file}: {name} = {_shown(tables)}", f"write each {name} as [[{name}]] with {needs}")
            tables = []
        return enumerate(tables)

    def check_together(self, sections: Mapping[str, Any], albums: Sequence[AlbumConfig], socket: Place) -> None:
        """Find values that are good alone but not with the others."""
        model = sections["model"]
        if model.max_fit_images < model.min_images:
            self._fault(
                f"{self.file}: [model] max_fit_images = {model.max_fit_images} is less than "
                f"min_images = {model.min_images}"
            )
        if model.features == MEANING and not sections["meaning"].model:
            self._fault(
                f'{self.file}: [model] features = "{MEANING}" needs a network',
                f'name one: model = "{EFFICIENTNET_LITE0}" of [meaning]',
            )
        if sections["shared"].uri and not sections["shared"].site:
            self._fault(
                f"{self.file}: [shared] uri needs a site", 'name this machine among the others: site = "studio"'
            )
        length = len(os.fsencode(socket.path))
        if length > MAX_SOCKET_PATH_BYTES:
            self._fault(
                f"socket path {socket.path} ({socket.origin}) is {length} bytes long, a Unix socket allows "
                f"{MAX_SOCKET_PATH_BYTES}",
                "choose a shorter one with --socket or CBIR_SOCKET",
            )
        for first, second in itertools.combinations(albums, 2):
            self._check_apart(first.path, second.path)

    def _check_apart(self, first: Path, second: Path) -> None:
        if first == second:
            self._fault(f"album {first} is named twice")
        elif first.is_relative_to(second) or second.is_relative_to(first):
            outer, inner = sorted((first, second), key=lambda folder: len(folder.parts))
            self._fault(f"album {inner} lies inside album {outer}", "name only the outer one")

    def _album(self, number: int, table: object) -> AlbumConfig | None:
        values = self._values(AlbumConfig, f"[[{ALBUM}]] ", f"{ALBUM}[{number}].", table, f"file {self.file}")
        if "path" not in values:
            if isinstance(table, dict) and "path" not in table:
                self._fault(f"{self.file}: [[{ALBUM}]] number {number + 1} has no path")
            return None
        path = Path(path_in_file(values.pop("path"), self.file, self.environ))
        return AlbumConfig(path, **values)

    def _sink(self, number: int, table: object) -> SinkConfig | None:
        values = self._values(SinkConfig, f"[[{SINK}]] ", f"{SINK}[{number}].", table, f"file {self.file}")
        missing = [key for key in ("name", "type") if isinstance(table, dict) and key not in table]
        for key in missing:
            self._fault(f"{self.file}: [[{SINK}]] number {number + 1} has no {key}")
        if not isinstance(table, dict) or table.keys() - values.keys() or missing:
            return None
        for key in ("url_file", "secret_file"):
            if values.get(key):
                values[key] = Path(path_in_file(values[key], self.file, self.environ))
        return SinkConfig(**values)

    def check_sinks(self, named: Sequence[str], sinks: Sequence[SinkConfig]) -> None:
        """Find sinks that are named and not there, there twice, or without what their type needs."""
        known = [LOG_SINK, *(sink.name for sink in sinks)]
        for name in named:
            if name not in known:
                self._fault(f"{self.file}: [alerts] sinks names {name}, and no [[sink]] does", _close(name, known))
        for number, sink in enumerate(sinks, 1):
            if sink.name in known[:number]:
                self._fault(f"{self.file}: [[sink]] {sink.name} is there twice", f"{LOG_SINK} is always there")
            for fault in _needed(sink):
                self._fault(f"{self.file}: [[sink]] {sink.name}: type = {_shown(sink.type)} {fault}")

    def _values(self, kind: type, title: str, prefix: str, table: object, origin: str) -> dict[str, Any]:
        """Return the good values of one table by field name; note their origins and the faults of the others."""
        if not isinstance(table, dict):
            self._fault(f"{self.file}: {title.strip()} = {_shown(table)}", "it is a section of its own")
            table = {}
        declared = {entry.name: entry.metadata[ABOUT] for entry in fields(kind)}
        self._refuse_unknown(title, table, declared)
        self._note_origins(kind, prefix, table, origin)
        read = {
            key: self._value(title + key, key, table[key], about) for key, about in declared.items() if key in table
        }
        return {key: value for key, value in read.items() if value is not MISSING}

    def _note_origins(self, kind: type, prefix: str, table: Mapping[str, object], origin: str) -> None:
        for entry in fields(kind):
            self.origins[prefix + entry.name] = origin if entry.name in table else DEFAULT

    def _value(self, title: str, key: str, value: object, about: About) -> object:
        try:
            return about.check.read(value)
        except (ValueError, TypeError):
            self._fault(f"{self.file}: {title} = {_shown(value)}: accepted is {about.check.accepts}")
            return MISSING

    def _refuse_unknown(self, title: str, table: Mapping[str, object], known: Iterable[str]) -> None:
        names = list(known)
        for key in table:
            if key not in names:
                self._fault(f"{self.file}: unknown key {title}{key}", _likely(key, names))

    def _fault(self, message: str, hint: str = "") -> None:
        self.faults.append(ConfigError(message, hint=hint))


def _needed(sink: SinkConfig) -> Iterator[str]:
    """Yield what a sink of its type lacks, and what it has that its type has no use for."""
    addresses = [key for key in ("url_file", "url_env") if getattr(sink, key)]
    secrets = [key for key in ("secret_file", "secret_env") if getattr(sink, key)]
    if sink.type == SinkType.COMMAND:
        if not sink.command:
            yield "needs a command"
        yield from (f"has no use for {key}" for key in addresses)
    else:
        if len(addresses) != 1:
            yield "needs one of url_file and url_env"
        if sink.command:
            yield "has no use for command"
    if sink.type != SinkType.WEBHOOK:
        yield from (f"has no use for {key}" for key in secrets)
    elif len(secrets) > 1:
        yield "needs one of secret_file and secret_env, or none"


def _close(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def _likely(key: str, here: Sequence[str]) -> str:
    """Return a hint with the key that was probably meant: the right name in the wrong section, or a typing error."""
    homes = {entry.name: name for name, kind in SECTIONS.items() for entry in fields(kind)}
    if key in homes:
        return f"it belongs into [{homes[key]}]"
    close = difflib.get_close_matches(key, here, n=1)
    if close:
        return f"did you mean {close[0]}?"
    elsewhere = difflib.get_close_matches(key, homes, n=1, cutoff=0.8)
    if elsewhere:
        return f"did you mean {elsewhere[0]} in [{homes[elsewhere[0]]}]?"
    return f"known are {', '.join(here)}"


def _shown(value: object) -> str:
    text = toml(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
