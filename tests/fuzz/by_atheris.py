"""The process in which libFuzzer runs a target: `python -m tests.fuzz.by_atheris TARGET CORPUS OPTION...`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["cbir_daemon", "tomllib", "json", "PIL"]):
    from tests.fuzz import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name].run)
    atheris.Fuzz()
