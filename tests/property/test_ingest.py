"""Any sequence of changes in an album, then the index equals the album."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from cbir_daemon.decode import DecodePool
from tests.house import BROKEN, House, pool, room_for

__all__ = ["pool"]


# Every example makes an index and files, and the disk need not wait for each of them.
IN_MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of its own is made in it

NAMES = ("a.png", "b.png", "x.png", "d/a.png", "d/x.png", "d/e/b.png", "x.png/a.png", ".h/a.png")
FOLDERS = ("d", "d/e", "x.png", ".h", "f")


class AnyOrder(RuleBasedStateMachine):
    """Files and folders are written, moved, linked and removed; some of it is hinted at, in any order."""

    def __init__(self, pool: DecodePool) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="cbir-ingest-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.house = House(self.folder, pool)

    def teardown(self) -> None:
        try:
            # An empty album would be taken for a lost disk.
            self.house.write("last.png", 4)
            self.house.settle()
            self.house.holds()
        finally:
            self.house.close()
            shutil.rmtree(self.folder)

    @rule(name=st.sampled_from(NAMES), data=st.sampled_from([1, 2, 3, BROKEN]))
    def write(self, name: str, data: int | bytes) -> None:
        room_for(self.house.album, name)
        self.house.write(name, data)

    @rule(name=st.sampled_from(NAMES), data=st.sampled_from([1, 2, 3, BROKEN]))
    def write_in_place(self, name: str, data: int | bytes) -> None:
        if (self.house.album / name).is_file():
            self.house.write(name, data)

    @rule(name=st.sampled_from(NAMES + FOLDERS))
    def remove(self, name: str) -> None:
        if (self.house.album / name).exists():
            room_for(self.house.album, name)

    @rule(source=st.sampled_from(NAMES + FOLDERS), into=st.sampled_from(NAMES + FOLDERS))
    def move(self, source: str, into: str) -> None:
        path = self.house.album / source
        if path.exists() and not nested(source, into):
            path.rename(room_for(self.house.album, into))

    @rule(source=st.sampled_from(NAMES), into=st.sampled_from(NAMES))
    def link(self, source: str, into: str) -> None:
        path = self.house.album / source
        if path.is_file() and not nested(source, into):
            os.link(path, room_for(self.house.album, into))

    @rule(first=st.sampled_from(NAMES + FOLDERS), second=st.sampled_from(NAMES + FOLDERS))
    def swap(self, first: str, second: str) -> None:
        here, there, aside = (self.house.album / name for name in (first, second, "aside"))
        if here.exists() and there.exists() and not nested(first, second):
            here.rename(aside)
            there.rename(here)
            aside.rename(there)

    @rule(name=st.sampled_from([*NAMES, *FOLDERS, ""]))
    def hint(self, name: str) -> None:
        self.house.hint(name)

    @rule(seconds=st.sampled_from([0.0, 1.0, 2.0]))
    def work(self, seconds: float) -> None:
        self.house.time.advance(seconds)
        self.house.step()

    @rule()
    def settle(self) -> None:
        if any(self.house.album.iterdir()):
            self.house.settle()
            self.house.holds()

    @rule()
    def restart(self) -> None:
        self.house.start()


def nested(path: str, second: str) -> bool:
    """Whether one of two paths is, or lies in, the other."""
    return Path(path).is_relative_to(second) or Path(second).is_relative_to(path)


def test_after_anything_the_index_equals_the_album(pool: DecodePool) -> None:
    """Whatever happened in whichever order, heard of or not: a walk brings every row, and no other."""
    machine = cast(type[AnyOrder], partial(AnyOrder, pool))
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))
