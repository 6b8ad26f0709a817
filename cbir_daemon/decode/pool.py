"""The daemon's side of decoding: tasks to worker processes, results back, nobody waits for ever.

In: paths and bytes.  Out: facts, or why not; contact sheets.  Never here: Pillow, pixels, SQL.

Two kinds of workers, so that a question never waits behind an index batch: batch workers read a batch
together, request workers answer one request at a time each.  Both start on demand and leave when idle.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cbir_daemon.decode.batch_workers import BatchWorkers
from cbir_daemon.decode.canvas import Canvas, mosaic_message
from cbir_daemon.decode.messages import DecodeLimits, ReadTask, read_message, result_from
from cbir_daemon.decode.opening import open_file
from cbir_daemon.decode.processes import WORKER_MODULE, Workers
from cbir_daemon.decode.reader import Reader, Readers
from cbir_daemon.decode.request_workers import RequestWorkers
from cbir_daemon.errors import CbirError, ChildError, NoAccessError, NotFoundError, UnreadableImageError
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import VECTOR_SIDE_PX, Facts, Unreadable

# Pixels of a picture's longer side on a sheet; `cbir_daemon.decode.sheet` scales down what is too large.
_QUERY_SIDE_PX = 440
_CELL_SIDE_PX = 248


@dataclass(frozen=True, slots=True)
class SheetCell:
    """A match on a contact sheet.

    Parameters
    ----------
    path : bytes
        Absolute path of the file.
    caption : tuple of str
        Lines below its picture.
    square : bytes
        Grey levels of a square that is drawn in the place of the file; empty for an image.
    """

    path: bytes
    caption: tuple[str, ...]
    square: bytes = b""


@dataclass(frozen=True, slots=True)
class Grey:
    """A small upright grey picture: `height_px` rows of `width_px` bytes."""

    width_px: int
    height_px: int
    pixels: bytes


@dataclass(frozen=True, slots=True)
class Colour:
    """A small upright picture: `height_px` rows of `width_px` times red, green and blue, a byte each."""

    width_px: int
    height_px: int
    pixels: bytes


_Small = TypeVar("_Small", Grey, Colour)
_BYTES_OF_A_PIXEL = {Grey: 1, Colour: 3}


class DecodePool:
    """Worker processes that read files of one kind, or of several.

    Parameters
    ----------
    workers : int
        Processes that read a batch; as many again may answer single requests.
    limits : DecodeLimits
        What one file may cost.
    reader : Reader
        What the workers read, and by which code.
    idle_s : float
        After so many seconds without work a worker leaves; see `close_idle`.
    worker_module : str
        Dotted name of the module whose `WORKER` each worker is.
    more : sequence of Reader
        Other kinds of files that the workers read.

    Attributes
    ----------
    readers : Readers
        Of all of them.

    Notes
    -----
    `read_files` is called from one thread at a time; everything else from any thread.

    Every method that reads or draws raises `ChildError` when no worker can be started, and `UnavailableError` when the
    pool is closed.
    """

    def __init__(
        self,
        workers: int,
        limits: DecodeLimits,
        reader: Reader,
        *,
        idle_s: float = 60.0,
        worker_module: str = WORKER_MODULE,
        more: Sequence[Reader] = (),
    ) -> None:
        self.readers = Readers((reader, *more))
        self._limits = limits
        self._starter = Workers(limits, self.readers, worker_module)
        self._batch_workers = BatchWorkers(workers, limits, self.readers, idle_s, self._starter)
        self._request_workers = RequestWorkers(workers, limits, idle_s, self._starter)

    def open(self) -> None:
        """Start what workers are forked from, so that the first file or query need not wait for it.

        Raises
        ------
        ChildError
            When it cannot be started.
        """
        self._starter.open()

    @property
    def decoded(self) -> int:
        """Files that `read_files` has really decoded so far: not skipped by digest, not refused."""
        return self._batch_workers.decoded

    def peak_memory_bytes(self) -> int:
        """Return the largest resident memory that any worker has had so far; 0 when there was none yet."""
        return self._starter.measure([*self._batch_workers.processes(), *self._request_workers.processes()])

    def pids(self) -> list[int]:
        """Return the process ids of the workers: first those that read batches."""
        return [worker.pid for worker in (*self._batch_workers.processes(), *self._request_workers.processes())]

    @property
    def asked(self) -> int:
        """Single requests that workers are at."""
        return self._request_workers.busy

    def warm(self) -> None:
        """Start the workers of a batch that is about to come; raises `ChildError` when they cannot be started."""
        self._batch_workers.warm()

    def read_files(self, tasks: Sequence[ReadTask]) -> Generator[tuple[ReadTask, Facts | Unreadable]]:
        """Yield each task with the facts of its file, or why there are none, in order of completion.

        A crash, a hang or a time-out costs the one file.  Nothing is read further ahead than the workers' few tasks in
        flight: a caller that stops asking stops the reading.

        Parameters
        ----------
        tasks : sequence of ReadTask
            A batch; descriptors of 256 files at most are open at a time.

        Raises
        ------
        ChildError
            When workers cannot be started at all.
        UnavailableError
            When the pool is closed.
        """
        return self._batch_workers.read_files(tasks)

    def read_image(self, source: Path | bytes) -> Facts:
        """Return the facts of one file: a query.

        Parameters
        ----------
        source : Path or bytes
            A file, links followed, or the bytes of one.

        Raises
        ------
        NotFoundError
            When there is no such file.
        NoAccessError
            When this process may not read it: send its bytes instead.
        UnreadableImageError
            When it is in no format that is read, or breaks a limit; `reason` is a word of `REASONS`.
        ChildError
            When no worker can be started.
        UnavailableError
            When the pool is closed.
        """
        media = () if isinstance(source, bytes) else self.readers.named(os.fsencode(source))
        answer = self._ask(read_message(media=media), source)
        result = answer if isinstance(answer, Unreadable) else self._result(answer)
        if isinstance(result, Unreadable):
            raise _refusal(source, result)
        return result

    def read_grey(self, source: Path | bytes, side_px: int) -> Grey | None:
        """Return a small upright grey picture of an image; None when it cannot be read.

        Parameters
        ----------
        source : Path or bytes
            A file, links followed, or the bytes of one.
        side_px : int
            Width and height at most; a smaller image keeps its size.
        """
        return self._small({"do": "grey", "side_px": side_px}, source, Grey)

    def read_colour(self, source: Path | bytes, side_px: int) -> Colour | None:
        """Return a small upright colour picture of an image; None when it cannot be read.

        Parameters
        ----------
        source : Path or bytes
            A file, links followed, or the bytes of one.
        side_px : int
            Width and height at most; a smaller image keeps its size.
        """
        return self._small({"do": "colour", "side_px": side_px}, source, Colour)

    def read_crop(self, source: Path | bytes, box: tuple[int, int, int, int]) -> Grey | None:
        """Return a part of an upright image in grey, with the pixels of the file; None when it cannot be read.

        Parameters
        ----------
        source : Path or bytes
            A file, links followed, or the bytes of one.
        box : tuple of int
            Left, top, right and bottom, in pixels.

        Notes
        -----
        All of the image is decoded: a tenth of a second for one of 12 megapixels.
        """
        side_px = max(box[2] - box[0], box[3] - box[1])
        return self._small({"do": "crop", "box": list(box), "side_px": side_px}, source, Grey)

    def _small(self, message: dict[str, Any], source: Path | bytes, kind: type[_Small]) -> _Small | None:
        """Return the picture that a worker answers, no larger than the `side_px` of the message."""
        side_px = message["side_px"]
        answer = self._ask(message, source)
        if isinstance(answer, Unreadable) or "code" in answer.message:
            return None
        width_px, height_px = answer.message["width_px"], answer.message["height_px"]
        # A worker's answer is checked as a stranger's would be.
        expected_bytes = width_px * height_px * _BYTES_OF_A_PIXEL[kind]
        is_whole = 0 < width_px <= side_px and 0 < height_px <= side_px and len(answer.blob) == expected_bytes
        return kind(width_px, height_px, answer.blob) if is_whole else None

    def draw_preview(self, source: Path | bytes, digest: bytes, side_px: int, form: str) -> bytes | None:
        """Return an upright colour picture of an image as a file of its own, without its metadata.

        Parameters
        ----------
        source : Path or bytes
            A file, links followed, or the bytes of one.
        digest : bytes
            SHA-256 that the image must have.
        side_px : int
            Width and height at most; it may be a tenth less, and a smaller image keeps its size.
        form : str
            "jpeg" or "webp".

        Returns
        -------
        bytes or None
            None when the image cannot be read, or has another digest.
        """
        answer = self._ask({"do": "preview", "side_px": side_px, "form": form, "remains": False}, source)
        is_it = isinstance(answer, Frame) and answer.message.get("digest") == digest.hex()
        return answer.blob if is_it and isinstance(answer, Frame) else None

    def draw_remains(self, source: Path | bytes, side_px: int, form: str) -> bytes | None:
        """Return a picture of what is there of an image that cannot be read whole; None when nothing can be drawn.

        Parameters
        ----------
        source : Path or bytes
            A file, links followed, or the bytes of one.
        side_px : int
            Width and height at most.
        form : str
            "jpeg" or "webp".
        """
        answer = self._ask({"do": "preview", "side_px": side_px, "form": form, "remains": True}, source)
        return None if isinstance(answer, Unreadable) or "code" in answer.message else answer.blob

    def read_features(self, source: Path | bytes, side_px: int, *, asked: bool) -> bytes | None:
        """Return the local features of an image as the bytes that `local_features` reads; None when there are none.

        Parameters
        ----------
        source : Path or bytes
            A file, links followed, or the bytes of one.
        side_px : int
            Longer side, at most, of the picture in which they are found.
        asked : bool
            Whether as a query has them; else as a content has them.
        """
        answer = self._ask({"do": "features", "side_px": side_px, "asked": asked}, source)
        return None if isinstance(answer, Unreadable) or "code" in answer.message else answer.blob

    def draw_sheet(
        self, query: Path | bytes, query_caption: tuple[str, ...], cells: Sequence[SheetCell], square: bytes = b""
    ) -> bytes:
        """Return a PNG of the query, large, and of the matches beside it, each with its caption.

        A file that cannot be read gets a grey cell that says why.

        Parameters
        ----------
        query : Path or bytes
            A file, links followed, or the bytes of one.
        query_caption : tuple of str
            Lines below its picture.
        cells : sequence of SheetCell
            The matches, in reading order.
        square : bytes
            Of the query, as `SheetCell.square`.

        Raises
        ------
        ChildError
            When no worker can be started, or drawing failed.
        UnavailableError
            When the pool is closed.
        """
        panels = [self._panel(query, query_caption, _QUERY_SIDE_PX, square)]
        panels += [
            self._panel(Path(os.fsdecode(cell.path)), cell.caption, _CELL_SIDE_PX, cell.square) for cell in cells
        ]
        message = {"do": "sheet", "panels": [panel for panel, _ in panels]}
        answer = self._request_workers.ask(message, b"".join(pixels for _, pixels in panels))
        if isinstance(answer, Unreadable):
            raise ChildError(f"no sheet was drawn: {answer.message}")
        return answer.blob

    def draw_mosaic(self, canvas: Canvas, tiles: bytes, descriptors: bytes, squares: bytes) -> bytes:
        """Return many small pictures as one, encoded.

        Parameters
        ----------
        canvas : Canvas
        tiles : bytes
            A row of `TILE` for each.
        descriptors : bytes
            `canvas.descriptor_bytes` for each: in which colours it is shown.
        squares : bytes
            `side_px` x `side_px` grey numbers for each.

        Raises
        ------
        ChildError
            When no worker can be started, or drawing failed.
        UnavailableError
            When the pool is closed.
        """
        answer = self._request_workers.ask(mosaic_message(canvas), tiles + descriptors + squares)
        if isinstance(answer, Unreadable):
            raise ChildError(f"no map was drawn: {answer.message}")
        return answer.blob

    def close_idle(self, now: float) -> None:
        """Let workers go that have had nothing to do for `idle_s`.

        Parameters
        ----------
        now : float
            Seconds on a clock that never goes back.  A worker's idle time begins at the first call that finds it idle.
        """
        self._batch_workers.close_idle(now)
        self._request_workers.close_idle(now)

    def close(self) -> None:
        """Kill all workers, busy or not; requests under way end with `UnavailableError`."""
        self._starter.stop()
        self._batch_workers.close()
        self._request_workers.close()
        self._starter.close()

    def _ask(self, message: dict[str, Any], source: Path | bytes) -> Frame | Unreadable:
        """Return the answer to a request about a file or about bytes."""
        if isinstance(source, bytes):
            return self._request_workers.ask(message, source)
        # A person who names a link means the file that it leads to.
        opened = open_file(os.fsencode(source), self._limits.max_file_bytes, follow=True)
        if isinstance(opened, Unreadable):
            return opened
        try:
            return self._request_workers.ask({**message, "file": True}, b"", opened.descriptor)
        finally:
            opened.close()

    def _result(self, answer: Frame) -> Facts | Unreadable:
        return result_from(answer, self.readers)

    def _panel(
        self, source: Path | bytes, caption: tuple[str, ...], side_px: int, square: bytes
    ) -> tuple[dict[str, Any], bytes]:
        """Return the description of one picture of a sheet, and the picture's RGB bytes."""
        panel = {"caption": [_printable(line) for line in caption], "width_px": 0, "height_px": 0, "reason": ""}
        if square:
            times = side_px // VECTOR_SIDE_PX
            side = times * VECTOR_SIDE_PX
            return {**panel, "width_px": side, "height_px": side}, _enlarged(square, times)
        answer = self._ask({"do": "colour", "side_px": side_px}, source)
        result = answer if isinstance(answer, Unreadable) or "code" not in answer.message else self._result(answer)
        if isinstance(result, Frame):
            return {**panel, **result.message}, result.blob
        return {**panel, "reason": result.message if isinstance(result, Unreadable) else ""}, b""


def _enlarged(square: bytes, times: int) -> bytes:
    """Return the RGB bytes of a grey square of `VECTOR_SIDE_PX`, so many times as wide and high."""
    rows = (square[start : start + VECTOR_SIDE_PX] for start in range(0, len(square), VECTOR_SIDE_PX))
    return b"".join(times * b"".join(bytes([level]) * (3 * times) for level in row) for row in rows)


def _refusal(source: Path | bytes, unreadable: Unreadable) -> CbirError:
    name = "the image sent" if isinstance(source, bytes) else _printable(os.fspath(source))
    message = f"{name}: {unreadable.message}"
    if unreadable.code == "vanished":
        return NotFoundError(f"{name}: no such file")
    if unreadable.code == "no-access":
        return NoAccessError(message)
    return UnreadableImageError(message, reason=unreadable.code)


def _printable(text: str) -> str:
    """Return `text` as UTF-8 can carry it: bytes of a file name that are no text become question marks."""
    return text.encode(errors="replace").decode()
