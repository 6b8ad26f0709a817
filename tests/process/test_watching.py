"""What the kernel loses, refuses or never tells costs no change; a disk that is away costs no row.  Real mounts."""

from __future__ import annotations

import itertools
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pictures import photograph, save
from tests.process.daemon import Daemon, living

pytestmark = pytest.mark.process

QUEUE_FILE = Path("/proc/sys/fs/inotify/max_queued_events")
POLL_S = 0.3
LOOKS = 600
"""How often a test asks before it gives up; each time a process is started."""


class Secluded:
    """A daemon in a user and mount name space of its own, where it and the test may mount and set limits.

    Parameters
    ----------
    daemon : Daemon
        Not started yet.  In a shell in the name space its album is "$ALBUM".
    """

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        daemon.environ |= {"ALBUM": str(daemon.album)}

    def start(self, before: str = ":") -> None:
        """Start the daemon after `before`."""
        self.daemon.before = ("unshare", "-Urm", "sh", "-c", f'{before} && exec "$0" "$@"')
        self.daemon.start()

    @property
    def album(self) -> Path:
        """The album as the daemon sees it."""
        assert self.daemon.process is not None
        return Path(f"/proc/{self.daemon.process.pid}/root{self.daemon.album}")

    def run(self, script: str) -> None:
        """Run a line of shell in the name space."""
        assert self.daemon.process is not None
        enter = ["nsenter", "--preserve-credentials", "-U", "-m", "-t", str(self.daemon.process.pid)]
        subprocess.run([*enter, "sh", "-ec", script], env=self.daemon.environ, check=True, timeout=60)  # noqa: S603 -- ours

    def state(self) -> str:
        """Return the album's state once all is settled."""
        return str(self.daemon.settle()["albums"][0]["state"])

    def until(self, holds: Callable[[Any], bool]) -> Any:  # noqa: ANN401 -- JSON
        """Ask for the status until `holds` does; nobody asks for a walk."""
        for _ in range(LOOKS):
            status = self.daemon.json("status")
            if holds(status):
                return status
        raise AssertionError(self.daemon.log.read_text())


@pytest.fixture
def secluded() -> Iterator[Secluded]:
    """Give one, where the kernel allows that."""
    probe = ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs none /mnt && echo 99 > /proc/sys/user/max_inotify_watches"]
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        pytest.skip("unshare and nsenter are not installed")
    tried = subprocess.run(probe, capture_output=True, check=False)  # noqa: S603 -- ours
    if tried.returncode != 0:
        pytest.skip(f"may not mount here: {tried.stderr.decode()}")
    with living() as daemon:
        poll_often(daemon)
        yield Secluded(daemon)


def poll_often(daemon: Daemon) -> None:
    """Leave little time between two looks at what is polled or missing."""
    daemon.config.write_text(daemon.config.read_text().replace("[watch]\n", f"[watch]\npoll_s = {POLL_S}\n"))


def fill(album: Path, numbers: range) -> None:
    """Write a picture for each number."""
    for number in numbers:
        save(photograph(number, (60, 40)), album / f"{number}.png")


def decoded(status: Any) -> int:  # noqa: ANN401 -- JSON
    return int(status["decoded"])


# Events that are lost.


def test_a_queue_that_overflows_costs_no_change(daemon: Daemon) -> None:
    """While it cannot listen more happens than the kernel keeps: it is told, and finds what came last by itself."""
    events = int(QUEUE_FILE.read_text())
    if events > 100_000:
        pytest.skip("the kernel's queue is too long to fill")
    daemon.start()
    daemon.settle()
    daemon.signal(signal.SIGSTOP)
    noise = daemon.album / "noise.txt"
    noise.touch()
    names = itertools.cycle([("noise.txt", "other.txt"), ("other.txt", "noise.txt")])
    for old, new in itertools.islice(names, events):
        (daemon.album / old).rename(daemon.album / new)
    # Nothing is heard of this one.
    (daemon.album / "deep").mkdir()
    fill(daemon.album / "deep", range(2))
    daemon.signal(signal.SIGCONT)
    watching = until(daemon, lambda status: status["images"] == 2)
    assert watching["albums"][0]["events_lost"] >= 1
    assert any("kernel lost events" in problem["what"] for problem in watching["problems"])
    assert any("max_queued_events=" in problem["do"] for problem in watching["problems"])
    # The folder that came unheard of is heard of from now on.
    fill(daemon.album / "deep", range(2, 3))
    until(daemon, lambda status: status["images"] == 3)
    assert "events lost" in daemon.log.read_text()


