"""The two commands, `cbir` and `cbir-daemon`.

In: the command line.  Out: data on stdout as text or JSON, messages on stderr, an exit status.  Never here: numpy,
SQLite, what an answer means.

Each command of `cbir` asks the daemon and prints the answer.  Every query pays for the whole start of `cbir`, so
nothing heavy is imported for it.
"""

from cbir_daemon.cli.client import main

__all__ = ["main"]
