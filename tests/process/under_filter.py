"""Run a command under the system call filter of a unit, as systemd would: `under_filter.py UNIT COMMAND ...`.

In: the unit's `SystemCallFilter=`, `SystemCallErrorNumber=EPERM` and `RestrictAddressFamilies=AF_UNIX`.  Out: this
process becomes the command.  Never here: systemd itself, which does not run where tests do.  Groups of calls are those
of `systemd-analyze syscall-filter`, the filter is made by libseccomp, which systemd uses too.

References
----------
systemd.exec(5), seccomp_rule_add(3).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LIBRARY = "libseccomp.so.2"
ALLOW = 0x7FFF0000
REFUSE = 0x00050000
EQUAL = 4
"""SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(0), SCMP_CMP_EQ."""


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def members(name: str) -> Iterator[str]:
    """Yield the calls that a word of `SystemCallFilter=` stands for."""
    if not name.startswith("@"):
        yield name
        return
    # Its complaint about a kernel without a list of calls is none of ours.
    done = subprocess.run(  # noqa: S603 -- a program of systemd's
        ["systemd-analyze", "syscall-filter", "--no-pager", name],  # noqa: S607 -- wherever it is
        capture_output=True,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines()[1:]:
        word = line.strip()
        if word and not word.startswith("#"):
            yield from members(word)


def allowed(unit: Path) -> set[str]:
    """Return the calls that a unit allows: later lines add to earlier ones, or take away with ~."""
    calls = set(members("@default"))
    for line in unit.read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            words = line.partition("=")[2]
            named = {call for word in words.lstrip("~").split() for call in members(word)}
            calls = calls - named if words.startswith("~") else calls | named
    return calls


def load(calls: set[str]) -> None:
    """Refuse every other call, and sockets but those of Unix, in this process for ever."""
    library = ctypes.CDLL(LIBRARY)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(REFUSE | errno.EPERM)))
    only_unix = Comparison(0, EQUAL, socket.AF_UNIX, 0)
    for call in calls:
        number = library.seccomp_syscall_resolve_name(call.encode())
        # Negative: a call of other machines.
        if number >= 0:
            count = 1 if call == "socket" else 0
            assert library.seccomp_rule_add_array(context, ALLOW, number, count, ctypes.byref(only_unix)) == 0, call
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    load(allowed(Path(sys.argv[1])))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 -- what the caller named
