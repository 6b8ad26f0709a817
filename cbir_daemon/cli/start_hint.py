"""How a daemon is started here: what `cbir` says when none answers.

In: the environment, which units and which checkout are there.  Out: a sentence with one command.  Never here: starting
it.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from cbir_daemon.config.places import checkout_of

UNIT = "systemd/{}/cbir-daemon.service"
SYSTEM_FOLDERS = ("/etc", "/usr/local/lib", "/usr/lib", "/lib")
"""Where systemd looks for units."""


def start_hint(
    socket: str | os.PathLike[str] | None,
    environ: Mapping[str, str],
    prefix: str = sys.prefix,
    folders: tuple[str, ...] = SYSTEM_FOLDERS,
) -> str:
    """Return the one command that starts the daemon, as a sentence.

    Parameters
    ----------
    socket : path or None
        From the command line; it and CBIR_SOCKET name one daemon, of which only its user knows how it is started.
    environ : mapping of str to str
        Of the process.
    prefix : str
        Folder of the Python environment.
    folders : tuple of str
        In which units of the machine lie.
    """
    if socket is not None or environ.get("CBIR_SOCKET"):
        return "is it running? without --socket and CBIR_SOCKET, the usual places are tried"
    return f"start it with `{_command(environ, prefix, folders)}`"


def _command(environ: Mapping[str, str], prefix: str, folders: tuple[str, ...]) -> str:
    own = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", ""), ".config"))
    if Path(own, UNIT.format("user")).exists():
        return "systemctl --user start cbir-daemon"
    if any(Path(folder, UNIT.format("system")).exists() for folder in folders):
        return f"{'' if os.geteuid() == 0 else 'sudo '}systemctl start cbir-daemon"
    script = Path(checkout_of(prefix), "scripts", "run")
    return shlex.quote(str(script)) if checkout_of(prefix) and script.exists() else "cbir-daemon run"
