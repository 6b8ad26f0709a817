"""The start of `cbir-daemon`: sets what must be set before numpy is imported."""

from __future__ import annotations

import faulthandler
import os
import sys

from cbir_daemon.cli.ending import INTERRUPTED
from cbir_daemon.platforms import refusal


def main() -> None:
    """Run `cbir-daemon`."""
    if sentence := refusal(sys.platform, serves=True):
        sys.exit(f"cbir-daemon: {sentence}")
    # A daemon that the service manager kills (SIGABRT) because it hangs says first where each thread was.
    faulthandler.enable()
    # One thread for matrix products: a search of 100 000 codes takes 170 ms with one, and 650 ms with two on a machine
    # whose cores are busy indexing, because each waits for the other.  Who sets the variable has chosen.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        # OpenBLAS reads it once, when numpy is imported.
        from cbir_daemon.cli.daemon import main as run  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()
