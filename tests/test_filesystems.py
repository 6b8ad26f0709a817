"""The table of mounts is read as the kernel writes it, and every path is found on its mount."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_daemon.system.filesystems import UNKNOWN, Mount, lies_in, mount_of, mounts, mounts_below, parsed

# As written by Linux 6 on machines that have such mounts.
TABLE = rb"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
41 27 0:38 / /volume1/photo rw,relatime shared:12 master:3 - btrfs /dev/mapper/vg1 rw,space_cache,subvol=/photo
42 27 0:44 / /mnt/nas rw,relatime shared:20 - nfs4 nas:/volume1/photo rw,vers=4.1,hard,proto=tcp
43 27 0:45 / /mnt/win rw,relatime - cifs //server/My\040Pictures rw,vers=3.1.1,uid=1000
44 27 0:46 / /mnt/My\040Pictures\011\134 rw - fuse.sshfs ana@host:/ rw,user_id=1000
45 27 8:17 / /media/usb rw - fuseblk /dev/sdb1 rw,allow_other
46 27 0:47 / /var/lib/docker/merged rw - overlay overlay rw,lowerdir=a,upperdir=b
47 41 0:48 / /volume1/photo/shared rw - nfs nas2:/x rw
48 42 0:49 / /mnt/nas rw - tmpfs none rw
nonsense
49 27 0:50 / /short
"""


@pytest.mark.parametrize(
    ("path", "kind", "tells"),
    [
        (b"/home/ana/Pictures", "ext4", True),
        (b"/", "ext4", True),
        (b"/volume1/photo", "btrfs", True),
        (b"/volume1/photo/2019", "btrfs", True),
        (b"/volume1/photos", "ext4", True),
        (b"/volume1/photo/shared/x", "nfs", False),
        (b"/mnt/win", "cifs", False),
        (b"/mnt/My Pictures\t\\/a", "fuse.sshfs", False),
        (b"/media/usb/DCIM", "fuseblk", True),
        (b"/var/lib/docker/merged/x", "overlay", False),
        # Mounted over: the one below is out of reach.
        (b"/mnt/nas/x", "tmpfs", True),
    ],
)
def test_a_path_lies_on_its_innermost_and_last_mount(path: bytes, kind: str, tells: bool) -> None:
    """Whatever its mount point is called; types that change behind the kernel's back tell nothing."""
    mount = mount_of(path, parsed(TABLE))
    assert (mount.type, mount.tells) == (kind, tells)


def test_every_network_file_system_is_silent() -> None:
    """By its whole name, or by what comes before the dot."""
    for kind in ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse", "fuse.mergerfs", "fuse.rclone", "overlay"):
        assert not Mount(1, b"/", kind).tells
    for kind in ("ext4", "xfs", "btrfs", "zfs", "f2fs", "vfat", "exfat", "ntfs3", "fuseblk", "tmpfs", "unknown"):
        assert Mount(1, b"/", kind).tells


def test_lines_that_are_not_understood_are_passed_over() -> None:
    """And so is an empty table."""
    assert len(parsed(TABLE)) == 10
    assert parsed(b"") == ()
    assert mount_of(b"/album", ()) is UNKNOWN


def test_mounts_inside_an_album() -> None:
    """Not the one that the album itself lies on, and none beside it."""
    assert [mount.point for mount in mounts_below(b"/volume1/photo", parsed(TABLE))] == [b"/volume1/photo/shared"]
    assert mounts_below(b"/volume1/pho", parsed(TABLE)) == ()
    assert len(mounts_below(b"/mnt", parsed(TABLE))) == 4


@given(st.binary(min_size=1, max_size=12).filter(lambda name: not {b"\0"[0], b"/"[0]} & set(name)))
def test_any_name_comes_back_as_it_was_mounted(name: bytes) -> None:
    """The kernel escapes space, tab, newline and backslash in octal."""
    point = b"/mnt/" + name
    written = b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in point)
    # What Python takes for the end of a line is none in this table, but for the newline, which is escaped.
    assert [mount.point for mount in parsed(b"1 2 0:3 / " + written + b" rw - ext4 /dev/x rw\n")] == [point]


def test_this_machine_s_own_table_is_read() -> None:
    """Every path lies on something; a table that is not there has no mounts."""
    table = mounts()
    assert mount_of(b"/", table).point == b"/"
    assert mount_of(os.fsencode(os.getcwd()), table) is not UNKNOWN  # noqa: PTH109 -- bytes


def test_without_a_table_nothing_is_known(tmp_path: Path) -> None:
    """Everything is then taken to tell."""
    assert mounts(tmp_path / "absent") == ()
    assert mount_of(b"/x", ()).tells


def test_a_path_lies_in_itself_and_in_what_is_above() -> None:
    """Not in what its name merely begins with."""
    assert lies_in(b"/a/b", b"/a")
    assert lies_in(b"/a", b"/a")
    assert lies_in(b"/a", b"/")
    assert not lies_in(b"/ab", b"/a")
    assert not lies_in(b"/a", b"/a/b")


NEWS = """
from cbir_daemon.system.filesystems import MountNews
news = MountNews()
told = [news.come()]
subprocess.run(["mount", "-t", "tmpfs", "none", sys.argv[1]], check=True)
told += [news.come(), news.come()]
subprocess.run(["umount", sys.argv[1]], check=True)
told += [news.come(), news.come()]
news.close()
told += [news.come()]
assert told == [False, True, False, True, False, False], told
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_news_of_mounts_come_once(tmp_path: Path) -> None:
    """Of what is mounted and of what is unmounted; nothing comes while nothing happens, or after the end."""
    enter = ["unshare", "-Urm"]
    if subprocess.run([*enter, "mount", "-t", "tmpfs", "none", tmp_path], check=False).returncode != 0:  # noqa: S603 -- ours
        pytest.skip("may not mount here")
    script = f"import subprocess, sys{NEWS}"
    subprocess.run([*enter, sys.executable, "-c", script, tmp_path], check=True)  # noqa: S603 -- ours


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
@pytest.mark.parametrize("kind", ["tmpfs", "overlay"])
def test_a_real_mount_is_seen(tmp_path: Path, kind: str) -> None:
    """As this kernel writes it, in a name space of its own, under a name that must be escaped."""
    point = tmp_path / "a b\tc\\d"
    for name in (point.name, "low", "up", "work"):
        (tmp_path / name).mkdir()
    options = "lowerdir=low,upperdir=up,workdir=work" if kind == "overlay" else "size=1m"
    script = 'mount -t "$1" none -o "$2" "$3" && cat /proc/self/mountinfo'
    done = subprocess.run(  # noqa: S603 -- our own script
        ["unshare", "-Urm", "sh", "-c", script, "sh", kind, options, point],  # noqa: S607 -- wherever it is installed
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"may not mount here: {done.stderr.decode()}")
    mount = mount_of(bytes(point / "x"), parsed(done.stdout))
    assert (mount.point, mount.type) == (bytes(point), kind)
