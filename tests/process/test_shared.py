"""Several daemons that publish into one Milvus: what each finds of the others, and what is left when it is away."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import milvus_server, pictures
from tests.milvus_server import Milvus
from tests.process.daemon import Daemon, living

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.in_order,
    pytest.mark.skipif(bool(milvus_server.missing()), reason=f"no Milvus: {milvus_server.missing()}"),
]

TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def milvus() -> Iterator[Milvus]:
    """Give a server that is there for all tests of this file."""
    with tempfile.TemporaryDirectory(prefix="cbir-") as folder:
        server = Milvus(Path(folder) / "m")
        server.start()
        try:
            yield server
        finally:
            server.stop()


def shares(daemon: Daemon, milvus: Milvus, site: str, more: str = "") -> None:
    """Have a daemon that does not run publish under a name."""
    with daemon.config.open("a") as file:
        file.write(f'[shared]\nuri = "{milvus.uri}"\nsite = "{site}"\ntimeout_s = {TIMEOUT_S}\n{more}\n')


@pytest.fixture(scope="module")
def sites(milvus: Milvus) -> Iterator[dict[str, Daemon]]:
    """Give two sites that know each other: a studio with three photographs, an archive with three others."""
    with ExitStack() as stack:
        daemons = {site: stack.enter_context(living()) for site in ("studio", "archive")}
        for number, (site, daemon) in enumerate(daemons.items()):
            for seed in range(3):
                pictures.save(pictures.photograph(10 * number + seed), daemon.album / f"{site}-{seed}.jpg")
            shares(daemon, milvus, site)
            daemon.start()
        for daemon in daemons.values():
            daemon.settle()
        yield daemons


def found(daemon: Daemon, image: Path, *argv: str) -> list[tuple[str, str, str]]:
    """Return kind, site and name of the matches that are more than similar."""
    answer: dict[str, Any] = daemon.json("query", image, *argv)
    assert "partial" not in answer
    return [
        (match["kind"], match.get("site", ""), Path(match["path"]).name)
        for match in answer["matches"]
        if match["kind"] != "similar"
    ]


def test_a_site_finds_what_another_one_has(sites: dict[str, Daemon]) -> None:
    """The same bytes and a crop, mirrored; each site its own as ever."""
    studio, archive = sites["studio"], sites["archive"]
    same = Path(shutil.copy(archive.album / "archive-1.jpg", studio.home / "same.jpg"))
    assert found(studio, same) == [("exact", "archive", "archive-1.jpg")]
    crop = pictures.mirrored(pictures.cropped(pictures.load(archive.album / "archive-2.jpg"), 0.15))
    assert found(studio, pictures.save(crop, studio.home / "crop.jpg")) == [("copy", "archive", "archive-2.jpg")]
    assert found(archive, studio.home / "crop.jpg") == [("copy", "", "archive-2.jpg")]
    assert found(studio, studio.album / "studio-0.jpg") == [("exact", "", "studio-0.jpg")]
    shared = studio.json("status")["shared"]
    assert (shared["site"], shared["state"], shared["published"], shared["due"]) == ("studio", "connected", 3, 0)
