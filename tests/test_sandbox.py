"""What a decode worker may not do, tried in a real process that was confined as a worker is."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

# Tries everything after it was confined, and prints what became of it.
PROGRAM = """
import json, os, resource, socket, sys, threading, time
from cbir_daemon.system import sandbox
from cbir_daemon.system.sandbox import allow_cpu_time, confine
folder, fonts = sys.argv[1:3]
status = open("/proc/self/status")
given = os.open(folder + "/a", os.O_RDONLY)
said = []
answer = threading.Event()
def network_in_a_thread():
    answer.wait()
    said.append(outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
def outcome(action):
    try:
        action()
    except Exception as error:
        return type(error).__name__
    return "done"
thread = threading.Thread(target=network_in_a_thread)
thread.start()
granted = confine(512 * 1024 * 1024, [fonts] if fonts else [])
allow_cpu_time(1000.0)
answer.set()
thread.join()
actions = {
    "read what it was given": lambda: os.pread(given, 9, 0),
    "read": lambda: open(folder + "/a").read(),
    "read a font": lambda: open(fonts + "/font").read(),
    "read by its number": lambda: open(f"/proc/self/fd/{given}").read(),
    "list": lambda: os.listdir(folder),
    "change rights": lambda: os.chmod(folder + "/a", 0o777),
    "change rights by its number": lambda: os.fchmod(given, 0o777),
    "change times by its number": lambda: os.utime(given),
    "write by its number": lambda: os.write(given, b"x"),
    "write": lambda: open(folder + "/a", "w"),
    "create": lambda: open(folder + "/b", "w"),
    "delete": lambda: os.remove(folder + "/a"),
    "rename": lambda: os.rename(folder + "/a", folder + "/c"),
    "run": lambda: os.execv("/bin/true", ["true"]),
    "connect": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "unix": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "signal": lambda: os.kill(os.getppid(), 0),
    "limit another": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)),
    "memory": lambda: bytearray(1024 * 1024 * 1024),
}
results = {name: outcome(action) for name, action in actions.items()}
results |= {"granted": granted, "thread": said[0], "core": resource.getrlimit(resource.RLIMIT_CORE)[1]}
results["privileges"] = [line.split()[1] for line in status if line.startswith("NoNewPrivs")]
results["cpu"] = resource.getrlimit(resource.RLIMIT_CPU)[0]
print(json.dumps(results))
"""


def tried(folder: Path, fonts: str, program: str = PROGRAM) -> dict[str, object]:
    """Return what became of each thing that a process tried after it was confined."""
    (folder / "a").write_text("text")
    (folder / "fonts").mkdir()
    (folder / "fonts" / "font").write_text("letters")
    command = [sys.executable, "-c", program, str(folder), fonts]
    output = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 -- our own interpreter
    parsed: dict[str, object] = json.loads(output)
    assert (folder / "a").read_text() == "text" or not parsed["granted"]
    return parsed


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What became of each thing that a confined process tried."""
    return tried(tmp_path_factory.mktemp("folder"), "")


def test_limits_hold_on_every_kernel(results: dict[str, object]) -> None:
    """No more memory, no core file, no new privileges, no endless computing; what was open is read on."""
    held = {name: results[name] for name in ("read what it was given", "memory", "core", "privileges")}
    assert held == {"read what it was given": "done", "memory": "MemoryError", "core": 0, "privileges": ["1"]}
    assert 1000 <= int(str(results["cpu"])) <= 1010


CHANGES = ("write", "create", "delete", "rename")
READS = ("read", "read a font", "read by its number", "list")


def test_landlock_takes_away_files(results: dict[str, object]) -> None:
    """A worker cannot read, list, change, add, delete or rename a file; not even open again what it was given."""
    if "landlock" not in str(results["granted"]):
        pytest.skip("this kernel has no Landlock")
    assert {name: results[name] for name in CHANGES + READS} == dict.fromkeys(CHANGES + READS, "PermissionError")


