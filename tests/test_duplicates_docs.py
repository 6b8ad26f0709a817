"""The examples of docs/duplicates.md do what stands above them, each in a folder of its own, on a real daemon."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import pictures
from tests.manual import section
from tests.patience import PATIENCE_S
from tests.process.daemon import COMMANDS, Daemon, living

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Give a running daemon with two equal files and a small copy in the folder Phone."""
    with living() as daemon:
        pictures.write_album(daemon.album, 4)
        shutil.copy(daemon.album / "photo-0001.jpg", daemon.album / "twin.jpg")
        (daemon.album / "Phone").mkdir()
        pictures.resaved(daemon.album / "photo-0002.jpg", daemon.album / "Phone" / "small.jpg")
        daemon.start()
        daemon.settle()
        yield daemon


def examples() -> dict[str, str]:
    """Return the shell blocks of the section by their first line."""
    return {block.splitlines()[0].lstrip("# "): block for block in section("duplicates.md", "Scripts").blocks("sh")}


def shell(daemon: Daemon, script: str, folder: Path) -> str:
    """Run a script as a user would, and return what it printed."""
    environ = {**daemon.environ, "PATH": f"{COMMANDS}:{os.environ['PATH']}"}
    done = subprocess.run(  # noqa: S603 -- our own document
        ["/bin/sh", "-ec", script],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def plan(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the lines of a plan."""
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_every_example(daemon: Daemon, tmp_path: Path) -> None:
    """Each of them runs, and has done what its comment says."""
    scripts = examples()
    said = dict.fromkeys(scripts, "")

    def run(first: str) -> str:
        said[first] = shell(daemon, scripts[first], tmp_path)
        daemon.settle()
        return said[first]

    twin, small = daemon.album / "twin.jpg", daemon.album / "Phone" / "small.jpg"
    wins = twin.stat().st_size + small.stat().st_size
    assert run("Space that could be won, in bytes.") == f"{wins}\n"
    assert str(twin) in run("The files that are not kept, for any other program.")
    run("A table for a spreadsheet.")
    assert len((tmp_path / "duplicates.csv").read_text().splitlines()) == 5
    assert run("Whether there is anything to do.") == "there are duplicates\n"
    run("Equal files of all albums share their room; nothing else is touched.")
    assert twin.samefile(daemon.album / "photo-0001.jpg")
    assert run("Whether there is anything to do.") == "nothing to do\n"
    run("Only what lies in the folder Phone goes, whatever is kept elsewhere.")
    assert [line["action"] for line in plan(tmp_path, "some.jsonl")] == ["keep", "trash"]
    assert not small.exists()
    daemon.json("dismiss", daemon.album / "photo-0000.jpg", daemon.album / "photo-0003.jpg")
    assert run("Decisions move to another machine.") == "1 read, 0 of them new\n"
    run("Take the last run back.")
    assert small.exists()
    assert scripts.keys() == said.keys()
    ran = {first for first, text in said.items() if text or "resolve" in scripts[first] or ".csv" in scripts[first]}
    assert ran == scripts.keys()
