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
from cbir_daemon.decode.sandbox import allow_cpu_time, confine
folder = sys.argv[1]
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
granted = confine(512 * 1024 * 1024)
allow_cpu_time(1000.0)
answer.set()
thread.join()
actions = {
    "read": lambda: open(folder + "/a").read(),
    "write": lambda: open(folder + "/a", "w"),
    "create": lambda: open(folder + "/b", "w"),
    "delete": lambda: os.remove(folder + "/a"),
    "rename": lambda: os.rename(folder + "/a", folder + "/c"),
    "run": lambda: os.execv("/bin/true", ["true"]),
    "connect": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "unix": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "signal": lambda: os.kill(os.getppid(), 0),
    "memory": lambda: bytearray(1024 * 1024 * 1024),
}
results = {name: outcome(action) for name, action in actions.items()}
results |= {"granted": granted, "thread": said[0], "core": resource.getrlimit(resource.RLIMIT_CORE)[1]}
results["privileges"] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("NoNewPrivs")]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What became of each thing that a confined process tried."""
    folder = tmp_path_factory.mktemp("folder")
    (folder / "a").write_text("text")
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    output = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 -- our own interpreter
    assert [path.name for path in Path(folder).iterdir()] == ["a"] or not json.loads(output)["granted"]
    parsed: dict[str, object] = json.loads(output)
    return parsed


def test_limits_hold_on_every_kernel(results: dict[str, object]) -> None:
    """No more memory, no core file, no new privileges; reading goes on."""
    held = {name: results[name] for name in ("read", "memory", "core", "privileges")}
    assert held == {"read": "done", "memory": "MemoryError", "core": 0, "privileges": ["1"]}


def test_landlock_takes_away_writing(results: dict[str, object]) -> None:
    """A worker cannot change, add, delete or rename a file."""
    if "landlock" not in str(results["granted"]):
        pytest.skip("this kernel has no Landlock")
    tried = ("write", "create", "delete", "rename")
    assert {name: results[name] for name in tried} == dict.fromkeys(tried, "PermissionError")


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no table of system calls")
def test_seccomp_takes_away_the_network_and_programs(results: dict[str, object]) -> None:
    """A worker cannot open a socket of any kind, from any thread, run a program or send a signal."""
    assert "seccomp" in str(results["granted"])
    tried = ("run", "connect", "unix", "signal", "thread")
    assert {name: results[name] for name in tried} == dict.fromkeys(tried, "PermissionError")
