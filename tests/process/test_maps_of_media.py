"""Pictures, sounds and texts in one album: each medium has a map of its own, which the commands show and draw.

The maps were never fitted, so that nobody waits for UMAP.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cbir_daemon.matching import GREY64
from cbir_daemon.sound.medium import MEDIUM as SOUNDS
from cbir_daemon.text.medium import TEXTS
from tests.pictures import photograph, resaved, save
from tests.process.daemon import Daemon, living
from tests.sounds import song, written
from tests.test_contract import put_map
from tests.texts import prose, web_page

pytestmark = [pytest.mark.process, pytest.mark.in_order]

FILES = 8
MEDIA = ("image", "audio", "text")
FIRST = {"image": "photo-0.png", "audio": "song-0.flac", "text": "text-0.txt"}
CONFIGURED = 'media = ["image", "audio", "text"]\n'


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Give a daemon with eight files of each medium, and a copy of one of each."""
    with living() as daemon:
        daemon.config.write_text(CONFIGURED + daemon.config.read_text())
        for seed in range(FILES):
            save(photograph(seed), daemon.album / f"photo-{seed}.png")
            (daemon.album / f"song-{seed}.flac").write_bytes(written(song(seed, 12)))
            (daemon.album / f"text-{seed}.txt").write_text(prose(seed, 300))
        (daemon.album / "broken.pdf").write_bytes(b"%PDF-1.4\nno more")
        daemon.start()
        daemon.settle()
        add_copies(daemon)
        assert daemon.stop() == 0
        for medium, spaces in (("image", GREY64.spaces), ("audio", SOUNDS.spaces), ("text", TEXTS.spaces)):
            put_map(daemon.state, medium, next(iter(spaces.values())).version)
        daemon.start()
        yield daemon


def add_copies(daemon: Daemon) -> None:
    """Put a copy of a file of each medium into the album."""
    resaved(daemon.album / "photo-1.png", daemon.album / "copy.jpg")
    (daemon.album / "copy.mp3").write_bytes(written(song(1, 12), "libmp3lame", "mp3", 64_000))
    (daemon.album / "copy.html").write_bytes(web_page(prose(1, 300)))
    daemon.settle()


def cbir(
    daemon: Daemon, name: str, *argv: str | Path, stdin: bytes = b"", status: int = 0
) -> subprocess.CompletedProcess[bytes]:
    """Run a command by its full name, which must end with a status."""
    program, *words = name.split()
    done = daemon.run(*words, *argv, stdin=stdin, command=program)
    assert done.returncode == status, (name, argv, done.stderr.decode())
    return done


def answer(daemon: Daemon, name: str, *argv: str | Path, **how: Any) -> Any:  # noqa: ANN401 -- JSON
    """Run a command with `--json` and return the document."""
    return json.loads(cbir(daemon, name, *argv, "--json", **how).stdout)


def names(listed: list[dict[str, Any]]) -> list[str]:
    """Return the names of the files of rows that have paths."""
    return [Path(row["path"]).name for row in listed]


def test_each_medium_is_indexed_and_mapped(daemon: Daemon) -> None:
    """Status counts contents and shows the map of each; a damaged file is an error."""
    answer(daemon, "cbir settle")
    status = answer(daemon, "cbir status")
    assert status["state"] == "ready"
    assert [(medium["medium"], medium["contents"]) for medium in status["media"]] == [
        (medium, FILES + 1) for medium in MEDIA
    ]
    for medium in status["media"]:
        assert (medium["model"]["fitted_images"], medium["model"]["projected_images"]) == (FILES + 1, 0)
        assert (medium["model_reason"], medium["refit"]["running"]) == ("", False)
    assert status["media"][0]["model"] == status["model"]
    said = cbir(daemon, "cbir status").stdout.decode()
    assert "contents: 9 image, 9 audio, 9 text" in said
    assert "text model: n_neighbors" in said
    assert names(answer(daemon, "cbir errors")["errors"]) == ["broken.pdf"]
    assert answer(daemon, "cbir album list")["albums"][0]["images"] == 3 * (FILES + 1)


@pytest.mark.parametrize("medium", MEDIA)
def test_each_map_is_shown_and_drawn(daemon: Daemon, medium: str) -> None:
    """Its scores, its curve, its history, a picture and a page of it; an indexed file has its place there."""
    of_medium = ("--medium", medium)
    shown = answer(daemon, "cbir model show", *of_medium)
    assert (shown["id"], shown["outcome"]) == (MEDIA.index(medium) + 1, "active")
    assert (shown["fitted_images"], shown["projected_images"]) == (FILES + 1, 0)
    asked = answer(daemon, "cbir query", daemon.album / FIRST[medium])
    assert (asked["query"]["position"], asked["matches"][0]["map_distance"]) == ("indexed", 0.0)
    assert answer(daemon, "cbir model plot", *of_medium)["curve"]
    for name, form in (("map.png", b"\x89PNG"), ("map.html", b"<!doctype html>")):
        drawn = answer(daemon, "cbir map", daemon.home / name, *of_medium)
        assert (drawn["images"], drawn["shown"], drawn["groups"]) == (FILES + 1, FILES + 1, 1)
        assert (daemon.home / name).read_bytes()[:20].lower().startswith(form.lower())
    (run,) = answer(daemon, "cbir model history", *of_medium)["runs"]
    assert run["id"] == shown["id"]
    refused = cbir(daemon, "cbir model fit", *of_medium, status=64)
    assert b"9 contents are too few for a map" in refused.stderr
    assert answer(daemon, "cbir model cancel", *of_medium, status=1) == {"cancelled": False}


def test_a_medium_that_is_not_indexed_has_no_map(daemon: Daemon) -> None:
    """The sentence names those that are."""
    refused = cbir(daemon, "cbir model show", "--medium", "smell", status=66)
    assert b"no medium 'smell' is indexed: the setting `media` has image, audio, text" in refused.stderr
