"""Sound: what a file with sound becomes, and which files are found to be copies of which."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from cbir_daemon.decode.reader import Reading
from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.media.conformance import findings
from cbir_daemon.part_medium import Candidate, FileFacts, FileJudgement, Parts
from cbir_daemon.sound import AUDIO
from cbir_daemon.sound.file_reader import FILE_READER
from tests.sounds import RATE_HZ, Samples, cut, faster, song, written

MEDIUM = AUDIO.medium


def parts_of(samples: Samples) -> Parts:
    """Return the parts of a sound, read from a file as it is."""
    return parts_from(written(samples, "pcm_s16le", "wav"))


def parts_from(data: bytes) -> Parts:
    """Return the parts of a file."""
    reading = FILE_READER.read(data, 0)
    return Parts(
        np.stack([np.frombuffer(part.vector, np.uint8) for part in reading.parts]),
        np.array([(part.start, part.end) for part in reading.parts]),
        tuple(part.label for part in reading.parts),
        tuple(part.detail for part in reading.parts),
        FileFacts(reading.format, len(data), reading.details),
    )


@cache
def stored_song(seed: int) -> Parts:
    """Return the parts of a song of an album."""
    return parts_of(song(seed))


def judged(query: Parts, stored: Sequence[Parts]) -> list[FileJudgement]:
    """Return what the medium says of a query and stored files."""
    probes = MEDIUM.probes(query)
    candidates = []
    for parts in stored:
        codes = MEDIUM.packed_codes(parts.vectors).astype(np.float32)
        scores = np.einsum("vt,mwt->vmw", probes.codes, codes)
        candidates.append(Candidate(parts, scores.max(axis=2), scores.argmax(axis=2)))
    return MEDIUM.judge(query, probes, candidates)


def copy_of(samples: Samples, seed: int = 1) -> FileJudgement:
    """Return what is said of a sound and a song, after making sure that no other song is a copy of it."""
    right, *wrong = judged(parts_of(samples), [stored_song(number) for number in (seed, 2, 3, 4)])
    assert not any(judgement.is_copy for judgement in wrong)
    return right


def hiss(count: int, seed: int = 0) -> Samples:
    """Return white noise."""
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


@pytest.mark.parametrize(
    ("codec", "container", "bit_rate", "format_name", "lossless"),
    [
        ("flac", "flac", 0, "FLAC", True),
        ("alac", "ipod", 0, "MP4", True),
        ("pcm_s16le", "wav", 0, "WAV", True),
        ("pcm_s16be", "aiff", 0, "AIFF", True),
        ("libmp3lame", "mp3", 64_000, "MP3", False),
        ("aac", "ipod", 0, "MP4", False),
        ("aac", "adts", 0, "AAC", False),
        ("libopus", "ogg", 32_000, "OGG", False),
    ],
)
def test_codecs_are_read_and_found(codec: str, container: str, bit_rate: int, format_name: str, lossless: bool) -> None:
    """A song in another format is a copy of all of it, at its own speed and pitch; its bytes say that it is sound."""
    data = written(song(1), codec, container, bit_rate)
    reading = FILE_READER.read(data, 0)
    assert FILE_READER.claims(data)
    assert (reading.format, reading.details["lossless"]) == (format_name, lossless)
    assert reading.details["duration_s"] == pytest.approx(40, abs=0.2)
    (judgement,) = judged(parts_from(data), [stored_song(1)])
    assert judgement.is_copy
    assert judgement.score > 0.95
    assert min(judgement.overlap.query, judgement.overlap.match) > 0.9
    assert judgement.details["speed"] == pytest.approx(1, abs=0.003)
    assert judgement.details["pitch_semitones"] == 0


@pytest.mark.parametrize(("codec", "container"), [("aac", "mp4"), ("libopus", "matroska"), ("libopus", "webm")])
def test_the_sound_of_a_video_is_read(codec: str, container: str) -> None:
    """A video is a copy of the song that is played in it."""
    data = written(song(1), codec, container, is_video=True) if container != "webm" else written(song(1), codec, "webm")
    assert FILE_READER.claims(data)
    (judgement,) = judged(parts_from(data), [stored_song(1)])
    assert judgement.is_copy


def test_tags_are_facts() -> None:
    """Title, artist and bit rate stand in the details, whitespace joined."""
    data = written(song(1, 5), "libmp3lame", "mp3", 64_000, {"title": "Über \n den Wolken", "artist": "R. M."})
    details = FILE_READER.read(data, 0).details
    assert {
        "title": "Über den Wolken",
        "artist": "R. M.",
        "codec": "mp3",
        "bit_rate": 64_000,
    }.items() <= details.items()


def test_parts_cover_a_sound() -> None:
    """A part is ten seconds, the next begins seven and a half seconds later, the last ends with the sound."""
    places = stored_song(1).places
    assert places[:, 0].tolist() == [0, 7.5, 15, 22.5, 30, 37.5]
    assert places[:, 1].tolist() == [10, 17.5, 25, 32.5, 40, 40]


EDITS = {
    "a tenth as loud": lambda samples: samples * np.float32(0.1),
    "clipped": lambda samples: np.clip(samples * 3, -1, 1),
    "faded": lambda samples: samples * np.linspace(0, 1, len(samples), dtype=np.float32),
    "equaliser": lambda samples: samples - np.float32(0.9) * np.roll(samples, 1),
    "noise 10 dB below": lambda samples: samples + hiss(len(samples)) * samples.std() * np.float32(10**-0.5),
    "another song over it": lambda samples: samples + song(7) * np.float32(0.7),
    "echo": lambda samples: samples + np.float32(0.6) * np.roll(samples, 4000),
}


@pytest.mark.parametrize("name", EDITS)
def test_edits_are_found(name: str) -> None:
    """What is done to a whole song leaves it a copy of that song, and of no other one."""
    edited = np.clip(EDITS[name](song(1)), -1, 1).astype(np.float32)
    judgement = copy_of(edited)
    assert judgement.is_copy
    assert judgement.details["speed"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("start_s", [3.0, 11.13, 33.77])
@pytest.mark.parametrize("seconds", [3.0, 5.0])
def test_a_cut_is_found_where_it_is_from(start_s: float, seconds: float) -> None:
    """Three seconds are enough, and the place is right to a tenth of a second."""
    judgement = copy_of(cut(song(1), start_s, seconds))
    assert judgement.is_copy
    assert judgement.match_place[0] == pytest.approx(start_s, abs=0.1)
    assert judgement.match_place[1] == pytest.approx(start_s + seconds, abs=0.4)
    assert judgement.overlap.query > 0.9


@pytest.mark.parametrize("speed", [0.96, 1.04])
def test_speed_is_found_and_said(speed: float) -> None:
    """A record that turns faster is a copy, and its speed is known to half a percent."""
    judgement = copy_of(faster(cut(song(1), 5, 20), speed))
    assert judgement.is_copy
    assert judgement.details["speed"] == pytest.approx(speed, abs=0.005)
    assert judgement.details["pitch_semitones"] == pytest.approx(12 * math.log2(speed), abs=0.35)
    words = MEDIUM.words(judgement, "/music/a.flac", FileFacts("WAV"), FileFacts("FLAC"))
    place = r"(19|20|21) s of /music/a\.flac, from 0:0[45] on"
    assert re.fullmatch(place + f", 4 % {'faster' if speed > 1 else 'slower'}", words)


def test_where_a_cut_is_from_is_said() -> None:
    """Words name length and place; those of the whole name neither."""
    facts = FileFacts("FLAC")
    assert MEDIUM.words(copy_of(cut(song(1), 20, 5)), "/m/a.flac", facts, facts) == "5 s of /m/a.flac, from 0:20 on"
    assert MEDIUM.words(copy_of(song(1)), "it", facts, facts) == "all of it"


def test_a_judgement_can_be_turned_round() -> None:
    """Seen from the song, a faster cut is slower and places change sides; twice turned, it is as before."""
    judgement = copy_of(faster(cut(song(1), 5, 20), 1.04))
    turned = MEDIUM.reversed(judgement)
    assert turned.query_place == judgement.match_place
    assert float(turned.details["speed"]) == pytest.approx(1 / 1.04, abs=0.005)
    assert MEDIUM.reversed(turned) == judgement


def test_a_shared_jingle_is_no_copy() -> None:
    """Two songs that begin with the same five seconds are two songs; the jingle itself is a part of both."""
    jingle = cut(song(9), 0, 5)
    first, second = (np.concatenate([jingle, song(seed)]) for seed in (1, 2))
    (judgement,) = judged(parts_of(first), [parts_of(second)])
    assert not judgement.is_copy
    assert judgement.score < MEDIUM.threshold
    assert all(found.is_copy for found in judged(parts_of(jingle), [parts_of(first), parts_of(second)]))


@pytest.mark.parametrize("level", [0.4, 0.5, 0.6])
def test_songs_of_one_loop_are_told_apart(level: float) -> None:
    """A loop of two seconds under two melodies makes no copy of one of the other, be it louder than they are."""
    loop = np.tile(cut(song(9), 4, 2), 20)
    first, second = (loop * np.float32(level) + song(seed) * np.float32(1 - level) for seed in (1, 2))
    (judgement,) = judged(parts_of(first), [parts_of(second)])
    assert not judgement.is_copy


def test_another_take_is_no_copy() -> None:
    """The same notes, played again by other hands, are no copy."""
    (judgement,) = judged(parts_of(song(1, take=1)), [stored_song(1)])
    assert not judgement.is_copy


@pytest.mark.parametrize("instrument", [1, 2, 3])
def test_another_instrument_is_no_copy(instrument: int) -> None:
    """The same notes at the same moments, by an instrument with other overtones, are no copy."""
    (judgement,) = judged(parts_of(song(1, instrument=instrument)), [stored_song(1)])
    assert not judgement.is_copy


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(RATE_HZ * 20, dtype=np.float32),
        hiss(RATE_HZ * 20) * np.float32(1e-5),
    ],
    ids=["silence", "hiss below -72 dB"],
)
def test_what_says_nothing_matches_nothing(samples: Samples) -> None:
    """Silence is plain, has no probes, and no code that anything finds."""
    parts = parts_of(samples)
    assert MEDIUM.is_plain(parts)
    assert not len(MEDIUM.probes(parts).codes)
    assert not MEDIUM.packed_codes(parts.vectors)[:, : MEDIUM.windows - 4].any()
    assert not judged(stored_song(1), [parts])[0].is_copy


def test_the_longer_and_the_lossless_file_is_kept() -> None:
    """A whole song is better than a cut, lossless than lossy, 320 kbit/s than 64; lengths of codecs differ a little."""

    def merits(**details: float | bool) -> tuple[float, ...]:
        return tuple(merit.value for merit in MEDIUM.merits(FileFacts("", 0, details)))

    ranked = [
        merits(duration_s=20.0, lossless=True, bit_rate=900_000),
        merits(duration_s=221.6, lossless=False, bit_rate=64_000),
        merits(duration_s=221.4, lossless=False, bit_rate=320_000),
        merits(duration_s=221.5, lossless=True, bit_rate=800_000),
    ]
    assert sorted(ranked) == ranked


def test_a_file_is_summed_up() -> None:
    """Length and bit rate stand where a picture's size is."""
    assert MEDIUM.summary(FileFacts("MP3", 0, {"duration_s": 221.4, "bit_rate": 320_000})) == "3:41, 320 kbit/s"
    assert MEDIUM.summary(FileFacts("FLAC", 0, {"duration_s": 3723.0, "lossless": True})) == "1:02:03, lossless"


