"""Meaning through the commands: contents are described in the background, by a process of its own."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from cbir_daemon.meaning.weights import weights_path
from tests import pictures
from tests.process.daemon import living

pytestmark = pytest.mark.process
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
if weights_path() is None:
    pytest.skip("the weights of EfficientNet-Lite0 are not installed", allow_module_level=True)

IMAGES = 20
KINDS = "SELECT version, length(numbers), count(*) FROM descriptor WHERE name = 'meaning' GROUP BY 1, 2"


def test_an_older_index_is_described() -> None:
    """Switched on, killed and started again: each content is described, once, and nothing is wrong."""
    with living() as daemon:
        pictures.write_album(daemon.album, IMAGES)
        daemon.start()
        assert daemon.settle()["meaning_pending"] == 0
        daemon.stop()
        daemon.config.write_text(daemon.config.read_text() + '[meaning]\nmodel = "efficientnet-lite0"\n')
        daemon.start()
        daemon.kill()
        daemon.start()
        status = daemon.settle()
        assert (status["meaning_pending"], status["problems"]) == (0, [])
        daemon.stop()
        with closing(sqlite3.connect(daemon.state / "index.sqlite")) as index:
            rows = index.execute(KINDS)
            ((version, length, count),) = rows.fetchall()
        assert (length, count) == (128, status["contents"])
        assert version.startswith("efficientnet-lite0/1 ")


def test_similar_by_meaning_is_told_by_the_network() -> None:
    """It is the default where there is a network, and says so; without one the word is refused."""
    with living() as daemon:
        pictures.write_album(daemon.album, IMAGES)
        query = sorted(daemon.album.iterdir())[0]
        daemon.start()
        daemon.settle()
        refused = daemon.run("query", query, "--by", "meaning")
        assert (refused.returncode, b"name one: `model` of `[meaning]`" in refused.stderr) == (64, True)
        daemon.stop()
        daemon.config.write_text(daemon.config.read_text() + '[meaning]\nmodel = "efficientnet-lite0"\n')
        daemon.start()
        daemon.settle()
        found = [match for match in daemon.matches(query, "-n", "20") if match["kind"] == "similar"]
        assert {match["why"] for match in found} <= {"meaning"}
        asked = [match for match in daemon.matches(query, "-n", "20", "--by", "meaning") if match["kind"] == "similar"]
        assert [match["path"] for match in asked] == [match["path"] for match in found]
        by_look = [match for match in daemon.matches(query, "-n", "20", "--by", "look") if match["kind"] == "similar"]
        assert "meaning" not in {match["why"] for match in by_look}
        daemon.stop()
