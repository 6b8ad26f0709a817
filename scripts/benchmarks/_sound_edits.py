"""What becomes of music: the edits that the benchmark of sound looks for, talkers, and music that is made.

In: samples and a random generator.  Out: samples, bytes of a file.  Never here: who finds it.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import click
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""(2, n): left and right, full scale is 1, `RATE_HZ`."""

RATE_HZ = 44_100
QUERY_S = 30.0
VOICES = ("en-us", "en-gb-scotland", "de", "fr", "es", "it", "pl", "pt-br", "sv", "nl")
SENTENCES = (
    "The harbour was quiet when the last boat of the evening came in.",
    "Please remember to take everything that is yours before you leave the train.",
    "In the second half the visitors played better, and nobody was surprised by the result.",
    "Most of the old houses on this street were built before the war, some by the same hands.",
    "If you stir too early the dough will not rise, so wait a quarter of an hour.",
    "Clouds in the north, sunshine in the south, and wind from the west in the afternoon.",
    "She opened the letter, read it twice, and put it back without a word.",
    "Today we speak about rivers: where they begin, what they carry, and whom they feed.",
    "The museum has three floors and the stairs are behind the picture of the horse.",
    "Nobody knows how many languages there were, but we know the names of forty.",
)


@dataclass(frozen=True)
class Edit:
    """Something that is done to a piece of music.

    Parameters
    ----------
    change : callable
        Samples, generator -> samples.
    seconds : float
        How long the piece is.
    codec, container : str
        How the query is written.
    bit_rate : int
    """

    change: Callable[[Samples, np.random.Generator], Samples]
    seconds: float = QUERY_S
    codec: str = "pcm_s16le"
    container: str = "wav"
    bit_rate: int = 0


def read(source: Path | io.BytesIO, rate_hz: int = RATE_HZ) -> Samples:
    """Return the samples of a file.

    Parameters
    ----------
    source : Path or BytesIO
    rate_hz : int
    """
    resampler = AudioResampler(format="fltp", layout="stereo", rate=rate_hz)
    pieces = [np.zeros((2, 0), dtype=np.float32)]
    with av.open(source, "r") as container:
        for frame in container.decode(audio=0):
            frame.pts = None
            pieces += _arrays(resampler.resample(frame))
    return np.concatenate([*pieces, *_arrays(resampler.resample(None))], axis=1)


def _arrays(frames: Sequence[AudioFrame]) -> list[Samples]:
    return [frame.to_ndarray().astype(np.float32, copy=False) for frame in frames]


def written(samples: Samples, edit: Edit) -> bytes:
    """Return samples as a file, in the codec of an edit.

    Parameters
    ----------
    samples : (2, n) ndarray of float32
    edit : Edit
    """
    target = io.BytesIO()
    rate = 48_000 if edit.codec == "libopus" else RATE_HZ
    with av.open(target, "w", format=edit.container) as output:
        stream = output.add_stream(edit.codec, rate=rate, layout="stereo")
        assert isinstance(stream, AudioStream)
        if edit.bit_rate:
            stream.bit_rate = edit.bit_rate
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(np.clip(samples, -1, 1)), format="fltp", layout="stereo")
        frame.sample_rate = RATE_HZ
        output.mux([*stream.encode(frame), *stream.encode(None)])
    return target.getvalue()


