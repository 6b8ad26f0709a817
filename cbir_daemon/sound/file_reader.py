"""What a worker reads sound by.

In: bytes.  Out: `FILE_READER`.  Never here: how any of it works; the daemon, which must not import PyAV.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final

import numpy as np

from cbir_daemon.decode.reader import FileReader, Pictures, Reading
from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.records import Part
from cbir_daemon.sound.formats import EXTRA, is_sound
from cbir_daemon.sound.places import part_vectors, whole_vector
from cbir_daemon.sound.spectrum import RATE_HZ, frames_of

_DECODING: Final = "cbir_daemon.sound.decoding"


class SoundReader:
    """Sound, by PyAV; a `FileReader`."""

    pictures: Pictures | None = None

    def load(self, extras: AbstractSet[str], /) -> frozenset[str]:
        """Load PyAV, which brings every codec with it, when it is among the extras."""
        if not EXTRA.is_installed:
            return frozenset()
        if EXTRA.name not in extras:
            return frozenset({EXTRA.name})
        # numpy loads its Fourier transforms when they are asked for first.
        frames_of([np.zeros(RATE_HZ, dtype=np.float32)])
        # One that is broken reads no more than one that is not there.
        with suppress(ImportError):
            importlib.import_module(_DECODING).warm_up()
        return frozenset()

    def folders(self, extras: AbstractSet[str], /) -> Sequence[str]:
        """Return none: FFmpeg reads from memory."""
        return ()

    def claims(self, data: bytes, /) -> bool:
        """Return whether a file begins as one with sound does."""
        return is_sound(data)

    def extra_for(self, data: bytes, /) -> str:
        """Return the extra that PyAV is."""
        return EXTRA.name

    def read(self, data: bytes, max_pixels: int, /) -> Reading:
        """Return the parts of a sound, and what its file tells of it.

        Parameters
        ----------
        data : bytes
        max_pixels : int
            Of pictures: nothing here.

        Raises
        ------
        UnreadableError
            `not-an-image`, `needs-extra`, `damaged` or `truncated`.
        """
        try:
            decoding = importlib.import_module(_DECODING)
        except ImportError as error:
            raise UnreadableError("needs-extra", EXTRA.words) from error
        samples = 0
        with decoding.Sound(data) as sound:
            header, frames = sound.header, frames_of(sound.blocks())
            samples = sound.samples
        if not samples:
            raise UnreadableError("truncated", "no sound of it can be decoded")
        vectors, places = part_vectors(frames)
        parts = tuple(
            Part(vector.tobytes(), float(start), float(end))
            for vector, (start, end) in zip(vectors, places, strict=True)
        )
        details = {"duration_s": round(samples / RATE_HZ, 2), **header.details}
        return Reading(whole_vector(frames).tobytes(), 0, 0, header.format, parts=parts, details=details)


FILE_READER: Final[FileReader] = SoundReader()
"""What a worker reads sound by."""
