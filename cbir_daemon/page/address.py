"""Where a running page tells its own user, and nobody else, what its address is: a file of mode 0600.

In: the socket of the daemon.  Out: the address with its secret, written and read.  Never here: who is let in.

The secret is in no process list and in no log.  The page holds a lock on the file as long as it runs, so that an old
address is not taken for one that still opens something.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import html
import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from cbir_daemon.errors import ConfigError, InUseError, StorageError, UnavailableError

NAME_DIGITS = 8
WAKE_TIMEOUT_S = 10.0
MOST_ADDRESS_BYTES = 4096


def address_file(sockets: Sequence[Path], environ: Mapping[str, str]) -> Path:
    """Return the file for the page of a daemon.

    Parameters
    ----------
    sockets : sequence of Path
        Where the daemon may listen.  Each daemon's page has a file of its own.
    environ : mapping of str to str
        XDG_RUNTIME_DIR is the run-time folder; without one the file lies in the cache.

    Raises
    ------
    ConfigError
        When neither that nor HOME is known.
    """
    runtime, cache = environ.get("XDG_RUNTIME_DIR", ""), environ.get("XDG_CACHE_HOME", "")
    folder = next((Path(text) for text in (runtime, cache) if Path(text).is_absolute()), None)
    if folder is None:
        if not environ.get("HOME"):
            raise ConfigError("no home folder is known", hint="set HOME")
        folder = Path(environ["HOME"]) / ".cache"
    name = hashlib.sha256(os.fsencode(sockets[0])).hexdigest()[:NAME_DIGITS]
    return folder / "cbir" / f"page-{name}"


class AddressFile:
    """The file while a page runs.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> None:
        """Take the file, made if needed.

        Raises
        ------
        InUseError
            When the page of this daemon runs already.
        StorageError
            When it cannot be made.
        ConfigError
            When others could read it.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StorageError(
                f"{self._path}: cannot be written: {error.strerror}", hint="set XDG_RUNTIME_DIR"
            ) from error
        try:
            _check_private(self._path, self._descriptor)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise InUseError("the page runs already", hint="`cbir page --url` prints its address") from error
        except ConfigError:
            os.close(self._descriptor)
            raise

    def write(self, address: str) -> None:
        """Write the address, in place of an older one."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, address.encode(), 0)

    def close(self) -> None:
        """Empty the file: a confined process removes none."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def running_address(path: Path, wake: str = "") -> str:
    """Return the address of the page that runs.

    Parameters
    ----------
    path : Path
        From `address_file`.
    wake : str
        Where the service manager may listen for the page: a connection starts it.

    Raises
    ------
    UnavailableError
        When no page runs.
    """
    address = _locked_address(path)
    if not address and wake and _woken(wake):
        address = _locked_address(path)
    if not address:
        raise UnavailableError("no page is running", hint="start it with `cbir page`")
    return address


def _locked_address(path: Path) -> str:
    """Return the address in the file, if a running page holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    with contextlib.closing(os.fdopen(descriptor, "rb")) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read(MOST_ADDRESS_BYTES).decode()
    return ""


def _woken(address: str) -> bool:
    """Ask for the page's front and wait for the first byte: by then it has written its address."""
    place = urlsplit(address)
    try:
        with socket.create_connection((place.hostname, place.port), WAKE_TIMEOUT_S) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode())
            return bool(connection.recv(1))
    except OSError:
        return False


def write_opener(path: Path, address: str) -> Path:
    """Write a file that leads a browser to the address, and return it.

    A browser is started with the name of this file: the secret would stand in the process list otherwise.

    Parameters
    ----------
    path : Path
        From `address_file`.
    address : str
        With its secret.

    Raises
    ------
    StorageError
        When it cannot be written.
    """
    opener = path.with_name(f"{path.name}.html")
    target = html.escape(address, quote=True)
    text = (
        '<!doctype html><meta charset="utf-8"><title>cbir page</title>'
        f'<meta http-equiv="refresh" content="0;url={target}"><a href="{target}">open the page</a>\n'
    )
    try:
        with _private(opener) as descriptor:
            os.write(descriptor, text.encode())
    except OSError as error:
        raise StorageError(f"{opener}: cannot be written: {error.strerror}", hint="`cbir page --url`") from error
    return opener


@contextmanager
def _private(path: Path) -> Iterator[int]:
    """Give a new, empty file that only this user may read."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_private(path: Path, descriptor: int) -> None:
    facts = os.fstat(descriptor)
    if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o077:
        raise ConfigError(f"{path}: another user owns it or can read it", hint="remove it")
