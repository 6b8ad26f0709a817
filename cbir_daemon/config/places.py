"""Where state, configuration and socket lie: flags, environment and the file's own words in, absolute paths out.

The client reads this too, so it must stay quick to import.  Never here: creating any of them, or the other settings.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbir_daemon.errors import ConfigError

DEFAULT = "default"
MAX_SOCKET_PATH_BYTES = 107
"""sockaddr_un holds 108 bytes, the closing zero included (unix(7))."""
LOCAL_STATE = ".cbir"
"""Name of the state folder that `scripts/run` makes inside the checkout."""
SYSTEM_SOCKET = Path("/run/cbir/socket")
"""Where the service of the machine listens (systemd/system); only root can make that folder."""


@dataclass(frozen=True, slots=True)
class Place:
    """A path and what chose it."""

    path: Path
    origin: str


def config_place(flag: Path | None, environ: Mapping[str, str], cwd: Path) -> Place:
    """Return where the configuration is: the flag, CBIR_CONFIG, or the default.

    Parameters
    ----------
    flag : Path or None
        From the command line.
    environ : mapping of str to str
        Of the process.
    cwd : Path
        Absolute; relative paths of flag and environment begin there.
    """
    return _named("config", flag, environ, cwd) or Place(
        _base(environ, "XDG_CONFIG_HOME", ".config") / "cbir" / "config.toml", DEFAULT
    )


def state_place(flag: Path | None, environ: Mapping[str, str], cwd: Path, in_file: Place | None) -> Place:
    """Return where the state is: the flag, CBIR_STATE, the configuration file, or the default.

    Parameters
    ----------
    flag : Path or None
        From the command line.
    environ : mapping of str to str
        Of the process.
    cwd : Path
        Absolute; relative paths of flag and environment begin there.
    in_file : Place or None
        What the configuration file says, from `place_in_file`.
    """
    named = _named("state", flag, environ, cwd) or in_file
    return named or Place(_base(environ, "XDG_STATE_HOME", ".local/state") / "cbir", DEFAULT)


def socket_place(flag: Path | None, environ: Mapping[str, str], cwd: Path, in_file: Place | None, state: Path) -> Place:
    """Return where the socket is: the flag, CBIR_SOCKET, the configuration file, the run-time folder, or the state.

    Parameters
    ----------
    flag : Path or None
        From the command line.
    environ : mapping of str to str
        Of the process; XDG_RUNTIME_DIR is the run-time folder.
    cwd : Path
        Absolute; relative paths of flag and environment begin there.
    in_file : Place or None
        What the configuration file says, from `place_in_file`.
    state : Path
        The state's folder.
    """
    runtime = _absolute_variable(environ, "XDG_RUNTIME_DIR")
    default = runtime / "cbir" / "socket" if runtime else state / "socket"
    return _named("socket", flag, environ, cwd) or in_file or Place(default, DEFAULT)


def client_socket_paths(socket: Path | None, environ: Mapping[str, str], cwd: Path) -> list[Path]:
    """Return the sockets that a client should try, in order.

    Parameters
    ----------
    socket : Path or None
        From the command line; it and CBIR_SOCKET are tried alone.
    environ : mapping of str to str
        Of the client.
    cwd : Path
        Absolute.  `.cbir/socket` in it and in the folders above it comes after the user's own: there `scripts/run`
        listens.  The service of the machine comes last.

    Raises
    ------
    ConfigError
        When the configuration file is there but is no TOML.
    """
    named = _named("socket", socket, environ, cwd)
    if named:
        return [named.path]
    file = config_place(None, environ, cwd)
    table = read_table(file)
    state = state_place(None, environ, cwd, place_in_file(table, "state", file.path, environ))
    default = socket_place(None, environ, cwd, place_in_file(table, "socket", file.path, environ), state.path)
    # A daemon started by cron or a container knows no run-time folder where its client may.
    return list(dict.fromkeys((default.path, state.path / "socket", *_local_sockets(cwd), SYSTEM_SOCKET)))


def read_table(file: Place) -> dict[str, Any]:
    """Return what the configuration file says; nothing when it is missing and nobody named it.

    Raises
    ------
    ConfigError
        When it cannot be read, or is not TOML.
    """
    try:
        with file.path.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError as error:
        if file.origin == DEFAULT:
            return {}
        raise ConfigError(f"{file.path}: no such file", hint=f"it was named by {file.origin}") from error
    except OSError as error:
        raise ConfigError(f"{file.path}: cannot be read: {error.strerror}") from error
    # RecursionError: a file of thousands of brackets.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file.path}: is not TOML: {error}") from error


def place_in_file(table: Mapping[str, object], key: str, file: Path, environ: Mapping[str, str]) -> Place | None:
    """Return the path that the configuration file gives, or None when it gives none.

    Parameters
    ----------
    table : mapping of str to object
        The file, as TOML.
    key : str
        "state" or "socket".
    file : Path
        Absolute path of the file; relative paths in it begin at its folder.
    environ : mapping of str to str
        Its HOME is `~`.
    """
    text = table.get(key)
    return Place(path_in_file(text, file, environ), f"file {file}") if isinstance(text, str) and text else None


def path_in_file(text: str, file: Path, environ: Mapping[str, str]) -> Path:
    """Return the absolute path that a text in the configuration file means.

    Parameters
    ----------
    text : str
        May begin with `~`.
    file : Path
        Absolute path of the file; a relative path begins at its folder.
    environ : mapping of str to str
        Its HOME is `~`.
    """
    path = Path(text)
    if path.parts[:1] == ("~",):
        path = _home(environ).joinpath(*path.parts[1:])
    return absolute(path, file.parent)


def absolute(path: Path, folder: Path) -> Path:
    """Return a path as seen from a folder.

    Parameters
    ----------
    path : Path
        Symbolic links in it are kept, for users know their folders by those names, unless it has `..` in it.
    folder : Path
        Absolute.
    """
    whole = folder / path
    # Only the file system knows what is above a link.
    return whole.resolve() if ".." in whole.parts else whole


def _named(key: str, flag: Path | None, environ: Mapping[str, str], cwd: Path) -> Place | None:
    variable = f"CBIR_{key.upper()}"
    if flag is not None:
        return Place(absolute(flag, cwd), f"flag --{key}")
    if environ.get(variable):
        return Place(absolute(Path(environ[variable]), cwd), f"environment {variable}")
    return None


def _base(environ: Mapping[str, str], variable: str, below_home: str) -> Path:
    return _absolute_variable(environ, variable) or _home(environ) / below_home


def _absolute_variable(environ: Mapping[str, str], variable: str) -> Path | None:
    # XDG Base Directory Specification 0.8: empty is as unset, and a relative path is to be ignored.
    path = Path(environ.get(variable, ""))
    return path if path.is_absolute() else None


def _home(environ: Mapping[str, str]) -> Path:
    if environ.get("HOME"):
        return Path(environ["HOME"])
    try:
        return Path.home()
    except RuntimeError as error:
        raise ConfigError("no home folder is known", hint="set HOME") from error


def _local_sockets(cwd: Path) -> Iterator[Path]:
    for folder in (cwd, *cwd.parents):
        state = folder / LOCAL_STATE
        try:
            owner = state.stat().st_uid
        except OSError:
            continue  # Not there, or not ours to look at.
        # In a folder that others can write, such as /tmp, a stranger must not get at the images asked about.
        if owner == os.getuid():
            yield state / "socket"
