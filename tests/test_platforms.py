"""Platforms: where the walls are, and that the pure rooms stand without Linux."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cbir_daemon
from cbir_daemon.platforms import refusal
from tests.places import CHECKOUT
from tests.test_architecture import DAEMON_SIDE

WALLS = {"watching", "indexing", "serving", "daemon"}
"""Rooms that stand on inotify."""

IMPORT_ALL = """
import importlib, sys
import tests.elsewhere
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except (ImportError, AttributeError) as error:
        print(name)
"""

PURE = ("test_arrangement.py", "test_framing.py", "test_matching.py", "test_options.py", "test_wording.py")
"""Tests of rooms that compute, and touch neither kernel nor service manager."""


@pytest.mark.parametrize("platform", ["win32", "cygwin"])
def test_windows_is_refused(platform: str) -> None:
    """Both commands say in one sentence what to do instead."""
    assert refusal(platform, serves=False) == refusal(platform, serves=True) != ""


@pytest.mark.parametrize("platform", ["darwin", "freebsd14"])
def test_only_the_daemon_needs_linux(platform: str) -> None:
    """On another Unix a client runs, the daemon says what is missing; on Linux both run."""
    assert refusal(platform, serves=False) == ""
    assert "Linux" in refusal(platform, serves=True)
    assert refusal("linux", serves=True) == ""


@pytest.mark.parametrize(("module", "platform"), [("cli", "win32"), ("cli.start", "win32"), ("cli.start", "darwin")])
def test_a_command_says_so_and_ends(module: str, platform: str) -> None:
    """No traceback, one line, and nothing of the daemon is imported first."""
    code = f"import sys; sys.platform = {platform!r}; from cbir_daemon.{module} import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 -- ours
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("cbir")


def test_the_package_is_imported_without_linux() -> None:
    """All rooms but those that stand on inotify, and the programs of children."""
    package = Path(cbir_daemon.__file__).parent
    files = [file for file in sorted(package.rglob("*.py")) if "__main__" not in file.read_text(encoding="utf-8")]
    names = [
        ".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__") for file in files
    ]
    done = subprocess.run(  # noqa: S603 -- ours
        [sys.executable, "-c", IMPORT_ALL, *names], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    behind = {name.split(".")[1] for name in done.stdout.split()}
    assert "watching" in behind
    # Of `cli` only the modules that run the daemon.
    assert behind - {"cli"} <= WALLS
    assert {name.rpartition(".")[2] for name in done.stdout.split() if ".cli." in name} <= DAEMON_SIDE


def test_pure_rooms_stand_without_linux() -> None:
    """Their own tests pass where the calls of Linux are gone."""
    tests = [str(CHECKOUT / "tests" / name) for name in PURE if (CHECKOUT / "tests" / name).exists()]
    assert len(tests) == len(PURE)
    done = subprocess.run(  # noqa: S603 -- ours
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.elsewhere", "-p", "no:xdist", *tests, "-m", "not process"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
