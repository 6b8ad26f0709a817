"""Methods that show contents, which are named by their digests, and files: `preview`, `thumbnail`, `images` ..."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cbir_daemon.decode.canvas import TILE, Canvas
from cbir_daemon.errors import BadRequestError, NotFoundError
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Params, Request, digest_from_json, path_from_json, path_to_json
from cbir_daemon.records import IMAGE, REASONS, VECTOR_SIDE_PX
from cbir_daemon.serving.handlers.part_queries import drawn_vector
from cbir_daemon.serving.handlers.rooms import Reply, Rooms, paged
from cbir_daemon.store import Content, Image

FORMS = ("jpeg", "webp")
MIN_SIDE_PX, DEFAULT_SIDE_PX, MAX_SIDE_PX = 256, 1024, 2048

MAX_ASKED = 1_000
"""Paths or digests in a request: some 100 KB of it."""

MOST_WORDS, MOST_NAMED = 20, 200
"""Words that a path must have, and files that are found by them: more than a person looks through."""

GREY_SQUARE = Canvas(VECTOR_SIDE_PX, VECTOR_SIDE_PX, VECTOR_SIDE_PX, "WEBP")
"""Of one vector, as it is."""


def preview(rooms: Rooms, request: Request) -> Reply[answers.Preview]:
    """Draw an image, upright, without metadata; the blob of the reply is a JPEG or WebP.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `digest` (text): of the content.  `side_px` (256 to 2048, 1024): width and height at most; a smaller image keeps
        its size.  `form` ("jpeg" or "webp").

    Raises
    ------
    NotFoundError
        When no content has this digest, or none of its files can be read now.
    ChildError, UnavailableError
        When no worker can be started, or the daemon stops.
    """
    params = Params(request.params)
    side_px, form = _asked(params)
    digest = params.digest("digest")
    content = rooms.store.contents.by_digest(digest)
    if content is not None and content.medium != IMAGE:
        # There is nothing to look at in the file: it is drawn by its numbers.
        return Reply({"digest": digest.hex(), "form": "webp"}, _enlarged(rooms, content, side_px))
    drawn = rooms.previews.of(digest, side_px, form)
    if drawn is None:
        content_of(rooms, digest)
        raise NotFoundError(f"{digest.hex()}: no file of this content can be read now", hint="is its disk away?")
    return Reply({"digest": digest.hex(), "form": form}, drawn)


def _enlarged(rooms: Rooms, content: Content, side_px: int) -> bytes:
    """Return a square in which the numbers of a content are drawn, as a WebP."""
    vector = rooms.store.contents.vectors([content.id]).get(content.id)
    if vector is None:
        raise _unknown(content.digest)
    canvas = replace(GREY_SQUARE, width_px=side_px, height_px=side_px)
    place = TILE.pack(0, 0, side_px, side_px, 0, 0, 0, 0)
    return rooms.pool.draw_mosaic(canvas, place, b"", drawn_vector(rooms, content.medium, vector))


def error_preview(rooms: Rooms, request: Request) -> Reply[answers.ErrorPreview]:
    """Draw what can be drawn of a file that could not be read; the blob of the reply is a JPEG or WebP.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `path` (path): of a file that `errors` lists.  `side_px`, `form`: as for `preview`.

    Raises
    ------
    NotFoundError
        When no such file is listed, or nothing of it can be drawn; the message has the reason.
    ChildError, UnavailableError
        When no worker can be started, or the daemon stops.
    """
    params = Params(request.params)
    side_px, form = _asked(params)
    path = params.path("path")
    error = rooms.store.files.error_at(path)
    if error is None:
        raise NotFoundError(
            f"{os.fsdecode(path)}: is not among the files that could not be read", hint="`cbir errors` lists them"
        )
    code, message = error
    drawn = rooms.pool.draw_remains(Path(os.fsdecode(path)), side_px, form) if REASONS[code].is_drawable else None
    if drawn is None:
        raise NotFoundError(f"{os.fsdecode(path)}: nothing of it can be drawn: {message}")
    return Reply({"form": form}, drawn)


def _asked(params: Params) -> tuple[int, str]:
    """Return how large a picture is asked for, and in which form."""
    side_px = params.integer("side_px", DEFAULT_SIDE_PX, least=MIN_SIDE_PX, most=MAX_SIDE_PX)
    return side_px, params.choice("form", FORMS) or FORMS[0]


def thumbnail(rooms: Rooms, request: Request) -> Reply[answers.Thumbnail]:
    """Draw the 64x64 numbers of a content, which are there when its disk is away, too; the blob is a WebP.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `digest` (text): of the content.

    Raises
    ------
    NotFoundError
        When no content has this digest.
    ChildError, UnavailableError
        When no worker can be started, or the daemon stops.
    """
    content = content_of(rooms, Params(request.params).digest("digest"))
    vector = rooms.store.contents.vectors([content.id]).get(content.id)
    if vector is None:
        raise _unknown(content.digest)
    whole = TILE.pack(0, 0, VECTOR_SIDE_PX, VECTOR_SIDE_PX, 0, 0, 0, 0)
    square = drawn_vector(rooms, content.medium, vector)
    return Reply({"digest": content.digest.hex()}, rooms.pool.draw_mosaic(GREY_SQUARE, whole, b"", square))


def images(rooms: Rooms, request: Request) -> Iterator[Reply[answers.Images]]:
    """Return the files at paths, or those of contents, in pages; what is not indexed is left out.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `paths` (list of paths) or `digests` (list of texts): at most 1000; the files come in this order, those of one
        content in order of path.  Or `named` (text): words that occur in the path; the first 200 in order of path.

    Raises
    ------
    BadRequestError
        When more than one of them is given, or one is no such list.
    """
    params = Params(request.params)
    paths, digests = params.items("paths", MAX_ASKED), params.items("digests", MAX_ASKED)
    words = params.text("named").split()
    if sum(map(bool, (paths, digests, words))) > 1:
        raise BadRequestError("more than one of 'paths', 'digests' and 'named' is given", hint="give one of them")
    found: Iterable[Image] = _at_paths(rooms, paths) if paths else _of_contents(rooms, digests)
    if words:
        found = rooms.store.files.images_named(words[:MOST_WORDS], MOST_NAMED)
    return paged(map(image_to_json, found), lambda page: {"images": page})


def _at_paths(rooms: Rooms, asked: Sequence[object]) -> Iterator[Image]:
    paths = [path_from_json(path, "paths") for path in asked]
    found = rooms.store.files.images_at(paths)
    for path in paths:
        image = found.get(path) or rooms.store.files.images_at([os.path.realpath(path)]).get(os.path.realpath(path))
        if image is not None:
            yield image


def _of_contents(rooms: Rooms, asked: Sequence[object]) -> Iterator[Image]:
    for digest in [digest_from_json(value, "digests") for value in asked]:
        content = rooms.store.contents.by_digest(digest)
        yield from () if content is None else rooms.store.files.images([content.id])


def image_to_json(image: Image) -> answers.IndexedImage:
    """Return a file with the facts of its content."""
    content = image.content
    return {
        "path": path_to_json(image.path),
        "digest": content.digest.hex(),
        "width": content.width_px,
        "height": content.height_px,
        "size": content.size_bytes,
        "format": content.format,
        "taken": content.taken or None,
        "mtime_ns": image.state.mtime_ns,
        "missing": image.missing,
    }


def content_of(rooms: Rooms, digest: bytes) -> Content:
    """Return the content that has a digest.

    Parameters
    ----------
    rooms : Rooms
    digest : bytes
        SHA-256.

    Raises
    ------
    NotFoundError
        When none has it.
    """
    content = rooms.store.contents.by_digest(digest)
    if content is None:
        raise _unknown(digest)
    return content


def _unknown(digest: bytes) -> NotFoundError:
    return NotFoundError(f"{digest.hex()}: no indexed file has this digest", hint="`cbir scan` looks again")
