"""Decode the sound of a file: the only module that imports PyAV.

In: bytes of a file.  Out: what its header says, and samples, block by block.  Never here: spectra, parts.

PyAV's wheel brings FFmpeg, which reads from memory here and is given a list of formats: none of them opens another file
(a playlist would).  It decodes in this thread alone: what reads is one worker of several.
"""

from __future__ import annotations

import importlib
import io
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from numpy.typing import NDArray

from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.sound.formats import FFMPEG_FORMATS, LOSSLESS_CODECS, format_name
from cbir_daemon.sound.spectrum import RATE_HZ

LONGEST_S: Final = 6 * 3600.0
"""Of a longer file the beginning is read: 16 MB of parts."""

BLOCK_S: Final = 10.0
"""Seconds of sound that are passed on at once."""

_TAG_CHARACTERS: Final = 200
# FFmpeg looks for streams in this much of a file, and no longer: hostile headers promise any number.
_PROBED_BYTES: Final = 5_000_000
_PROBED_MICROSECONDS: Final = 5_000_000
_BLOCK_SAMPLES: Final = int(BLOCK_S * RATE_HZ)
_MIXED_SAMPLES: Final = 65_536
# A damaged packet is left out as players do it; a file that has this many in a row and no sound between is no file.
_DAMAGED_PACKETS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about its sound.

    Parameters
    ----------
    format : str
        Name of the container in capitals.
    details : mapping
        `codec`, `lossless`, and where the file tells: `title`, `artist`, `album`, `bit_rate` (bits a second),
        `rate_hz`, `channels`.
    """

    format: str
    details: Mapping[str, str | int | float | bool] = field(default_factory=dict)


class Sound:
    """The sound of one file; closed by `with`.

    Parameters
    ----------
    data : bytes
        The whole file.

    Attributes
    ----------
    samples : int
        How many `blocks` has given so far.

    Raises
    ------
    UnreadableError
        `not-an-image` when FFmpeg finds no sound in it, `damaged` when it fails at it.
    """

    def __init__(self, data: bytes) -> None:
        self.samples = 0
        self._container = _opened(data)
        try:
            self._stream = _stream_of(self._container)
            self.header = Header(
                format_name(self._container.format.name), _details(self._container, self._stream, len(data))
            )
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield (n,) samples at `RATE_HZ`, of one channel, full scale is 1; the first `LONGEST_S` of them.

        Raises
        ------
        UnreadableError
            `damaged`.
        """
        pending: list[NDArray[np.float32]] = []
        waiting = 0
        for samples in _samples(self._container, self._stream):
            pending.append(samples)
            waiting += len(samples)
            self.samples += len(samples)
            if waiting >= _BLOCK_SAMPLES:
                yield np.concatenate(pending)
                pending, waiting = [], 0
            if self.samples >= LONGEST_S * RATE_HZ:
                break
        if pending:
            yield np.concatenate(pending)


def warm_up() -> None:
    """Load all that reading takes, so that a worker needs no file afterwards."""
    av.logging.set_level(None)
    # PyAV imports these when it meets a stream of their kind, and others when it fails.
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):
                importlib.import_module(module.name)


def _opened(data: bytes) -> InputContainer:
    options = {
        "format_whitelist": ",".join(FFMPEG_FORMATS),
        "protocol_whitelist": "",
        "probesize": str(_PROBED_BYTES),
        "analyzeduration": str(_PROBED_MICROSECONDS),
    }
    try:
        return av.open(io.BytesIO(data), "r", options=options, metadata_errors="replace")
    except (FFmpegError, ValueError) as error:
        raise UnreadableError("not-an-image", f"no sound that FFmpeg reads: {_words(error)}") from error


def _stream_of(container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise UnreadableError("not-an-image", "there is no sound in it")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise UnreadableError("damaged", "FFmpeg has no decoder for its sound")
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    return stream


def _samples(container: InputContainer, stream: AudioStream) -> Iterator[NDArray[np.float32]]:
    """Yield samples as they come, about a second each."""
    mixer = _Mixer()
    damaged = 0
    packets = container.demux(stream)
    while damaged < _DAMAGED_PACKETS:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            for frame in packet.decode():
                damaged = 0
                yield from mixer.take(frame)
        except EOFError:
            break
        except (FFmpegError, ValueError):
            damaged += 1
    with suppress(FFmpegError, ValueError):
        yield from mixer.rest()


class _Mixer:
    """Brings frames to `RATE_HZ` and one channel, many at a time: a call of FFmpeg costs more than a frame's work."""

    def __init__(self) -> None:
        self._kind: tuple[str, str, int] | None = None
        self._renew()

    def _renew(self) -> None:
        self._fifo = AudioFifo()
        self._resampler = AudioResampler(format="flt", layout="mono", rate=RATE_HZ)

    def take(self, frame: AudioFrame) -> Iterator[NDArray[np.float32]]:
        """Take a frame, and yield samples when enough have come together."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind:
            # A stream of radio may change from mono to stereo.
            yield from self.rest()
            self._kind = kind
        # Samples are counted instead: hostile time stamps say anything.
        frame.pts = None
        self._fifo.write(frame)
        if self._fifo.samples >= _MIXED_SAMPLES:
            yield from self._mixed(self._fifo.read(0))

    def rest(self) -> Iterator[NDArray[np.float32]]:
        """Yield what has not come out yet."""
        if self._kind is None:
            return
        if self._fifo.samples:
            yield from self._mixed(self._fifo.read(0))
        yield from self._mixed(None)
        self._renew()

    def _mixed(self, frame: AudioFrame | None) -> Iterator[NDArray[np.float32]]:
        for piece in self._resampler.resample(frame):
            yield piece.to_ndarray()[0]


def _details(container: InputContainer, stream: AudioStream, size: int) -> dict[str, str | int | float | bool]:
    codec = stream.codec_context.codec.canonical_name
    details: dict[str, str | int | float | bool] = {
        "codec": codec,
        "lossless": codec.startswith("pcm_") or codec in LOSSLESS_CODECS,
    }
    # Ogg keeps its tags with the stream, most others with the file.
    tags = {name.lower(): value for name, value in (*stream.metadata.items(), *container.metadata.items())}
    for name in ("title", "artist", "album"):
        if words := " ".join(tags.get(name, "").split())[:_TAG_CHARACTERS]:
            details[name] = words
    numbers = {
        "bit_rate": stream.codec_context.bit_rate or container.bit_rate,
        "rate_hz": stream.codec_context.sample_rate,
        "channels": stream.codec_context.channels,
    }
    return details | {name: number for name, number in numbers.items() if number}


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
