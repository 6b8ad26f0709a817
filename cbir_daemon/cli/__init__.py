"""The two commands, `cbir` and `cbir-daemon`.

In: the command line.  Out: data on stdout as text or JSON, messages on stderr, an exit status.  Never here: numpy,
SQLite, what an answer means.

Each command of `cbir` asks the daemon and prints the answer.  Every query pays for the whole start of `cbir`: the two
commands that are asked again and again, `query` and `status`, load neither click, `dataclasses`, `pathlib` nor `typing`
(`entry`).
"""

from cbir_daemon.cli.entry import main

__all__ = ["main"]
