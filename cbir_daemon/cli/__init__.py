"""The two commands: argv in, one call, text or JSON out.

Never here: numpy, SQLite, what an answer means.  stdout is data, stderr is talk; the whole start of `cbir` is part of
every query, so nothing heavy is imported for it.
"""

from cbir_daemon.cli.client import main

__all__ = ["main"]
