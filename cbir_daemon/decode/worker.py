"""A decode worker: a process that turns files into facts until the daemon closes its channel.

In: frames, with the descriptor of a file or its bytes.  Out: frames with its facts, or why not.  Never here: paths,
what the facts are for, what the bytes of a file mean: that the reader knows which the process was forked with.

Forked from `fork_server`, which has loaded what is imported here and what reads.  One bad file must not end it, but
may: the daemon starts another.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cbir_daemon.decode.messages import (
    FONTS,
    LOCAL_FEATURES,
    NOT_DECODED,
    DecodeLimits,
    known_from,
    limits_from,
    reading_message,
    unreadable_message,
)
from cbir_daemon.decode.mosaic import draw_mosaic, greys
from cbir_daemon.decode.preview import encoded_preview
from cbir_daemon.decode.reader import FileReader, Pictures, Pixels
from cbir_daemon.decode.reading import OUT_OF_MEMORY, UnreadableError, read_whole
from cbir_daemon.decode.sheet import draw_sheet, panels_from
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import FileState, Unreadable
from cbir_daemon.system.child import Channel
from cbir_daemon.system.sandbox import allow_cpu_time, confine

Answer = tuple[Mapping[str, Any], bytes]

_STDOUT = 1
_STDERR = 2


# Until the daemon has said what may be read, nothing may.
NO_LIMITS_YET = DecodeLimits(max_pixels=0, max_file_bytes=0, timeout_s=0.0)


class _NotLoadedError(Exception):
    """Carries the name of what must be loaded before a file can be read."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a worker has loaded.

    Parameters
    ----------
    readers : mapping of str to FileReader
        By the names of their media.
    names : frozenset of str
        Of extras, `FONTS` and `LOCAL_FEATURES`.
    left_out : frozenset of str
        Extras that a worker could have and has not loaded.
    """

    readers: Mapping[str, FileReader]
    names: frozenset[str]
    left_out: frozenset[str]


class Worker:
    """Answers the daemon's messages.

    Parameters
    ----------
    loaded : Loaded
    limits : DecodeLimits
        What one file may cost; the daemon's first message sets them.
    """

    def __init__(self, loaded: Loaded, limits: DecodeLimits = NO_LIMITS_YET) -> None:
        self._readers = loaded.readers
        self._loaded = loaded
        self._limits = limits
        self._answers: Mapping[str, Callable[[Frame, int | None], Answer]] = {
            "set-up": self._set_up,
            "read": self.read,
            "colour": self._colour,
            "grey": self._grey,
            "features": self._features,
            "crop": self._crop,
            "sheet": self._sheet,
            "mosaic": self._mosaic,
            "preview": self._preview,
        }

    def answer(self, frame: Frame, channel: Channel) -> None:
        """Answer one frame.

        Parameters
        ----------
        frame : Frame
            Its message says what to `do`; with `file`, a descriptor came with it.
        channel : Channel
            Gets the answer, or `wants`: the name of what must be loaded before this file can be read.  Where a frame
            asks for several files, each gets its own as soon as it is read, so that the daemon knows what this process
            is at.
        """
        if frame.message["do"] == "read-files":
            for message in frame.message["files"]:
                self._answer(Frame(message), channel)
        else:
            self._answer(frame, channel)

    def _answer(self, frame: Frame, channel: Channel) -> None:
        descriptor = channel.take_descriptor() if frame.message.get("file") else None
        try:
            message, blob = self._answers[frame.message["do"]](frame, descriptor)
        except _NotLoadedError as error:
            message, blob = {"wants": str(error)}, b""
        finally:
            if descriptor is not None:
                os.close(descriptor)
        channel.send(message, blob)

    def _set_up(self, frame: Frame, _: int | None) -> Answer:
        self._limits = limits_from(frame.message)
        _silence_libraries()
        folders = [folder for reader in self._readers.values() for folder in reader.folders(self._loaded.names)]
        return {"ready": True, "granted": confine(self._limits.max_memory_bytes, folders)}, b""

    @property
    def _drawing(self) -> FileReader | None:
        """The reader of what there are pictures of, if any is."""
        return next((reader for reader in self._readers.values() if reader.pictures is not None), None)

    def _pictures_of(self, data: bytes) -> Pictures:
        drawing = self._drawing
        if drawing is None or drawing.pictures is None:
            raise UnreadableError("not-an-image", "files of this kind have no picture")
        self._check_loaded(drawing, data)
        return drawing.pictures

    def read(self, frame: Frame, descriptor: int | None) -> Answer:
        """Return the facts of a file, or why there are none.

        Parameters
        ----------
        frame : Frame
            From `read_message`; the blob is the file when no descriptor came.
        descriptor : int or None
            Open for reading; it stays the caller's.

        Returns
        -------
        message : dict
        blob : bytes
            The vector, and what else has bytes; empty when its digest is known already, or when there are no facts.
        """
        allow_cpu_time(self._limits.timeout_s)
        state = None
        try:
            data, state = self._bytes_of(frame, descriptor)
            digest = hashlib.sha256(data).digest()
            if digest in known_from(frame.message):
                return reading_message(digest, NOT_DECODED, state)
            medium = self._medium_of(frame, data)
            reader = self._readers[medium]
            self._check_loaded(reader, data)
            return reading_message(digest, reader.read(data, self._limits.max_pixels), state, medium)
        except UnreadableError as error:
            return unreadable_message(_with_state(error.unreadable, state))
        except MemoryError:
            return unreadable_message(Unreadable("out-of-memory", OUT_OF_MEMORY, state))

    def _medium_of(self, frame: Frame, data: bytes) -> str:
        """Return the medium of a file: of those that its name leaves, the first that claims its bytes, or the first."""
        media = frame.message.get("media") or list(self._readers)
        claimed = (medium for medium in media if self._readers[medium].claims(data)) if len(media) > 1 else iter(media)
        return str(next(claimed, media[0]))

    def _check_loaded(self, reader: FileReader, data: bytes) -> None:
        extra = reader.extra_for(data)
        if extra in self._loaded.left_out:
            raise _NotLoadedError(extra)

    def _colour(self, frame: Frame, descriptor: int | None) -> Answer:
        side_px = frame.message["side_px"]
        return self._small(frame, descriptor, lambda pictures, data, limit: pictures.colour(data, limit, side_px))

    def _grey(self, frame: Frame, descriptor: int | None) -> Answer:
        side_px = frame.message["side_px"]
        return self._small(frame, descriptor, lambda pictures, data, limit: pictures.grey(data, limit, side_px))

    def _features(self, frame: Frame, descriptor: int | None) -> Answer:
        """Return the local features of an image as bytes: of a content, or of a query when that is `asked`."""
        if LOCAL_FEATURES not in self._loaded.names:
            raise _NotLoadedError(LOCAL_FEATURES)
        extraction = importlib.import_module("cbir_daemon.local_features.extraction")
        message, pixels = self._grey(frame, descriptor)
        if "code" in message:
            return message, b""
        find = extraction.asked_features if frame.message["asked"] else extraction.stored_features
        return {}, find(extraction.picture_of(pixels, message["width_px"], message["height_px"])).to_bytes()

    def _crop(self, frame: Frame, descriptor: int | None) -> Answer:
        left, top, right, bottom = map(int, frame.message["box"])
        return self._small(
            frame, descriptor, lambda pictures, data, limit: pictures.crop(data, limit, (left, top, right, bottom))
        )

    def _small(self, frame: Frame, descriptor: int | None, draw: Callable[[Pictures, bytes, int], Pixels]) -> Answer:
        """Return the pixels of a small upright picture of a file."""
        allow_cpu_time(self._limits.timeout_s)
        try:
            data, _ = self._bytes_of(frame, descriptor)
            pixels = draw(self._pictures_of(data), data, self._limits.max_pixels)
        except UnreadableError as error:
            return unreadable_message(error.unreadable)
        except MemoryError:
            return unreadable_message(Unreadable("out-of-memory", OUT_OF_MEMORY))
        return {"width_px": pixels.width_px, "height_px": pixels.height_px}, pixels.data

    def _preview(self, frame: Frame, descriptor: int | None) -> Answer:
        """Return a picture of an image as a file that a browser shows, and the digest of what it shows."""
        allow_cpu_time(self._limits.timeout_s)
        side_px = frame.message["side_px"]
        try:
            data, _ = self._bytes_of(frame, descriptor)
            pictures = self._pictures_of(data)
            draw = pictures.remains if frame.message["remains"] else pictures.preview
            pixels = draw(data, self._limits.max_pixels, side_px)
            picture = encoded_preview(pixels, frame.message["form"])
        except UnreadableError as error:
            return unreadable_message(error.unreadable)
        except MemoryError:
            return unreadable_message(Unreadable("out-of-memory", OUT_OF_MEMORY))
        return {"digest": hashlib.sha256(data).hexdigest()}, picture

    def _sheet(self, frame: Frame, _: int | None) -> Answer:
        if FONTS not in self._loaded.names:
            raise _NotLoadedError(FONTS)
        allow_cpu_time(self._limits.timeout_s)
        return {}, draw_sheet(*panels_from(frame))

    def _mosaic(self, frame: Frame, _: int | None) -> Answer:
        allow_cpu_time(self._limits.timeout_s)
        drawing = self._drawing
        return {}, draw_mosaic(
            frame, greys if drawing is None or drawing.pictures is None else drawing.pictures.palette
        )

    def _bytes_of(self, frame: Frame, descriptor: int | None) -> tuple[bytes, FileState | None]:
        """Return the bytes of the file that came with the frame, or else those in the frame."""
        if descriptor is not None:
            return read_whole(descriptor)
        if not frame.blob:
            raise UnreadableError("empty", "the file has no bytes")
        return frame.blob, None


def _silence_libraries() -> None:
    """Send what libraries say about damaged files nowhere; a traceback still reaches standard error."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    sys.stderr = os.fdopen(os.dup(_STDERR), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)


def _with_state(unreadable: Unreadable, state: FileState | None) -> Unreadable:
    if unreadable.state is not None:
        return unreadable
    return Unreadable(unreadable.code, unreadable.message, state)


WORKER: Final = Worker
"""What `fork_server` makes."""
