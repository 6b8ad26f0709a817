"""Duplicates resolved by the real commands on a real daemon: planned, done, killed in between, gone on with, undone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import killed_cbir, pictures
from tests.patience import PATIENCE_S
from tests.process.daemon import Daemon, living

pytestmark = pytest.mark.process

Files = dict[str, tuple[bytes, int]]


class Home:
    """A daemon on an album with duplicates."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.plan = daemon.home / "plan.jsonl"
        pictures.write_album(daemon.album, 5)
        shutil.copy2(self.path("photo-0001.jpg"), self.path("twin.jpg"))
        pictures.resaved(self.path("photo-0002.jpg"), self.path("small.jpg"))
        pictures.resaved(self.path("photo-0002.jpg"), self.path("tiny.jpg"), scale=0.75)
        for path in daemon.album.iterdir():
            os.utime(path, (1e9, 1e9))
        # The oldest of equals.
        os.utime(self.path("photo-0001.jpg"), (9e8, 9e8))

    def path(self, name: str) -> Path:
        """Return a file of the album."""
        return self.daemon.album / name

    def files(self) -> Files:
        """Return what is in the album."""
        return {path.name: contents(path) for path in self.daemon.album.iterdir() if path.is_file()}

    def everywhere(self) -> set[bytes]:
        """Return the digests of all files below the home, wherever they are."""
        folders = (self.daemon.album, self.daemon.home / ".local", self.daemon.home / "away")
        return {contents(path)[0] for folder in folders for path in folder.rglob("*") if path.is_file()}

    def planned(self, *options: str | Path) -> list[dict[str, Any]]:
        """Write a plan and return its lines."""
        self.plan.unlink(missing_ok=True)
        done = self.daemon.run("resolve", "--plan", self.plan, *options)
        assert done.returncode == 0, done.stderr.decode()
        return [json.loads(line) for line in self.plan.read_text().splitlines()]

    def apply(self, *options: str) -> dict[str, tuple[str, str]]:
        """Do the plan and return name -> state and reason."""
        return states(self.daemon.run("resolve", "--plan", self.plan, "--apply", "--json", *options))

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Write an edited plan."""
        self.plan.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def undo(self, run: int) -> dict[str, tuple[str, str]]:
        """Take a run back and return name -> state and reason."""
        return states(self.daemon.run("resolve", "--undo", str(run), "--json"))

    def groups(self) -> list[dict[str, Any]]:
        """Return the groups of duplicates."""
        found: list[dict[str, Any]] = self.daemon.json("duplicates")["groups"]
        return found

    def last_run(self) -> dict[str, Any]:
        """Return the newest run of the journal."""
        newest: dict[str, Any] = self.daemon.json("resolve", "--list")["runs"][0]
        return newest


def contents(path: Path) -> tuple[bytes, int]:
    """Return a file's digest and time."""
    return hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns


def states(done: subprocess.CompletedProcess[bytes]) -> dict[str, tuple[str, str]]:
    """Return name -> state and reason of what a command did."""
    assert done.returncode in (0, 1), done.stderr.decode()
    return {Path(task["path"]).name: (task["state"], task["why"]) for task in json.loads(done.stdout)["tasks"]}


@pytest.fixture
def home() -> Iterator[Home]:
    """Give a running daemon that has indexed the album."""
    with living() as daemon:
        home = Home(daemon)
        daemon.start()
        daemon.settle()
        yield home


def test_a_plan_is_done_and_undone(home: Home) -> None:
    """The rest of each group goes to the trash and comes back; the index follows, and `settle` waits for it."""
    before = home.files()
    lines = home.planned()
    assert {Path(line["path"]).name: line["action"] for line in lines} == {
        "photo-0001.jpg": "keep",
        "twin.jpg": "trash",
        "photo-0002.jpg": "keep",
        "small.jpg": "trash",
        "tiny.jpg": "trash",
    }
    assert home.files() == before
    assert set(home.apply().values()) == {("done", "")}
    assert home.files().keys() == before.keys() - {"twin.jpg", "small.jpg", "tiny.jpg"}
    assert home.daemon.settle()["images"] == 5
    assert home.daemon.run("duplicates").returncode == 1
    assert set(home.undo(1).values()) == {("undone", "")}
    assert home.files() == before
    assert home.daemon.settle()["images"] == 8
    assert len(home.daemon.json("duplicates")["groups"]) == 2
    # Who put them back knows of them.
    assert home.daemon.alerts() == []


