"""States that earlier releases made, small enough to be kept here.

In: a folder beside this module.  Out: a home as that release left it, wherever it is put.  Never here: what it must
answer; `answers.json` beside each state has that, as the release that made it answered.  Where an alignment begins
(`explanation.guess`) and the last digit of `tone.offset` are no facts about images: when alignment changes, these two
are written anew.

A state is `home.tar.xz`: the folders of pictures with their times, and the index as SQL.  Paths inside name the home by
`HOME_TEXT` and `HOME_HEX`, so that it can lie anywhere.  The saved map is left out, as from a backup: it could be used
under the same Python and numpy only.  `python -m tests.states.make` makes one.
"""

from __future__ import annotations

import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
ARCHIVE: Final = "home.tar.xz"
ANSWERS: Final = "answers.json"
DUMP: Final = "index.sql"
INDEX: Final = "index.sqlite"

HOME_TEXT: Final = "@HOME@"
HOME_HEX: Final = "@HOME_HEX@"
"""The path of the home inside a text, and inside a blob, which SQL writes in hexadecimal."""


def states() -> list[Path]:
    """Return the folder of each state, the oldest first."""
    made = [path.parent for path in FOLDER.glob(f"*/{ARCHIVE}")]
    return sorted(made, key=lambda state: int(state.name.rpartition("-")[2]))


def pack(home: Path, index: Path, folders: list[str], archive: Path) -> None:
    """Write the state of a home into an archive.

    Parameters
    ----------
    home : Path
    index : Path
        The index of a daemon that is stopped.
    folders : list of str
        Names of the folders in `home` to take.
    archive : Path
        The file to write.
    """
    dump = "\n".join(_dumped(index)).replace(str(home), HOME_TEXT).replace(_hex(home), HOME_HEX).encode()
    with tarfile.open(archive, "w:xz") as tar:
        entry = tarfile.TarInfo(DUMP)
        entry.size = len(dump)
        tar.addfile(entry, BytesIO(dump))
        for path in sorted(path for folder in folders for path in (home / folder).rglob("*") if path.is_file()):
            entry = tar.gettarinfo(path, str(path.relative_to(home)).replace(_inside(home), HOME_TEXT))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            with path.open("rb") as file:
                tar.addfile(entry, file)


def restore(archive: Path, home: Path, state: Path) -> None:
    """Put the folders of an archive into `home`, and its index into the folder `state`, to be made."""
    state.mkdir(mode=0o700)
    with tarfile.open(archive) as tar:
        for entry in tar.getmembers():
            if entry.name != DUMP:
                entry.name = entry.name.replace(HOME_TEXT, _inside(home))
                tar.extract(entry, home, filter="data")
        file = tar.extractfile(DUMP)
        assert file is not None
        dump = file.read().decode()
    index = state / INDEX
    index.touch(mode=0o600)
    with closing(sqlite3.connect(index, isolation_level=None)) as connection:
        connection.executescript(dump.replace(HOME_TEXT, str(home)).replace(HOME_HEX, _hex(home)))


def _dumped(index: Path) -> Iterator[str]:
    """Yield the lines of a dump, with the two numbers that Python's leaves out."""
    with closing(sqlite3.connect(index)) as connection:
        yield from connection.iterdump()
        for name in ("user_version", "application_id"):
            yield f"PRAGMA {name} = {connection.execute(f'PRAGMA {name}').fetchone()[0]};"


def _hex(home: Path) -> str:
    return bytes(home).hex().upper()


def _inside(home: Path) -> str:
    """Return the home's path as `cbir resolve --action move` repeats it inside its folder."""
    return str(home).lstrip("/")
