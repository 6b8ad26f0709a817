"""What is said of sounds: where a query is from, why a copy is kept, how long a file is.

In: judgements, facts.  Out: words.  Never here: numbers of a spectrogram.
"""

from __future__ import annotations

import math
from typing import Final

from cbir_daemon.part_medium import FileFacts, FileJudgement, Merit

_WHOLE: Final = 0.9
_TELLING_SPEED: Final = 0.01
_TELLING_SEMITONES: Final = 0.4
# Lengths of one recording in several codecs differ by a little: what is within a tenth is equally long.
_LENGTH_STEP: Final = math.log(1.1)


def origin(judgement: FileJudgement, path: str) -> str:
    """Return where a sound is from: "5 s of /music/song.flac, from 1:10 on, 4 % faster".

    Parameters
    ----------
    judgement : FileJudgement
    path : str
    """
    start, end = judgement.match_place
    if judgement.overlap.match >= _WHOLE:
        words = [f"all of {path}"]
    else:
        words = [f"{_length(end - start)} of {path}", f"from {clock(start)} on"]
    words += changes(float(judgement.details["speed"]), float(judgement.details["pitch_semitones"]))
    if judgement.overlap.query < _WHOLE:
        words.append("at {} to {} of the query".format(*map(clock, judgement.query_place)))
    return ", ".join(words)


def changes(speed: float, semitones: float) -> list[str]:
    """Return what was done to speed and pitch; nothing when neither can be heard.

    Parameters
    ----------
    speed : float
        1.04 is 4 % faster.
    semitones : float
        By which it sounds higher.
    """
    words = []
    if abs(speed - 1) >= _TELLING_SPEED:
        words.append(f"{abs(speed - 1) * 100:.0f} % {'faster' if speed > 1 else 'slower'}")
    # A record that turns faster sounds higher.
    is_turned = abs(semitones - 12 * math.log2(speed)) < _TELLING_SEMITONES
    if abs(semitones) >= _TELLING_SEMITONES and not (words and is_turned):
        words.append(f"{_semitones(abs(semitones))} {'higher' if semitones > 0 else 'lower'}")
    elif words and not is_turned:
        words.append("at the same pitch")
    return words


def _semitones(number: float) -> str:
    return "a semitone" if round(number, 1) == 1 else f"{number:.1f} semitones"


def _length(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else clock(seconds)


def clock(seconds: float) -> str:
    """Return a time in a sound: "1:10", "1:02:03".

    Parameters
    ----------
    seconds : float
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def merits(facts: FileFacts) -> tuple[Merit, ...]:
    """Return why a file is kept rather than a copy: it is longer, keeps every sample, has more bits a second.

    Parameters
    ----------
    facts : FileFacts
    """
    seconds, bit_rate, rate = (_number(facts, name) for name in ("duration_s", "bit_rate", "rate_hz"))
    is_lossless = bool(facts.details.get("lossless"))
    return (
        Merit("length", round(math.log(max(seconds, 0.1)) / _LENGTH_STEP), clock(seconds)),
        Merit("coding", float(is_lossless), "lossless" if is_lossless else "lossy"),
        Merit("bit rate", bit_rate, _kilobits(bit_rate)),
        Merit("sample rate", rate, f"{rate / 1000:g} kHz"),
    )


def summary(facts: FileFacts) -> str:
    """Return how long a sound is and how it is kept: "3:41, 320 kbit/s", "3:41, lossless".

    Parameters
    ----------
    facts : FileFacts
    """
    bit_rate = _number(facts, "bit_rate")
    kept = "lossless" if facts.details.get("lossless") else _kilobits(bit_rate) if bit_rate else ""
    return ", ".join(word for word in (clock(_number(facts, "duration_s")), kept) if word)


def _kilobits(bit_rate: float) -> str:
    return f"{bit_rate / 1000:.0f} kbit/s"


def _number(facts: FileFacts, name: str) -> float:
    return float(facts.details.get(name, 0))
