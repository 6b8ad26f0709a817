"""A real map of texts through the daemon: tuned and fitted beside pictures that have none, and a text placed on it."""

from __future__ import annotations

import pytest

from tests.pictures import write_album
from tests.process.daemon import living
from tests.texts import prose

pytestmark = [pytest.mark.slow, pytest.mark.process]

TEXTS = 20
ADDED = 2
SETTINGS = f"min_images = {TEXTS}\nn_components = 4\nrefit_min_changes = 100"


def test_texts_are_fitted_and_placed() -> None:
    """Texts reach `min_images` and get their map, pictures do not; new texts and a question are projected onto it."""
    with living(SETTINGS) as daemon:
        daemon.config.write_text('media = ["image", "text"]\n' + daemon.config.read_text())
        write_album(daemon.album, 3)
        for seed in range(TEXTS):
            (daemon.album / f"text-{seed}.txt").write_text(prose(seed, 200))
        daemon.start()
        pictures, texts = daemon.settle()["media"]
        assert (pictures["model"], texts["medium"]) == (None, "text")
        first = texts["model"]
        assert (first["fitted_images"], first["projected_images"], first["n_components"]) == (TEXTS, 0, 4)
        for seed in range(TEXTS, TEXTS + ADDED):
            (daemon.album / f"text-{seed}.txt").write_text(prose(seed, 200))
        assert daemon.settle()["media"][1]["model"] == {**first, "projected_images": ADDED}
        assert daemon.json("model", "show", "--medium", "text")["fitted_images"] == TEXTS
        query = daemon.home / "query.txt"
        query.write_text(prose(900, 200))
        asked = daemon.json("query", query)
        assert asked["query"]["position"] in ("projected", "interpolated")
        assert {match["medium"] for match in asked["matches"]} == {"text"}
        assert all(match["map_distance"] >= 0 for match in asked["matches"])
        assert daemon.json("map", daemon.home / "map.png", "--medium", "text")["images"] == TEXTS + ADDED
