"""What the Debian package shares with the system: `shared.py ROOT`.

In: the units and manual pages of the program.  Out: the same below a root, where Debian has them.  Never here: the
program itself.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

from cbir_daemon.cli.daemon import daemon
from cbir_daemon.cli.manuals import shared_files
from cbir_daemon.installing import Scope, unit_folder, unit_names, unit_text

PROGRAM = Path("/usr/lib/cbir-daemon/bin")


def files() -> dict[str, str]:
    """Return the text of each file by its path below the root."""
    units = {
        f"usr/lib/systemd/{scope}/{unit}": unit_text(scope, unit, PROGRAM)
        for scope in get_args(Scope)
        for unit in unit_names(scope)
    }
    sysusers = (unit_folder("system") / "sysusers.conf").read_text(encoding="utf-8")
    # Debian keeps what its packages bring for zsh apart from what the machine has.
    shared = {path.replace("site-functions", "vendor-completions"): text for path, text in shared_files(daemon).items()}
    return (
        {f"usr/share/{path}": text for path, text in shared.items()}
        | units
        | {"usr/lib/sysusers.d/cbir-daemon.conf": sysusers}
    )


def main() -> None:
    """Write them below the root that is named."""
    for path, text in files().items():
        target = Path(sys.argv[1]) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
