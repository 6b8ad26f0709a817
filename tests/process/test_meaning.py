"""Meaning through the commands: contents are described in the background, by a process of its own."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from cbir_daemon.meaning.weights import weights_path
from tests import pictures
from tests.answers import script
from tests.answers.recording import Recorder
from tests.process.daemon import living
from tests.states.make import A_MAP

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
    """By default the look has a say, too; `why` says which counts more; without a network the word is refused."""
    with living() as daemon:
        pictures.write_album(daemon.album, IMAGES)
        query = sorted(daemon.album.iterdir())[0]
        daemon.start()
        daemon.settle()
        refused = daemon.run("query", query, "--by", "meaning")
        assert (refused.returncode, b"set `model` in `[meaning]`" in refused.stderr) == (64, True)
        daemon.stop()
        daemon.config.write_text(daemon.config.read_text() + '[meaning]\nmodel = "efficientnet-lite0"\n')
        daemon.start()
        daemon.settle()
        found = [match for match in daemon.matches(query, "-n", "20") if match["kind"] == "similar"]
        assert {match["why"] for match in found} <= {"meaning", "colour", "layout", "texture"}
        asked = [match for match in daemon.matches(query, "-n", "20", "--by", "meaning") if match["kind"] == "similar"]
        assert {match["why"] for match in asked} == {"meaning"}
        by_look = [match for match in daemon.matches(query, "-n", "20", "--by", "look") if match["kind"] == "similar"]
        assert "meaning" not in {match["why"] for match in by_look}
        scores = [{match["path"]: match["score"] for match in matches} for matches in (found, asked, by_look)]
        both = set(scores[0]) & set(scores[1]) & set(scores[2])
        assert both
        for path in both:
            together, meaning, look = (score[path] for score in scores)
            assert together == pytest.approx(0.75 * meaning + 0.25 * look, abs=2e-4)
        daemon.stop()


@pytest.mark.slow
def test_a_map_of_what_images_show() -> None:
    """It is fitted once all contents are described; new files and queries have a place; without the network it goes."""
    with living() as daemon:
        pictures.write_album(daemon.album, IMAGES)
        network = '\n[meaning]\nmodel = "efficientnet-lite0"'
        script.configure(Recorder(daemon), f'{A_MAP}\nfeatures = "meaning"{network}')
        daemon.start()
        status = daemon.settle()
        assert (status["model"]["fitted_images"], status["problems"]) == (status["contents"], [])
        pictures.save(pictures.photograph(IMAGES), daemon.album / "new.png")
        assert daemon.settle()["model"]["projected_images"] == 1
        query = pictures.save(pictures.photograph(IMAGES + 1), daemon.home / "query.png")
        found = daemon.matches(query)
        assert found
        assert all(match["map_distance"] is not None for match in found)
        assert daemon.stop() == 0
        script.configure(Recorder(daemon), f"{A_MAP.replace('min_images = 5', 'min_images = 1000')}")
        daemon.start()
        (run,) = daemon.json("model", "history")["runs"]
        assert (run["outcome"], run["kind"]) == ("set-aside", "tuned")
        assert daemon.stop() == 0
