"""The documents that the benchmark of texts asks for: files of Debian's documentation packages.

In: packages, fetched by `apt-get download` into a cache on the first run.  Out: documents, in an order that a seed
gives.  Never here: what is done to documents (`_text_edits`), who finds them.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

PACKAGES = (
    *("apache2-doc", "aptitude-doc-en", "bash-doc", "debian-faq", "debian-policy", "debian-reference-en"),
    *("developers-reference", "exim4-doc-html", "freebsd-manpages", "git-doc", "libssl-doc", "linux-doc-6.1"),
    *("maint-guide", "manpages", "manpages-de", "manpages-dev", "manpages-fr", "perl-doc", "postgresql-doc-15"),
    *("python3.11-doc", "r-doc-html", "sqlite3-doc", "tcl8.6-doc", "tk8.6-doc"),
)
"""120 MB to fetch: manuals, and references of which many pages look alike."""

LICENCES = Path("/usr/share/common-licenses")
COPYRIGHTS = Path("/usr/share/doc")
"""What each Debian has: which package is under which licence, most in the same words."""

SEED = 17
ALBUM_SIZE = 10_000
MIN_BYTES, MAX_BYTES = 700, 400_000
LEFT_OUT = ("_sources", "/Documentation/", "_static", "genindex", "search.html", "/js/", "/images/")

MACRO = re.compile(rb"^[.'][A-Za-z]{1,3}\b ?")
ESCAPE = re.compile(rb"\\(?:f[A-Z]|f\([A-Z]{2}|s[+-]?\d|&)|(?<=\\)-")
"""Of the language that manuals are written in."""


@dataclass(frozen=True)
class Document:
    """A file of the album, or one that is kept out of it.

    Parameters
    ----------
    name : str
        Package and path within it.
    path : Path
        Of a file in the cache, or of this machine.
    """

    name: str
    path: Path

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return self.path.read_bytes()


def cache_folder() -> Path:
    """Return where this benchmark keeps what it fetched."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cbir-bench" / "text"


def documents() -> list[Document]:
    """Return all documents, each content once, in an order that the seed gives; the first are the album."""
    files = cache_folder() / "documents"
    if not files.is_dir():
        _fetch(files)
    found = [
        *(Document(str(path.relative_to(files)), path) for path in sorted(files.rglob("*")) if path.is_file()),
        *(Document(f"licences/{path.name}", path) for path in sorted(LICENCES.iterdir()) if not path.is_symlink()),
        *(Document(f"copyright/{path.parent.name}", path) for path in sorted(COPYRIGHTS.glob("*/copyright"))),
    ]
    unique = {
        hashlib.sha256(document.data).digest(): document for document in reversed(found) if document.path.is_file()
    }
    ordered = sorted(unique.values(), key=lambda document: document.name)
    random.Random(SEED).shuffle(ordered)  # noqa: S311 -- a seed, so that the same files give the same figures
    return ordered


def _fetch(files: Path) -> None:
    """Fetch and unpack the packages; what is there afterwards is whole."""
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if not apt or not dpkg:
        raise click.ClickException("the documents are in Debian's packages: run this on Debian, with apt-get")
    partial = files.with_name("documents.partial")
    packages = files.with_name("packages")
    shutil.rmtree(partial, ignore_errors=True)
    for package in PACKAGES:
        click.echo(f"fetching {package}", err=True)
        folder = packages / package
        folder.mkdir(parents=True, exist_ok=True)
        if not list(folder.glob("*.deb")):
            subprocess.run([apt, "download", "-qq", package], cwd=folder, check=True)  # noqa: S603 -- names from above
        unpacked = folder / "unpacked"
        subprocess.run([dpkg, "-x", str(next(folder.glob("*.deb"))), str(unpacked)], check=True)  # noqa: S603 -- a package of Debian
        for path, data in _texts(unpacked):
            target = partial / package / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        shutil.rmtree(unpacked)
    partial.rename(files)


def _texts(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of the files of a package that are texts, unpacked."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink() or not path.is_file() or any(word in name for word in LEFT_OUT):
            continue
        if path.suffix == ".gz":
            data, name = _unzipped(path), name.removesuffix(".gz")
        else:
            data = path.read_bytes()
        if "/man/" in name:
            data = _shown(data)
        if MIN_BYTES <= len(data) <= MAX_BYTES and (text_name := _text_name(name)):
            yield text_name, data


def _unzipped(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error):
        return b""


def _shown(manual: bytes) -> bytes:
    """Return about what `man` shows of a page of the manual: the macros that a tool wrote before it are of no text."""
    _, heading, body = manual.partition(b"\n.S")
    lines = [line for line in (heading + body).split(b"\n") if not line.startswith((b'.\\"', b"'\\\""))]
    return ESCAPE.sub(b"", b"\n".join(MACRO.sub(b"", line) for line in lines))


def _text_name(name: str) -> str:
    """Return under which name a file is in the album; empty for what is no text."""
    path = Path(name)
    if path.suffix in {".html", ".htm", ".txt", ".md", ".rst"}:
        return name
    # Apache's pages are named by their language after the suffix.
    if ".html." in path.name:
        return f"{name}.html" if path.suffix == ".en" else ""
    if "/man/" in name or path.name in {"copyright", "README", "NEWS"}:
        return f"{name}.txt"
    return ""
