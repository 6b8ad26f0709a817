"""What every medium must keep to, as checks that its author's tests call.

In: a medium, some of its files.  Out: what is wrong, a sentence each.  Never here: how well a medium finds.

It runs in the caller's process, without workers: a reader that hangs or dies takes the test with it, which is what a
test is for.
"""

from __future__ import annotations

import importlib
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cbir_daemon.decode import Readers
from cbir_daemon.decode.messages import reading_message, result_from
from cbir_daemon.decode.reader import FileReader, Reading
from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.errors import ChildError
from cbir_daemon.media.registry import FileMedium
from cbir_daemon.part_medium import FileFacts, FileJudgement, Parts, Probes, candidate, judgement_from, parts_from
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import DIGEST_BYTES, REASONS, VECTOR_BYTES, VECTOR_SIDE_PX, Unreadable

MAX_PIXELS: Final = 10**8
LONGEST_S: Final = 30.0
"""What one damaged file of the size of a sample may take: the default of `decode.timeout_s` is as long."""

MUTANTS: Final = 40
CUTS: Final = 12
LEAST_OVERLAP: Final = 0.9
PLACE_ERROR: Final = 0.05
"""Share of a file by which it may be laid beside itself."""

PATH: Final = "/album/file"


@dataclass(frozen=True, slots=True)
class _Sample:
    """A file that was read."""

    name: str
    data: bytes
    reading: Reading
    parts: Parts


def findings(
    entry: FileMedium,
    samples: Mapping[str, bytes],
    *,
    copies: Sequence[tuple[str, str]] = (),
    strangers: Sequence[tuple[str, str]] = (),
    seed: int = 0,
) -> list[str]:
    """Return what is wrong with a medium, a sentence each; nothing when it keeps to all.

    Parameters
    ----------
    entry : FileMedium
    samples : mapping of str to bytes
        Name -> whole file.  Each must be readable; at least one must not be too plain to match.
    copies : sequence of (str, str)
        Names of a query and of a file that it is a copy of.
    strangers : sequence of (str, str)
        Names of a query and of a file that it is no copy of.
    seed : int
        Of the damage that is done to samples.
    """
    return list(_findings(entry, samples, copies, strangers, seed))


def _findings(
    entry: FileMedium,
    samples: Mapping[str, bytes],
    copies: Sequence[tuple[str, str]],
    strangers: Sequence[tuple[str, str]],
    seed: int,
) -> Iterator[str]:
    yield from _names(entry)
    file_reader: FileReader = importlib.import_module(entry.reader.module).FILE_READER
    file_reader.load(frozenset(extra.name for extra in entry.reader.extras))
    read: dict[str, _Sample] = {}
    for name, data in samples.items():
        try:
            reading, again = (file_reader.read(data, MAX_PIXELS) for _ in range(2))
        except UnreadableError as error:
            yield f"{name}: cannot be read: {error}"
            continue
        facts = FileFacts(reading.format, len(data), reading.details)
        read[name] = _Sample(name, data, reading, parts_from(reading.parts, facts))
        if reading != again:
            yield f"{name}: reading it twice gives two readings"
        if not file_reader.claims(data):
            yield f"{name}: the reader does not claim the bytes that it reads"
        yield from _round_trip(entry, name, reading)
    for sample in read.values():
        yield from _compared(entry, sample)
    yield from _empty(entry)
    yield from _separated(entry, read, copies, strangers)
    yield from _hostile(file_reader, samples, random.Random(seed))  # noqa: S311 -- damage, no secret


def _names(entry: FileMedium) -> Iterator[str]:
    """Yield what is wrong with names and sizes."""
    reader, medium = entry.reader, entry.medium
    if reader.medium != medium.name:
        yield f"the reader is of {reader.medium!r}, the medium is {medium.name!r}"
    if reader.extractor != medium.extractor or "/" not in medium.extractor:
        yield f"extractors {reader.extractor!r} and {medium.extractor!r} are not one name and version, as 'name/1'"
    if not reader.suffixes or any(not suffix.startswith(".") or suffix != suffix.lower() for suffix in reader.suffixes):
        yield "suffixes begin with a dot and are lower case"
    if not (0 < medium.threshold <= 1 and -1 <= medium.floor <= 1 and medium.windows > 0 and medium.terms > 0):
        yield "threshold, floor, windows or terms are out of bounds"
    if not medium.spaces:
        yield "there is no space for the map"


