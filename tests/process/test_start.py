"""The start of `cbir` is part of every question: what the two commands load that are asked again and again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests import pictures
from tests.process.daemon import Daemon, living

pytestmark = pytest.mark.process

STANDARD = "import __future__, array, binascii, contextlib, json, re, socket, time"
"""What of the standard library the commands import; with what these import, it is all that may be loaded."""

OURS = {
    "cbir_daemon",
    *(f"cbir_daemon.cli{name}" for name in ("", ".asking", ".ending", ".entry", ".lines", ".options", ".printing")),
    *("cbir_daemon.client", "cbir_daemon.config", "cbir_daemon.config.places", "cbir_daemon.errors"),
    *(f"cbir_daemon.protocol{name}" for name in ("", ".framing", ".messages", ".values")),
}
"""What of ours both load when they print text."""

OWN = {
    "query": {"cbir_daemon.cli.matches"},
    "status": {"cbir_daemon.cli.overview", "cbir_daemon.wording", "cbir_daemon.wording.counting"},
}
"""What each loads besides."""


@pytest.fixture(scope="module")
def running() -> Iterator[Daemon]:
    """Give a running daemon with three pictures, `album/0.jpg` to `album/2.jpg`."""
    with living() as daemon:
        for seed in range(3):
            pictures.save(pictures.photograph(seed, (160, 112)), daemon.album / f"{seed}.jpg", quality=90)
        daemon.start()
        daemon.settle()
        yield daemon
        assert daemon.stop() == 0


def ran(daemon: Daemon, code: str, *argv: str) -> tuple[str, set[str]]:
    """Return what a fresh Python printed, and the modules that it had at its end."""
    program = f"import atexit, sys\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n{code}"
    done = subprocess.run(  # noqa: S603 -- our own interpreter and code
        [sys.executable, "-c", program, *argv],
        cwd=daemon.home,
        env=daemon.environ,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout, set(done.stderr.splitlines()[-1].split())


LINES = [
    ["status"],
    ["status", "--json"],
    ["query", "album/0.jpg"],
    ["query", "album/0.jpg", "--json"],
    ["query", "album/0.jpg", "--kind", "exact", "--by", "grey"],
]


@pytest.mark.parametrize("argv", LINES, ids=" ".join)
def test_what_is_asked_again_and_again_loads_little(running: Daemon, argv: list[str]) -> None:
    """Only what sockets, JSON and regular expressions need of the standard library, and what is listed of ours."""
    printed, loaded = ran(running, "from cbir_daemon.cli import main\nmain()", *argv)
    assert printed
    _, standard = ran(running, STANDARD)
    text = set() if "--json" in argv else OWN[argv[0]]
    extra = loaded - standard - OURS - text
    assert not extra, f"`cbir {' '.join(argv)}` loads {', '.join(sorted(extra))}"


@pytest.mark.parametrize("argv", [["status"], ["query", "album/0.jpg"]], ids=" ".join)
def test_nothing_is_listed_that_is_not_loaded(running: Daemon, argv: list[str]) -> None:
    """The lists above are true."""
    _, loaded = ran(running, "from cbir_daemon.cli import main\nmain()", *argv)
    assert OURS | OWN[argv[0]] <= loaded


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_nothing(running: Daemon, closed: str) -> None:
    """Who closes a standard stream wants nothing of it, and no answer is taken for it."""
    shell = ["sh", "-c", f'exec "$0" "$@" {closed}', str(running.commands / "cbir"), "status"]
    done = subprocess.run(shell, cwd=running.home, env=running.environ, check=False, capture_output=True)  # noqa: S603 -- ours
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) == (" >" not in f" {closed}")


SAID = [
    "query album/0.jpg",
    "query album/0.jpg --explain",
    "query album/0.jpg -n 2 --paths0",
    "query away.jpg",
    "query album",
    "status --prometheus --json",
    "--socket nowhere status",
]


@pytest.mark.parametrize("line", SAID)
def test_click_says_the_same(running: Daemon, line: str) -> None:
    """Whether a line runs at once or by click: the same output, the same error, the same exit status."""
    at_once, by_click = (
        subprocess.run(  # noqa: S603 -- our own interpreter and code
            [sys.executable, "-c", f"from cbir_daemon.cli.{module} import main\nmain()", *line.split()],
            cwd=running.home,
            env=running.environ,
            check=False,
            capture_output=True,
        )
        for module in ("entry", "client")
    )
    assert (at_once.returncode, at_once.stdout, at_once.stderr) == (
        by_click.returncode,
        by_click.stdout,
        by_click.stderr,
    )
    assert at_once.stdout or at_once.stderr
