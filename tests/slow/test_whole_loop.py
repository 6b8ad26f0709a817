"""The whole loop with a real map, through the commands only: index, tune, fit, project, query, re-fit, restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest

from tests import pictures
from tests.process.daemon import Daemon, living
from tests.process.disks import filled, small_disk

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.in_order]

IMAGES = 30
STATE_BYTES = 512 * 1024 * 1024
FREE_BYTES = 96 * 1024
"""On a full disk: enough for the index to say how a fit ended, too little for a map."""

SETTINGS = """
min_images = 20
n_components = 8
refit_changed_fraction = 0.2
refit_min_changes = 5
refit_min_interval_s = 0
model_idle_s = 600
"""


@pytest.fixture(scope="module")
def fitted() -> Iterator[Daemon]:
    """Give a daemon that has indexed an album and fitted its map."""
    with living(SETTINGS) as daemon, ExitStack() as stack:
        # Where no disk can be mounted, only what needs a small one is skipped.
        with suppress(pytest.skip.Exception):
            stack.enter_context(small_disk(daemon.state, STATE_BYTES))
        stack.callback(_stop, daemon)
        pictures.write_album(daemon.album, IMAGES)
        daemon.start()
        daemon.settle()
        yield daemon


def test_from_index_to_refit(fitted: Daemon) -> None:
    """The map is tuned and fitted, takes new images in without a fit, is fitted again when enough has changed."""
    first = fitted.json("status")["model"]
    assert (first["fitted_images"], first["projected_images"]) == (IMAGES, 0)
    assert 0.5 < first["trustworthiness"] <= 1
    assert first["n_components"] == 8

    # A few new images: projected through the saved map.
    pictures.write_album(fitted.album, 3, first_seed=100)
    status = fitted.settle()
    assert status["model"] == {**first, "projected_images": 3}
    assert status["refit"]["changed_fraction"] == pytest.approx(3 / IMAGES)

    # A stranger has its neighbours from the map, near ones and alike ones.
    query = pictures.save(pictures.photograph(900), fitted.home / "query.png")
    matches = fitted.matches(query, "-n", "10")
    assert len(matches) == 10
    assert {match["kind"] for match in matches} == {"similar"}
    assert all(match["map_distance"] >= 0 for match in matches)
    # The same question has the same answer.
    assert fitted.matches(query, "-n", "10") == matches

    # Enough new images: tuned and fitted again, and swapped whole.
    pictures.write_album(fitted.album, 6, first_seed=200)
    status = fitted.settle()
    assert (status["model"]["fitted_images"], status["model"]["projected_images"]) == (IMAGES + 9, 0)
    refit = status["refit"]
    assert (refit["running"], refit["reason"], refit["changed_fraction"], refit["progress"]) == (False, "", 0.0, None)
    assert all(match["map_distance"] is not None for match in fitted.matches(query))
    runs = fitted.json("model", "history")["runs"]
    assert [(run["outcome"], run["fitted_images"]) for run in runs] == [("active", IMAGES + 9), ("replaced", IMAGES)]
    assert all(run["curve"] and run["duration_s"] > 0 for run in runs)

    _stop_and_start(fitted)
    _ask_while_the_map_sleeps(fitted, query)
    _kill_in_the_middle_of_a_fit(fitted, query)


def _stop_and_start(daemon: Daemon) -> None:
    """After a restart the map is the same one: nothing is decoded, nothing fitted."""
    shown = daemon.json("model", "show")
    assert daemon.stop() == 0
    daemon.start()
    assert daemon.json("status")["model"] is not None
    assert daemon.settle()["decoded"] == 0
    assert daemon.json("model", "show") == shown
    assert len(daemon.json("model", "history")["runs"]) == 2


def _ask_while_the_map_sleeps(daemon: Daemon, query: Path) -> None:
    """No query waits for the process that holds the map: between the nearest images at first, projected in the end."""
    assert not daemon.json("status")["model_worker_running"]
    answer = daemon.json("query", query, "-n", "10")
    assert answer["query"]["position"] == "interpolated"
    assert len(answer["matches"]) == 10
    assert all(match["map_distance"] >= 0 for match in answer["matches"])
    assert daemon.json("query", daemon.album / "photo-0003.jpg")["query"]["position"] == "indexed"
    while (later := daemon.json("query", query, "-n", "10"))["query"]["position"] == "interpolated":
        assert daemon.json("status")["model_worker_running"]
    assert later["query"]["position"] == "projected"
    assert {match["path"] for match in later["matches"]} & {match["path"] for match in answer["matches"]}


def _kill_in_the_middle_of_a_fit(daemon: Daemon, query: Path) -> None:
    """A daemon killed in a fit starts with the map before, and nothing of the fit is left but its line."""
    with daemon.popen("model", "fit") as fit:
        while not daemon.json("status")["refit"]["running"]:
            assert fit.poll() is None
        assert daemon.matches(query)
        daemon.kill()
        fit.communicate()
    assert fit.returncode == 69
    daemon.start()
    daemon.settle()
    assert [run["outcome"] for run in daemon.json("model", "history")["runs"]] == ["cancelled", "active", "replaced"]
    assert daemon.run("doctor", command="cbir-daemon").stdout == b"sound\n"


def _stop(daemon: Daemon) -> None:
    """Stop before the disk of the state goes."""
    if daemon.process is not None:
        assert daemon.stop() == 0


def test_a_full_disk_during_a_fit(fitted: Daemon) -> None:
    """The fit fails with its reason, leaves nothing, and the map before answers; with room the next one succeeds."""
    if not fitted.state.is_mount():
        pytest.skip("no disk can be mounted here")
    before = fitted.json("model", "show")
    models = set((fitted.state / "models").iterdir())
    with filled(fitted.state, free_bytes=FREE_BYTES):
        done = fitted.run("model", "fit")
        assert done.returncode == 70, done.stderr.decode()
        # Met by the child that saves the map, or by the index that takes it in.
        assert any(words in done.stderr for words in (b"No space left on device", b"disk is full")), done.stderr
        assert fitted.json("model", "show") == before
        assert set((fitted.state / "models").iterdir()) <= models
        query = fitted.album / "photo-0003.jpg"
        assert fitted.matches(query)[1]["map_distance"] is not None
    assert fitted.run("model", "fit").returncode == 0
    assert fitted.json("model", "history")["runs"][1]["outcome"] == "failed"


def test_a_damaged_map_is_set_aside_and_fitted_again(fitted: Daemon) -> None:
    """One changed bit in the artifact: it is not loaded, vectors answer meanwhile, and a new map is fitted."""
    fitted.stop()
    (artifact,) = (fitted.state / "models").glob("map-*")
    model = artifact / "model.joblib"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    fitted.start()
    assert fitted.settle()["model"]["fitted_images"] == IMAGES + 9
    runs = fitted.json("model", "history")["runs"]
    assert runs[0]["outcome"] == "active"
    assert "set-aside" in [run["outcome"] for run in runs]


def test_a_map_of_raw_greys() -> None:
    """With `features = "raw"` a map is fitted, places new images, and answers by what lies near; a black image too."""
    with living(SETTINGS + 'features = "raw"\n') as daemon:
        pictures.write_album(daemon.album, IMAGES)
        pictures.save(np.zeros((64, 64, 3), np.uint8), daemon.album / "black.png")
        daemon.start()
        first = daemon.settle()["model"]
        assert (first["fitted_images"], first["projected_images"]) == (IMAGES + 1, 0)
        pictures.write_album(daemon.album, 3, first_seed=100)
        assert daemon.settle()["model"] == {**first, "projected_images": 3}
        query = pictures.save(pictures.photograph(900), daemon.home / "query.png")
        matches = daemon.matches(query, "-n", "10", "--by", "grey")
        assert len(matches) == 10
        assert all(match["map_distance"] >= 0 for match in matches)
        (run,) = daemon.json("model", "history")["runs"]
        assert run["outcome"] == "active"
        (manifest,) = daemon.state.glob("models/map-*/manifest.json")
        assert json.loads(manifest.read_text())["is_euclidean"]
