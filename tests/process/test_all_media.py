"""One run with pictures, sounds and texts in one album, through every command of `cbir` and `cbir-daemon`.

The maps were never fitted, so that nobody waits for UMAP.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cbir_daemon.matching import GREY64
from cbir_daemon.sound.medium import MEDIUM as SOUNDS
from cbir_daemon.text.medium import TEXTS
from tests.patience import PATIENCE_S
from tests.pictures import cropped, photograph, resaved, save
from tests.process.daemon import Daemon, living
from tests.sounds import cut, song, written
from tests.test_contract import COMMANDS, put_map
from tests.texts import misread, prose, web_page

pytestmark = [pytest.mark.process, pytest.mark.in_order]

FILES = 8
SECONDS = 12
WORDS = 300
MEDIA = ("image", "audio", "text")
FIRST = {"image": "photo-0.png", "audio": "song-0.flac", "text": "text-0.txt"}
COPIES = ["copy.html", "copy.jpg", "copy.mp3"]
CONFIGURED = 'media = ["image", "audio", "text"]\n'
SINK = "[alerts]\nsinks = ['program']\n[[sink]]\nname = 'program'\ntype = 'command'\ncommand = ['/bin/true']\n"

RUN: set[str] = set()
"""Commands that were run, by their full names."""


def write_files(folder: Path, seed: int) -> tuple[Path, Path, Path]:
    """Write a picture, a song and a text of a seed into a folder."""
    picture = save(photograph(seed), folder / f"photo-{seed}.png")
    sound, text = folder / f"song-{seed}.flac", folder / f"text-{seed}.txt"
    sound.write_bytes(written(song(seed, SECONDS)))
    text.write_text(prose(seed, WORDS))
    return picture, sound, text


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Give a daemon with eight files of each medium, and a copy of one of each."""
    with living() as daemon:
        daemon.config.write_text(CONFIGURED + daemon.config.read_text() + SINK)
        for seed in range(FILES):
            write_files(daemon.album, seed)
        (daemon.album / "broken.pdf").write_bytes(b"%PDF-1.4\nno more")
        RUN.add("cbir-daemon run")
        daemon.start()
        daemon.settle()
        add_copies(daemon)
        yield daemon


@pytest.fixture(scope="module")
def mapped(daemon: Daemon) -> Daemon:
    """Give that daemon with a map of each medium."""
    assert daemon.stop() == 0
    for medium, spaces in (("image", GREY64.spaces), ("audio", SOUNDS.spaces), ("text", TEXTS.spaces)):
        put_map(daemon.state, medium, next(iter(spaces.values())).version)
    daemon.start()
    return daemon


def add_copies(daemon: Daemon) -> None:
    """Put a copy of a file of each medium into the album."""
    resaved(daemon.album / "photo-1.png", daemon.album / "copy.jpg")
    (daemon.album / "copy.mp3").write_bytes(written(song(1, SECONDS), "libmp3lame", "mp3", 64_000))
    (daemon.album / "copy.html").write_bytes(web_page(prose(1, WORDS)))
    daemon.settle()


def cbir(
    daemon: Daemon, name: str, *argv: str | Path, stdin: bytes = b"", status: int = 0
) -> subprocess.CompletedProcess[bytes]:
    """Run a command by its full name, which must end with a status."""
    RUN.add(name)
    program, *words = name.split()
    done = daemon.run(*words, *argv, stdin=stdin, command=program)
    assert done.returncode == status, (name, argv, done.stderr.decode())
    return done


def answer(daemon: Daemon, name: str, *argv: str | Path, **how: Any) -> Any:  # noqa: ANN401 -- JSON
    """Run a command with `--json` and return the document."""
    return json.loads(cbir(daemon, name, *argv, "--json", **how).stdout)


def lines(daemon: Daemon, name: str, *argv: str | Path, **how: Any) -> list[Any]:  # noqa: ANN401 -- JSON
    """Run a command with `--json` and return its documents, one a line."""
    return [json.loads(line) for line in cbir(daemon, name, *argv, "--json", **how).stdout.splitlines()]


def names(listed: list[dict[str, Any]]) -> list[str]:
    """Return the names of the files of rows that have paths."""
    return [Path(row["path"]).name for row in listed]


def contents(status: dict[str, Any]) -> list[int]:
    """Return how many contents of each medium a status counts."""
    counts = {medium["medium"]: medium["contents"] for medium in status["media"]}
    return [counts[medium] for medium in MEDIA]