def level(samples: Samples) -> float:
    """Return the root mean square of samples."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def same(samples: Samples, generator: np.random.Generator) -> Samples:
    """Return samples as they are."""
    return samples


def louder_or_quieter(samples: Samples, generator: np.random.Generator) -> Samples:
    """Return samples 12 dB quieter, or 6 dB louder and clipped."""
    return samples * np.float32(generator.choice([0.25, 2.0]))


def equalised(samples: Samples, generator: np.random.Generator) -> Samples:
    """Return samples with bass, middle and treble each moved by up to 12 dB."""
    gains = np.power(10, generator.uniform(-12, 12, 3) / 20)
    return filtered(samples, [(60.0, gains[0]), (250.0, gains[0]), (1000.0, gains[1]), (5000.0, gains[2])])


def filtered(samples: Samples, points: Sequence[tuple[float, float]]) -> Samples:
    """Return samples whose frequencies are multiplied, between points (Hz, factor), on a logarithmic scale."""
    spectra = np.fft.rfft(samples, axis=1)
    hertz = np.maximum(np.fft.rfftfreq(samples.shape[1], 1 / RATE_HZ), 1)
    places, factors = zip(*points, strict=True)
    gains = np.exp(np.interp(np.log(hertz), np.log(places), np.log(np.maximum(factors, 1e-4))))
    return np.asarray(np.fft.irfft(spectra * gains, samples.shape[1], axis=1), dtype=np.float32)


def faded(samples: Samples, generator: np.random.Generator) -> Samples:
    """Return samples that come from silence and go into it, a third of their length each."""
    place = np.linspace(0, 1, samples.shape[1])
    return np.asarray(samples * np.minimum(1, 3 * np.minimum(place, 1 - place)), dtype=np.float32)


def talked_over(samples: Samples, generator: np.random.Generator, decibels: float = 0.0) -> Samples:
    """Return samples with a talker over them, so many decibels louder than they are, pauses not counted."""
    voice = talk(generator, samples.shape[1] / RATE_HZ)
    factor = level(samples) / max(level(voice), 1e-6) * 10 ** (decibels / 20)
    return np.asarray(samples / 2 + voice * np.float32(factor / 2), dtype=np.float32)


def noisy(samples: Samples, generator: np.random.Generator) -> Samples:
    """Return samples under white noise, 10 dB below them."""
    noise = generator.standard_normal(samples.shape).astype(np.float32)
    return np.asarray(0.7 * samples + np.float32(0.7 * level(samples) * 10**-0.5) * noise, dtype=np.float32)


def one_channel(samples: Samples, generator: np.random.Generator) -> Samples:
    """Return the mean of left and right, twice."""
    return np.repeat(samples.mean(axis=0, keepdims=True), 2, axis=0)


def through_a_loudspeaker(samples: Samples, generator: np.random.Generator) -> Samples:
    """Return samples as a telephone hears them from a small loudspeaker in a room: resonances, echoes, some noise."""
    points = [(80.0, 1e-3), (300.0, 0.2), (700.0, 1.5), (1500.0, 0.4), (2500.0, 1.2), (5000.0, 0.3), (9000.0, 1e-3)]
    length = int(0.4 * RATE_HZ)
    room = generator.standard_normal((2, length)) * np.exp(-np.arange(length) / (0.08 * RATE_HZ)) * 0.02
    room[:, 0] = 1
    size = samples.shape[1] + length
    echoed = np.fft.irfft(np.fft.rfft(samples, size, axis=1) * np.fft.rfft(room, size, axis=1), size, axis=1)
    heard = filtered(echoed[:, : samples.shape[1]].astype(np.float32), points)
    heard *= np.float32(level(samples) / max(level(heard), 1e-6))
    noise = generator.standard_normal(samples.shape).astype(np.float32) * np.float32(level(samples) * 0.1)
    return np.asarray(np.tanh(heard + noise), dtype=np.float32)


def by_sox(samples: Samples, generator: np.random.Generator, *effect: str) -> Samples:
    """Return what an effect of sox makes of samples."""
    return _piped("sox", ("-t", "wav", "-", "-t", "wav", "-", *effect), written(samples, Edit(same)))


def talk(generator: np.random.Generator, seconds: float) -> Samples:
    """Return somebody who talks without end: voice, pitch, speed and order of the sentences as it happens."""
    voice, pitch, speed = generator.choice(VOICES), generator.integers(20, 80), generator.integers(130, 190)
    words = " ".join(SENTENCES[place] for place in generator.permutation(len(SENTENCES)))
    argv = ("-v", str(voice), "-p", str(pitch), "-s", str(speed), "--stdout", "--stdin")
    said = _piped("espeak-ng", argv, words.encode())
    count = int(seconds * RATE_HZ)
    return np.tile(said, -(-count // said.shape[1]))[:, :count]


def made_music(notes: np.random.Generator, hands: np.random.Generator, seconds: float, tempo: float = 1.0) -> Samples:
    """Return music that nobody wrote: notes of a scale, one voice and chords, a beat.

    Parameters
    ----------
    notes, hands : Generator
        What is played, and by which instruments: another take has the same notes.
    seconds : float
    tempo : float
    """
    beat_s, scale = notes.uniform(0.18, 0.5) / tempo, np.array([0, 2, 4, 7, 9]) + notes.integers(48, 60)
    overtones = hands.uniform(0, 1, 6) / np.arange(1, 7)
    held, drum = hands.uniform(0.2, 1.5), hands.standard_normal(2000) * np.linspace(hands.uniform(0, 1), 0, 2000)
    total = np.zeros(int(seconds * RATE_HZ) + RATE_HZ * 3, dtype=np.float32)
    for beat, start in enumerate(np.arange(0, seconds, beat_s)):
        at = int(start * RATE_HZ)
        for note in notes.choice(scale, 3 if beat % 4 == 0 else 1) + 12 * notes.integers(0, 3):
            tone = _tone(440 * 2 ** ((note - 69) / 12), held, overtones)
            total[at : at + len(tone)] += tone
        total[at : at + 2000] += drum.astype(np.float32)
    kept = total[: int(seconds * RATE_HZ)]
    return np.repeat(kept[None] / np.abs(kept).max() * np.float32(0.7), 2, axis=0)


def _tone(hertz: float, seconds: float, overtones: NDArray[np.float64]) -> Samples:
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    waves = sum(
        strength * np.sin(2 * np.pi * hertz * number * time) for number, strength in enumerate(overtones, start=1)
    )
    return np.asarray(waves * np.exp(-4 * time / seconds), dtype=np.float32)


def _piped(program: str, argv: Sequence[str], data: bytes) -> Samples:
    path = shutil.which(program)
    if path is None:
        raise click.ClickException(f"{program} is missing: install it, on Debian by `apt-get install {program}`")
    done = subprocess.run([path, *argv], input=data, capture_output=True, check=False)  # noqa: S603 -- names from above
    if done.returncode:
        raise click.ClickException(f"{program}: {done.stderr.decode().strip()}")
    # What comes out of a pipe has no length in its header: PyAV reads it, `wave` does not.
    return read(io.BytesIO(done.stdout))


def _sox(*effect: str) -> Edit:
    return Edit(lambda samples, generator: by_sox(samples, generator, *effect))


EDITS = {
    "MP3, 64 kbit/s": Edit(same, codec="libmp3lame", container="mp3", bit_rate=64_000),
    "Opus, 32 kbit/s": Edit(same, codec="libopus", container="ogg", bit_rate=32_000),
    "FLAC": Edit(same, codec="flac", container="flac"),
    "12 dB quieter, or 6 dB louder and clipped": Edit(louder_or_quieter),
    "equaliser, up to 12 dB": Edit(equalised),
    "faded in and out": Edit(faded),
    "cut of 3 s": Edit(same, 3.0),
    "cut of 5 s": Edit(same, 5.0),
    "cut of 10 s": Edit(same, 10.0),
    "a talker as loud as it": Edit(talked_over),
    "a talker 6 dB below it": Edit(partial(talked_over, decibels=-6.0)),
    "4 % faster": _sox("speed", "1.04"),
    "4 % slower": _sox("speed", "0.96"),
    "4 % faster, same pitch": _sox("tempo", "-m", "1.04"),
    "a semitone higher": _sox("pitch", "100"),
    "a semitone lower": _sox("pitch", "-100"),
    "one channel": Edit(one_channel),
    "noise 10 dB below it": Edit(noisy),
    "through a bad loudspeaker": Edit(through_a_loudspeaker),
}
"""Queries are 30 s long but for the cuts."""