def _round_trip(entry: FileMedium, name: str, reading: Reading) -> Iterator[str]:
    """Yield what does not come through from a worker as it was sent."""
    message, blob = reading_message(bytes(DIGEST_BYTES), reading, None, entry.reader.medium)
    try:
        # As JSON, since that is how it travels.
        facts = result_from(Frame(json.loads(json.dumps(message, allow_nan=False)), blob), Readers([entry.reader]))
    except (ChildError, ValueError, TypeError):
        yield f"{name}: what was read breaks a limit: see docs/media.md"
        return
    sent = (reading.vector, reading.parts, dict(reading.details), reading.format)
    if isinstance(facts, Unreadable) or (facts.vector, facts.parts, facts.details, facts.format) != sent:
        yield f"{name}: what was read does not arrive as it was sent"


def _compared(entry: FileMedium, sample: _Sample) -> Iterator[str]:
    """Yield what is wrong with codes, probes, drawing, words and the match of a file with itself."""
    medium, name, parts = entry.medium, sample.name, sample.parts
    codes = medium.packed_codes(parts.vectors)
    if codes.shape != (len(parts.vectors), medium.windows, medium.terms) or codes.dtype != np.int8:
        yield f"{name}: codes are {codes.dtype} of {codes.shape}"
        return
    if not np.array_equal(codes, medium.packed_codes(parts.vectors)):
        yield f"{name}: codes made twice differ"
    if len(codes) and not np.array_equal(codes[:1], medium.packed_codes(parts.vectors[:1])):
        yield f"{name}: the code of a part depends on the others"
    whole = np.frombuffer(sample.reading.vector, np.uint8)
    picture = medium.picture(whole)
    if picture.shape != (VECTOR_SIDE_PX, VECTOR_SIDE_PX) or picture.dtype != np.uint8:
        yield f"{name}: a picture is {picture.dtype} of {picture.shape}"
    for space in medium.spaces.values():
        made = space.codes(whole[None], np.zeros((1, space.descriptor_bytes), np.uint8))
        if made.shape != (1, space.size) or not np.isfinite(made).all():
            yield f"{name}: codes of the map are of {made.shape}, not of (1, {space.size})"
    if not medium.summary(parts.facts):
        yield f"{name}: it has no summary"
    merits, again = medium.merits(parts.facts), medium.merits(parts.facts)
    if merits != again or not all(np.isfinite(merit.value) for merit in merits):
        yield f"{name}: merits are not numbers, or not the same twice"
    if medium.is_plain(parts):
        return
    probes = medium.probes(parts)
    yield from _probed(entry, name, parts, probes)
    likeness = medium.likeness(whole, np.stack([whole, whole]))
    if likeness.shape != (2,) or not (likeness > 1 - PLACE_ERROR).all() or (likeness > 1 + 1e-6).any():
        yield f"{name}: its likeness with itself is {likeness}"
    (judgement,) = medium.judge(parts, probes, [candidate(parts, codes, probes)])
    yield from _same(entry, sample, judgement)


def _probed(entry: FileMedium, name: str, parts: Parts, probes: Probes) -> Iterator[str]:
    count = len(probes.codes)
    if not count or probes.codes.shape != (count, entry.medium.terms) or not np.isfinite(probes.codes).all():
        yield f"{name}: probes are of {probes.codes.shape}"
    if (
        len(probes.rows) != count
        or len(probes.numbers) != count
        or not set(probes.rows) <= set(range(len(parts.vectors)))
    ):
        yield f"{name}: probes are of no parts of the query"


