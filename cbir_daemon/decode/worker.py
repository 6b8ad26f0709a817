"""A decode worker: a process that turns files into facts until the daemon closes its channel.

In: frames that name a file.  Out: frames with its facts, or why not.  Never here: what the facts are for.

Run as `python -m cbir_daemon.decode.worker FD`.  One bad file must not end it, but may: the daemon starts another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from cbir_daemon.child import Channel, serve
from cbir_daemon.decode.messages import DecodeLimits, ReadTask, limits_from, result_message, task_from
from cbir_daemon.decode.pixels import read_colour, read_picture
from cbir_daemon.decode.reading import OUT_OF_MEMORY, UnreadableError, read_whole
from cbir_daemon.decode.sandbox import allow_cpu_time, confine, silence_libraries
from cbir_daemon.decode.sheet import draw_sheet, panels_from
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import Facts, FileState, Unreadable

Answer = tuple[Mapping[str, Any], bytes]


# Until the daemon has said what may be read, nothing may.
NO_LIMITS_YET = DecodeLimits(max_pixels=0, max_file_bytes=0, timeout_s=0.0)


class Worker:
    """Answers the daemon's messages.

    Parameters
    ----------
    limits : DecodeLimits
        What one file may cost; the daemon's first message sets them.
    """

    def __init__(self, limits: DecodeLimits = NO_LIMITS_YET) -> None:
        self._limits = limits
        self._answers: Mapping[str, Callable[[Frame], Answer]] = {
            "set-up": self._set_up,
            "read": self.read,
            "colour": self._colour,
            "sheet": self._sheet,
        }

    def answer(self, frame: Frame, channel: Channel) -> None:
        """Answer one frame."""
        message, blob = self._answers[frame.message["do"]](frame)
        channel.send(message, blob)

    def _set_up(self, frame: Frame) -> Answer:
        self._limits = limits_from(frame.message)
        silence_libraries()
        return {"ready": True, "granted": confine(self._limits.max_memory_bytes)}, b""

    def read(self, frame: Frame) -> Answer:
        """Return the answer to a read message: the facts of a file, or why there are none."""
        allow_cpu_time(self._limits.timeout_s)
        task = task_from(frame.message)
        state = None
        try:
            data, state = self._bytes_of(frame, task)
            return result_message(self._facts(data, state, task))
        except UnreadableError as error:
            return result_message(_with_state(error.unreadable, state))
        except MemoryError:
            return result_message(Unreadable("out-of-memory", OUT_OF_MEMORY, state))

    def _facts(self, data: bytes, state: FileState | None, task: ReadTask) -> Facts:
        digest = hashlib.sha256(data).digest()
        if digest in task.known:
            return Facts(digest, None, 0, 0, "", state)
        picture = read_picture(data, self._limits.max_pixels)
        return Facts(digest, picture.vector, picture.width_px, picture.height_px, picture.format, state, picture.taken)

    def _colour(self, frame: Frame) -> Answer:
        allow_cpu_time(self._limits.timeout_s)
        try:
            data, _ = self._bytes_of(frame, task_from(frame.message))
            image = read_colour(data, self._limits.max_pixels, frame.message["side_px"])
        except UnreadableError as error:
            return result_message(error.unreadable)
        return {"width_px": image.width, "height_px": image.height}, image.tobytes()

    def _sheet(self, frame: Frame) -> Answer:
        allow_cpu_time(self._limits.timeout_s)
        return {}, draw_sheet(*panels_from(frame))

    def _bytes_of(self, frame: Frame, task: ReadTask) -> tuple[bytes, FileState | None]:
        """Return the bytes that came with the frame, or those of the file that it names."""
        if not task.path:
            if not frame.blob:
                raise UnreadableError("empty", "no bytes at all")
            return frame.blob, None
        return read_whole(task.path, self._limits.max_file_bytes, follow=frame.message.get("follow", False))


def _with_state(unreadable: Unreadable, state: FileState | None) -> Unreadable:
    if unreadable.state is not None:
        return unreadable
    return Unreadable(unreadable.code, unreadable.message, state)


if __name__ == "__main__":
    serve(Worker().answer)
