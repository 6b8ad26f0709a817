"""What the daemon and its workers say to each other, as frames.

In: tasks, limits, results.  Out: JSON-able messages and blobs, and back.  Never here: processes, pixels, Pillow.

No pixels travel but the 4096 numbers of a vector (and the small pictures of a contact sheet).
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from typing import Any

from cbir_daemon.decode.reader import Reader, Reading
from cbir_daemon.errors import ChildError
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import DIGEST_BYTES, REASONS, VECTOR_BYTES, Facts, FileState, Unreadable

MEBIBYTE = 1024 * 1024

FONTS = "fonts"
"""What a worker must have loaded to draw sheets; what else it may have loaded are extras, by name."""

LOCAL_FEATURES = "local-features"
"""What a worker must have loaded to find local features."""

NOT_DECODED = Reading(vector=b"", width_px=0, height_px=0, format="")
"""What is said of a file whose digest is known."""

TAKEN_CHARACTERS = len("2019-07-14T12:45:01.123456")


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one file may cost.

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


def load_message(reader: Reader, worker_module: str, names: AbstractSet[str]) -> dict[str, Any]:
    """Return the first message that the fork server gets.

    Parameters
    ----------
    reader : Reader
        Its module is loaded.
    worker_module : str
        Dotted name of the module whose `WORKER` it forks.
    names : set of str
        What it loads besides: names of extras, `FONTS` and `LOCAL_FEATURES`.
    """
    return {"reader": reader.module, "worker": worker_module, "load": sorted(names)}


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


def read_message(known: AbstractSet[bytes] = frozenset()) -> dict[str, Any]:
    """Return the message that asks for the facts of the file whose descriptor comes with it, or of its blob."""
    return {"do": "read", "known": [digest.hex() for digest in known]} if known else {"do": "read"}


def known_from(message: Mapping[str, Any]) -> frozenset[bytes]:
    """Return the digests in a read message: what has one of them need not be decoded."""
    return frozenset(bytes.fromhex(digest) for digest in message.get("known", ()))


def reading_message(digest: bytes, reading: Reading, state: FileState | None) -> tuple[dict[str, Any], bytes]:
    """Return a worker's answer for a file that was read, as message and blob.

    Parameters
    ----------
    digest : bytes
        SHA-256 of the file's bytes.
    reading : Reading
        `NOT_DECODED` for a digest that was known.
    state : FileState or None
        None for bytes that came from no file.

    Returns
    -------
    message : dict
    blob : bytes
        The vector, then the descriptor; empty when the file was not decoded.
    """
    facts = asdict(reading)
    vector, descriptor = facts.pop("vector"), facts.pop("descriptor")
    return {"state": _state_fields(state), "digest": digest.hex(), **facts}, vector + descriptor


def unreadable_message(unreadable: Unreadable) -> tuple[dict[str, Any], bytes]:
    """Return a worker's answer for a file that cannot be read, as message and an empty blob."""
    state = _state_fields(unreadable.state)
    return {"state": state, "code": unreadable.code, "message": unreadable.message}, b""


def _state_fields(state: FileState | None) -> list[int] | None:
    return [state.size_bytes, state.mtime_ns, state.inode] if state else None


def result_from(frame: Frame, reader: Reader) -> Facts | Unreadable:
    """Return what a worker answered.

    Parameters
    ----------
    frame : Frame
    reader : Reader
        That the worker was started with.

    Raises
    ------
    ChildError
        When the answer is none: a worker handles hostile bytes, so nothing that it says is taken on trust.
    """
    try:
        return _parsed(frame.message, frame.blob, reader)
    except (KeyError, TypeError, ValueError) as error:
        raise ChildError("a decode worker sent a broken answer") from error


def _parsed(message: Mapping[str, Any], blob: bytes, reader: Reader) -> Facts | Unreadable:
    state = FileState(*map(int, message["state"])) if message["state"] else None
    if "code" in message:
        code = str(message["code"])
        return Unreadable(code if code in REASONS else "damaged", str(message["message"]), state)
    digest = bytes.fromhex(message["digest"])
    if len(digest) != DIGEST_BYTES or len(blob) not in (0, VECTOR_BYTES + reader.descriptor_bytes):
        raise ValueError
    return Facts(
        digest=digest,
        vector=blob[:VECTOR_BYTES] or None,
        descriptor=blob[VECTOR_BYTES:],
        extractor=reader.extractor,
        width_px=int(message["width_px"]),
        height_px=int(message["height_px"]),
        format=str(message["format"]),
        state=state,
        taken=str(message.get("taken", ""))[:TAKEN_CHARACTERS],
    )
