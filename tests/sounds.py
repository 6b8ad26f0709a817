"""Sounds made from seeds, written by PyAV, for tests.

In: seeds.  Out: samples, files.  Never here: what is expected of them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from functools import cache

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

Samples = NDArray[np.float32]

RATE_HZ = 32_000


@cache
def song(seed: int, seconds: float = 40.0, take: int = 0, instrument: int = 0) -> Samples:
    """Return (n,) samples of music that no other seed has: three voices with overtones, and a drum.

    Another take has the same notes, played by other hands: each as long, as loud and as late as it happens to be, at a
    tempo that comes and goes.  Another instrument plays the same notes at the same moments in its own way.
    """
    overtones = 1 / np.arange(1, 6)
    notes, hands = np.random.default_rng(seed), np.random.default_rng((seed, take))
    if instrument:
        hands = np.random.default_rng((seed, take, instrument))
        overtones = hands.uniform(0, 1, 5)
    total = np.zeros(int(seconds * RATE_HZ), dtype=np.float32)
    for beat_s in notes.uniform(0.2, 0.6, 3):
        for start in np.arange(0, seconds, beat_s):
            pitch, is_played = notes.uniform(48, 84), notes.random() < 0.8
            note = _note(pitch, beat_s * hands.uniform(0.6, 2.0), hands.uniform(1, 6), overtones) * np.float32(
                hands.uniform(0.4, 1)
            )
            if is_played:
                _add(total, note, _played_at(start, take, hands))
    for start in np.arange(0, seconds, notes.uniform(0.3, 0.5)):
        drum = hands.standard_normal(1600).astype(np.float32) * np.linspace(0.5, 0, 1600, dtype="f4")
        _add(total, drum, _played_at(start, take, hands))
    return np.asarray(total / np.abs(total).max() * 0.7, dtype=np.float32)


def _played_at(start_s: float, take: int, hands: np.random.Generator) -> float:
    if not take:
        return start_s
    return max(0.0, start_s + 0.5 * math.sin(start_s / 2 + take) + hands.normal(0, 0.03))


def _note(pitch: float, seconds: float, decay: float, overtones: NDArray[np.float64]) -> Samples:
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    waves = sum(
        strength * np.sin(2 * np.pi * hertz * number * time) for number, strength in enumerate(overtones, start=1)
    )
    return np.asarray(waves * np.exp(-time * decay), dtype=np.float32)


def _add(total: Samples, piece: Samples, start_s: float) -> None:
    start = int(start_s * RATE_HZ)
    end = min(start + len(piece), len(total))
    total[start:end] += piece[: max(end - start, 0)]


def faster(samples: Samples, speed: float) -> Samples:
    """Return samples as a record that turns faster has them."""
    places = np.arange(0, len(samples) - 1, speed)
    return np.asarray(np.interp(places, np.arange(len(samples)), samples), dtype=np.float32)


def cut(samples: Samples, start_s: float, seconds: float) -> Samples:
    """Return a piece of samples."""
    return samples[int(start_s * RATE_HZ) : int((start_s + seconds) * RATE_HZ)]


def written(
    samples: Samples,
    codec: str = "flac",
    container: str = "flac",
    bit_rate: int = 0,
    tags: Mapping[str, str] | None = None,
    *,
    is_video: bool = False,
) -> bytes:
    """Return samples as a file; with a few frames of a picture before them when it is a video."""
    target = io.BytesIO()
    rate = 48_000 if codec == "libopus" else RATE_HZ
    with av.open(target, "w", format=container) as output:
        output.metadata.update(tags or {})
        video = output.add_stream("mpeg4", rate=5, width=64, height=64, pix_fmt="yuv420p") if is_video else None
        stream = output.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, AudioStream)
        if bit_rate:
            stream.bit_rate = bit_rate
        if isinstance(video, VideoStream):
            pixels = np.zeros((64, 64, 3), dtype=np.uint8)
            frames = [av.VideoFrame.from_ndarray(pixels, "rgb24") for _ in range(5)]
            output.mux([packet for picture in (*frames, None) for packet in video.encode(picture)])
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
        frame.sample_rate = RATE_HZ
        output.mux([*stream.encode(frame), *stream.encode(None)])
    return target.getvalue()
