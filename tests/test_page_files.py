"""What the page consists of: its weight, its libraries and their licences, and what its modules never do."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

STATIC = Path(str(files("cbir_daemon"))) / "page" / "static"
VENDOR = STATIC / "vendor"
CHECKOUT = Path(__file__).resolve().parents[1]
MAX_WEIGHT_BYTES = 300_000
"""All that a browser loads before the first picture."""

UNAVAILABLE = 69
"""Exit status of the script where npm cannot install."""

MARKUP_SINKS = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    "new Function",
    "dangerouslySetInnerHTML",
)
"""What would make elements or code of a text, such as a file's name."""

IMPORT = re.compile(r'^(?:import|export)\b[^"]*from "([^"]+)"|^import "([^"]+)"', re.MULTILINE)


def modules() -> list[Path]:
    """Return the page's own modules."""
    return [path for path in sorted(STATIC.rglob("*.js")) if VENDOR not in path.parents]


def test_the_page_weighs_little() -> None:
    """Everything but licences, uncompressed, stays below 300 KB."""
    weight = sum(
        path.stat().st_size for path in STATIC.rglob("*") if path.is_file() and not path.name.startswith("LICENSE")
    )
    assert weight <= MAX_WEIGHT_BYTES


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.name)
def test_no_module_makes_elements_of_text(path: Path) -> None:
    """Names become text nodes and attributes; no module has a way to make them markup or code."""
    text = path.read_text()
    assert [sink for sink in MARKUP_SINKS if sink in text] == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.name)
def test_modules_import_files_of_the_page(path: Path) -> None:
    """Each import is a relative path to a file that ships: nothing is loaded from elsewhere."""
    for first, second in IMPORT.findall(path.read_text()):
        name = first or second
        assert name.startswith("."), f"{path.name} imports {name}"
        assert (path.parent / name).is_file(), f"{path.name} imports {name}"


def test_each_module_is_used() -> None:
    """Every module is reached from the page."""
    reached: set[Path] = set()
    waiting = [STATIC / "main.js"]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        waiting += [(path.parent / (first or second)).resolve() for first, second in IMPORT.findall(path.read_text())]
    assert sorted(set(modules()) - reached) == []


def test_each_module_is_loaded_at_once() -> None:
    """The page names every module, so that a browser need not find them one after the other."""
    page = (STATIC / "index.html").read_text()
    named = set(re.findall(r'(?:href|src)="/static/([^"]+\.js)"', page))
    assert named == {str(path.relative_to(STATIC)) for path in STATIC.rglob("*.js")}


def test_the_page_has_no_inline_script_or_style() -> None:
    """The policy of the page allows files of its own only."""
    page = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\bstyle=|\bon\w+=", page) == []


def test_libraries_come_with_their_licences() -> None:
    """Each library stands beside the licence under which it may be passed on."""
    assert {path.name for path in VENDOR.iterdir()} == {
        "LICENSE.htm",
        "LICENSE.preact",
        "htm.js",
        "hooks.js",
        "preact.js",
    }


@pytest.mark.process
def test_libraries_are_what_npm_has() -> None:
    """The vendored files are those of the lock file, byte for byte but for the names of imports."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing")
    script = CHECKOUT / "scripts" / "vendor-page"
    done = subprocess.run([script, "--check", VENDOR], capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 -- ours
    if done.returncode == UNAVAILABLE:
        pytest.skip(done.stderr.strip())
    assert (done.returncode, done.stdout) == (0, "")