def test_a_folder_may_be_left_to_read(tmp_path: Path) -> None:
    """Files there can be opened, to be read only; all others stay closed."""
    results = tried(tmp_path, str(tmp_path / "fonts"))
    if "landlock" not in str(results["granted"]):
        pytest.skip("this kernel has no Landlock")
    assert results["read a font"] == "done"
    closed = {*CHANGES, *READS} - {"read a font"}
    assert {name: results[name] for name in closed} == dict.fromkeys(closed, "PermissionError")


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no table of system calls")
def test_seccomp_takes_away_the_network_and_programs(results: dict[str, object]) -> None:
    """A worker cannot open a socket of any kind, from any thread, run a program, send a signal or limit others."""
    assert "seccomp" in str(results["granted"])
    tried = ("run", "connect", "unix", "signal", "thread", "limit another")
    assert {name: results[name] for name in tried} == dict.fromkeys(tried, "PermissionError")


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no table of system calls")
def test_seccomp_takes_away_what_a_descriptor_would_allow(results: dict[str, object]) -> None:
    """The owner of a file may change its rights and times through a descriptor that can only be read from."""
    tried = ("change rights", "change rights by its number", "change times by its number")
    assert {name: results[name] for name in tried} == dict.fromkeys(tried, "PermissionError")
    assert results["write by its number"] == "OSError"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no table of system calls")
def test_without_landlock_nothing_can_be_opened(tmp_path: Path) -> None:
    """On an older kernel seccomp alone keeps files closed, and the worker works all the same."""
    without = PROGRAM.replace("granted = confine", "sandbox.LANDLOCK_CREATE_RULESET = 9999; granted = confine")
    assert without != PROGRAM
    results = tried(tmp_path, "", without)
    assert results["granted"] == ["seccomp"]
    closed = ("write", "create", "read", "read by its number", "list", "change rights")
    assert {name: results[name] for name in closed} == dict.fromkeys(closed, "PermissionError")
    assert results["read what it was given"] == "done"


SERVING = """
import json, os, socket, sys
from cbir_daemon.system.sandbox import confine
folder = sys.argv[1]
listener = socket.create_server(("127.0.0.1", 0))
unix = socket.socket(socket.AF_UNIX)
unix.bind(folder + "/s")
unix.listen()
def outcome(action):
    try:
        action()
    except Exception as error:
        return type(error).__name__
    return "done"
def connect(address):
    with socket.create_connection(address, 5):
        pass
def connect_unix():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(folder + "/s")
        unix.accept()[0].close()
granted = confine(2**31, serves=True)
listener.listen()
actions = {
    "unix": connect_unix,
    "listen": lambda: listener.listen(),
    "bind": lambda: socket.socket(socket.AF_INET).bind(("127.0.0.1", 0)),
    "connect": lambda: connect(listener.getsockname()),
    "read": lambda: open(folder + "/a").read(),
    "write": lambda: open(folder + "/b", "w"),
    "run": lambda: os.execv("/bin/true", ["true"]),
    "signal": lambda: os.kill(os.getppid(), 0),
}
print(json.dumps({"granted": granted} | {name: outcome(action) for name, action in actions.items()}))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no table of system calls")
def test_a_process_that_serves_keeps_its_sockets_only(tmp_path: Path) -> None:
    """It listens on and connects to Unix sockets; it binds nothing, opens no file, runs and signals nobody."""
    (tmp_path / "a").write_text("text")
    command = [sys.executable, "-c", SERVING, str(tmp_path)]
    results = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603 -- ours
    assert {name: results[name] for name in ("unix", "listen")} == dict.fromkeys(("unix", "listen"), "done")
    refused = ("bind", "read", "write", "run", "signal")
    assert {name: results[name] for name in refused} == dict.fromkeys(refused, "PermissionError")
    # Landlock knows TCP from its fourth version on.
    assert results["connect"] in ("PermissionError", "done")