def until(daemon: Daemon, holds: Callable[[Any], bool]) -> Any:  # noqa: ANN401 -- JSON
    """Ask for the status until `holds` does; nobody asks for a walk."""
    return Secluded(daemon).until(holds)


def test_what_fits_is_watched_and_the_rest_is_polled(secluded: Secluded) -> None:
    """The kernel allows ten watches for twenty folders: every change is found, and what to raise is said."""
    for number in range(20):
        (secluded.daemon.album / f"{number:02}").mkdir()
    secluded.start("echo 10 > /proc/sys/user/max_inotify_watches")
    (album,) = secluded.daemon.settle()["albums"]
    assert (album["state"], album["unwatched_folders"]) == ("watching", 11)
    for number in range(20):
        fill(secluded.daemon.album / f"{number:02}", range(number, number + 1))
    status = secluded.until(lambda status: status["images"] == 20)
    (problem,) = status["problems"]
    assert "11 folders are polled, not watched: No space left on device" in problem["what"]
    advised = re.fullmatch(r"sysctl -w user\.max_inotify_watches=(\d+)", problem["do"])
    assert advised is not None
    assert int(advised[1]) >= 10 + 11
    # What was advised is enough, and is taken up by itself.
    secluded.run(f"echo {advised[1]} > /proc/sys/user/max_inotify_watches")
    status = secluded.until(lambda status: status["albums"][0]["unwatched_folders"] == 0)
    assert status["problems"] == []


def test_no_watch_at_all_means_polling(secluded: Secluded) -> None:
    """A user who may not watch anything has everything found by polling."""
    secluded.start("echo 0 > /proc/sys/user/max_inotify_instances")
    assert secluded.state() == "polling"
    fill(secluded.daemon.album, range(2))
    status = secluded.until(lambda status: status["images"] == 2)
    assert "is polled, not watched" in status["problems"][0]["what"]
    assert "sysctl -w user.max_inotify_instances=" in status["problems"][0]["do"]


# File systems that tell nothing.


def test_a_layered_file_system_is_polled(secluded: Secluded) -> None:
    """Its type is known, and a change in the layer below, of which no event comes, is found."""
    home = secluded.daemon.home
    for name in ("low", "up", "work"):
        (home / name).mkdir()
    fill(home / "low", range(2))
    secluded.start(f"mount -t overlay none -o lowerdir={home}/low,upperdir={home}/up,workdir={home}/work $ALBUM")
    status = secluded.daemon.settle()
    (album,) = status["albums"]
    assert (album["state"], album["file_system"], album["images"]) == ("polling", "overlay", 2)
    assert status["problems"] == []
    fill(home / "low", range(2, 3))
    secluded.until(lambda status: status["images"] == 3)


def test_it_is_watched_when_told_so(secluded: Secluded) -> None:
    """`watch = "inotify"` holds whatever the file system, `watch = "poll"` as well."""
    home = secluded.daemon.home
    with secluded.daemon.config.open("a") as config:
        config.write(f'[[album]]\npath = "{secluded.daemon.album}"\nwatch = "inotify"\n')
    for name in ("low", "up", "work"):
        (home / name).mkdir()
    secluded.start(f"mount -t overlay none -o lowerdir={home}/low,upperdir={home}/up,workdir={home}/work $ALBUM")
    assert secluded.state() == "watching"
    secluded.daemon.config.write_text(secluded.daemon.config.read_text().replace('"inotify"', '"poll"'))
    secluded.daemon.signal(signal.SIGHUP)
    secluded.until(lambda status: status["albums"][0]["state"] == "polling")


# Disks that come and go.

MOUNT = "mount -t tmpfs -o size=8m none"


