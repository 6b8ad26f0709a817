"""The bill of materials: `sbom.py ENVIRONMENT FILE`.

In: an environment that holds the program, and what the page's libraries are (`scripts/page`).  Out: CycloneDX 1.6.
Never here: installing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENDOR = "cbir_daemon/page/static/vendor"


def vendored() -> list[dict[str, Any]]:
    """Return the libraries that are copied into the package, as components."""
    lock = json.loads((ROOT / "scripts/page/package-lock.json").read_text(encoding="utf-8"))
    return [
        {
            "type": "library",
            "bom-ref": f"pkg:npm/{name}@{package['version']}",
            "name": name,
            "version": package["version"],
            "purl": f"pkg:npm/{name}@{package['version']}",
            "licenses": [{"license": {"id": package["license"], "acknowledgement": "declared"}}],
            "properties": [{"name": "cbir:copied-into", "value": VENDOR}],
        }
        for place, package in sorted(lock["packages"].items())
        if (name := place.rpartition("node_modules/")[2])
    ]


def bill(environment: Path) -> dict[str, Any]:
    """Return what an environment and the page are made of."""
    made = subprocess.run(  # noqa: S603 -- a program of the environment that runs this
        [
            *(Path(sys.prefix) / "bin/cyclonedx-py", "environment", "--output-reproducible", "--spec-version", "1.6"),
            *("--pyproject", ROOT / "pyproject.toml", "--mc-type", "application", environment),
        ],
        check=True,
        stdout=subprocess.PIPE,
    )
    document: dict[str, Any] = json.loads(made.stdout)
    libraries = vendored()
    document["components"] += libraries
    program = document["metadata"]["component"]["bom-ref"]
    for entry in document["dependencies"]:
        if entry["ref"] == program:
            entry["dependsOn"] = sorted([*entry.get("dependsOn", []), *(library["bom-ref"] for library in libraries)])
    return document


def main() -> None:
    """Write the bill of an environment, valid by CycloneDX's own schema."""
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 -- only whoever makes a bill has it
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415 -- the same

    environment, file = map(Path, sys.argv[1:])
    text = json.dumps(bill(environment), indent=1, sort_keys=True)
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        sys.exit(f"{file}: {fault}")
    file.write_text(f"{text}\n", encoding="utf-8")
    print(f"{file}: {len(json.loads(text)['components'])} components", file=sys.stderr)  # noqa: T201 -- a script's word


if __name__ == "__main__":
    main()
