"""Values on their way to a search process and back: JSON, and the raw bytes of arrays behind it.

In: values of known types.  Out: bytes, and the same values.  Never here: what is asked; sockets.

Nothing is unpickled.  The types say what bytes mean, so both ends must be of the same release: `processes` sees to it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

_LENGTH = struct.Struct("<I")

_Read = Callable[[Any, "_Raw"], Any]


def encoded(value: object) -> bytes:
    """Return a value as bytes.

    Parameters
    ----------
    value : object
        Built of None, numbers, texts, bytes, arrays, enumerations, data classes, lists, tuples, dictionaries and sets
        of numbers.  No number is infinite or NaN, but in an array.
    """
    raw: list[bytes] = []
    text = json.dumps(_packed(value, raw), separators=(",", ":"), allow_nan=False).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *raw])


def decoded(hint: Any, data: bytes) -> Any:  # noqa: ANN401 -- any type may stand for a value
    """Return the value that `encoded` was given.

    Parameters
    ----------
    hint : type
        Of the value, as an annotation has it.
    data : bytes
        From `encoded`.

    Raises
    ------
    ValueError
        When the bytes are not those of such a value.
    """
    try:
        (length,) = _LENGTH.unpack_from(data)
        raw = _Raw(memoryview(data)[_LENGTH.size + length :])
        return _reader(hint)(json.loads(data[_LENGTH.size : _LENGTH.size + length]), raw)
    except (struct.error, ValueError, TypeError, LookupError) as error:
        raise ValueError(f"not the bytes of {hint}: {error}") from error


class _Raw:
    """Raw bytes that are taken one piece after the other."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def take(self, length: int) -> memoryview:
        if not 0 <= length <= len(self._data):
            raise ValueError(f"{length} bytes are more than there are")
        taken, self._data = self._data[:length], self._data[length:]
        return taken


def _packed(value: Any, raw: list[bytes]) -> Any:  # noqa: ANN401 -- JSON
    """Return a value as JSON, and add the bytes that belong to it to `raw`."""
    if isinstance(value, str | int | float | NoneType):
        return value
    if isinstance(value, bytes):
        raw.append(value)
        return len(value)
    if isinstance(value, np.ndarray):
        raw.append(value.tobytes())
        return [value.dtype.str, *value.shape]
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value):
        return [_packed(getattr(value, field.name), raw) for field in fields(value)]
    if isinstance(value, dict):
        return [[_packed(part, raw) for part in item] for item in value.items()]
    if isinstance(value, set | frozenset):
        return sorted(value)
    return [_packed(part, raw) for part in value]


@cache
def _reader(hint: Any) -> _Read:  # noqa: ANN401 -- any type may stand for a value
    """Return the function that makes a value of a type from JSON and raw bytes."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        (kind,) = (part for part in parts if part is not NoneType)
        read = _reader(kind)
        return lambda packed, raw: None if packed is None else read(packed, raw)
    if origin is np.ndarray:
        return _array
    if hint is bytes:
        return lambda packed, raw: bytes(raw.take(packed))
    if origin is tuple:
        return _tuple_reader(parts)
    if origin is dict:
        key, item = (_reader(part) for part in parts)
        return lambda packed, raw: {key(name, raw): item(value, raw) for name, value in packed}
    if origin in (list, Sequence):
        read = _reader(parts[0])
        return lambda packed, raw: [read(part, raw) for part in packed]
    if origin is frozenset:
        return lambda packed, raw: frozenset(packed)
    if is_dataclass(hint):
        return _dataclass_reader(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return lambda packed, raw: hint(packed)
    return lambda packed, raw: packed


def _array(packed: Any, raw: _Raw) -> NDArray[Any]:  # noqa: ANN401 -- JSON
    dtype, shape = np.dtype(packed[0]), packed[1:]
    return np.frombuffer(raw.take(dtype.itemsize * int(np.prod(shape))), dtype=dtype).reshape(shape)


def _tuple_reader(parts: tuple[Any, ...]) -> _Read:
    if parts[-1] is Ellipsis:
        read = _reader(parts[0])
        return lambda packed, raw: tuple(read(part, raw) for part in packed)
    readers = [_reader(part) for part in parts]
    return lambda packed, raw: tuple(read(part, raw) for read, part in zip(readers, packed, strict=True))


def _dataclass_reader(kind: Any) -> _Read:  # noqa: ANN401 -- a class
    hints = get_type_hints(kind)
    readers = [_reader(hints[field.name]) for field in fields(kind)]
    return lambda packed, raw: kind(*(read(part, raw) for read, part in zip(readers, packed, strict=True)))
