"""A medium that a package brings, through the real daemon and its commands; `tests/columns` is the package."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.columns.install import install, table, written
from tests.pictures import photograph, save
from tests.process.daemon import Daemon, living

pytestmark = [pytest.mark.process, pytest.mark.in_order]

TABLES = 12


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Give a daemon of images and tables, with an album of both."""
    with living() as daemon:
        install(daemon.home / "site")
        daemon.environ["PYTHONPATH"] = str(daemon.home / "site")
        daemon.config.write_text('media = ["image", "columns"]\n' + daemon.config.read_text())
        for seed in range(TABLES):
            (daemon.album / f"table-{seed}.csv").write_bytes(written(table(seed)))
        (daemon.album / "broken.csv").write_bytes(b"no,table\n1\n")
        (daemon.album / "flat.csv").write_bytes(written(np.ones((50, 3))))
        for seed in range(2):
            save(photograph(seed), daemon.album / f"photo-{seed}.png")
        daemon.start()
        daemon.settle()
        yield daemon


def put(daemon: Daemon, name: str, data: bytes) -> Path:
    """Write a file outside of the album."""
    path = daemon.home / name
    path.write_bytes(data)
    return path


def test_files_of_both_media_are_indexed(daemon: Daemon) -> None:
    """Status counts them by medium, and the file that is no table is listed among the errors."""
    status = daemon.json("status")
    counts = [(medium["medium"], medium["contents"]) for medium in status["media"]]
    assert counts == [("image", 2), ("columns", TABLES + 1)]
    assert b"contents: 2 image, 13 columns" in daemon.run("status").stdout
    assert (status["looks_pending"], status["duplicates_pending"]) == (0, 0)
    (error,) = daemon.json("errors")["errors"]
    assert (error["path"], error["code"]) == (str(daemon.album / "broken.csv"), "damaged")


def test_a_part_of_a_file_is_found(daemon: Daemon) -> None:
    """Two columns in another unit, one upside down, are found by name and by bytes; the words say how many."""
    part = np.column_stack([7 - 3 * table(4)[:, 3], table(99)[:, 0], 100 + table(4)[:, 1]])
    query = put(daemon, "part.csv", written(part))
    for found in (
        daemon.json("query", query),
        json.loads(daemon.run("query", "-", "--json", stdin=query.read_bytes()).stdout),
    ):
        best = found["matches"][0]
        assert (best["path"], best["kind"], best["medium"]) == (str(daemon.album / "table-4.csv"), "copy", "columns")
        assert best["origin"] == "2 of 5 columns of {path}"
        assert best["place"] == {"query": [0.0, 3.0], "match": [1.0, 4.0], "unit": "columns"}
        assert best["overlap"] == {"query": round(2 / 3, 3), "match": 0.4}
        assert (best["look"], best["width"], best["summary"]) == ("vectors", 0, "200 rows, 5 columns")
        assert {match["kind"] for match in found["matches"][1:]} <= {"similar"}
        assert (found["query"]["medium"], found["query"]["summary"]) == ("columns", "200 rows, 3 columns")
    said = daemon.run("query", query, "-n", "1").stdout.decode()
    assert f"200 rows, 5 columns  2 of 5 columns of {daemon.album / 'table-4.csv'}" in said


def test_strangers_and_images_are_told_apart(daemon: Daemon) -> None:
    """A table that is in no album is a copy of nothing, and a picture is asked about among pictures."""
    stranger = daemon.matches(put(daemon, "stranger.csv", written(table(500))))
    assert "copy" not in {match["kind"] for match in stranger}
    found = daemon.json("query", daemon.album / "photo-1.png")["matches"]
    assert found[0]["kind"] == "exact"
    assert {match["medium"] for match in found} == {"image"}
    assert [match["summary"] for match in found] == [""] * len(found)


def test_what_says_nothing_matches_nothing(daemon: Daemon) -> None:
    """Columns without a course are too plain; the same bytes are found all the same."""
    refused = daemon.run("query", put(daemon, "plain.csv", written(np.full((60, 2), 5.0))))
    assert (refused.returncode, b"too plain to match: there is too little in this table" in refused.stderr) == (
        65,
        True,
    )
    assert [match["kind"] for match in daemon.matches(daemon.album / "flat.csv")] == ["exact"]


