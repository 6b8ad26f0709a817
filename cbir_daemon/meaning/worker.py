"""The process that runs a network: it has what it needs before it sees the network, and can then open nothing.

In: first a frame that says which network, with its file; then pictures.  Out: descriptors, or a sentence that says why
not.  Never here: paths, files of albums.

Run as `python -m cbir_daemon.meaning.worker FD`.  Also builds the file of EfficientNet-Lite0 from its weights.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cbir_daemon.errors import ModelError
from cbir_daemon.meaning.descriptors import Tables, descriptor_of, tables
from cbir_daemon.meaning.running import CHANNELS, Floats, Network, check_picture
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.system.child import Channel, serve
from cbir_daemon.system.sandbox import allow_cpu_time, confine

Answer = tuple[Mapping[str, Any], bytes]

EXPECTED: Final[Mapping[int, float]] = {468: 3.7151, 750: 1.1277, 1197: 0.6198, 387: 0.3191, 339: 0.173, 28: 0.0}
"""Feature of the check picture -> its value in EfficientNet-Lite0, by arithmetic that shares nothing with the graph
(`tests/efficientnet.py`)."""

FEATURES: Final = 1280
TOLERANCE: Final = 1e-3
"""Processors add in different orders; a wrong stride, padding or norm is off by tenths."""

MEMORY_BYTES: Final = 2 * 1024**3
"""Address space of a worker, beside five times the network's file."""

PICTURE_S: Final = 50.0
"""Processor time for one picture; the kernel ends a network that computes for longer."""

_COPIES: Final = 5


@dataclass(frozen=True, slots=True)
class Opened:
    """A network, and the tables that its numbers are projected by, if it has any."""

    network: Network
    tables: Tables | None


class Worker:
    """Answers the daemon's messages."""

    def __init__(self) -> None:
        self._opened: Opened | None = None
        self._answers: Mapping[str, Callable[[Frame, bytes], Answer]] = {
            "build": self._build,
            "open": self._open,
            "describe": self._describe,
        }

    def answer(self, frame: Frame, channel: Channel) -> None:
        """Answer one frame.

        Parameters
        ----------
        frame : Frame
            Its message says what to `do`: `build` a network from the weights whose file came with it; `open` the
            network whose file came with it, of this `sha256`, `built` by us or a user's own; `describe` the picture of
            `height_px` and `width_px` that is its blob.
        channel : Channel
            Gets the file built; `side_px`, the longer side of pictures; a descriptor; or `refused`.
        """
        try:
            message, blob = self._answers[frame.message["do"]](frame, _received(frame, channel))
        except ModelError as error:
            message, blob = {"refused": error.message}, b""
        except MemoryError:
            message, blob = {"refused": "the network needs more memory than its worker may have"}, b""
        channel.send(message, blob)

    def _build(self, _: Frame, data: bytes) -> Answer:
        # Loaded here: only this once, and before the file is looked at.
        network = importlib.import_module("cbir_daemon.meaning.network")
        weights = importlib.import_module("cbir_daemon.meaning.weights")
        weights.load()
        _confine(len(data))
        if hashlib.sha256(data).hexdigest() != weights.WEIGHTS_SHA256:
            raise ModelError("the weights of EfficientNet-Lite0 are not those of its package 0.1.0")
        return {}, network.network_of(weights.read_tensors(io.BytesIO(data)))

    def _open(self, frame: Frame, data: bytes) -> Answer:
        built = frame.message["built"]
        projection = tables() if built else None
        _confine(len(data))
        # The very bytes that are run are checked, not a file that may be another by then.
        if hashlib.sha256(data).hexdigest() != frame.message["sha256"]:
            raise ModelError("the network's file has changed since the daemon read it")
        network = Network(data, keeps_shape=built)
        # Whatever it says of the check picture, it says something; and all that is loaded late is loaded.
        features = network.features(check_picture())
        if built:
            _check(features)
        self._opened = Opened(network, projection)
        return {"side_px": network.side_px}, b""

    def _describe(self, frame: Frame, pixels: bytes) -> Answer:
        if self._opened is None:
            raise ModelError("no network is open")
        allow_cpu_time(PICTURE_S)
        shape = (frame.message["height_px"], frame.message["width_px"], CHANNELS)
        features = self._opened.network.features(np.frombuffer(pixels, np.uint8).reshape(shape))
        return {}, descriptor_of(features, self._opened.tables).tobytes()


def _received(frame: Frame, channel: Channel) -> bytes:
    """Return the bytes of the file that came with a frame, or else those in the frame."""
    if not frame.message.get("file"):
        return frame.blob
    with os.fdopen(channel.take_descriptor(), "rb") as file:
        return file.read()


def _confine(file_bytes: int) -> None:
    confine(MEMORY_BYTES + _COPIES * file_bytes)


def _check(features: Floats) -> None:
    """Refuse a network of ours that says of the check picture something else than it should."""
    if len(features) != FEATURES or any(abs(features[place] - value) > TOLERANCE for place, value in EXPECTED.items()):
        raise ModelError("EfficientNet-Lite0 computes wrong numbers on this machine")


if __name__ == "__main__":
    serve(Worker().answer)
