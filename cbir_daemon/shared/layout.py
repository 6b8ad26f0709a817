"""The rows of the shared index: how a content becomes rows, and which rows are believed.

In: contents with their vectors; rows as the engine gives them.  Out: rows; contents, or nothing for a row that is none.
Never here: the engine.  Nothing that comes from it is unpickled, evaluated or opened as a path.

A content has one row in `contents` and a few in `codes`, whose ids follow from site and digest: publishing twice
changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.records import VECTOR_BYTES
from cbir_daemon.store import Content, Publication

LAYOUT = "1"
"""Of the rows; a shared index of another one is refused."""

SITE_NAME = re.compile(r"[a-z0-9_-]{1,64}")
DIGEST = re.compile(r"[0-9a-f]{64}")
FORMAT = re.compile(r"[A-Z0-9+./ -]{0,32}")
TAKEN = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?)?")

CODES = 16
"""Codes that a content may have: the low bits of the id of a row."""

MAX_FACTS_CHARACTERS = 16_384
MAX_PATH_BYTES = 4096
MAX_SIDE_PX = 1 << 24
MAX_SIZE_BYTES = 1 << 50


class CodeRow(TypedDict):
    """The row of a code."""

    id: int
    site_number: int
    code: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SharedContent:
    """A content of another site, as its row tells; only the vector is ever compared.

    Parameters
    ----------
    id : int
        Of its row.
    site : str
    digest : bytes
        SHA-256.
    vector : bytes
        4096 grey numbers.
    path : bytes
        Where it lies at its site; empty when the site keeps that to itself.  A text to be shown, never a file here.
    width_px, height_px, size_bytes : int
    format : str
    taken : str
        As `records.Facts.taken`.
    """

    id: int
    site: str
    digest: bytes
    vector: bytes
    path: bytes
    width_px: int
    height_px: int
    size_bytes: int
    format: str
    taken: str


def site_number(site: str) -> int:
    """Return the number by which rows are filtered: 63 bits of the name's SHA-256."""
    return _number(site.encode())


def content_id(site: str, digest: bytes) -> int:
    """Return the id of a content's row: 59 bits of site and digest, then zeros for the numbers of its codes.

    Parameters
    ----------
    site : str
    digest : bytes
        SHA-256.
    """
    return _number(site.encode() + b"\0" + digest) & ~(CODES - 1)


def content_of_code(code_id: int) -> int:
    """Return the id of the content that a code belongs to."""
    return code_id & ~(CODES - 1)


def _number(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") >> 1


def content_row(site: str, published: Publication, *, share_paths: bool) -> dict[str, object]:
    """Return the row of a content.

    Parameters
    ----------
    site : str
    published : Publication
    share_paths : bool
        Whether other sites see where it lies.
    """
    content = published.content
    return {
        "id": content_id(site, content.digest),
        "site_number": site_number(site),
        "site": site,
        "digest": content.digest.hex(),
        "facts": _facts(content, published.path if share_paths else b""),
        "vector": published.vector,
    }


def _facts(content: Content, path: bytes) -> str:
    facts = {
        "width": content.width_px,
        "height": content.height_px,
        "size": content.size_bytes,
        "format": content.format,
        "taken": content.taken or "",
        # Hexadecimal: a path is bytes, and any text of them could be another path.
        "path": path.hex() if len(path) <= MAX_PATH_BYTES else "",
    }
    return json.dumps(facts, separators=(",", ":"))


def code_rows(site: str, digest: bytes, codes: NDArray[np.int8]) -> list[CodeRow]:
    """Return the rows of a content's codes; codes without any structure are left out.

    Parameters
    ----------
    site : str
    digest : bytes
    codes : (k, terms) ndarray of int8
        At most `CODES`.
    """
    first, number = content_id(site, digest), site_number(site)
    return [
        {"id": first + index, "site_number": number, "code": code.astype(np.float32)}
        for index, code in enumerate(codes)
        if code.any()
    ]


def content_from(row: Mapping[str, Any]) -> SharedContent | None:
    """Return the content of a row; None for a row that no site of this release has written.

    Parameters
    ----------
    row : mapping
        As the engine gave it: anybody who may write to the shared index may have written it.
    """
    site, digest = _text(row.get("site"), SITE_NAME), _text(row.get("digest"), DIGEST)
    vector = _vector(row.get("vector"))
    if site is None or digest is None or vector is None:
        return None
    number = row.get("id")
    # A row that stands in the place of another content's would answer for it.
    if number != content_id(site, bytes.fromhex(digest)) or row.get("site_number") != site_number(site):
        return None
    facts = _read_facts(row.get("facts"))
    return None if facts is None else SharedContent(number, site, bytes.fromhex(digest), vector, *facts)


def _text(value: object, pattern: re.Pattern[str]) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _vector(value: object) -> bytes | None:
    # pymilvus gives a binary vector as a list of one piece of bytes.
    piece = value[0] if isinstance(value, list) and len(value) == 1 else value
    return piece if isinstance(piece, bytes) and len(piece) == VECTOR_BYTES else None


def _read_facts(text: object) -> tuple[bytes, int, int, int, str, str] | None:
    """Return path, width, height, size, format and time; None unless all of them may be."""
    if not isinstance(text, str) or len(text) > MAX_FACTS_CHARACTERS:
        return None
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(facts, dict):
        return None
    path = _path(facts.get("path"))
    bounds = (("width", MAX_SIDE_PX), ("height", MAX_SIDE_PX), ("size", MAX_SIZE_BYTES))
    numbers = [_whole(facts.get(name), most) for name, most in bounds]
    kind, taken = _text(facts.get("format"), FORMAT), _text(facts.get("taken"), TAKEN)
    if path is None or None in numbers or kind is None or taken is None:
        return None
    width, height, size = (number or 0 for number in numbers)
    return path, width, height, size, kind, taken


def _whole(value: object, most: int) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None


def _path(text: object) -> bytes | None:
    """Return an absolute path, or nothing for none; None for what is no path."""
    if not isinstance(text, str) or len(text) > 2 * MAX_PATH_BYTES:
        return None
    try:
        path = bytes.fromhex(text)
    except ValueError:
        return None
    return path if not path or (path.startswith(b"/") and b"\0" not in path) else None


def is_whole(code_id: int) -> bool:
    """Whether a code is that of the whole content."""
    return code_id % CODES == 0


def pair_row(site: str, digest: bytes, found: SharedContent) -> dict[str, object]:
    """Return the row of a content of this site and one of another that show the same.

    Parameters
    ----------
    site : str
    digest : bytes
        Of the content here.
    found : SharedContent
    """
    own = content_id(site, digest)
    ends = sorted([(own, site), (found.id, found.site)])
    return {
        "id": _number(b"%d %d" % (ends[0][0], ends[1][0])),
        "first": ends[0][0],
        "first_site": site_number(ends[0][1]),
        "second": ends[1][0],
        "second_site": site_number(ends[1][1]),
        "none": [0.0, 0.0],
    }