def copies_in_groups(daemon: Daemon, *argv: str) -> list[str]:
    """Return the copy of each group of duplicates, whose name comes first."""
    return sorted(min(names(group["images"])) for group in answer(daemon, "cbir duplicates", *argv)["groups"])


@pytest.mark.parametrize("medium", MEDIA)
def test_a_file_of_each_medium_is_found_by_its_path_and_by_its_bytes(daemon: Daemon, medium: str) -> None:
    """The same file comes first, and nothing of another medium follows."""
    file = daemon.album / FIRST[medium]
    for asked in (answer(daemon, "cbir query", file), answer(daemon, "cbir query", "-", stdin=file.read_bytes())):
        first = asked["matches"][0]
        assert (Path(first["path"]).name, first["kind"], first["score"]) == (FIRST[medium], "exact", 1.0)
        assert {match["medium"] for match in asked["matches"]} == {medium}


def test_a_part_of_a_file_of_each_medium_is_found(daemon: Daemon) -> None:
    """A crop, eight seconds as AAC and a misread half find their own; a sheet shows them."""
    crop, piece, half = daemon.home / "crop.jpg", daemon.home / "piece.m4a", daemon.home / "half.txt"
    save(cropped(photograph(2)), crop)
    piece.write_bytes(written(cut(song(2, SECONDS), 2, 8), "aac", "ipod"))
    half.write_text(misread(prose(2, WORDS)[:1000], 5))
    for query, found, medium in zip(
        (crop, piece, half), ("photo-2.png", "song-2.flac", "text-2.txt"), MEDIA, strict=True
    ):
        sheet = daemon.home / f"{medium}.png"
        first = answer(daemon, "cbir query", query, "--sheet", sheet)["matches"][0]
        assert (Path(first["path"]).name, first["kind"], first["medium"]) == (found, "copy", medium)
        assert first["overlap"]["match"] < 0.9
        assert first["origin"]
        assert sheet.read_bytes().startswith(b"\x89PNG")
        assert found in cbir(daemon, "cbir query", query).stdout.decode()


def test_a_copy_of_each_medium_raises_an_alert(daemon: Daemon) -> None:
    """Each names the file that it is a copy of; a sink is tried out."""
    alerts = lines(daemon, "cbir alerts")
    assert sorted(names(alerts)) == COPIES
    assert {Path(alert["matches"][0]["path"]).stem[-2:] for alert in alerts} == {"-1"}
    assert answer(daemon, "cbir alerts test", "program")["used"] is True


def test_copies_of_each_medium_are_grouped_and_dismissed(daemon: Daemon) -> None:
    """A group each; a decision takes one away, is listed, is taken back and comes from elsewhere."""
    assert copies_in_groups(daemon) == COPIES
    for medium, copy in (("photo-1.png", "copy.jpg"), ("song-1.flac", "copy.mp3"), ("text-1.txt", "copy.html")):
        pair = (daemon.album / medium, daemon.album / copy)
        answer(daemon, "cbir dismiss", *pair)
        assert copies_in_groups(daemon) == [name for name in COPIES if name != copy]
        (decided,) = lines(daemon, "cbir decisions list")
        answer(daemon, "cbir undismiss", *pair)
        decisions = json.dumps(decided).encode() + b"\n"
        assert answer(daemon, "cbir decisions import", "-", stdin=decisions)["added"] == 1
        answer(daemon, "cbir undismiss", *pair)
    assert copies_in_groups(daemon) == COPIES


@pytest.mark.parametrize(("unlooked", "trashed"), [((), COPIES[1:2]), (("--unlooked",), COPIES)])
def test_copies_go_to_the_trash_and_come_back(daemon: Daemon, unlooked: tuple[str, ...], trashed: list[str]) -> None:
    """Without `--unlooked` the picture alone, whose files are compared, is in a review and a plan."""
    plan = daemon.home / f"plan-{len(trashed)}.jsonl"
    reviewed = answer(daemon, "cbir review", "--plan", f"{plan}.reviewed", *unlooked, stdin=b"s\n" * len(trashed))
    assert reviewed["skipped"] == len(trashed)
    planned = answer(daemon, "cbir resolve", "--plan", plan, *unlooked)
    assert sorted(names(planned["tasks"])) == trashed
    done = answer(daemon, "cbir resolve", "--plan", plan, "--apply", *unlooked)
    assert {task["state"] for task in done["tasks"]} == {"done"}
    assert gone(daemon) == trashed
    daemon.settle()
    undo(daemon, len(trashed))
    assert copies_in_groups(daemon) == COPIES