def test_what_only_the_vectors_call_a_copy_stays(home: Home) -> None:
    """A thumbnail is too small to be compared: it is shown as a copy, and goes only with `--unlooked`."""
    pictures.resaved(home.path("photo-0003.jpg"), home.path("thumbnail.jpg"), scale=0.4)
    home.daemon.settle()
    (group,) = [group for group in home.groups() if group["look"] == "vectors"]
    assert [(Path(image["path"]).name, image["keep"]) for image in group["images"]] == [
        ("photo-0003.jpg", True),
        ("thumbnail.jpg", True),
    ]
    assert "thumbnail.jpg" not in {Path(line["path"]).name for line in home.planned()}
    assert b"--unlooked takes them too" in home.daemon.run("resolve").stderr
    assert b"--unlooked" not in home.daemon.run("resolve", "--unlooked").stderr
    lines = home.planned("--unlooked")
    assert {Path(line["path"]).name: line["action"] for line in lines}["thumbnail.jpg"] == "trash"
    state, why = home.apply()["thumbnail.jpg"]
    assert (state, "--unlooked" in why) == ("skipped", True)
    assert home.path("thumbnail.jpg").exists()
    home.write([line for line in lines if Path(line["path"]).name in ("photo-0003.jpg", "thumbnail.jpg")])
    assert home.apply("--unlooked") == {"thumbnail.jpg": ("done", "")}
    assert not home.path("thumbnail.jpg").exists()


def test_a_plan_is_what_its_reader_makes_of_it(home: Home) -> None:
    """Another one is kept, one is left alone, one is moved; what its group does not keep a copy of stays."""
    lines = {Path(line["path"]).name: line for line in home.planned()}
    lines["photo-0002.jpg"]["action"], lines["small.jpg"]["action"] = "trash", "keep"
    lines["twin.jpg"] |= {"action": "move", "to": str(home.daemon.home / "away")}
    lines["tiny.jpg"] |= {"group": lines["twin.jpg"]["group"]}
    home.write(list(lines.values()))
    assert home.apply() == {
        "photo-0002.jpg": ("done", ""),
        "twin.jpg": ("done", ""),
        "tiny.jpg": ("skipped", "stays: it is no copy of what its group keeps"),
    }
    assert (home.daemon.home / "away" / str(home.path("twin.jpg"))[1:]).exists()
    assert home.path("tiny.jpg").exists()


def test_what_changed_after_the_plan_is_left_alone(home: Home) -> None:
    """The file itself, the one kept for it, or what somebody has decided about the two."""
    lines = home.planned()
    pictures.save(pictures.photograph(77), home.path("twin.jpg"), quality=90)
    home.daemon.json("dismiss", home.path("small.jpg"), home.path("photo-0002.jpg"))
    done = home.apply()
    assert done["twin.jpg"][0] == "skipped"
    assert done["small.jpg"] == ("skipped", "stays: it is no copy of what its group keeps")
    assert done["tiny.jpg"] == ("done", "")
    home.undo(1)
    home.write(lines)
    home.path("photo-0002.jpg").unlink()
    (state, reason) = home.apply()["tiny.jpg"]
    assert (state, "the one kept cannot be read" in reason or "it is no copy" in reason) == ("skipped", True)
    assert home.path("tiny.jpg").exists()


def test_nothing_protected_is_touched(home: Home) -> None:
    """Neither proposed nor done when a plan says so: of an album, and below a folder of that name."""
    lines = home.planned()
    text = home.daemon.config.read_text()
    protected = f"[[album]]\npath = '{home.daemon.album}'\nprotected = true\n"
    for more in (protected, "[duplicates]\nprotect = ['album']\n"):
        home.daemon.config.write_text(text + more)
        home.daemon.signal(signal.SIGHUP)
        home.daemon.settled_until_log_says("configuration read again")
        groups = home.daemon.json("duplicates")
        assert all(image["keep"] for group in groups["groups"] for image in group["images"])
        assert (groups["saves"], home.daemon.run("resolve").returncode) == (0, 1)
        home.write(lines)
        assert set(home.apply().values()) == {("skipped", "stays: it lies in a protected folder")}
        home.daemon.log.write_text("")


