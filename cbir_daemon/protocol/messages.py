"""The messages of the socket: requests, answers, errors, paths.

In: JSON objects.  Out: frozen requests and answers, and back.  Never here: sockets, what a method does.

`{"v":1,"id":7,"method":"query","params":{...}}` is answered by `{"v":1,"id":7,"ok":{...},"clock":812}` or
`{"v":1,"id":7,"error":{"code","message","hint","retryable"},"clock":812}`; all but the last answer of a stream say
`"more":true`.  Unknown fields are ignored.

Every start of `cbir` pays for this module, so neither `dataclasses` nor `typing` is loaded for it.
"""

from __future__ import annotations

import binascii
import os
import time
from collections.abc import Mapping

from cbir_daemon import errors
from cbir_daemon.errors import BadRequestError, CbirError, ProtocolError
from cbir_daemon.protocol.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, overload

    from cbir_daemon.protocol.answers import WirePath

    Json = dict[str, Any]
else:
    Json = dict

VERSION = 1
"""Of the protocol; another one is refused."""

DIGEST_BYTES = 32
"""As `records.DIGEST_BYTES`, which the client does not load."""


class Request(Value):
    """A request of a client.

    Parameters
    ----------
    id : int or str
        Comes back with every answer.
    method : str
    params : dict
    blob : bytes
        Raw bytes that came with the message.
    """

    __slots__ = ("id", "method", "params", "blob")  # noqa: RUF023 -- in the order of the parameters

    def __init__(self, id: int | str, method: str, params: Json | None = None, blob: bytes = b"") -> None:
        self.id = id
        self.method = method
        self.params = {} if params is None else params
        self.blob = blob

    def to_message(self) -> Json:
        """Return the message, without the blob."""
        return {"v": VERSION, "id": self.id, "method": self.method, "params": self.params}

    @classmethod
    def from_message(cls, message: Mapping[str, Any], blob: bytes = b"") -> Request:
        """Read a request.

        Parameters
        ----------
        message : mapping
            The JSON object of a frame.
        blob : bytes
            The raw bytes of the frame; empty when it had none.

        Raises
        ------
        ProtocolError
            When the version is another one.
        BadRequestError
            When a field is missing or of the wrong type.
        """
        if message.get("v") != VERSION:
            raise ProtocolError(
                f"field 'v' is {message.get('v')!r}, this daemon speaks {VERSION}",
                hint="use the client that came with the daemon",
            )
        return cls(
            _field(message, "id", (int, str)),
            _field(message, "method", (str,)),
            _field(message, "params", (dict,), {}),
            blob,
        )


def _field(message: Mapping[str, Any], name: str, types: tuple[type, ...], default: Any = None) -> Any:  # noqa: ANN401 -- JSON
    value = message.get(name, default)
    if not isinstance(value, types) or isinstance(value, bool):
        expected = " or ".join(accepted.__name__ for accepted in types)
        raise BadRequestError(f"field {name!r} must be {expected}")
    if isinstance(value, str) and _sayable(value) != value:
        raise BadRequestError(f"field {name!r} holds half a surrogate pair")
    return value


def _sayable(text: str) -> str:
    """Return text as UTF-8 can carry it: a message may name a path that is no text."""
    return text.encode(errors="backslashreplace").decode()


class Params:
    """The parameters of a request, read by name and type.

    Parameters
    ----------
    values : dict
    """

    __slots__ = ("values",)

    def __init__(self, values: Json) -> None:
        self.values = values

    def integer(self, name: str, default: int, *, least: int = 0, most: int = 2**53) -> int:
        """Return a whole number within its bounds.

        Parameters
        ----------
        name : str
            Of the parameter.
        default : int
            The value when the parameter is absent.
        least, most : int
            Bounds, both allowed.

        Raises
        ------
        BadRequestError
            When the value is no whole number, or outside its bounds.
        """
        value = self.values.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise BadRequestError(f"parameter {name!r} must be a whole number from {least} to {most}")
        return value

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        """Return a number within its bounds.

        Parameters
        ----------
        name : str
            Of the parameter.
        default : float
            The value when the parameter is absent.
        least, most : float
            Bounds, both allowed.

        Raises
        ------
        BadRequestError
            When the value is no number, or outside its bounds.
        """
        value = self.values.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise BadRequestError(f"parameter {name!r} must be a number from {least} to {most}")
        return float(value)

    def choice(self, name: str, choices: tuple[str, ...]) -> str | None:
        """Return one of `choices`, or None when the parameter is absent.

        Parameters
        ----------
        name : str
            Of the parameter.
        choices : tuple of str
            The values that are allowed.

        Raises
        ------
        BadRequestError
            When the value is none of them.
        """
        value = self.values.get(name)
        if value is not None and value not in choices:
            raise BadRequestError(f"parameter {name!r} must be one of {', '.join(choices)}")
        return value

    def text(self, name: str) -> str:
        """Return a text; absent is empty.

        Raises
        ------
        BadRequestError
            When the value is no text.
        """
        value = self.values.get(name, "")
        if not isinstance(value, str):
            raise BadRequestError(f"parameter {name!r} must be text")
        return _sayable(value)

    def flag(self, name: str) -> bool:
        """Return true or false; absent is false.

        Raises
        ------
        BadRequestError
            When the value is neither.
        """
        value = self.values.get(name, False)
        if not isinstance(value, bool):
            raise BadRequestError(f"parameter {name!r} must be true or false")
        return value

    def digest(self, name: str) -> bytes:
        """Return a SHA-256 that must be there.

        Raises
        ------
        BadRequestError
            When it is missing, or is not one in hexadecimal digits.
        """
        if name not in self.values:
            raise BadRequestError(f"parameter {name!r} is missing")
        return digest_from_json(self.values[name], name)

    def items(self, name: str, most: int) -> list[Any]:
        """Return a list, empty when it is absent.

        Parameters
        ----------
        name : str
            Of the parameter.
        most : int
            Entries at most.

        Raises
        ------
        BadRequestError
            When it is no list, or too long.
        """
        value = self.values.get(name, [])
        if not isinstance(value, list) or len(value) > most:
            raise BadRequestError(f"parameter {name!r} must be a list of at most {most} entries")
        return value

    def path(self, name: str) -> bytes:
        """Return an absolute path, without a trailing slash.

        Raises
        ------
        BadRequestError
            When it is missing, or no absolute path.
        """
        path = self.maybe_path(name)
        if path is None:
            raise BadRequestError(f"parameter {name!r} is missing")
        return path

    def maybe_path(self, name: str) -> bytes | None:
        """Return an absolute path, or None when the parameter is absent.

        Raises
        ------
        BadRequestError
            When it is no path, or a relative one.
        """
        value = self.values.get(name)
        if value is None:
            return None
        path = path_from_json(value, name)
        if not path.startswith(b"/"):
            raise BadRequestError(f"parameter {name!r} must be an absolute path")
        # normpath keeps a second slash at the front, as POSIX allows it a meaning; on Linux it has none.
        return os.path.normpath(b"/" + path.lstrip(b"/"))


