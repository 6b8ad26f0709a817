"""Alerts reach real places from a real daemon: each at least once, over kills, and nobody sees a secret on the way."""

from __future__ import annotations

import http.server
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests import pictures
from tests.patience import PATIENCE_S
from tests.places import CHECKOUT
from tests.process.daemon import Daemon

pytestmark = pytest.mark.process

BENCHMARKS = CHECKOUT / "scripts" / "benchmarks"
IMAGES = 6
TOKEN = "t0ken-of-mine"  # noqa: S105 -- of a test


@pytest.fixture
def posted(daemon: Daemon) -> Iterator[queue.SimpleQueue[dict[str, Any]]]:
    """What a webhook is sent; a running daemon has it for a place, and has indexed an album."""
    had: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            had.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        (daemon.home / "url").write_text(f"http://127.0.0.1:{server.server_address[1]}/{TOKEN}\n")
        daemon.environ["no_proxy"] = "*"
        configure(daemon, ["log", "hook"])
        pictures.write_album(daemon.album, IMAGES)
        daemon.start()
        daemon.settle()
        yield had
        server.shutdown()
        thread.join()


def configure(daemon: Daemon, sinks: list[str], command: str = "/bin/false") -> None:
    """Write where alerts go, behind what the configuration says besides."""
    text = daemon.config.read_text().partition("[alerts]")[0]
    places = (
        f"[alerts]\nsinks = {json.dumps(sinks)}\nbundle_s = 0.5\ninterval_s = 0\nretry_s = 0.05\n"
        "[[sink]]\nname = 'hook'\ntype = 'webhook'\nurl_file = 'url'\n"
        f"[[sink]]\nname = 'program'\ntype = 'command'\ncommand = ['{command}', '{daemon.home}/had']\n"
    )
    daemon.config.write_text(text + places)


def test_a_burst_is_one_message_and_the_album_raises_one_each(
    daemon: Daemon, posted: queue.SimpleQueue[dict[str, Any]]
) -> None:
    """A folder of copies that is moved in: an alert a file, and one document with their ids and the first ten."""
    folder = daemon.home / "copies"
    folder.mkdir()
    for number in range(20):
        shutil.copy(daemon.album / "photo-0000.jpg", folder / f"{number:02d}.jpg")
    folder.rename(daemon.album / "copies")
    daemon.settle()
    alerts = daemon.alerts()
    assert len(alerts) == 20
    message = posted.get(timeout=PATIENCE_S)
    assert (message["count"], message["ids"]) == (20, [alert["id"] for alert in alerts])
    assert message["alerts"] == alerts[:10]
    assert message["title"] == "20 alerts from your albums"


def test_of_two_equal_new_files_one_is_the_original(daemon: Daemon, posted: queue.SimpleQueue[dict[str, Any]]) -> None:
    """They come at once, and one alert is raised, by the later one: neither is a copy of a copy of itself."""
    folder = daemon.home / "two"
    folder.mkdir()
    pictures.save(pictures.photograph(500), folder / "first.jpg", quality=90)
    shutil.copy(folder / "first.jpg", folder / "second.jpg")
    folder.rename(daemon.album / "two")
    daemon.settle()
    (alert,) = daemon.alerts()
    assert (alert["path"], alert["kind"]) == (str(daemon.album / "two" / "second.jpg"), "exact")
    assert [match["path"] for match in alert["matches"]] == [str(daemon.album / "two" / "first.jpg")]


def test_a_test_message_and_a_place_that_fails(daemon: Daemon, posted: queue.SimpleQueue[dict[str, Any]]) -> None:
    """`cbir alerts test` says how it went; a place that fails is in the status, and the other ones have everything."""
    assert daemon.json("alerts", "test", "hook")["used"] is True
    assert posted.get(timeout=PATIENCE_S)["test"] is True
    failed = daemon.run("alerts", "test", "program")
    assert (failed.returncode, failed.stderr) == (69, b"cbir: sink program: /bin/false: ended with status 1\n")
    assert daemon.run("alerts", "test", "mail").returncode == 66
    configure(daemon, ["hook", "program"])
    daemon.signal(signal.SIGHUP)
    daemon.settled_until_log_says("configuration read again")
    shutil.copy(daemon.album / "photo-0000.jpg", daemon.album / "again.jpg")
    assert posted.get(timeout=PATIENCE_S)["alerts"][0]["path"] == str(daemon.album / "again.jpg")
    daemon.settled_until_log_says("alerts not delivered sink=program retry_s=0.1")
    (problem,) = daemon.json("status")["problems"]
    assert problem["what"].startswith("sink program: ")
    assert problem["what"].endswith("/bin/false: ended with status 1; 1 alert waits")
    os.mkfifo(daemon.home / "had")
    configure(daemon, ["hook", "program"], "/usr/bin/tee")
    daemon.signal(signal.SIGHUP)
    # Settings taken up are no message delivered: what the program had is waited for, at the other end of its pipe.
    assert json.loads((daemon.home / "had").read_text())["count"] == 1
    while daemon.settle()["problems"]:
        pass


