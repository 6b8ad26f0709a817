"""Where state, configuration and socket lie: flags, environment and the file's own words in, absolute paths out.

Every start of `cbir` pays for this module, so paths are text and neither `pathlib`, `dataclasses` nor `typing` is
loaded for it.  Never here: creating any of them, or the other settings.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping

from cbir_daemon.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    AnyPath = str | os.PathLike[str]

DEFAULT = "default"
MAX_SOCKET_PATH_BYTES = 107
"""sockaddr_un holds 108 bytes, the closing zero included (unix(7))."""
LOCAL_STATE = ".cbir"
"""Name of the state folder that `scripts/run` makes inside the checkout."""
ENVIRONMENT = ".venv"
"""Name of the Python environment that it makes beside it."""
USER_SOCKET = "/run/user/{}/cbir/socket"
"""Where the service of a user listens, by the user's id: cron and `su` set no XDG_RUNTIME_DIR."""
SYSTEM_SOCKET = "/run/cbir/socket"
"""Where the service of the machine listens (`installing/units/system`); only root can make that folder."""


PLACE_KEYS = ("state", "socket")
"""Keys of the configuration file that say where something lies."""


class Place:
    """A path and what chose it.

    Parameters
    ----------
    path : str
        Absolute.
    origin : str
        "flag --state", "environment CBIR_STATE", "file /...", "default".
    """

    __slots__ = ("origin", "path")

    def __init__(self, path: str, origin: str) -> None:
        self.path = path
        self.origin = origin


def config_place(flag: AnyPath | None, environ: Mapping[str, str], cwd: AnyPath) -> Place:
    """Return where the configuration is: the flag, CBIR_CONFIG, or the default.

    Parameters
    ----------
    flag : path or None
        From the command line.
    environ : mapping of str to str
        Of the process.
    cwd : path
        Absolute; relative paths of flag and environment begin there.
    """
    return _named("config", flag, environ, cwd) or Place(
        os.path.join(_base(environ, "XDG_CONFIG_HOME", ".config"), "cbir", "config.toml"), DEFAULT
    )


def state_place(flag: AnyPath | None, environ: Mapping[str, str], cwd: AnyPath, in_file: Place | None) -> Place:
    """Return where the state is: the flag, CBIR_STATE, the configuration file, or the default.

    Parameters
    ----------
    flag : path or None
        From the command line.
    environ : mapping of str to str
        Of the process.
    cwd : path
        Absolute; relative paths of flag and environment begin there.
    in_file : Place or None
        What the configuration file says, from `place_in_file`.
    """
    named = _named("state", flag, environ, cwd) or in_file
    return named or Place(os.path.join(_base(environ, "XDG_STATE_HOME", ".local/state"), "cbir"), DEFAULT)


def socket_place(
    flag: AnyPath | None, environ: Mapping[str, str], cwd: AnyPath, in_file: Place | None, state: AnyPath
) -> Place:
    """Return where the socket is: the flag, CBIR_SOCKET, the configuration file, the run-time folder, or the state.

    Parameters
    ----------
    flag : path or None
        From the command line.
    environ : mapping of str to str
        Of the process; XDG_RUNTIME_DIR is the run-time folder.
    cwd : path
        Absolute; relative paths of flag and environment begin there.
    in_file : Place or None
        What the configuration file says, from `place_in_file`.
    state : path
        The state's folder.
    """
    runtime = _absolute_variable(environ, "XDG_RUNTIME_DIR")
    default = os.path.join(runtime, "cbir", "socket") if runtime else os.path.join(state, "socket")
    return _named("socket", flag, environ, cwd) or in_file or Place(default, DEFAULT)


def client_socket_paths(
    socket: AnyPath | None, environ: Mapping[str, str], cwd: AnyPath, prefix: str = sys.prefix
) -> list[str]:
    """Return the sockets that a client should try, in order.

    Parameters
    ----------
    socket : path or None
        From the command line; it and CBIR_SOCKET are tried alone.
    environ : mapping of str to str
        Of the client.
    cwd : path
        Absolute.  `.cbir/socket` in it and in the folders above it comes after the user's own: there `scripts/run`
        listens.  The service of the machine comes last.
    prefix : str
        Folder of the Python environment: when it is the `.venv` of a checkout, its daemon comes after those.

    Raises
    ------
    ConfigError
        When the configuration file may say where the socket is, and is no TOML.
    """
    named = _named("socket", socket, environ, cwd)
    if named:
        return [named.path]
    file = config_place(None, environ, cwd)
    table = read_places(file)
    state = state_place(None, environ, cwd, place_in_file(table, "state", file.path, environ))
    default = socket_place(None, environ, cwd, place_in_file(table, "socket", file.path, environ), state.path)
    # A daemon started by cron or a container knows no run-time folder where its client may.
    own = (default.path, os.path.join(state.path, "socket"))
    machine = (*_unnamed_sockets(environ, prefix), SYSTEM_SOCKET)
    return list(filter(None, dict.fromkeys((*own, *_local_sockets(cwd), *machine))))


def _unnamed_sockets(environ: Mapping[str, str], prefix: str) -> Iterator[str]:
    """Yield where a daemon may listen that neither the environment nor the current folder leads to."""
    if environ.get("CBIR_STATE"):
        return  # Who names a state means that one.
    if checkout_of(prefix):
        yield _local_socket(checkout_of(prefix))
    if not environ.get("XDG_RUNTIME_DIR"):
        yield USER_SOCKET.format(os.getuid())