def test_tables_are_drawn_by_their_numbers(daemon: Daemon) -> None:
    """A contact sheet, a thumbnail and a preview show the course of a table, which no picture is read for."""
    sheet = daemon.home / "sheet.png"
    assert daemon.run("query", daemon.album / "table-3.csv", "--sheet", sheet).returncode == 0
    with Image.open(sheet) as picture:
        panel = np.asarray(picture.convert("L"))
    assert {60, 240} <= set(panel.ravel().tolist())
    (image,) = daemon.json("query", daemon.album / "table-3.csv", "-n", "1", "--kind", "exact")["matches"]
    with daemon.client() as client:
        drawn = {64: client.thumbnail(image["digest"]), 256: client.preview(image["digest"], side_px=256)}
        for side_px, blob in drawn.items():
            with Image.open(io.BytesIO(blob)) as picture:
                assert (picture.format, picture.size) == ("WEBP", (side_px, side_px))


def stays(daemon: Daemon, path: Path) -> bool:
    """Return whether a plan leaves a copy where it is, since no file of its medium is looked at."""
    plan = daemon.home / "careful.jsonl"
    daemon.run("resolve", "--plan", plan)
    return not plan.exists() or str(path) not in plan.read_text()


def test_a_copy_raises_an_alert_and_is_a_duplicate(daemon: Daemon) -> None:
    """A new file with all columns but one and fewer rows is a copy; it goes only if asked for."""
    kept, copy = daemon.album / "table-7.csv", daemon.album / "copy.csv"
    copy.write_bytes(written(table(7)[:, [0, 3, 2, 4]] * 1000))
    daemon.settle()
    alert = daemon.alerts()[-1]
    assert (alert["path"], [match["path"] for match in alert["matches"]]) == (str(copy), [str(kept)])
    assert stays(daemon, copy)
    (group,) = daemon.json("duplicates")["groups"]
    assert all(image["keep"] for image in group["images"])
    with daemon.client() as client:
        (group,) = client.duplicates(unlooked=True)["groups"]
    assert [(image["path"], image["keep"]) for image in group["images"]] == [(str(kept), True), (str(copy), False)]
    assert [image["why"] for image in group["images"]] == [
        "is the better file, by its columns: 5 against 4",
        "is the poorer file, by its columns: 4 against 5",
    ]
    assert group["images"][1]["done"] == "4 of 5 columns of that file"
    assert (group["look"], group["images"][0]["summary"]) == ("vectors", "200 rows, 5 columns")
    plan = daemon.home / "plan.jsonl"
    assert daemon.run("resolve", "--plan", plan, "--unlooked").returncode == 0
    assert str(copy) in plan.read_text()
    assert daemon.run("dismiss", kept, copy).returncode == 0
    assert daemon.run("duplicates").returncode == 1
    copy.unlink()
    daemon.settle()
    assert str(copy) not in {match["path"] for match in daemon.matches(kept)}


def test_a_work_is_watched_for(daemon: Daemon) -> None:
    """A work is found in the album, and raises an alert when a new file contains it."""
    work = put(daemon, "work.csv", written(table(2)[:, :2]))
    added = daemon.json("watch", "add", work)
    assert [match["path"] for match in added["found"]] == [str(daemon.album / "table-2.csv")]
    before = len(daemon.alerts())
    (daemon.album / "thief.csv").write_bytes(written(np.column_stack([table(2)[:, 1], table(700)])))
    daemon.settle()
    alert = daemon.alerts()[before:][-1]
    assert [work["name"] for work in alert["watched"]] == ["work.csv"]
    (daemon.album / "thief.csv").unlink()


def test_a_restart_and_a_backup_keep_all(daemon: Daemon) -> None:
    """Nothing is read again, the same is found, and `doctor` finds nothing wrong with index and backup."""
    query = put(daemon, "again.csv", written(table(9)[:, [1, 2]]))
    before = daemon.matches(query)
    backup = daemon.home / "index.backup"
    assert daemon.run("backup", backup, command="cbir-daemon").returncode == 0
    assert daemon.stop() == 0
    checked = daemon.run("doctor", command="cbir-daemon")
    assert checked.returncode == 0, checked.stdout.decode()
    assert daemon.run("restore", backup, command="cbir-daemon").returncode == 0
    daemon.start()
    assert daemon.settle()["decoded"] == 0
    assert daemon.matches(query) == before


def test_a_medium_that_is_not_there_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    """The daemon does not start, and says which there are."""
    config = tmp_path / "config.toml"
    config.write_text('media = ["image", "smells"]\n')
    state: list[str | Path] = ["--state", tmp_path / "state", "--config", config]
    refused = daemon.run("run", *state, daemon.album, command="cbir-daemon")
    assert refused.returncode == 78
    assert b"there is no medium 'smells'" in refused.stderr
    assert b"columns" in refused.stderr
