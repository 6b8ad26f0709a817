"""The one tree of errors.

In: nothing.  Out: `CbirError` and its kinds.  Never here: what is done about one.

Every error that a user or another program can meet is a `CbirError`: a wire `code` that never changes, a message that
names the path, id or key, a hint that says what to do, and the exit status (sysexits.h) with which a command ends.
Foreign exceptions are translated at the door of the room that owns the library, never further in.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class CbirError(Exception):
    """Something a user can be told in one line.

    Parameters
    ----------
    message : str
        What happened; names the path, id or key.
    hint : str, optional
        What to do about it, as a sentence; empty when nothing can be done.
    """

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 70
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class BadRequestError(CbirError):
    """A parameter, method or argument that the callee cannot accept."""

    code = "bad-request"
    exit_status = 64


class UnknownMethodError(BadRequestError):
    """A method name that this server does not have."""

    code = "unknown-method"


class UnreadableImageError(CbirError):
    """Bytes that are no image we can read, or a file that breaks a limit.

    Parameters
    ----------
    message : str
        What is wrong with the bytes.
    reason : str
        One of the words recorded with a file: see `cbir_daemon.decode`.
    hint : str, optional
        What to do about it.
    """

    code = "unreadable-image"
    exit_status = 65

    def __init__(self, message: str, *, reason: str = "not-an-image", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class TooPlainError(CbirError):
    """An image with too little structure to say what it resembles."""

    code = "too-plain"
    exit_status = 65


class NotFoundError(CbirError):
    """A file, album, image or alert that is not there."""

    code = "not-found"
    exit_status = 66


class NoAccessError(CbirError):
    """A file that the process asked may not read: the client sends its bytes instead."""

    code = "no-access"
    exit_status = 66


class UnavailableError(CbirError):
    """A daemon that cannot be reached, or that is stopping."""

    code = "unavailable"
    exit_status = 69
    retryable = True


class InUseError(CbirError):
    """A state directory or socket that another process holds."""

    code = "in-use"
    exit_status = 73


class StorageError(CbirError):
    """The index or an artifact could not be read or written."""

    code = "storage"
    exit_status = 74


class SchemaTooNewError(StorageError):
    """An index written by a newer release than this one."""

    code = "schema-too-new"


class BusyError(CbirError):
    """Too many connections or too much work at once."""

    code = "busy"
    exit_status = 75
    retryable = True


class TimedOutError(CbirError):
    """An event did not come in time."""

    code = "timed-out"
    exit_status = 75
    retryable = True


class SinkError(CbirError):
    """A place to which alerts go that did not take one.

    Parameters
    ----------
    message : str
        What happened; never has an address or a secret in it.
    hint : str, optional
        What to do about it.
    retry_s : float
        How long the other side asked to be left alone, in seconds.
    """

    code = "sink"
    exit_status = 69
    retryable = True

    def __init__(self, message: str, *, hint: str = "", retry_s: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_s = retry_s


class SharedError(CbirError):
    """The shared index could not be asked or told."""

    code = "shared"
    exit_status = 69
    retryable = True


class SiteTakenError(SharedError):
    """The name of this site is another daemon's."""

    code = "site-taken"


class ProtocolError(CbirError):
    """A message that is no message: too long, not JSON, wrong version."""

    code = "protocol"
    exit_status = 76


class ForbiddenError(CbirError):
    """A peer that is not the user who runs the daemon."""

    code = "forbidden"
    exit_status = 77


class ConfigError(CbirError):
    """A configuration that cannot be used; the message lists every fault, one a line."""

    code = "config"
    exit_status = 78


class ModelError(CbirError):
    """A map that cannot be fitted, loaded or used; vectors go on answering without it."""

    code = "model"
    exit_status = 70
    retryable = True


class ChildError(CbirError):
    """A child process that died, hung or could not be started."""

    code = "child"
    exit_status = 71
    retryable = True
