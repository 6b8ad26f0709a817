"""Meaning, as the daemon sees it: pictures in, descriptors out, a process while there is something to do.

In: upright pictures.  Out: descriptors.  Never here: running a network (`worker`), what is stored, what is similar.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.config.settings import EFFICIENTNET_LITE0
from cbir_daemon.errors import ChildError, ModelError, TimedOutError
from cbir_daemon.meaning.descriptors import (
    COSINES,
    LARGEST_SIDE_PX,
    MEAN_COSINES,
    MEAN_SHARES,
    NUMBERS,
    SHARES,
    Descriptors,
    cosines,
    units,
)
from cbir_daemon.meaning.kept import WORKER_MODULE, NetworkFile, kept_network, make_network
from cbir_daemon.meaning.reranking import products_among
from cbir_daemon.meaning.weights import PACKAGE, WEIGHTS_SHA256
from cbir_daemon.records import DescriptorKind, Problem
from cbir_daemon.system.child import Child
from cbir_daemon.system.files import memory_bytes

logger = logging.getLogger(__name__)

NAME = "meaning"
"""Of the descriptor."""

EXTRA = "cbir-daemon[meaning]"

MEANING_VERSION = 1
"""Of how a picture is shown to a network and how its numbers become a descriptor; part of each descriptor's version."""

IDLE_S: Final = 60.0
START_TIMEOUT_S: Final = 60.0
"""Importing onnxruntime from a slow disk, on a machine that is starting everything else as well."""

PICTURE_TIMEOUT_S: Final = 60.0
"""A picture takes EfficientNet-Lite0 some 20 ms; a user's network may take seconds."""

_TRIES: Final = 2
_DIGITS: Final = 16