def test_no_secret_is_shown(daemon: Daemon, posted: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Not by `config show`, the log, an error or the status, even when the place fails."""
    url = daemon.home / "url"
    url.write_text(url.read_text().replace("http://", "ftp://"))
    said = daemon.run("alerts", "test", "hook")
    assert said.returncode == 69
    shutil.copy(daemon.album / "photo-0000.jpg", daemon.album / "again.jpg")
    daemon.settled_until_log_says("alerts not delivered sink=hook retry_s=0.1")
    shown = daemon.run("config", "show", command="cbir-daemon")
    assert b'url_file = "' in shown.stdout
    everything = [said.stderr, shown.stdout, daemon.run("status", "--json").stdout, daemon.log.read_bytes()]
    assert not [log for log in everything if TOKEN.encode() in log]


def test_a_work_is_told_wherever_it_turns_up(daemon: Daemon, posted: queue.SimpleQueue[dict[str, Any]]) -> None:
    """`cbir watch add` says where it is now; then a mirrored part of it in an album raises an alert with its name."""
    added = daemon.json("watch", "add", daemon.album / "photo-0001.jpg", "--name", "Harbour")
    assert [found["path"] for found in added["found"]] == [str(daemon.album / "photo-0001.jpg")]
    assert daemon.alerts() == []
    stolen = pictures.mirrored(pictures.cropped(pictures.photograph(1), 0.1))
    pictures.save(stolen, daemon.album / "stolen.jpg", quality=80)
    daemon.settle()
    (alert,) = daemon.alerts()
    assert [(work["name"], work["kind"]) for work in alert["watched"]] == [("Harbour", "copy")]
    assert posted.get(timeout=PATIENCE_S)["text"].startswith(f"{daemon.album}/stolen.jpg contains your work Harbour (")
    assert daemon.run("watch", "remove", "Harbour").returncode == 0
    assert daemon.run("watch", "list").returncode == 1


def test_what_a_new_screenshot_shows_is_told_and_stays(
    daemon: Daemon, posted: queue.SimpleQueue[dict[str, Any]]
) -> None:
    """A photograph of the album and a work, each with where it lies; a restart tells it no second time.

    Neither the screenshot nor the photograph is a duplicate.
    """
    photograph, work = pictures.real_photographs()
    daemon.json("watch", "add", pictures.save(work, daemon.home / "mine.jpg", quality=90))
    pictures.save(photograph, daemon.album / "real.jpg", quality=90)
    daemon.settle()
    assert daemon.alerts() == []
    pictures.save(pictures.on_a_page(photograph), daemon.album / "page.png")
    daemon.settle()
    (alert,) = daemon.alerts()
    (match,) = alert["matches"]
    assert (alert["path"], alert["kind"]) == (f"{daemon.album}/page.png", "copy")
    assert (match["path"], match["kind"]) == (f"{daemon.album}/real.jpg", "copy")
    assert match["done"] == "inside a larger picture (17 % of it)"
    text = posted.get(timeout=PATIENCE_S)["text"]
    assert text.startswith(f"{daemon.album}/page.png is a copy (0.")
    assert text.endswith(f") of {daemon.album}/real.jpg [inside a larger picture (17 % of it)]")
    pictures.save(pictures.on_a_page(work), daemon.album / "stolen.png")
    daemon.settle()
    assert posted.get(timeout=PATIENCE_S)["text"].startswith(f"{daemon.album}/stolen.png contains your work mine.jpg (")
    daemon.kill()
    daemon.start()
    assert daemon.settle()["duplicates_pending"] == 0
    assert len(daemon.alerts()) == 2
    assert daemon.run("duplicates").returncode == 1
    assert daemon.run("resolve", "--unlooked").returncode == 1


def test_without_a_look_at_files_none_is_looked_into(daemon: Daemon) -> None:
    """`match.look = false`: no new file is read again."""
    daemon.config.write_text(daemon.config.read_text() + "[match]\nlook = false\n")
    photograph = pictures.real_photographs()[0]
    pictures.save(photograph, daemon.album / "real.jpg", quality=90)
    daemon.start()
    daemon.settle()
    pictures.save(pictures.on_a_page(photograph), daemon.album / "page.png")
    shutil.copy(daemon.album / "real.jpg", daemon.album / "again.jpg")
    daemon.settle()
    assert [alert["path"] for alert in daemon.alerts()] == [f"{daemon.album}/again.jpg"]


def test_none_is_lost_by_kills_and_refusals() -> None:
    """Each of some alerts arrives, and every repeat is what it was: `scripts/bench alerts` in small."""
    done = subprocess.run(  # noqa: S603 -- our own interpreter and script
        [sys.executable, BENCHMARKS, "alerts", "--alerts", "120", "--kills", "4"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:4]]
    assert [(row[0], row[1], row[2], row[-1]) for row in rows] == [
        ("each", "120", "4", "0"),
        ("bundled", "120", "4", "0"),
    ]