def test_a_disk_that_goes_and_comes_back(secluded: Secluded) -> None:
    """Below its mount lies a folder that is not empty: nothing is forgotten or read again, an alert says so."""
    # What lies below the mount: fewer files than ever count as a lost disk, and of the same names.
    fill(secluded.daemon.album, range(7, 8))
    secluded.start(f'{MOUNT} "$ALBUM"')
    fill(secluded.album, range(6))
    before = secluded.daemon.settle()
    assert (before["images"], before["albums"][0]["file_system"]) == (6, "tmpfs")
    # The disk is moved aside, as one that is unmounted; unlike a tmpfs it keeps its files.
    secluded.run('mkdir "$ALBUM.aside" && mount --make-rprivate / && mount --move "$ALBUM" "$ALBUM.aside"')
    away = secluded.until(lambda status: status["albums"][0]["state"] == "missing")
    assert away["images"] == 6
    assert "another disk is there, without its files" in away["problems"][0]["what"]
    assert secluded.daemon.settle()["images"] == 6
    # Neither does a restart change that, nor being told to look at one of its files.
    secluded.daemon.run("scan", secluded.daemon.album / "0.png")
    assert secluded.daemon.settle()["images"] == 6
    secluded.run('mount --move "$ALBUM.aside" "$ALBUM"')
    back = secluded.until(lambda status: status["albums"][0]["state"] == "watching")
    assert (back["images"], decoded(back), back["problems"]) == (6, decoded(before), [])
    fill(secluded.album, range(6, 7))
    secluded.until(lambda status: status["images"] == 7)
    kinds = [(alert["kind"], alert["path"], alert["matches"]) for alert in secluded.daemon.alerts()]
    assert kinds == [(kind, str(secluded.daemon.album), []) for kind in ("missing", "back")]


def test_a_lost_disk_may_be_accepted(secluded: Secluded) -> None:
    """Then what lies at its place is the album."""
    fill(secluded.daemon.album, range(7, 9))
    secluded.start(f'{MOUNT} "$ALBUM"')
    fill(secluded.album, range(3))
    secluded.daemon.settle()
    secluded.run('umount "$ALBUM"')
    secluded.until(lambda status: status["albums"][0]["state"] == "missing")
    assert secluded.daemon.run("scan", "--accept-losses").returncode == 0
    status = secluded.daemon.settle()
    assert (status["images"], status["albums"][0]["state"], status["problems"]) == (2, "watching", [])


def test_a_disk_inside_an_album(secluded: Secluded) -> None:
    """Its files are out of reach and stay; what is deleted beside it goes; it is watched again when it is back."""
    disk = secluded.daemon.album / "disk"
    disk.mkdir()
    fill(secluded.daemon.album, range(2))
    secluded.start(f'{MOUNT} "$ALBUM/disk"')
    fill(secluded.album / "disk", range(10, 13))
    before = secluded.daemon.settle()
    assert before["images"] == 5
    secluded.run('mkdir "$ALBUM.aside" && mount --make-rprivate / && mount --move "$ALBUM/disk" "$ALBUM.aside"')
    (secluded.daemon.album / "0.png").unlink()
    away = secluded.until(lambda status: status["albums"][0]["out_of_reach"] == 3 and status["images"] == 4)
    assert away["albums"][0]["state"] == "watching"
    assert "3 files are on an unmounted disk inside it" in away["problems"][0]["what"]
    secluded.daemon.run("scan", disk)
    assert secluded.daemon.settle()["images"] == 4
    secluded.run('mount --move "$ALBUM.aside" "$ALBUM/disk"')
    back = secluded.until(lambda status: status["albums"][0]["out_of_reach"] == 0)
    assert (back["images"], decoded(back), back["problems"]) == (4, decoded(before), [])
    (secluded.album / "disk" / "10.png").unlink()
    secluded.until(lambda status: status["images"] == 3)


def test_an_album_that_is_moved_away_is_not_followed(daemon: Daemon) -> None:
    """Another folder at its path is the album from then on: what comes into it is heard of."""
    poll_often(daemon)
    fill(daemon.album, range(2))
    daemon.start()
    daemon.settle()
    daemon.album.rename(daemon.home / "moved")
    daemon.album.mkdir()
    status = until(daemon, lambda status: status["albums"][0]["state"] == "missing")
    assert status["images"] == 2
    fill(daemon.album, range(2, 4))
    fill(daemon.album, range(2))
    status = until(daemon, lambda status: status["albums"][0]["state"] == "watching" and status["images"] == 4)
    fill(daemon.home / "moved", range(5, 6))
    fill(daemon.album, range(6, 7))
    until(daemon, lambda status: status["images"] == 5)