class Meaning:
    """Describes pictures by a network.  Any thread may call it.

    Parameters
    ----------
    model : str
        `EFFICIENTNET_LITE0`, the path of an ONNX file, or empty for none.
    models_dir : Path
        Where the file of EfficientNet-Lite0 is kept.
    idle_s : float
        Seconds without a picture after which `close_if_idle` ends the process.
    start_timeout_s : float
        Longest time in which a process must have opened the network.
    """

    def __init__(
        self, model: str, models_dir: Path, *, idle_s: float = IDLE_S, start_timeout_s: float = START_TIMEOUT_S
    ) -> None:
        self._model = model
        self._models_dir = models_dir
        self._idle_s = idle_s
        self._start_timeout_s = start_timeout_s
        self._built = model == EFFICIENTNET_LITE0
        self._lacks_extra = bool(model) and not is_installed(model)
        # Why the network is not used, once that is known.
        self._refused = ""
        self._network: NetworkFile | None = None
        self._version = ""
        # Guards what is below.  A picture takes 20 ms: a query waits for one that the background has in hand.
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._side_px = 0
        self._used_s = 0.0
        self._peak_bytes = 0
        self._closed = False

    def open(self) -> None:
        """Find out which network it is.  One that cannot be read is a problem, and no reason not to start."""
        if self._lacks_extra or not self._model:
            return
        digest = WEIGHTS_SHA256
        if not self._built:
            try:
                with Path(self._model).open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                self._refused = f"{self._model}: {error.strerror}"
                return
            self._network = NetworkFile(Path(self._model), digest)
        self._version = f"{Path(self._model).name}/{MEANING_VERSION} {digest[:_DIGITS]}"

    @property
    def enabled(self) -> bool:
        """Whether pictures are described."""
        return bool(self._version) and not self._refused

    @property
    def kind(self) -> DescriptorKind:
        """Names the network and its SHA-256: descriptors of another version say nothing to those of this one."""
        return DescriptorKind(NAME, self._version)

    @property
    def process_id(self) -> int | None:
        """Id of the process; None when there is none."""
        child = self._child
        return None if child is None else child.pid

    @property
    def cpu_s(self) -> float:
        """Processor time that the process has used, in seconds; 0 when there is none."""
        child = self._child
        return 0.0 if child is None else child.cpu_s

    def problems(self) -> list[Problem]:
        """Return that a network is asked for and not used, and why."""
        if self._lacks_extra:
            return [
                Problem(
                    "pictures are not described by meaning: the extra is missing",
                    f"pip install '{EXTRA}', then restart",
                )
            ]
        if self._refused:
            return [
                Problem(
                    f"pictures are not described by meaning: {self._refused}",
                    "mend what `model` of `[meaning]` names, or name another, then restart the daemon",
                )
            ]
        return []

    def side_px(self) -> int:
        """Return the longer side of the pictures that the network looks at; 0 when it is not used.

        Raises
        ------
        ChildError
            When no process can be started.
        StorageError
            When the disk refuses the network's file.
        """
        if self.enabled and not self._side_px:
            with self._lock:
                self._running()
        return self._side_px

    def describe(self, picture: NDArray[np.uint8]) -> Descriptors | None:
        """Return the descriptor of a picture; None when the network is not used, or cannot describe this one.

        Parameters
        ----------
        picture : (height, width, 3) ndarray of uint8
            Red, green and blue, upright; the longer side at most `side_px()`.

        Returns
        -------
        (128,) ndarray of int8 or None

        Raises
        ------
        ChildError
            When no process can be started.
        StorageError
            When the disk refuses the network's file.
        """
        height_px, width_px = picture.shape[:2]
        message = {"do": "describe", "height_px": height_px, "width_px": width_px}
        pixels = picture.tobytes()
        with self._lock:
            # The process may have been killed for want of memory, or by somebody: the picture need not be to blame.
            for _ in range(_TRIES):
                child = self._running()
                if child is None:
                    return None
                self._used_s = time.monotonic()
                try:
                    child.send(message, pixels)
                    answer = child.receive(PICTURE_TIMEOUT_S)
                except (ChildError, TimedOutError) as error:
                    logger.warning("meaning worker lost reason=%s", error)
                    self._close()
                else:
                    self._used_s = time.monotonic()
                    whole = "refused" not in answer.message and len(answer.blob) == NUMBERS
                    return np.frombuffer(answer.blob, np.int8) if whole else None
        return None

    def alike(self, query: Descriptors, stored: Descriptors) -> NDArray[np.float32]:
        """Return how alike pictures are in what they show, (n,) in [0, 1].

        Parameters
        ----------
        query : (128,) ndarray of int8
        stored : (n, 128) ndarray of int8

        Returns
        -------
        (n,) ndarray of float32
            Of EfficientNet-Lite0: the share of matches of this score that show the same kind of thing.  Of a user's
            network nobody has measured that: the cosine, and 0 below it.
        """
        return self._shares(cosines(query, stored), COSINES, SHARES)

    def alike_among(self, query: Descriptors, stored: Descriptors) -> NDArray[np.float32]:
        """Return how alike pictures are in what they show, (n,) in [0, 1], told by what they have in common.

        Parameters
        ----------
        query : (128,) ndarray of int8
        stored : (n, 128) ndarray of int8
            The likeliest matches of the query: each counts with its neighbours among them.

        Returns
        -------
        (n,) ndarray of float32
            As `alike`.
        """
        found = products_among(
            units(query[None])[0], units(stored), lambda products: self._shares(products, COSINES, SHARES)
        )
        return self._shares(found, MEAN_COSINES, MEAN_SHARES)

    def _shares(
        self, found: NDArray[np.float32], measured: Sequence[float], shares: Sequence[float]
    ) -> NDArray[np.float32]:
        return np.asarray(np.interp(found, measured, shares) if self._built else np.clip(found, 0, 1), dtype=np.float32)

    def peak_memory_bytes(self) -> int:
        """Return the largest resident memory that the process has had so far; 0 when there was none yet."""
        with self._lock:
            self._measure()
            return self._peak_bytes

    def close_if_idle(self, now: float) -> None:
        """End the process when nothing was described for `idle_s` before `now` (of the monotonic clock)."""
        # A call that holds the lock is at work: not idle, and not worth waiting for.
        if self._lock.acquire(blocking=False):
            try:
                if now - self._used_s >= self._idle_s:
                    self._close()
            finally:
                self._lock.release()

    def close(self) -> None:
        """End the process, whatever it does, for good; a thread that waits for it gets a `ChildError`."""
        self._closed = True
        child = self._child
        if child is not None and child.running:
            # Killed before the lock is asked for: a daemon that stops must not wait for a large network.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        with self._lock:
            self._close()

    def _running(self) -> Child | None:
        """Return the process, started if there is none; None when the network is not used."""
        if self._closed:
            raise ChildError("the daemon is stopping")
        if self._child is not None and self._child.running:
            return self._child
        self._close()
        if not self.enabled:
            return None
        try:
            self._start()
        except ModelError as error:
            self._refused = error.message
            logger.error("network refused model=%s reason=%s", self._model, error.message)  # noqa: TRY400 -- not our fault
        except TimedOutError as error:
            raise ChildError(f"the network did not start in {self._start_timeout_s:g} s") from error
        return self._child

    def _start(self) -> None:
        """Start a process that has the network; one of ours that is not as it was is made again."""
        network = kept_network(self._models_dir) if self._built else self._network
        if network is not None:
            try:
                self._open_in_child(network)
            except ModelError as error:
                if not self._built:
                    raise
                logger.warning("network made again path=%s reason=%s", network.path, error)
            else:
                return
        self._open_in_child(make_network(self._models_dir))

    def _open_in_child(self, network: NetworkFile) -> None:
        try:
            with network.path.open("rb") as file:
                message = {"do": "open", "file": True, "sha256": network.sha256, "built": self._built}
                child = Child.started(WORKER_MODULE, message, descriptors=[file.fileno()])
        except OSError as error:
            raise ModelError(f"{network.path}: {error.strerror}") from error
        # Where `close` finds it: a daemon that stops does not wait for it to start.
        self._child = child
        with ExitStack() as failing:
            failing.callback(self._close)
            answer = self._answer_to_open(child)
            side_px = answer.get("side_px")
            # A user's network is a stranger's: what its process says is checked.
            if not isinstance(side_px, int) or not 0 < side_px <= LARGEST_SIDE_PX:
                raise ModelError(f"{network.path.name}: {answer.get('refused', 'no size of pictures')}")
            failing.pop_all()
        self._side_px, self._used_s = side_px, time.monotonic()

    def _answer_to_open(self, child: Child) -> Mapping[str, Any]:
        try:
            return child.receive(self._start_timeout_s).message
        except TimedOutError as error:
            # A user's network may compute for ever; ours does not, and has met a busy machine.
            if self._built:
                raise
            raise ModelError(f"{self._model}: no answer in {self._start_timeout_s:g} s") from error

    def _measure(self) -> None:
        if self._child is not None:
            with contextlib.suppress(OSError):
                self._peak_bytes = max(self._peak_bytes, memory_bytes(Path(f"/proc/{self._child.pid}/status"), "VmHWM"))

    def _close(self) -> None:
        if self._child is not None:
            self._measure()
            self._child.close()
            self._child = None


def is_installed(model: str) -> bool:
    """Whether the libraries are there that a network takes; nothing is imported to find out."""
    libraries = ("onnxruntime", "onnx", PACKAGE) if model == EFFICIENTNET_LITE0 else ("onnxruntime",)
    return all(find_spec(library) is not None for library in libraries)