def test_a_plan_with_what_was_not_compared_needs_the_word_twice(daemon: Daemon) -> None:
    """A plan of `--unlooked` that is applied without it trashes the picture, and says why the rest stays."""
    plan = daemon.home / "careless.jsonl"
    answer(daemon, "cbir resolve", "--plan", plan, "--unlooked")
    done = answer(daemon, "cbir resolve", "--plan", plan, "--apply")
    skipped = [task for task in done["tasks"] if task["state"] == "skipped"]
    assert sorted(names(skipped)) == ["copy.html", "copy.mp3"]
    assert all("only the stored vectors call it a copy (--unlooked does it" in task["why"] for task in skipped)
    assert gone(daemon) == ["copy.jpg"]
    undo(daemon, 1)


def gone(daemon: Daemon) -> list[str]:
    """Return the names of the copies that the album has no more."""
    return [name for name in COPIES if not (daemon.album / name).exists()]


def undo(daemon: Daemon, tasks: int) -> None:
    """Take back what the newest run did, which are so many tasks."""
    run = answer(daemon, "cbir resolve", "--list")["runs"][0]["run"]
    undone = answer(daemon, "cbir resolve", "--undo", str(run))["tasks"]
    assert [task["state"] for task in undone].count("undone") == tasks
    daemon.settle()
    assert gone(daemon) == []


def test_works_of_each_medium_are_watched_for(daemon: Daemon) -> None:
    """A picture, a song and a text are found in the album, and in a new file."""
    outside = daemon.home / "works"
    outside.mkdir()
    works = write_files(outside, 4)
    for work in works:
        assert names(answer(daemon, "cbir watch add", work)["found"]) == [work.name]
    listed = answer(daemon, "cbir watch list")["works"]
    assert [work["name"] for work in listed] == [work.name for work in works]
    before = len(lines(daemon, "cbir alerts"))
    thieves = [daemon.album / name for name in ("thief.jpg", "thief.mp3", "thief.html")]
    resaved(works[0], thieves[0])
    thieves[1].write_bytes(written(song(4, SECONDS), "libmp3lame", "mp3", 64_000))
    thieves[2].write_bytes(web_page(prose(4, WORDS)))
    daemon.settle()
    raised = {alert["path"]: alert["watched"][0]["name"] for alert in lines(daemon, "cbir alerts")[before:]}
    assert raised == {str(thief): work.name for thief, work in zip(thieves, works, strict=True)}
    for thief in thieves:
        thief.unlink()
    for work in works:
        answer(daemon, "cbir watch remove", work.name)
    assert answer(daemon, "cbir watch list", status=1)["works"] == []
    daemon.settle()


def test_albums_come_and_go(daemon: Daemon) -> None:
    """A second album with a file of each medium is read, walked and forgotten."""
    second = daemon.home / "second"
    second.mkdir()
    write_files(second, 50)
    assert answer(daemon, "cbir album add", second)["added"] is True
    answer(daemon, "cbir scan", second)
    answer(daemon, "cbir settle")
    assert contents(daemon.settle()) == [FILES + 2] * 3
    assert answer(daemon, "cbir album remove", second)["removed"] is True
    assert contents(daemon.settle()) == [FILES + 1] * 3


def test_the_page_starts(daemon: Daemon) -> None:
    """It says where it is."""
    RUN.add("cbir page")
    with daemon.popen("page", "--port", "0", "--json") as page:
        assert page.stdout is not None
        assert json.loads(page.stdout.readline())["address"].startswith("http://")
        page.terminate()
        assert page.wait(PATIENCE_S) == 0


def test_what_asks_no_daemon(daemon: Daemon) -> None:
    """Completions, the manual, the service and the configuration; without a shared index nothing is published."""
    for program in ("cbir", "cbir-daemon"):
        assert b"cbir" in cbir(daemon, f"{program} completion", "bash").stdout
    assert cbir(daemon, "cbir-daemon man", "cbir.1").stdout
    assert cbir(daemon, "cbir-daemon install-service", "--user", "--dry-run", daemon.album).stdout
    cbir(daemon, "cbir-daemon config check")
    shown = cbir(daemon, "cbir-daemon config show").stdout.decode()
    assert re.search(r'^media .*"image", "audio", "text"', shown, re.MULTILINE), shown
    assert b"media" in cbir(daemon, "cbir-daemon config sample").stdout


