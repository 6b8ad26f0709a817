"""What looks alike, through the commands: a new album, an index of an earlier release, another space of the map."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from tests import pictures
from tests.answers import script
from tests.answers.recording import Recorder
from tests.process.daemon import Daemon
from tests.states.make import A_MAP

pytestmark = [pytest.mark.process, pytest.mark.slow]

COLOURS = {"red": (200, 40, 30), "green": (40, 170, 50)}


def tinted(seed: int, colour: str) -> Image.Image:
    """Return a photograph in shades of one colour."""
    grey = np.asarray(Image.fromarray(pictures.photograph(seed)).convert("L"), dtype=np.float64)[..., None] / 255
    return Image.fromarray(np.rint(grey * np.array(COLOURS[colour])).astype(np.uint8))


def test_what_is_similar_is_what_looks_alike(daemon: Daemon) -> None:
    """Matches are of the query's colour and say so; greys alone do not see it; of an unknown word the command tells."""
    for colour in COLOURS:
        for seed in range(6):
            tinted(seed if colour == "red" else seed + 50, colour).save(daemon.album / f"{colour}-{seed}.png")
    query = daemon.home / "query.png"
    tinted(99, "red").save(query)
    daemon.start()
    daemon.settle()
    found = daemon.json("query", query, "-n", "6")["matches"]
    assert found
    assert all("/red-" in match["path"] for match in found)
    assert {match["kind"] for match in found} == {"similar"}
    assert {match["why"] for match in found} <= {"colour", "layout", "texture"}
    assert f"similar by {found[0]['why']}".encode() in daemon.run("query", query).stdout
    by_grey = daemon.json("query", query, "-n", "12", "--by", "grey")["matches"]
    assert {match["why"] for match in by_grey} == {"grey"}
    assert {match["path"].rpartition("/")[2].partition("-")[0] for match in by_grey} == set(COLOURS)
    refused = daemon.run("query", query, "--by", "size")
    assert (refused.returncode, b"'size' is not one of" in refused.stderr) == (64, True)


def test_an_index_of_an_earlier_release_is_described_and_its_map_fitted_anew(daemon: Daemon) -> None:
    """It answers by its old map; once all contents are described, the next map sees how they look."""
    for seed in range(8):
        tinted(seed, "red").save(daemon.album / f"{seed}.png")
    recorder = Recorder(daemon)
    script.configure(recorder, f'{A_MAP}\nfeatures = "grey"')
    daemon.start()
    daemon.settle()
    assert daemon.json("status")["model"]["fitted_images"] == 8
    assert daemon.stop() == 0
    with closing(sqlite3.connect(daemon.state / "index.sqlite", isolation_level=None)) as index:
        index.execute("DELETE FROM descriptor")
    script.configure(recorder, f"{A_MAP}\nrefit_min_interval_s = 0")
    daemon.start()
    daemon.settle()
    assert daemon.json("status")["looks_pending"] == 0
    newest, before = daemon.json("model", "history")["runs"][:2]
    assert (newest["outcome"], before["outcome"]) == ("active", "replaced")
    assert newest["reason"] == "codes are mean16+look1/1 now (model.features), the map's are mean16/1"
    assert {match["why"] for match in daemon.matches(daemon.album / "0.png") if match["kind"] == "similar"} != {"grey"}
