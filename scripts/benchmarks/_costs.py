"""What a finder costs: bytes that it keeps, processor time that it takes; and shares of what it was right about.

In: calls of a finder.  Out: what they return, and their costs.  Never here: what a finder is, what is asked.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Found = TypeVar("Found")


@dataclass(kw_only=True)
class Costs:
    """What a finder has cost so far.

    Parameters
    ----------
    stored_bytes : int
    added_s : float
        Processor time of all that it took.
    asked_s : list of float
        Processor time of each query.
    """

    stored_bytes: int = 0
    added_s: float = 0.0
    asked_s: list[float] = field(default_factory=list)

    def added(self, add: Callable[[], int]) -> None:
        """Have a finder take something; `add` returns the bytes that it keeps of it."""
        began = processor_s()
        self.stored_bytes += add()
        self.added_s += processor_s() - began

    def asked(self, ask: Callable[[], Found]) -> Found:
        """Return what a finder answers."""
        began = processor_s()
        found = ask()
        self.asked_s.append(processor_s() - began)
        return found


def processor_s() -> float:
    """Return the processor time of this process and of those that it has started and that ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def share(hits: Sequence[bool]) -> float:
    """Return the share of hits."""
    return sum(hits) / max(len(hits), 1)
