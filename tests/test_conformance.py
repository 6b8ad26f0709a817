"""The conformance suite: the example medium passes it, and it sees what a medium does wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cbir_daemon.errors import ConfigError
from cbir_daemon.media import FileMedium, load
from cbir_daemon.media.conformance import findings
from cbir_daemon.medium import Codes
from cbir_daemon.part_medium import FileJudgement, Parts
from tests.columns import COLUMNS
from tests.columns import file_reader as example_reader
from tests.columns.install import table, written
from tests.columns.medium import Columns

SAMPLES = {
    "whole.csv": written(table(1)),
    "part.csv": written(5 - 2 * table(1)[:, [3, 0]]),
    "stranger.csv": written(table(2)),
    "plain.csv": written(np.ones((20, 2))),
}
COPIES = [("part.csv", "whole.csv"), ("whole.csv", "part.csv")]
STRANGERS = [("stranger.csv", "whole.csv"), ("whole.csv", "stranger.csv")]


def test_the_example_passes() -> None:
    """So an author may begin with it."""
    assert findings(COLUMNS, SAMPLES, copies=COPIES, strangers=STRANGERS) == []


class Restless(Columns):
    """A medium whose codes depend on what is coded with them."""

    def packed_codes(self, vectors: np.ndarray[Any, np.dtype[np.uint8]], /) -> Codes:
        codes = super().packed_codes(vectors)
        return np.roll(codes, len(codes), axis=2)


class Forgetful(Columns):
    """A medium that finds nothing, not even a file in itself."""

    def judge(self, query: Parts, probes: Any, candidates: Any, /) -> list[FileJudgement]:  # noqa: ANN401 -- as the protocol has it
        return [replace(judgement, is_copy=False) for judgement in super().judge(query, probes, candidates)]


class OneWay(Columns):
    """A medium that loses something when it looks back."""

    def reversed(self, judgement: FileJudgement, /) -> FileJudgement:
        return replace(super().reversed(judgement), details={})


@pytest.mark.parametrize(
    ("medium", "sentence"),
    [
        (Restless(), "the code of a part depends on the others"),
        (Forgetful(), "it is no copy of itself"),
        (OneWay(), "a judgement that is reversed twice is another one"),
    ],
)
def test_a_fault_is_seen(medium: Columns, sentence: str) -> None:
    """Each with the sample that shows it."""
    found = findings(FileMedium(COLUMNS.reader, medium), SAMPLES)
    assert any(sentence in line for line in found)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (lambda data: 1 // (len(data) % 7), "ZeroDivisionError"),
        (lambda data: list(data)[10**9], "IndexError"),
    ],
)
def test_a_reader_that_stumbles_is_seen(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[bytes], object], sentence: str
) -> None:
    """Whatever damaged bytes make it raise besides its refusal."""
    read = example_reader.FILE_READER.read

    def stumble(self: object, data: bytes, max_pixels: int, /) -> Any:  # noqa: ANN401 -- a reading
        if data not in SAMPLES.values():
            fault(data)
        return read(data, max_pixels)

    monkeypatch.setattr(example_reader.ColumnReader, "read", stumble)
    assert any(sentence in line for line in findings(COLUMNS, SAMPLES))


def test_names_that_do_not_belong_together_are_seen() -> None:
    """A reader of other vectors, and suffixes that no file has."""
    reader = replace(COLUMNS.reader, extractor="columns/2", suffixes=frozenset({"CSV"}))
    found = findings(FileMedium(reader, COLUMNS.medium), SAMPLES)
    assert any("are not one name and version" in line for line in found)
    assert any("suffixes begin with a dot" in line for line in found)


def test_a_broken_package_is_refused_in_a_sentence() -> None:
    """It names the medium, and says what to do."""
    for name, location, words in (
        ("gone", "tests.no_such_module:THING", "cannot be imported"),
        ("none", "tests.columns.install:METADATA", "is no FileMedium"),
        ("misnamed", "tests.columns:COLUMNS", "defines one named 'columns'"),
    ):
        with pytest.raises(ConfigError, match=words):
            load(["image", name], {name: location})
