"""Files appear whole or not at all, and the kernel's figures of memory are read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cbir_daemon.system.files import memory_bytes, new_file, synchronise, whole_file


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file_takes_its_name_at_the_end(tmp_path: Path) -> None:
    """Until then the old one stands; it is for its owner alone, and nothing else is left in the folder."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with whole_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["a"]


def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    """An error in the block, a full disk and a folder in its place: what was begun is removed."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), whole_file(path) as file:
        file.writelines([b"new", None])  # type: ignore[list-item]  # the second write fails
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError), whole_file(tmp_path / "folder") as file:
        file.write(b"new")
    assert names(tmp_path) == ["a", "folder"]
    assert path.read_bytes() == b"old"


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path: Path) -> None:
    """The process ends without any clean-up inside the block: the name still leads to the old data."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    program = (
        "import os, pathlib, sys\n"
        "from cbir_daemon.system.files import whole_file\n"
        "with whole_file(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write(b'new')\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], check=False)  # noqa: S603 -- our own interpreter
    assert done.returncode == -9
    assert path.read_bytes() == b"old"
    with whole_file(path) as file:
        file.write(b"next")
    assert path.read_bytes() == b"next"
    assert names(tmp_path) == ["a"]


def test_the_data_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut may leave the new name with nothing in it."""
    order: list[str] = []
    replace = Path.replace

    def noted(path: Path, target: Path) -> Path:
        order.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", lambda _: order.append("sync"))
    monkeypatch.setattr(Path, "replace", noted)
    with whole_file(tmp_path / "a") as file:
        file.write(b"new")
    assert order == ["sync", "rename"]


def test_files_and_folders_are_synchronised(tmp_path: Path) -> None:
    """What is not there is an error."""
    with new_file(tmp_path / "a") as file:
        file.write(b"data")
    synchronise(tmp_path / "a")
    synchronise(tmp_path)
    with pytest.raises(FileNotFoundError):
        synchronise(tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "found"), [("VmHWM", 12 * 1024), ("VmRSS", 8 * 1024), ("Threads", 3 * 1024), ("Vm", 0), ("", 0)]
)
def test_figures_of_memory_are_bytes(tmp_path: Path, name: str, found: int) -> None:
    """By the whole name of the line; one that is not there is 0."""
    (tmp_path / "status").write_text("Name:\ta: b\nVmHWM:\t      12 kB\nVmRSS:\t 8 kB\nThreads:\t3\n")
    assert memory_bytes(tmp_path / "status", name) == found


def test_the_kernel_s_own_figures() -> None:
    """Of this process, of the machine, and of a process that is gone."""
    assert memory_bytes(Path("/proc/self/status"), "VmHWM") > 2**20
    assert memory_bytes(Path("/proc/meminfo"), "MemAvailable") > 2**20
    with pytest.raises(FileNotFoundError):
        memory_bytes(Path("/proc/0/status"), "VmHWM")
