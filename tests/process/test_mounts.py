"""Albums on file servers: real mounts of sshfs and bindfs, with the server in the test's hands.

NFS and SMB need modules of the kernel; where it has them, what is tested here holds for them as well: they are polled
as every file system is that other machines write.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import pictures
from tests.patience import PATIENCE_S
from tests.process.daemon import Daemon, living

pytestmark = pytest.mark.process

IMAGES = 3
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")

needs_fuse = pytest.mark.skipif(not Path("/dev/fuse").exists() or os.geteuid() != 0, reason="no /dev/fuse, or not root")


class Mount:
    """A folder of a server, mounted on another one by a process of its own.

    Parameters
    ----------
    kind : str
        "sshfs" or "bindfs".
    served, folder : Path
        What is mounted, and where.
    """

    def __init__(self, kind: str, served: Path, folder: Path) -> None:
        self.kind = kind
        self.served = served
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def mount(self) -> None:
        """Mount the folder, and return when it is."""
        self.process = subprocess.Popen(self._argv(), stdin=subprocess.DEVNULL)  # noqa: S603 -- FUSE's own programs
        waits_until(lambda: self.folder.is_mount() or self.process is None or self.process.poll() is not None)
        if not self.folder.is_mount():
            pytest.skip(f"{self.kind} cannot mount here")

    def _argv(self) -> list[str]:
        if self.kind == "bindfs":
            return ["bindfs", "-f", str(self.served), str(self.folder)]
        server = next(path for path in SFTP_SERVERS if Path(path).exists())
        # In place of ssh, with the same protocol behind it: names are asked for again after a second.
        script = self.served.parent / "ssh"
        script.write_text(f"#!/bin/sh\necho $$ > {self.served.parent}/server\nexec {server}\n")
        script.chmod(0o755)
        options = f"ssh_command={script},dcache_timeout=1,attr_timeout=1,entry_timeout=1"
        return ["sshfs", "-f", "-o", options, f"server:{self.served}", str(self.folder)]

    def server_process(self) -> int:
        """Return what answers for the folder: the process that is mounted, or the server behind it."""
        assert self.process is not None
        return self.process.pid if self.kind == "bindfs" else int((self.served.parent / "server").read_text())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server."""
        os.kill(self.server_process(), number)

    def die(self) -> None:
        """End what is mounted: every use of the folder fails from now on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def unmount(self) -> None:
        """Take the mount away."""
        subprocess.run(["umount", "--lazy", self.folder], check=False, capture_output=True)  # noqa: S603, S607 -- ours


def waits_until(holds: Callable[[], object]) -> None:
    """Return when something holds; what is polled tells nobody of the moment."""
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until
        # Each look is a question to the daemon or the kernel: the processor is theirs.
        os.sched_yield()


@contextmanager
def mounted(kind: str, daemon: Daemon) -> Iterator[Mount]:
    """Mount a folder of a server on the daemon's album while a block runs."""
    served = daemon.home / "served"
    served.mkdir()
    for seed in range(IMAGES):
        pictures.save(pictures.photograph(seed), served / f"{seed}.jpg")
    mount = Mount(kind, served, daemon.album)
    mount.mount()
    try:
        yield mount
    finally:
        # A server that was stopped would hold up whoever takes the mount away.
        if mount.process is not None and mount.process.poll() is None:
            mount.signal(signal.SIGCONT)
        if daemon.process is not None:
            daemon.stop()
        mount.unmount()
        if mount.process is not None:
            mount.process.terminate()
            mount.process.wait()


@pytest.fixture(params=["sshfs", "bindfs"])
def mount(request: pytest.FixtureRequest) -> Iterator[tuple[Daemon, Mount]]:
    """Give a running daemon whose album is mounted from a server."""
    kind: str = request.param
    if shutil.which(kind) is None or not (kind == "bindfs" or any(Path(path).exists() for path in SFTP_SERVERS)):
        pytest.skip(f"{kind} is not installed")
    with living() as daemon:
        daemon.config.write_text(daemon.config.read_text().replace("[watch]\n", "[watch]\npoll_s = 1\n"))
        with mounted(kind, daemon) as served:
            daemon.start()
            yield daemon, served


def album(daemon: Daemon) -> dict[str, Any]:
    """Return what the daemon says of its album."""
    with daemon.client() as client:
        found: dict[str, Any] = dict(client.status()["albums"][0])
    return found


def add(mount: Mount, seed: int) -> Path:
    """Write a picture on the server's side, and return its path there."""
    path = mount.served / f"{seed}.jpg"
    pictures.save(pictures.photograph(seed), path)
    return path


@needs_fuse
def test_what_the_server_changes_is_found(mount: tuple[Daemon, Mount]) -> None:
    """New files and files that are gone on the server's side are found without an event."""
    daemon, served = mount
    waits_until(lambda: album(daemon)["images"] == IMAGES)
    assert album(daemon)["state"] == "polling"
    path = add(served, IMAGES)
    waits_until(lambda: album(daemon)["images"] == IMAGES + 1)
    assert daemon.matches(path)[0]["kind"] == "exact"
    path.unlink()
    waits_until(lambda: album(daemon)["images"] == IMAGES)


@needs_fuse
def test_a_server_that_hangs_costs_nothing_but_time(mount: tuple[Daemon, Mount]) -> None:
    """While it hangs, questions are answered and nothing is forgotten; afterwards what it changed is found."""
    daemon, served = mount
    waits_until(lambda: album(daemon)["images"] == IMAGES)
    served.signal(signal.SIGSTOP)
    path = add(served, IMAGES)
    for _ in range(3):
        assert daemon.matches(served.served / "0.jpg")[0]["kind"] == "exact"
    assert album(daemon)["images"] == IMAGES
    served.signal(signal.SIGCONT)
    waits_until(lambda: album(daemon)["images"] == IMAGES + 1)
    assert daemon.matches(path)[0]["kind"] == "exact"


@needs_fuse
def test_a_mount_that_dies_is_missing_until_it_is_back(mount: tuple[Daemon, Mount]) -> None:
    """Every use fails: the album is missing, its images are kept and found; mounted again, it heals by itself."""
    daemon, served = mount
    waits_until(lambda: album(daemon)["images"] == IMAGES)
    served.die()
    waits_until(lambda: album(daemon)["state"] == "missing")
    assert album(daemon)["images"] == IMAGES
    assert daemon.matches(served.served / "0.jpg")[0]["kind"] == "exact"
    # The empty folder below the mount is no album without pictures.
    served.unmount()
    daemon.settle()
    assert album(daemon)["images"] == IMAGES
    add(served, IMAGES)
    served.mount()
    waits_until(lambda: album(daemon)["state"] != "missing")
    waits_until(lambda: album(daemon)["images"] == IMAGES + 1)