def test_a_folder_excluded_by_a_reload_takes_what_is_moved(home: Home) -> None:
    """SIGHUP changes `watch.exclude` for `resolve` too: a folder in the album is refused, then accepted."""
    folder = home.daemon.album / "aside"
    lines = home.planned()
    home.write([line | {"action": "move", "to": str(folder)} if line["action"] != "keep" else line for line in lines])
    refused = home.daemon.run("resolve", "--plan", home.plan, "--apply")
    assert (refused.returncode, b"lies in an album" in refused.stderr) == (64, True), refused.stderr
    text = home.daemon.config.read_text()
    home.daemon.config.write_text(text.replace("[watch]\n", "[watch]\nexclude = ['aside']\n"))
    home.daemon.signal(signal.SIGHUP)
    home.daemon.settled_until_log_says("configuration read again")
    assert {state for state, _ in home.apply().values()} == {"done"}
    assert list(folder.iterdir())


def test_content_that_was_resolved_away_and_comes_back_is_told(home: Home) -> None:
    """Its alert has the time at which it went; another new copy's has none."""
    small = home.path("small.jpg").read_bytes()
    home.planned()
    home.apply()
    home.daemon.settle()
    home.path("from-phone.jpg").write_bytes(small)
    pictures.resaved(home.path("photo-0003.jpg"), home.path("new.jpg"))
    home.daemon.settle()
    returned = {Path(alert["path"]).name: alert["returned"] for alert in home.daemon.alerts()}
    assert returned["new.jpg"] is None
    assert returned["from-phone.jpg"].startswith("20")
    assert b"it is back" in home.daemon.run("alerts").stdout


def test_a_decision_outlives_moves_copies_and_a_new_index(home: Home) -> None:
    """It is about contents; given to another index as JSON lines it holds there too."""
    home.daemon.json("dismiss", home.path("small.jpg"), home.path("photo-0002.jpg"))
    home.daemon.json("dismiss", home.path("small.jpg"), home.path("tiny.jpg"))
    home.daemon.json("dismiss", home.path("twin.jpg"), home.path("photo-0001.jpg"))
    decided = home.daemon.run("decisions", "list", "--json").stdout
    home.path("small.jpg").rename(home.path("renamed.jpg"))
    shutil.copy(home.path("renamed.jpg"), home.path("again.jpg"))
    home.daemon.settle()
    kinds = {group["kind"]: [Path(image["path"]).name for image in group["images"]] for group in home.groups()}
    assert kinds == {"exact": ["renamed.jpg", "again.jpg"], "copy": ["photo-0002.jpg", "tiny.jpg"]}
    assert home.daemon.alerts() == [] or {alert["kind"] for alert in home.daemon.alerts()} == {"exact"}
    home.daemon.stop()
    shutil.rmtree(home.daemon.state)
    home.daemon.start()
    home.daemon.settle()
    assert len(home.groups()) == 3
    imported = home.daemon.run("decisions", "import", "-", "--json", stdin=decided)
    assert json.loads(imported.stdout) == {"read": 3, "added": 3}
    assert {group["kind"]: [Path(image["path"]).name for image in group["images"]] for group in home.groups()} == kinds


def test_groups_across_albums(home: Home) -> None:
    """With `--across` only those that have images in two albums; the table has a row for each image."""
    second = home.daemon.home / "other"
    second.mkdir()
    shutil.copy(home.path("photo-0003.jpg"), second / "here-too.jpg")
    home.daemon.json("album", "add", second)
    home.daemon.settle()
    (group,) = home.daemon.json("duplicates", "--across")["groups"]
    assert {Path(image["path"]).name for image in group["images"]} == {"photo-0003.jpg", "here-too.jpg"}
    rows = home.daemon.run("duplicates", "--format", "csv").stdout.decode().splitlines()
    assert rows[0].startswith("group,kind,keep,path,")
    assert len(rows) == 1 + sum(len(group["images"]) for group in home.groups())
    spare = home.daemon.run("duplicates", "--paths0", "--kind", "exact").stdout.split(b"\0")[:-1]
    assert {Path(os.fsdecode(path)).name for path in spare} == {"twin.jpg", "here-too.jpg"}