def test_numbers_for_prometheus(daemon: Daemon) -> None:
    """Files and contents of all media are counted together."""
    said = cbir(daemon, "cbir status", "--prometheus").stdout.decode().splitlines()
    assert f"cbir_contents {3 * (FILES + 1)}" in said
    assert "cbir_unreadable_files 1" in said


def test_each_medium_is_indexed_and_mapped(mapped: Daemon) -> None:
    """Status counts contents and shows the map of each; a damaged file is an error."""
    status = answer(mapped, "cbir status")
    assert status["state"] == "ready"
    assert [(medium["medium"], medium["contents"]) for medium in status["media"]] == [
        (medium, FILES + 1) for medium in MEDIA
    ]
    for medium in status["media"]:
        assert (medium["model"]["fitted_images"], medium["model"]["projected_images"]) == (FILES + 1, 0)
        assert (medium["model_reason"], medium["refit"]["running"]) == ("", False)
    assert status["media"][0]["model"] == status["model"]
    said = cbir(mapped, "cbir status").stdout.decode()
    assert "contents: 9 image, 9 audio, 9 text" in said
    assert "text model: n_neighbors" in said
    assert names(answer(mapped, "cbir errors")["errors"]) == ["broken.pdf"]
    assert answer(mapped, "cbir album list")["albums"][0]["images"] == 3 * (FILES + 1)


@pytest.mark.parametrize("medium", MEDIA)
def test_each_map_is_shown_and_drawn(mapped: Daemon, medium: str) -> None:
    """Its scores, its curve, its history, a picture and a page of it; an indexed file has its place there."""
    of_medium = ("--medium", medium)
    shown = answer(mapped, "cbir model show", *of_medium)
    assert (shown["id"], shown["outcome"]) == (MEDIA.index(medium) + 1, "active")
    assert (shown["fitted_images"], shown["projected_images"]) == (FILES + 1, 0)
    asked = answer(mapped, "cbir query", mapped.album / FIRST[medium])
    assert (asked["query"]["position"], asked["matches"][0]["map_distance"]) == ("indexed", 0.0)
    assert answer(mapped, "cbir model plot", *of_medium)["curve"]
    for name, form in (("map.png", b"\x89PNG"), ("map.html", b"<!doctype html>")):
        drawn = answer(mapped, "cbir map", mapped.home / name, *of_medium)
        assert (drawn["images"], drawn["shown"], drawn["groups"]) == (FILES + 1, FILES + 1, 1)
        assert (mapped.home / name).read_bytes()[:20].lower().startswith(form.lower())
    (run,) = answer(mapped, "cbir model history", *of_medium)["runs"]
    assert run["id"] == shown["id"]
    refused = cbir(mapped, "cbir model fit", *of_medium, status=64)
    assert b"9 contents are too few for a map" in refused.stderr
    assert answer(mapped, "cbir model cancel", *of_medium, status=1) == {"cancelled": False}


def test_a_medium_that_is_not_indexed_has_no_map(mapped: Daemon) -> None:
    """The sentence names those that are."""
    refused = cbir(mapped, "cbir model show", "--medium", "smell", status=66)
    assert b"no medium 'smell' is indexed: the setting `media` has image, audio, text" in refused.stderr


def test_a_backup_a_restart_and_a_new_index(mapped: Daemon) -> None:
    """After a restart nothing is read again and the maps are there; a new index reads all."""
    backup = mapped.home / "index.backup"
    cbir(mapped, "cbir-daemon backup", backup)
    maps = [medium["model"] for medium in answer(mapped, "cbir status")["media"]]
    assert mapped.stop() == 0
    refused = cbir(mapped, "cbir-daemon publish", "--all", status=78)
    assert b"[shared]" in refused.stderr
    cbir(mapped, "cbir-daemon doctor")
    cbir(mapped, "cbir-daemon restore", backup)
    mapped.start()
    status = mapped.settle()
    assert status["decoded"] == 0
    assert [medium["model"] for medium in status["media"]] == maps
    assert mapped.stop() == 0
    cbir(mapped, "cbir-daemon reindex")
    mapped.start()
    status = mapped.settle()
    assert contents(status) == [FILES + 1] * 3
    assert copies_in_groups(mapped) == COPIES
    cbir(mapped, "cbir-daemon doctor")


def test_every_command_was_run(mapped: Daemon) -> None:
    """None of them was left out above."""
    assert mapped.process is not None
    assert set(COMMANDS) - RUN == set()
