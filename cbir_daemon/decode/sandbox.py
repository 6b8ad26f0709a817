"""Take away from a worker what it does not need, for good.

In: limits.  Out: a process that cannot grow, gain privileges, write, connect or run another program.  Never here:
images.

A worker that hostile bytes have taken over can still read what its user may read (it opens the files itself) and say
something false about one image; it cannot change a file, send anything anywhere or start anything.  What the kernel is
too old for is left out: limits and `no_new_privs` hold on every Linux.

References
----------
landlock(7); seccomp(2); <linux/landlock.h>, <linux/seccomp.h>, <linux/audit.h>.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import platform
import resource
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_STDOUT: Final = 1
_STDERR: Final = 2

# The daemon's own clock ends a file first; this ends a worker that nobody watches any more.
_CPU_GRACE_S: Final = 5.0

# <linux/prctl.h>
_PR_SET_NO_NEW_PRIVS: Final = 38

# <linux/landlock.h>; the numbers of these system calls are the same everywhere.
_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_RESTRICT_SELF: Final = 446
_LANDLOCK_VERSION_FLAG: Final = 1
_READ_FILE_AND_FOLDER: Final = 1 << 2 | 1 << 3
# The highest right to files that each version of Landlock knows; later ones know no more.
_HIGHEST_RIGHT: Final[Mapping[int, int]] = {1: 12, 2: 13, 3: 14, 4: 14}
_LATEST_HIGHEST_RIGHT: Final = 15
_NETWORK_VERSION: Final = 4
_SCOPE_VERSION: Final = 6
_BIND_AND_CONNECT: Final = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS: Final = 0b11

# <linux/seccomp.h>, <linux/filter.h>
_SECCOMP_SET_MODE_FILTER: Final = 1
_SECCOMP_ALL_THREADS: Final = 1
_ALLOW: Final = 0x7FFF0000
_REFUSE_WITH_EPERM: Final = 0x00050001
_LOAD_WORD: Final = 0x20
_JUMP_IF_EQUAL: Final = 0x15
_JUMP_IF_NOT_BELOW: Final = 0x35
_RETURN: Final = 0x06
_OFFSET_OF_NUMBER: Final = 0
_OFFSET_OF_MACHINE: Final = 4
# Above it the same calls are offered to 32-bit pointers.
_X32_BIT: Final = 0x40000000


@dataclass(frozen=True, slots=True)
class _Machine:
    """What seccomp must know of a processor: its audit number, and the numbers of system calls."""

    audit: int
    seccomp: int
    refused: tuple[int, ...]


# socket connect accept accept4 bind listen, execve execveat, ptrace process_vm_readv process_vm_writev kill,
# mount unshare setns, add_key request_key keyctl, bpf perf_event_open userfaultfd io_uring_setup,
# open_by_handle_at pidfd_open pidfd_getfd
_MACHINES: Final[Mapping[str, _Machine]] = {
    "x86_64": _Machine(
        audit=0xC000003E,
        seccomp=317,
        refused=(
            *(41, 42, 43, 288, 49, 50, 59, 322, 101, 310, 311, 62),
            *(165, 272, 308, 248, 249, 250, 321, 298, 323, 425, 304, 434, 438),
        ),
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        seccomp=277,
        refused=(
            *(198, 203, 202, 242, 200, 201, 221, 281, 117, 270, 271, 129),
            *(40, 97, 268, 217, 218, 219, 280, 241, 282, 425, 265, 434, 438),
        ),
    ),
}

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def confine(max_memory_bytes: int) -> list[str]:
    """Limit the address space; forbid core files, new privileges, writing, connecting and running programs.

    Parameters
    ----------
    max_memory_bytes : int
        Address space of this process; what asks for more gets `MemoryError`.

    Returns
    -------
    list of str
        Which of `landlock` and `seccomp` this kernel has granted.
    """
    _lower(resource.RLIMIT_AS, max_memory_bytes)
    _lower(resource.RLIMIT_CORE, 0)
    # Landlock and seccomp ask for it, and it is worth having alone.
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    granted = {"landlock": _forbid_writing(), "seccomp": _forbid_calls()}
    return [name for name, is_granted in granted.items() if is_granted]


def allow_cpu_time(seconds: float) -> None:
    """Let this process use about `seconds` of processor time from now on; the kernel kills it after that."""
    used = sum(os.times()[:2])
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = math.ceil(used + seconds + _CPU_GRACE_S)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def silence_libraries() -> None:
    """Send what libraries say about damaged files nowhere; a traceback still reaches standard error."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    sys.stderr = os.fdopen(os.dup(_STDERR), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)


def _lower(kind: int, limit: int) -> None:
    # A hard limit set from outside may be lower already; it cannot be raised.
    hard = resource.getrlimit(kind)[1]
    lowest = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (lowest, lowest))


def _forbid_writing() -> bool:
    """Take away every right to files but reading them, and TCP, for ever; say whether the kernel did it."""
    version = _LIBC.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION_FLAG)
    if version < 1:
        return False
    rights = (2 << _HIGHEST_RIGHT.get(version, _LATEST_HIGHEST_RIGHT)) - 1 & ~_READ_FILE_AND_FOLDER
    fields = [rights]
    if version >= _NETWORK_VERSION:
        fields.append(_BIND_AND_CONNECT)
    if version >= _SCOPE_VERSION:
        fields.append(_ABSTRACT_SOCKETS_AND_SIGNALS)
    # What a ruleset names and no rule allows is forbidden; there are no rules.
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = _LIBC.syscall(_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    done = _LIBC.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return bool(done == 0)


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _forbid_calls() -> bool:
    """Refuse, in all threads, system calls that no decoder makes; say whether the kernel did it."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    instructions = _filter(machine)
    program = _Program(len(instructions) // 8, instructions)
    return bool(
        _LIBC.syscall(machine.seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_ALL_THREADS, ctypes.byref(program)) == 0
    )


def _filter(machine: _Machine) -> bytes:
    """Return a program for the kernel: calls of another machine, of x32 and those listed are refused."""
    count = len(machine.refused)
    # Jumps are relative to the next instruction; the last but one allows, the last refuses.
    steps = [
        (_LOAD_WORD, 0, 0, _OFFSET_OF_MACHINE),
        (_JUMP_IF_EQUAL, 0, count + 3, machine.audit),
        (_LOAD_WORD, 0, 0, _OFFSET_OF_NUMBER),
        (_JUMP_IF_NOT_BELOW, count + 1, 0, _X32_BIT),
        *((_JUMP_IF_EQUAL, count - position, 0, number) for position, number in enumerate(machine.refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE_WITH_EPERM),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