def checkout_of(prefix: str) -> str:
    """Return the checkout that a Python environment was made in by `scripts/run`; empty when it was not."""
    return os.path.dirname(prefix) if os.path.basename(prefix) == ENVIRONMENT else ""


def read_places(file: Place) -> dict[str, Any]:
    """Return the `PLACE_KEYS` of the configuration file, and perhaps others; nothing when it has none of them.

    Raises
    ------
    ConfigError
        When the file cannot be read, or may say something of them and is not TOML.
    """
    data = _data(file)
    return _table(file, data) if any(map(_may_name_a_place, data.splitlines())) else {}


def check_file(environ: Mapping[str, str], cwd: AnyPath) -> None:
    """Read the configuration file of a client whole, for a fault of its syntax.

    Parameters
    ----------
    environ : mapping of str to str
        Of the client.
    cwd : path
        Absolute.

    Raises
    ------
    ConfigError
        When the file cannot be read, or is not TOML.
    """
    read_table(config_place(None, environ, cwd))


def read_table(file: Place) -> dict[str, Any]:
    """Return the table of the configuration file; an empty one when it is missing and nobody named it.

    Raises
    ------
    ConfigError
        When it cannot be read, or is not TOML.
    """
    return _table(file, _data(file))


def _data(file: Place) -> bytes:
    try:
        with open(file.path, "rb") as stream:
            return stream.read()
    except FileNotFoundError as error:
        if file.origin == DEFAULT:
            return b""
        raise ConfigError(f"{file.path}: no such file", hint=f"it was named by {file.origin}") from error
    except OSError as error:
        raise ConfigError(f"{file.path}: cannot be read: {error.strerror}") from error


def _may_name_a_place(line: bytes) -> bool:
    """Return whether a line of TOML may give a value to one of `PLACE_KEYS`: the key, quoted or not, begins it."""
    key = line.partition(b"=")[0].strip(b" \t\"'")
    # An escape in a quoted key may stand for any letter.
    return key.decode("latin-1") in PLACE_KEYS or b"\\" in key


def _table(file: Place, data: bytes) -> dict[str, Any]:
    # Few files say where the socket is, and every start of `cbir` would pay for this.
    import tomllib  # noqa: PLC0415

    try:
        return tomllib.loads(data.decode())
    # RecursionError: a file of thousands of brackets.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file.path}: is not TOML: {error}") from error


def place_in_file(table: Mapping[str, object], key: str, file: AnyPath, environ: Mapping[str, str]) -> Place | None:
    """Return the path that the configuration file gives, or None when it gives none.

    Parameters
    ----------
    table : mapping of str to object
        The file, as TOML.
    key : str
        "state" or "socket".
    file : path
        Absolute path of the file; relative paths in it begin at its folder.
    environ : mapping of str to str
        Its HOME is `~`.
    """
    text = table.get(key)
    return Place(path_in_file(text, file, environ), f"file {file}") if isinstance(text, str) and text else None


def path_in_file(text: str, file: AnyPath, environ: Mapping[str, str]) -> str:
    """Return the absolute path that a text in the configuration file means.

    Parameters
    ----------
    text : str
        May begin with `~`.
    file : path
        Absolute path of the file; a relative path begins at its folder.
    environ : mapping of str to str
        Its HOME is `~`.
    """
    first, _, rest = text.partition("/")
    path = os.path.join(_home(environ), rest.lstrip("/")) if first == "~" else text
    return absolute(path, os.path.dirname(file))


def absolute(path: AnyPath, folder: AnyPath) -> str:
    """Return a path as seen from a folder.

    Parameters
    ----------
    path : path
        Symbolic links in it are kept, for users know their folders by those names, unless it has `..` in it.
    folder : path
        Absolute.
    """
    whole = os.path.join(folder, path)
    # Only the file system knows what is above a link.
    return os.path.realpath(whole) if ".." in whole.split("/") else os.path.normpath(whole)


def _named(key: str, flag: AnyPath | None, environ: Mapping[str, str], cwd: AnyPath) -> Place | None:
    variable = f"CBIR_{key.upper()}"
    if flag is not None:
        return Place(absolute(flag, cwd), f"flag --{key}")
    if environ.get(variable):
        return Place(absolute(environ[variable], cwd), f"environment {variable}")
    return None


def _base(environ: Mapping[str, str], variable: str, below_home: str) -> str:
    return _absolute_variable(environ, variable) or os.path.join(_home(environ), below_home)


def _absolute_variable(environ: Mapping[str, str], variable: str) -> str | None:
    # XDG Base Directory Specification 0.8: empty is as unset, and a relative path is to be ignored.
    path = environ.get(variable, "")
    return path if path.startswith("/") else None


def _home(environ: Mapping[str, str]) -> str:
    home = environ.get("HOME") or os.path.expanduser("~")
    if home == "~":
        raise ConfigError("no home folder is known", hint="set HOME")
    return home


def _local_sockets(cwd: AnyPath) -> Iterator[str]:
    return map(_local_socket, _and_above(os.fspath(cwd)))


def _local_socket(folder: str) -> str:
    """Return the socket of `scripts/run` in a checkout; empty when there is none, or it is somebody else's."""
    state = os.path.join(folder, LOCAL_STATE)
    try:
        owner = os.stat(state).st_uid
    except OSError:
        return ""  # Not there, or not ours to look at.
    # In a folder that others can write, such as /tmp, a stranger must not get at the images asked about.
    return os.path.join(state, "socket") if owner == os.getuid() else ""


def _and_above(folder: str) -> Iterator[str]:
    yield folder
    while folder != (folder := os.path.dirname(folder)):
        yield folder
