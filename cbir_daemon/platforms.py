"""What only some kernels have, in one place: the walls of the program.

In: the name of a platform.  Out: the numbers of calls that only Linux has, why a platform is refused.  Never here: the
calls themselves.

The daemon needs Linux: inotify (`watching.events`), sealed memory (`search.shared_arrays`), seccomp and Landlock
(`system.sandbox`), peers of a socket (`serving.server`), children that end with it (`system.child`).
On another Unix the client and the rooms that compute work, and `cbir-daemon` is refused; on Windows both commands are.
"""

from __future__ import annotations

# <linux/fcntl.h>: `fcntl` has the names on Linux only, and the last from Python 3.13 on.
F_SEAL_SEAL = 0x0001
F_SEAL_SHRINK = 0x0002
F_SEAL_GROW = 0x0004
F_SEAL_WRITE = 0x0008
F_SEAL_FUTURE_WRITE = 0x0010

WINDOWS = "Windows is not supported: run it in WSL 2 or in a container"
NOT_LINUX = "the daemon runs on Linux only: inotify, seccomp and sealed memory are missing here"


def refusal(platform: str, *, serves: bool) -> str:
    """Return why a command does not run on a platform, as a sentence; nothing where it does.

    Parameters
    ----------
    platform : str
        As `sys.platform` names it.
    serves : bool
        Whether it is the daemon, not a client.
    """
    if platform in ("win32", "cygwin"):
        return WINDOWS
    return NOT_LINUX if serves and platform != "linux" else ""
