"""Take away from a process what it does not need, for good.

In: limits.  Out: a process that cannot grow, gain privileges, open or change a file, connect or run another program.
Never here: images, what the process does.

A worker that hostile bytes have taken over can still read the files that it is given open, say something false about
them, and learn which names there are; it cannot read any other file, change one, send anything anywhere or start
anything.  What the kernel is too old for is left out: limits and `no_new_privs` hold on every Linux.

References
----------
landlock(7); seccomp(2); <linux/landlock.h>, <linux/seccomp.h>, <linux/audit.h>.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import resource
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# The daemon's own clock ends a file first; this ends a worker that nobody watches any more.
_CPU_GRACE_S: Final = 5.0

# <linux/prctl.h>
_PR_SET_NO_NEW_PRIVS: Final = 38

# <linux/landlock.h>; the numbers of these system calls are the same everywhere.
LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_ADD_RULE: Final = 445
_LANDLOCK_RESTRICT_SELF: Final = 446
_LANDLOCK_VERSION_FLAG: Final = 1
_PATH_BENEATH: Final = 1
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
_OFFSET_OF_FIRST_ARGUMENT: Final = 16
_THIS_PROCESS: Final = 0
# Above it the same calls are offered to 32-bit pointers.
_X32_BIT: Final = 0x40000000


@dataclass(frozen=True, slots=True)
class _Machine:
    """The numbers of a processor for seccomp: its audit number, and the numbers of system calls."""

    audit: int
    seccomp: int
    sockets: tuple[int, ...]
    refused: tuple[int, ...]
    opening: tuple[int, ...]
    limits: int


# Sockets: socket connect accept accept4 listen.
# Refused: bind, execve execveat, ptrace process_vm_readv process_vm_writev kill,
# tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal,
# mount unshare setns, add_key request_key keyctl, bpf perf_event_open userfaultfd io_uring_setup,
# open_by_handle_at pidfd_open pidfd_getfd,
# fchmod fchmodat fchmodat2 fchown fchownat utimensat setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr
# (Landlock knows none of these, and a descriptor that can only be read from is enough for some),
# and of those that only x86-64 has: chmod chown lchown utime utimes futimesat,
# unlinkat renameat renameat2 mkdirat linkat symlinkat mknodat truncate, on x86-64 also
# unlink rename mkdir rmdir link symlink mknod.
# Opening: openat openat2, on x86-64 also open creat.  Limits: prlimit64, which would do for other processes too.
_MACHINES: Final[Mapping[str, _Machine]] = {
    "x86_64": _Machine(
        audit=0xC000003E,
        seccomp=317,
        sockets=(41, 42, 43, 288, 50),
        refused=(
            *(49, 59, 322, 101, 310, 311, 62),
            *(200, 234, 129, 297, 424),
            *(165, 272, 308, 248, 249, 250, 321, 298, 323, 425, 304, 434, 438),
            *(91, 268, 452, 93, 260, 280, 188, 189, 190, 197, 198, 199),
            *(90, 92, 94, 132, 235, 261),
            *(263, 264, 316, 258, 265, 266, 259, 76, 87, 82, 83, 84, 86, 88, 133),
        ),
        opening=(257, 437, 2, 85),
        limits=302,
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        seccomp=277,
        sockets=(198, 203, 202, 242, 201),
        refused=(
            *(200, 221, 281, 117, 270, 271, 129),
            *(130, 131, 138, 240, 424),
            *(40, 97, 268, 217, 218, 219, 280, 241, 282, 425, 265, 434, 438),
            *(52, 53, 452, 55, 54, 88, 5, 6, 7, 14, 15, 16),
            *(35, 38, 276, 34, 37, 36, 33, 45),
        ),
        opening=(56, 437),
        limits=261,
    ),
}

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def confine(
    max_memory_bytes: int | None, readable: Sequence[str] = (), *, serves: bool = False, opens: bool = False
) -> list[str]:
    """Limit the address space; forbid core files, new privileges, files, connecting and running programs.

    Parameters
    ----------
    max_memory_bytes : int or None
        Address space of this process; what asks for more gets `MemoryError`.  None for one that maps large files.
    readable : sequence of str
        Folders in which files may still be opened for reading; `~` is this user's home.
    serves : bool
        Whether the process goes on answering on sockets that are bound already, and may connect to Unix sockets.  TCP
        connections of its own are forbidden nevertheless, where the kernel has Landlock 4.
    opens : bool
        Whether the process cannot work without opening what is readable: on a kernel without Landlock it may then open
        whatever its user may.

    Returns
    -------
    list of str
        Which of `landlock` and `seccomp` this kernel has granted.
    """
    if max_memory_bytes is not None:
        _lower(resource.RLIMIT_AS, max_memory_bytes)
    _lower(resource.RLIMIT_CORE, 0)
    # Landlock and seccomp ask for it, and it is worth having alone.
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    has_landlock = _forbid_files(readable)
    # Only Landlock can tell one folder from another: without it none is readable, or all are.
    may_open = bool(readable) if has_landlock else opens
    has_seccomp = _forbid_calls(opening_too=not may_open, sockets_too=not serves)
    return ["landlock"] * has_landlock + ["seccomp"] * has_seccomp


def allow_cpu_time(seconds: float) -> None:
    """Let this process use about `seconds` of processor time from now on; the kernel kills it after that."""
    used = sum(os.times()[:2])
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = math.ceil(used + seconds + _CPU_GRACE_S)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _lower(kind: int, limit: int) -> None:
    # A hard limit set from outside may be lower already; it cannot be raised.
    hard = resource.getrlimit(kind)[1]
    lowest = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (lowest, lowest))


def _forbid_files(readable: Sequence[str]) -> bool:
    """Take away every right to files but to read in some folders, and TCP, for ever; say whether the kernel did it.

    What is open stays open: rights are asked for when a file is opened.
    """
    version = _LIBC.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION_FLAG)
    if version < 1:
        return False
    fields = [(2 << _HIGHEST_RIGHT.get(version, _LATEST_HIGHEST_RIGHT)) - 1]
    if version >= _NETWORK_VERSION:
        fields.append(_BIND_AND_CONNECT)
    if version >= _SCOPE_VERSION:
        fields.append(_ABSTRACT_SOCKETS_AND_SIGNALS)
    # What a ruleset names and no rule allows is forbidden.
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = _LIBC.syscall(LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    for folder in readable:
        _allow_reading(ruleset, Path(folder).expanduser())
    done = _LIBC.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return bool(done == 0)


def _allow_reading(ruleset: int, folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        # No such folder here.
        return
    # struct landlock_path_beneath_attr, which is packed.
    rule = struct.pack("=Qi", _READ_FILE_AND_FOLDER, descriptor)
    _LIBC.syscall(_LANDLOCK_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    os.close(descriptor)


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _forbid_calls(*, opening_too: bool, sockets_too: bool) -> bool:
    """Refuse, in all threads, system calls that the process has no use for; say whether the kernel did it."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    opening, sockets = (machine.opening if opening_too else ()), (machine.sockets if sockets_too else ())
    refused = (*machine.refused, *opening, *sockets)
    instructions = _filter(machine.audit, refused, machine.limits)
    program = _Program(len(instructions) // 8, instructions)
    return bool(
        _LIBC.syscall(machine.seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_ALL_THREADS, ctypes.byref(program)) == 0
    )


def _filter(audit: int, refused: Sequence[int], limits: int) -> bytes:
    """Return a program for the kernel.

    Refused are calls of another machine, of x32, those listed, and `limits` for any process but the caller's own.
    """
    count = len(refused)
    # Jumps are relative to the next instruction and go forward only: the last of all refuses.
    steps = [
        (_LOAD_WORD, 0, 0, _OFFSET_OF_MACHINE),
        (_JUMP_IF_EQUAL, 0, count + 7, audit),
        (_LOAD_WORD, 0, 0, _OFFSET_OF_NUMBER),
        (_JUMP_IF_NOT_BELOW, count + 5, 0, _X32_BIT),
        (_JUMP_IF_EQUAL, count + 1, 0, limits),
        *((_JUMP_IF_EQUAL, count - position + 3, 0, number) for position, number in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD_WORD, 0, 0, _OFFSET_OF_FIRST_ARGUMENT),
        (_JUMP_IF_EQUAL, 0, 1, _THIS_PROCESS),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE_WITH_EPERM),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
