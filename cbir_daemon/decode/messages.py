"""The messages between the daemon and its workers, as frames.

In: tasks, limits, results.  Out: JSON-able messages and blobs, and back.  Never here: processes, pixels, Pillow.

No pixels travel but the 4096 numbers of vectors (and the small pictures of a contact sheet).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from typing import Any

from cbir_daemon.decode.reader import Readers, Reading
from cbir_daemon.errors import ChildError
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import (
    DIGEST_BYTES,
    MAX_DETAIL_BYTES,
    MAX_DETAILS,
    MAX_PARTS,
    REASONS,
    VECTOR_BYTES,
    Detail,
    Facts,
    FileState,
    Part,
    Unreadable,
)

MEBIBYTE = 1024 * 1024

FONTS = "fonts"
"""What a worker must have loaded to draw sheets; what else it may have loaded are extras, by name."""

LOCAL_FEATURES = "local-features"
"""What a worker must have loaded to find local features."""

NOT_DECODED = Reading(vector=b"", width_px=0, height_px=0, format="")
"""What is said of a file whose digest is known."""

TAKEN_CHARACTERS = len("2019-07-14T12:45:01.123456")
LABEL_CHARACTERS = 200
DETAIL_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """The limits of one file.

    Parameters
    ----------
    max_pixels : int
        Largest width x height, decided from the header.
    max_file_bytes : int
        Largest file, decided before it is read.
    timeout_s : float
        Longest time from opening a file to its vector, in seconds.
    max_memory_bytes : int
        Address space of one worker process.
    """

    max_pixels: int
    max_file_bytes: int
    timeout_s: float
    max_memory_bytes: int = 2048 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class ReadTask:
    """A file to read.

    Parameters
    ----------
    path : bytes
        Absolute path; it stays in the daemon, which gives the worker the open file.
    known : frozenset of bytes
        Digests of stored contents of the same size: when the file's is one of them it is not decoded.
    """

    path: bytes
    known: frozenset[bytes] = frozenset()


def load_message(readers: Readers, worker_module: str, names: AbstractSet[str]) -> dict[str, Any]:
    """Return the first message that the fork server gets.

    Parameters
    ----------
    readers : Readers
        Their modules are loaded.
    worker_module : str
        Dotted name of the module whose `WORKER` it forks.
    names : set of str
        What it loads besides: names of extras, `FONTS` and `LOCAL_FEATURES`.
    """
    modules = {reader.medium: reader.module for reader in readers}
    return {"readers": modules, "worker": worker_module, "load": sorted(names)}


def set_up_message(limits: DecodeLimits) -> dict[str, Any]:
    """Return the first message that a worker gets.

    Parameters
    ----------
    limits : DecodeLimits
    """
    return {"do": "set-up", "limits": asdict(limits)}


def limits_from(message: Mapping[str, Any]) -> DecodeLimits:
    """Return the limits in a set-up message."""
    return DecodeLimits(**message["limits"])


def read_message(known: AbstractSet[bytes] = frozenset(), media: Sequence[str] = ()) -> dict[str, Any]:
    """Return the message that asks for the facts of the file whose descriptor comes with it, or of its blob.

    Parameters
    ----------
    known : set of bytes
        Digests; what has one of them need not be decoded.
    media : sequence of str
        One of which it is; any where there is none.
    """
    message: dict[str, Any] = {"do": "read"}
    if known:
        message["known"] = [digest.hex() for digest in known]
    if media:
        message["media"] = list(media)
    return message


def read_files_message(known: Sequence[AbstractSet[bytes]], media: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the message that asks for the facts of several files, whose descriptors come with it in this order.

    Each is answered by itself, in this order.

    Parameters
    ----------
    known, media : sequence
        Of each file, as `read_message` has them.
    """
    files = [{**read_message(digests, names), "file": True} for digests, names in zip(known, media, strict=True)]
    return {"do": "read-files", "files": files}


def known_from(message: Mapping[str, Any]) -> frozenset[bytes]:
    """Return the digests in a read message: what has one of them need not be decoded."""
    return frozenset(bytes.fromhex(digest) for digest in message.get("known", ()))