def test_like_sounds_are_likeliest() -> None:
    """A song is most like itself, and noise is not like it."""
    vectors = [
        np.frombuffer(FILE_READER.read(written(samples), 0).vector, np.uint8)
        for samples in (song(1), cut(song(1), 10, 20), hiss(RATE_HZ * 20) * np.float32(0.1))
    ]
    same, piece, noise = MEDIUM.likeness(vectors[0], np.stack(vectors))
    assert same == pytest.approx(1, abs=1e-5)
    assert same > piece > max(0.7, float(noise))


def hostile_files() -> dict[str, bytes]:
    """Return files that are broken in one way each."""
    mp3, flac, mp4 = (
        written(song(1, 5), "libmp3lame", "mp3", 64_000),
        written(song(1, 5)),
        written(song(1, 5), "aac", "mp4"),
    )
    wav = written(song(1, 2), "pcm_s16le", "wav")
    return {
        "one byte": b"R",
        "noise": np.random.default_rng(0).bytes(100_000),
        "only a header": wav[:44],
        "half a header": mp4[:20],
        "MP4 without its index": mp4[: len(mp4) // 2],
        "a WAV that claims 4 GB": wav[:40] + b"\xff\xff\xff\xff" + wav[44:],
        "a FLAC that claims to be endless": flac[:21] + b"\xff" * 5 + flac[26:],
        "a playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n",
        "a list of files": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(1000),
        "zeros": bytes(100_000),
        "an MP3 with noise in it": mp3[:5000] + np.random.default_rng(1).bytes(20_000) + mp3[5000:],
    }


@pytest.mark.parametrize("name", hostile_files())
def test_hostile_files_are_read_or_refused(name: str) -> None:
    """Whatever the bytes are, there are parts of no more than what they can hold, or an error of ours."""
    reading = reading_of(hostile_files()[name])
    assert reading is None or (float(reading.details["duration_s"]) < 60 and len(reading.parts) <= 8)


def reading_of(data: bytes) -> Reading | None:
    """Return what reading a file gives; None when it is refused as unreadable, which is no fault."""
    try:
        return FILE_READER.read(data, 0)
    except UnreadableError as error:
        code = error.unreadable.code
    assert code in {"not-an-image", "damaged", "truncated"}
    return None


@pytest.mark.parametrize(
    ("codec", "container"), [("libmp3lame", "mp3"), ("flac", "flac"), ("aac", "mp4"), ("libopus", "ogg")]
)
def test_mutations_are_read_or_refused(codec: str, container: str) -> None:
    """Bytes that are changed or missing never end in anything but parts, or an error of ours."""
    data = written(song(1, 3), codec, container)
    generator = np.random.default_rng(4)
    for _ in range(30):
        broken = bytearray(data[: int(generator.integers(1, len(data) + 1))])
        for place in generator.integers(0, len(broken), 20):
            broken[place] = generator.integers(256)
        reading = reading_of(bytes(broken))
        assert reading is None or len(reading.vector) == 4096


def test_a_truncated_file_is_read_as_far_as_it_goes() -> None:
    """Of half an MP3 the half is there, and found."""
    data = written(song(1), "libmp3lame", "mp3", 64_000)
    (judgement,) = judged(parts_from(data[: len(data) // 2]), [stored_song(1)])
    assert judgement.is_copy
    assert judgement.overlap.match == pytest.approx(0.5, abs=0.1)


def test_it_keeps_to_what_every_medium_must() -> None:
    """The suite for authors of media finds nothing: determinism, limits, hostile files, round trip, self-match."""
    samples = {
        "song.flac": written(song(1, 12)),
        "song.mp3": written(song(1, 12), "libmp3lame", "mp3", 64_000),
        "other.ogg": written(song(2, 12), "libopus", "ogg"),
    }
    assert findings(AUDIO, samples, copies=[("song.mp3", "song.flac")], strangers=[("song.flac", "other.ogg")]) == []
