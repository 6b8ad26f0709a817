"""The two commands, `cbir` and `cbir-daemon`.

In: the command line.  Out: data on stdout as text or JSON, messages on stderr, an exit status.  Never here: numpy,
SQLite, what an answer means.

Each command of `cbir` asks the daemon and prints the answer.  Every query pays for the whole start of `cbir`: the two
commands that are asked again and again, `query` and `status`, load neither click, `dataclasses`, `pathlib` nor `typing`
(`entry`).
"""

import sys


def main() -> None:
    """Run `cbir`."""
    # No start on Linux pays for what another platform is told.
    if sys.platform != "linux":
        from cbir_daemon.platforms import refusal  # noqa: PLC0415

        if sentence := refusal(sys.platform, serves=False):
            sys.exit(f"cbir: {sentence}")
    from cbir_daemon.cli.entry import main as run  # noqa: PLC0415 -- what is imported may be missing elsewhere

    run()


__all__ = ["main"]