def reading_message(
    digest: bytes, reading: Reading, state: FileState | None, medium: str = ""
) -> tuple[dict[str, Any], bytes]:
    """Return a worker's answer for a file that was read, as message and blob.

    Parameters
    ----------
    digest : bytes
        SHA-256 of the file's bytes.
    reading : Reading
        `NOT_DECODED` for a digest that was known.
    state : FileState or None
        None for bytes that came from no file.
    medium : str
        Whose reader read it; empty for `NOT_DECODED`.

    Returns
    -------
    message : dict
    blob : bytes
        The vector, then the descriptor, then vector and detail of each part; empty when the file was not decoded.
    """
    message: dict[str, Any] = {
        "state": _state_fields(state),
        "digest": digest.hex(),
        "medium": medium,
        "width_px": reading.width_px,
        "height_px": reading.height_px,
        "format": reading.format,
        "taken": reading.taken,
    }
    if reading.details:
        message["details"] = dict(reading.details)
    if reading.parts:
        message["parts"] = [[part.start, part.end, part.label, len(part.detail)] for part in reading.parts]
    parts = (numbers for part in reading.parts for numbers in (part.vector, part.detail))
    return message, b"".join([reading.vector, reading.descriptor, *parts])


def unreadable_message(unreadable: Unreadable) -> tuple[dict[str, Any], bytes]:
    """Return a worker's answer for a file that cannot be read, as message and an empty blob."""
    state = _state_fields(unreadable.state)
    return {"state": state, "code": unreadable.code, "message": unreadable.message}, b""


def _state_fields(state: FileState | None) -> list[int] | None:
    return [state.size_bytes, state.mtime_ns, state.inode] if state else None


def result_from(frame: Frame, readers: Readers) -> Facts | Unreadable:
    """Return the answer of a worker.

    Parameters
    ----------
    frame : Frame
    readers : Readers
        That the worker was started with.

    Raises
    ------
    ChildError
        When the answer is none: a worker handles hostile bytes, so nothing that it says is taken on trust.
    """
    try:
        return _parsed(frame.message, frame.blob, readers)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChildError("a decode worker sent a broken answer") from error


def _parsed(message: Mapping[str, Any], blob: bytes, readers: Readers) -> Facts | Unreadable:
    state = FileState(*map(int, message["state"])) if message["state"] else None
    if "code" in message:
        code = str(message["code"])
        return Unreadable(code if code in REASONS else "damaged", str(message["message"]), state)
    digest = bytes.fromhex(message["digest"])
    if len(digest) != DIGEST_BYTES:
        raise ValueError
    if not blob:
        return _known(message, digest, state)
    reader = readers.of(message["medium"])
    whole_bytes = VECTOR_BYTES + reader.descriptor_bytes
    if len(blob) < whole_bytes:
        raise ValueError
    return Facts(
        digest=digest,
        vector=blob[:VECTOR_BYTES],
        descriptor=blob[VECTOR_BYTES:whole_bytes],
        extractor=reader.extractor,
        medium=reader.medium,
        parts=_parts(message.get("parts", ()), blob[whole_bytes:]),
        details=_details(message.get("details", {})),
        width_px=int(message["width_px"]),
        height_px=int(message["height_px"]),
        format=str(message["format"]),
        state=state,
        taken=str(message.get("taken", ""))[:TAKEN_CHARACTERS],
    )


def _known(message: Mapping[str, Any], digest: bytes, state: FileState | None) -> Facts:
    """Return the message about a file that was not decoded."""
    return Facts(digest, None, int(message["width_px"]), int(message["height_px"]), "", state, extractor="")


def _parts(listed: Sequence[Sequence[Any]], blob: bytes) -> tuple[Part, ...]:
    """Return the parts of a file, of which the blob holds vectors and details one after the other."""
    if len(listed) > MAX_PARTS:
        raise ValueError
    parts: list[Part] = []
    at = 0
    for start, end, label, detail_bytes in listed:
        place = float(start), float(end)
        if not (math.isfinite(sum(place)) and place[0] <= place[1] and 0 <= int(detail_bytes) <= MAX_DETAIL_BYTES):
            raise ValueError
        middle = at + VECTOR_BYTES
        detail = blob[middle : middle + int(detail_bytes)]
        parts.append(Part(blob[at:middle], *place, str(label)[:LABEL_CHARACTERS], detail))
        at = middle + int(detail_bytes)
    if at != len(blob):
        raise ValueError
    return tuple(parts)


def _details(sent: Mapping[str, Any]) -> dict[str, Detail]:
    """Return what a reader told of a file: names and plain values."""
    if len(sent) > MAX_DETAILS:
        raise ValueError
    details: dict[str, Detail] = {}
    for name, value in sent.items():
        if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
            raise TypeError
        details[name[:LABEL_CHARACTERS]] = value[:DETAIL_CHARACTERS] if isinstance(value, str) else value
    return details
