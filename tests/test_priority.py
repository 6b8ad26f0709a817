"""How much threads stand back."""

from __future__ import annotations

import subprocess
import sys

import pytest

STANDS_BACK = """
import os, sys, threading
from cbir_daemon.system.priority import be_nice
os.nice(int(sys.argv[1]) - os.nice(0))
found = []
def stand_back():
    be_nice()
    found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
thread = threading.Thread(target=stand_back)
thread.start()
thread.join()
print(*found, os.nice(0))
"""


@pytest.mark.parametrize("niceness", [15, 19])
def test_a_thread_stands_back_behind_its_process(niceness: int) -> None:
    """Nobody but root may lower a niceness: in a daemon that was started with a high one, the thread keeps that."""
    command = [sys.executable, "-c", STANDS_BACK, str(niceness)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 -- ours
    assert printed.split() == ["19", str(niceness)]
