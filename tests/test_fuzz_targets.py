"""The fuzzers' targets for a moment, and whatever they have found."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cbir_daemon.errors import CbirError
from tests.fuzz import FOUND, TARGETS, mutated

SEED = 19
INPUTS = {"protocol": 3000, "configuration": 250, "plan": 3000, "exif": 600}
"""Some seconds each."""


@pytest.mark.parametrize("name", TARGETS)
def test_what_others_wrote_is_read_or_refused(name: str) -> None:
    """Inputs made of good ones by chance, the same each time."""
    target, choice = TARGETS[name], random.Random(SEED)  # noqa: S311 -- no secret
    seeds = target.seeds()
    for data in seeds:
        target.run(data)
    for _ in range(INPUTS[name]):
        target.run(mutated(target, seeds, choice))


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found_stays_mended(path: Path) -> None:
    """Each input that once did what no input may."""
    TARGETS[path.parent.name].run(path.read_bytes())


def test_a_fault_is_found() -> None:
    """An error that no user may see goes through the target, and one that they may does not."""
    with pytest.raises(ZeroDivisionError):
        TARGETS["plan"].run(_Undecodable(ZeroDivisionError()))
    TARGETS["plan"].run(_Undecodable(CbirError("a sentence")))


class _Undecodable(bytes):
    """Bytes that are decoded with an error."""

    def __new__(cls, error: Exception) -> _Undecodable:
        made = super().__new__(cls, b"x")
        made.error = error
        return made

    error: Exception

    def decode(self, *_: object) -> str:
        """Raise the error."""
        raise self.error
