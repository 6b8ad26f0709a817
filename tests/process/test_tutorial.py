"""The tutorial, block after block, says what really happens; the site of all documents has no broken link."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.manual import DOCS
from tests.places import CHECKOUT
from tests.process.daemon import Daemon

pytestmark = pytest.mark.process

TUTORIAL = DOCS / "tutorial.md"
HOME, FOLDER = "/home/ana", "try"
"""Where the reader of the tutorial is."""

TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
RATING = re.compile(r"\b0\.99\d\b")
"""Scores may differ by a thousandth between processors."""


def blocks() -> Iterator[tuple[str, str]]:
    """Yield the blocks of the tutorial with their languages."""
    yield from re.findall(r"^```(\w+)\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def comparable(text: str) -> str:
    """Return an output without what differs from run to run."""
    return RATING.sub("0.99", TIME.sub("TIME", text))


def ran(daemon: Daemon, folder: Path, command: list[str]) -> str:
    """Run a command as the reader does, and return what it printed."""
    path = f"{daemon.commands}{os.pathsep}{os.environ['PATH']}"
    environ = {name: value for name, value in daemon.environ.items() if name != "NOTIFY_SOCKET"}
    done = subprocess.run(  # noqa: S603 -- what the tutorial says
        command, cwd=folder, env={**environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def walked_through(daemon: Daemon) -> Iterator[tuple[str, str, str]]:
    """Run each block of the shell, and yield it with what it printed and what the tutorial says that it prints."""
    folder = daemon.home / FOLDER
    folder.mkdir()
    daemon.config.write_text("[watch]\nsettle_s = 0.3\n")
    printed = asked = ""
    for language, text in blocks():
        if language == "python":
            ran(daemon, folder, [sys.executable, "-c", text])
            daemon.start(folder / "album")
        elif language == "sh":
            asked, printed = text, ran(daemon, folder, ["bash", "-ec", text])
        else:
            yield asked, printed.replace(str(daemon.home), HOME), text


def test_the_tutorial_says_what_happens(daemon: Daemon) -> None:
    """Every output is that of the commands above it, and the picture is the sheet that a query wrote."""
    shown = list(walked_through(daemon))
    assert len(shown) == 4
    for asked, printed, said in shown:
        assert comparable(printed) == comparable(said), asked
    sheet, kept = (daemon.home / FOLDER / "sheet.png").read_bytes(), (DOCS / "tutorial-sheet.png").read_bytes()
    # The width and height of a PNG.
    assert sheet[:24] == kept[:24]


@pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="needs cbir-daemon[docs]")
def test_the_site_has_no_broken_link(tmp_path: Path) -> None:
    """Strictly built, each document is in the navigation and each anchor is there; nothing comes from elsewhere."""
    # The documents are the package's, which may be installed.
    (tmp_path / "mkdocs.yml").write_text(f"INHERIT: {CHECKOUT / 'mkdocs.yml'}\ndocs_dir: {DOCS}\n")
    site = tmp_path / "site"
    done = subprocess.run(  # noqa: S603 -- our own interpreter
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site],
        cwd=tmp_path,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (site / "tutorial.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//(?!squidfunk)[^\"]*\.(?:js|css|woff2?)", page)