def digest_from_json(value: object, name: str = "digest") -> bytes:
    """Return the SHA-256 that a value means.

    Parameters
    ----------
    value : object
        64 hexadecimal digits.
    name : str
        Of the parameter, for the message of the error.

    Raises
    ------
    BadRequestError
        When it is none.
    """
    try:
        digest = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_BYTES:
        raise BadRequestError(f"parameter {name!r} must be a SHA-256 of {2 * DIGEST_BYTES} hexadecimal digits")
    return digest


def path_to_json(path: bytes) -> WirePath:
    """Return a path as text, or as `{"b64": "..."}` when it is not UTF-8."""
    try:
        return path.decode()
    except UnicodeDecodeError:
        return {"b64": binascii.b2a_base64(path, newline=False).decode()}


def path_from_json(value: object, name: str = "path") -> bytes:
    """Return the path that `path_to_json` wrote.

    Parameters
    ----------
    value : object
        Text, or a dict with the path in base64 under "b64".
    name : str
        Of the parameter, for the message of the error.

    Raises
    ------
    BadRequestError
        When the value is neither, or the path holds a zero byte.
    """
    try:
        if isinstance(value, dict):
            path = binascii.a2b_base64(value["b64"], strict_mode=True)
        elif isinstance(value, str):
            path = value.encode()
        else:
            raise BadRequestError(f"parameter {name!r} must be a path")
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise BadRequestError(f"parameter {name!r} must be a path") from error
    if b"\0" in path:
        raise BadRequestError(f"parameter {name!r} holds a zero byte")
    return path


if TYPE_CHECKING:

    @overload
    def when(seconds: float) -> str: ...
    @overload
    def when(seconds: float | None) -> str | None: ...


def when(seconds: float | None) -> str | None:
    """Return seconds since the epoch as ISO 8601 in UTC, to the millisecond before."""
    if seconds is None:
        return None
    # What cannot be said in binary is nearest to its microsecond: 1.001 is a little less.
    ms = round(seconds * 1e6) // 1000
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ms // 1000))}.{ms % 1000:03d}+00:00"


def answer(request_id: int | str, ok: Mapping[str, Any], clock: int, *, more: bool = False) -> Json:
    """Return the message of an answer.

    Parameters
    ----------
    request_id : int or str
        What the request calls itself.
    ok : mapping
        The fields of the answer.
    clock : int
        The store's clock when the answer was made.
    more : bool
        Whether further messages of the same answer follow.
    """
    message = {"v": VERSION, "id": request_id, "ok": ok, "clock": clock}
    return {**message, "more": True} if more else message


def refusal(request_id: int | str | None, error: CbirError, clock: int) -> Json:
    """Return the message of an error.

    Parameters
    ----------
    request_id : int or str, optional
        What the request calls itself; None when the request could not be read.
    error : CbirError
        Its code, message and hint travel.
    clock : int
        The store's clock when the request was refused.
    """
    described = {
        "code": error.code,
        "message": _sayable(error.message),
        "hint": _sayable(error.hint),
        "retryable": error.retryable,
    }
    plain_id = _sayable(request_id) if isinstance(request_id, str) else request_id
    return {"v": VERSION, "id": plain_id, "error": described, "clock": clock}


# Not all subclasses: those of other rooms go by the code of the class that they come from.
ERRORS = {
    error.code: error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, CbirError)
}
"""Wire code -> class, for the client to raise what the daemon raised."""


def error_from(described: Mapping[str, Any]) -> CbirError:
    """Return the error in a refusal, as the class that has its code; an unknown code is a plain `CbirError`."""
    kind = ERRORS.get(str(described.get("code")), CbirError)
    return kind(str(described.get("message", "")), hint=str(described.get("hint", "")))