def test_review_makes_a_plan(home: Home) -> None:
    """One group is planned with another image kept, one is dismissed; the end of the input stops it."""
    plan = home.daemon.home / "reviewed.jsonl"
    done = home.daemon.run("review", "--plan", plan, "--json", stdin=b"x\n2\nd\n")
    assert json.loads(done.stdout) == {"planned": 1, "dismissed": 1, "skipped": 0, "plan": str(plan)}
    actions = {Path(line["path"]).name: line["action"] for line in map(json.loads, plan.read_text().splitlines())}
    assert actions == {"photo-0001.jpg": "trash", "twin.jpg": "keep"}
    assert [group["kind"] for group in home.groups()] == ["exact"]
    assert b"exists already" in home.daemon.run("review", "--plan", plan).stderr
    assert home.daemon.run("review", "--plan", plan.with_name("none"), "--json", stdin=b"").returncode == 0
    assert not plan.with_name("none").exists()


# Killed in between.


def killed(home: Home, step: int) -> bool:
    """Apply the plan in a process that dies at a step; False when it came to its end before."""
    command = [sys.executable, killed_cbir.__file__, str(step), "resolve", "--plan", str(home.plan), "--apply"]
    done = subprocess.run(  # noqa: S603 -- our own program
        command, env=home.daemon.environ, capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


@pytest.mark.parametrize("action", ["trash", "move", "hardlink"])
def test_a_kill_at_any_step_loses_nothing(home: Home, action: str) -> None:
    """All bytes are somewhere; the run is open, is gone on with to the same end, or undone to the same beginning."""
    before, everything = home.files(), home.everywhere()
    options = ["--action", action, "--kind", "exact"]
    options += ["--to", str(home.daemon.home / "away")] if action == "move" else []
    step = 0
    home.planned(*options)
    while killed(home, step):
        # Beside them may be what is written about a file in the trash.
        assert home.everywhere() >= everything, step
        run = home.last_run()
        if run["open"]:
            assert b"was not finished" in home.daemon.run("resolve", "--plan", home.plan, "--apply").stderr
        if run["open"] and step % 2:
            home.daemon.run("resolve", "--continue", str(run["run"]))
        if step % 2:
            assert_resolved(home, action, before)
        home.undo(run["run"])
        assert home.files() == before, step
        assert not home.last_run()["open"]
        assert home.everywhere() == everything, step
        home.daemon.settle()
        step += 1
    assert step >= 6
    assert_resolved(home, action, before)


def assert_resolved(home: Home, action: str, before: Files) -> None:
    """Check that the one file is where the action puts it, and nothing else has changed."""
    after = home.files()
    twin, kept = home.path("twin.jpg"), home.path("photo-0001.jpg")
    assert {name: after[name] for name in after if name != "twin.jpg"} == {
        name: before[name] for name in before if name != "twin.jpg"
    }
    assert twin.exists() == (action == "hardlink")
    assert action != "hardlink" or twin.samefile(kept)


def test_a_daemon_that_dies_while_files_are_moved(home: Home) -> None:
    """The client says so and stops; once there is a daemon again the run is gone on with."""
    home.planned()
    killed_client = [sys.executable, killed_cbir.__file__, "1", "resolve", "--plan", str(home.plan), "--apply"]
    subprocess.run(killed_client, env=home.daemon.environ, capture_output=True, check=False)  # noqa: S603 -- our own program
    home.daemon.kill()
    assert home.daemon.run("resolve", "--continue", "1").returncode == 69
    home.daemon.start()
    assert home.last_run()["open"]
    assert home.daemon.run("resolve", "--continue", "1").returncode == 0
    run = home.last_run()
    assert (run["done"], run["open"]) == (3, False)
    assert home.daemon.settle()["images"] == 5
