"""The page's side of the child that does what a plan says.

In: what a person decided.  Out: the child's answers as they come.  Never here: files, what may be done.

One plan, run or undo at a time.  What was begun goes on when the browser goes away: half a batch would be no help.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cbir_daemon.errors import BusyError, CbirError, ChildError
from cbir_daemon.page.replies import error_message
from cbir_daemon.protocol.messages import Json, path_to_json
from cbir_daemon.system.child import Child

logger = logging.getLogger(__name__)

CHILD_MODULE = "cbir_daemon.page.applier"
HALT_WAIT_S = 10.0
"""For the file that is moved when the page stops: a large one goes to another disk in that time."""


class Applying:
    """Talks to the child.

    Parameters
    ----------
    child_module : str
        What the child runs.
    """

    def __init__(self, child_module: str = CHILD_MODULE) -> None:
        self._child_module = child_module
        self._task: asyncio.Task[None] | None = None

    def start(self, daemon_sockets: Sequence[Path]) -> None:
        """Start the child; later this process may start none.

        Parameters
        ----------
        daemon_sockets : sequence of Path
            Where the daemon may listen.

        Raises
        ------
        ChildError
            When it cannot be started.
        """
        sockets = [path_to_json(bytes(path)) for path in daemon_sockets]
        self._child = Child.started(self._child_module, {"do": "set-up", "sockets": sockets})

    async def ask(self, message: Json, blob: bytes = b"") -> AsyncIterator[Json]:
        """Yield the child's answers to a message, each with `ok` and all but the last with `more`, or with `error`.

        Parameters
        ----------
        message : dict
            Says what to `do`.
        blob : bytes

        Raises
        ------
        BusyError
            When something is being done already.
        ChildError
            When the child has died.
        """
        if self._task is not None and not self._task.done():
            raise BusyError("another plan is being applied or undone", hint="wait until that is done")
        answers: asyncio.Queue[Json] = asyncio.Queue()
        self._task = asyncio.create_task(self._exchange(message, blob, answers))
        while True:
            answer = await answers.get()
            yield answer
            if not answer.get("more", False):
                return

    async def _exchange(self, message: Json, blob: bytes, answers: asyncio.Queue[Json]) -> None:
        try:
            await asyncio.to_thread(self._child.send, message, blob)
            answer: dict[str, Any] = {"more": True}
            while answer.get("more", False):
                answer = (await asyncio.to_thread(self._child.receive)).message
                answers.put_nowait(answer)
        except ChildError as error:
            answers.put_nowait(error_message(ChildError(error.message, hint="start the page again")))
        # The top of this task: a fault is logged, and who waits for an answer gets one.
        except Exception:
            logger.exception("exchange failed do=%s", message["do"])
            answers.put_nowait(error_message(CbirError("the page failed to answer", hint="its log has the details")))

    async def close(self) -> None:
        """Have the child stop after the file that it is at, and wait for that."""
        if self._task is None or self._task.done():
            return
        with suppress(ChildError):
            self._child.send({"do": "halt"})
        with suppress(TimeoutError):
            async with asyncio.timeout(HALT_WAIT_S):
                await asyncio.shield(self._task)