def _same(entry: FileMedium, sample: _Sample, judgement: FileJudgement) -> Iterator[str]:
    """Yield what is wrong with how a file compares with itself."""
    medium, name = entry.medium, sample.name
    if not judgement.is_copy or not medium.threshold <= judgement.score <= 1:
        yield f"{name}: it is no copy of itself: {judgement}"
        return
    if min(judgement.overlap.query, judgement.overlap.match) < LEAST_OVERLAP:
        yield f"{name}: it overlaps itself by {judgement.overlap}"
    shift = np.subtract(judgement.query_place, judgement.match_place)
    if abs(shift).max() > PLACE_ERROR * max(sample.parts.length, 1e-9):
        yield f"{name}: it lies beside itself by {shift}"
    if medium.reversed(medium.reversed(judgement)) != judgement:
        yield f"{name}: a judgement that is reversed twice is another one"
    if judgement_from(judgement.to_json()) != judgement:
        yield f"{name}: a judgement does not come back from the index as it was: it has more than plain values"
    said = medium.words(judgement, PATH, query=sample.parts.facts, match=sample.parts.facts)
    if PATH not in said or "\n" in said:
        yield f"{name}: its words do not name the file on one line: {said!r}"


def _empty(entry: FileMedium) -> Iterator[str]:
    """Yield what goes wrong with a file without parts."""
    medium = entry.medium
    nothing = parts_from((), FileFacts("NONE"))
    if not medium.is_plain(nothing):
        yield "a file without parts is not plain"
    if medium.packed_codes(nothing.vectors).shape != (0, medium.windows, medium.terms):
        yield "no parts have codes of another shape"


def _separated(
    entry: FileMedium,
    read: Mapping[str, _Sample],
    copies: Sequence[tuple[str, str]],
    strangers: Sequence[tuple[str, str]],
) -> Iterator[str]:
    medium = entry.medium
    for pairs, is_copy in ((copies, True), (strangers, False)):
        for query, stored in pairs:
            first, second = read[query].parts, read[stored].parts
            probes = medium.probes(first)
            (judgement,) = medium.judge(first, probes, [candidate(second, medium.packed_codes(second.vectors), probes)])
            if judgement.is_copy is not is_copy:
                yield f"{query} is {'no' if is_copy else 'a'} copy of {stored}: {judgement}"


def _hostile(file_reader: FileReader, samples: Mapping[str, bytes], chance: random.Random) -> Iterator[str]:
    """Yield what damaged files do that they must not."""
    noise = chance.randbytes(20_000)
    for data in (b"", b"\0", bytes(20_000), noise, noise[:100], b"\n" * 20_000, b"<" * 20_000):
        yield from _survived(file_reader, "bytes of no file", data)
    for name, data in samples.items():
        for length in sorted({len(data) * cut // CUTS for cut in range(CUTS)} | {1, 2, 3}):
            yield from _survived(file_reader, f"{name}, its first {length} bytes", data[:length])
        for number in range(MUTANTS):
            yield from _survived(file_reader, f"{name}, damage {number}", _damaged(data, chance))


def _damaged(data: bytes, chance: random.Random) -> bytes:
    """Return a file with some bytes changed, a piece taken out or said twice."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 3, 30))):
        if changed:
            changed[chance.randrange(len(changed))] = chance.choice((0, 255, chance.randrange(256)))
    start, end = sorted(chance.randrange(len(changed) + 1) for _ in range(2))
    piece = bytes(changed[start:end])
    return bytes(chance.choice((changed, changed[:start] + changed[end:], changed[:end] + piece + changed[end:])))


def _survived(file_reader: FileReader, name: str, data: bytes) -> Iterator[str]:
    """Yield what reading a damaged file does but return a reading or say why there is none."""
    began = time.monotonic()
    try:
        file_reader.claims(data)
        reading = file_reader.read(data, MAX_PIXELS)
        vectors = [reading.vector, *(part.vector for part in reading.parts)]
        if any(len(vector) != VECTOR_BYTES for vector in vectors):
            yield f"{name}: a vector is not of {VECTOR_BYTES} bytes"
    except UnreadableError as error:
        if error.unreadable.code not in REASONS:
            yield f"{name}: refused with the unknown word {error.unreadable.code!r}"
    except MemoryError:
        # A worker says so.
        return
    # Whatever it is, the author wants to know of it, and of which file.
    except Exception as error:  # noqa: BLE001
        yield f"{name}: {type(error).__name__}: {error}"
    if (took_s := time.monotonic() - began) > LONGEST_S:
        yield f"{name}: it took {took_s:.0f} s"
