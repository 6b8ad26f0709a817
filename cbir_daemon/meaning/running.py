"""Runs a network on pictures.

In: the bytes of an ONNX file, pictures.  Out: numbers.  Never here: files, what the numbers become.

onnxruntime uses one thread: a worker is one unit of parallelism.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from cbir_daemon.errors import ModelError
from cbir_daemon.meaning.descriptors import LARGEST_SIDE_PX

SIDE_PX = 224
"""Longer side of a picture where the network takes any size: what ImageNet's networks are trained on."""

CHANNELS: Final = 3

# torchvision's, and of most networks trained on ImageNet.
_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)

_TYPES: Final[Mapping[str, type[np.floating[Any]]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}

# onnxruntime's words for a message that ends a network; lesser ones are about what it makes faster.
_FATAL: Final = 4

# A check picture: blocks of this many pixels, an odd number of rows, so that each way of padding is met.
_BLOCK_PX, _CHECK_HEIGHT_PX = 16, 117

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Network:
    """A network that says something of a picture in numbers.

    Parameters
    ----------
    data : bytes
        An ONNX file.  Its first input takes n x 3 x height x width; its first output is a vector, a row of vectors or a
        feature map for each picture.
    keeps_shape : bool
        Pictures keep their shape; else they are made as wide and as high as the network says, or `SIDE_PX`.

    Raises
    ------
    ModelError
        When the file is no such network.
    """

    def __init__(self, data: bytes, *, keeps_shape: bool) -> None:
        self._session = _session(data)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _TYPES or len(inputs[0].shape) != 4:
            raise ModelError("the network must have one input: pictures of floating-point numbers")
        self._name, self._type = inputs[0].name, _TYPES[inputs[0].type]
        _, channels, height, width = inputs[0].shape
        if isinstance(channels, int) and channels != CHANNELS:
            raise ModelError(
                f"the network takes pictures of {channels} channels; it must take 3, before height and width"
            )
        self._size = None if keeps_shape else (_side(height), _side(width))
        self._output = self._session.get_outputs()[0].name
        said = self._session.get_modelmeta().custom_metadata_map
        self._mean = _colours(said, "mean", _MEAN)
        self._deviation = _colours(said, "deviation", _DEVIATION)

    @property
    def side_px(self) -> int:
        """Longer side of the pictures that it looks at."""
        return SIDE_PX if self._size is None else max(self._size)

    def features(self, picture: Picture) -> Floats:
        """Return the network's output for a picture.

        Parameters
        ----------
        picture : (height, width, 3) ndarray of uint8
            Red, green and blue, upright.  A smaller one than the network looks at is enlarged.

        Returns
        -------
        (d,) ndarray of float32

        Raises
        ------
        ModelError
            When it says nothing, or what is no number.
        """
        colours = scaled(picture.astype(np.float32), *self._size_of(picture)) / np.float32(255)
        planes = ((colours - self._mean) / self._deviation).transpose(2, 0, 1)[None]
        try:
            (said,) = self._session.run([self._output], {self._name: planes.astype(self._type)})
        # onnxruntime raises classes of its own for each fault, below Exception alone.
        except Exception as error:
            raise ModelError(f"the network fails: {_first_line(error)}") from error
        numbers = _pooled(np.asarray(said))
        if not len(numbers) or not np.isfinite(numbers).all():
            raise ModelError("the output of the network is empty, or has numbers that are not finite")
        return numbers

    def _size_of(self, picture: Picture) -> tuple[int, int]:
        if self._size is not None:
            return self._size
        height, width = picture.shape[:2]
        scale = SIDE_PX / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))


def scaled(picture: Floats, height: int, width: int) -> Floats:
    """Return a picture of another size, each pixel between the nearest four.

    Parameters
    ----------
    picture : (h, w, 3) ndarray of float32
        Hardly larger: pixels between those are passed over.
    height, width : int

    Returns
    -------
    (height, width, 3) ndarray of float32
    """
    return _stretched(_stretched(picture, height, 0), width, 1)


def check_picture() -> Picture:
    """Return the picture that a network is checked with: the same on every machine, for ever."""
    rows, columns = -(-_CHECK_HEIGHT_PX // _BLOCK_PX), -(-SIDE_PX // _BLOCK_PX)
    chance = hashlib.shake_256(b"cbir-daemon network check").digest(rows * columns * CHANNELS)
    blocks = np.frombuffer(chance, np.uint8).reshape(rows, columns, CHANNELS)
    whole = blocks.repeat(_BLOCK_PX, axis=0).repeat(_BLOCK_PX, axis=1)
    return whole[:_CHECK_HEIGHT_PX, :SIDE_PX]


def _session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    # Both keep memory for each size of a picture that came by.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    # onnxruntime raises classes of its own for each fault, below Exception alone.
    except Exception as error:
        raise ModelError(f"this is no network that can be run: {_first_line(error)}") from error


def _side(said: object) -> int:
    """Return the pixels of a side, as the network says or, where it takes any, `SIDE_PX`."""
    if not isinstance(said, int) or said < 1:
        return SIDE_PX
    if said > LARGEST_SIDE_PX:
        raise ModelError(f"the network takes pictures of {said} pixels; {LARGEST_SIDE_PX} is the most")
    return said


def _colours(said: Mapping[str, str], name: str, usual: tuple[float, ...]) -> Floats:
    """Return three numbers of the file's properties, or the usual ones."""
    try:
        numbers = np.array([float(part) for part in said[name].split(",")] if name in said else usual, np.float32)
    except ValueError as error:
        raise ModelError(f"the property {name} of the network is no list of numbers") from error
    if numbers.shape != (CHANNELS,) or not np.isfinite(numbers).all() or (name == "deviation" and not numbers.all()):
        raise ModelError(f"the property {name} of the network is no list of three numbers")
    return numbers


def _pooled(said: NDArray[Any]) -> Floats:
    """Return the output for one picture as a vector: the mean over a row of vectors, or over a feature map."""
    if not 2 <= said.ndim <= 4 or len(said) != 1:
        raise ModelError(f"the output of the network has the shape {said.shape}; it must be a vector for each picture")
    numbers = said[0].astype(np.float32)
    return np.asarray(numbers if numbers.ndim == 1 else numbers.mean(axis=0 if numbers.ndim == 2 else (1, 2)))


def _stretched(picture: Floats, count: int, axis: int) -> Floats:
    side = picture.shape[axis]
    if side == count:
        return picture
    places = np.clip((np.arange(count, dtype=np.float32) + 0.5) * (side / count) - 0.5, 0, side - 1)
    low = places.astype(np.int64)
    shape = [1, 1, 1]
    shape[axis] = count
    share = (places - low).astype(np.float32).reshape(shape)
    below, above = picture.take(low, axis), picture.take(np.minimum(low + 1, side - 1), axis)
    return np.asarray(below + (above - below) * share)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
