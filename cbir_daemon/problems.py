"""What is wrong and what to do about it: the value that rooms hand up to `cbir status`.

A room in which something can go wrong has a method `problems()` that returns what is wrong now, each fault once, worst
first; `handlers/problems.py` asks every room.  What heals by itself within seconds is none.  Never here: any room.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that an operator should know.

    Parameters
    ----------
    what : str
        What is wrong, and what still works; names the folder, file or setting.
    do : str
        What to do about it: a command where there is one.
    """

    what: str
    do: str
