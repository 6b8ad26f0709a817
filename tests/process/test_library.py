"""The library on a real daemon and on its state: the same answers, and a state that is only read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cbir_daemon import Index
from cbir_daemon.errors import BadRequestError, NotFoundError, StorageError, UnavailableError
from cbir_daemon.library.values import Alert
from tests import pictures
from tests.process.daemon import Daemon, living

pytestmark = [pytest.mark.process, pytest.mark.in_order]

ODD = "caf\udce9 & <b>.jpg"


@pytest.fixture(scope="module")
def running() -> Iterator[Daemon]:
    """Give a running daemon with four pictures, a smaller copy, a twin, a text; and an alert."""
    with living() as daemon:
        for seed in range(4):
            pictures.save(pictures.photograph(seed, (160, 112)), daemon.album / f"{seed}.jpg", quality=90)
        pictures.resaved(daemon.album / "0.jpg", daemon.album / ODD, quality=60)
        (daemon.album / "broken.jpg").write_bytes(b"this is text")
        daemon.start()
        daemon.settle()
        shutil.copyfile(daemon.album / "1.jpg", daemon.album / "twin.jpg")
        daemon.settle()
        yield daemon


def written(daemon: Daemon) -> dict[str, tuple[int, int]]:
    """Return size and time of change of each file of the state."""
    found = {path.relative_to(daemon.state): path.stat() for path in daemon.state.rglob("*")}
    return {str(path): (status.st_size, status.st_mtime_ns) for path, status in found.items()}


def test_a_socket_and_a_state_answer_alike(running: Daemon) -> None:
    """Matches, groups, alerts, errors, images and the map are the same, and the state is not written."""
    query = running.album / "0.jpg"
    with running.client() as client:
        recorded = client.query(query)["matches"]
    with Index(running.state / "socket") as asked:
        before = written(running)
        with Index(running.state) as read:
            assert [*asked.search(query)] == [*read.search(query.read_bytes())]
            assert asked.groups() == read.groups()
            assert asked.groups("shot") == read.groups("shot") == []
            assert asked.alerts() == read.alerts()
            assert asked.errors() == read.errors()
            assert asked.images("twin") == read.images("twin")
            assert asked.model() is read.model() is None
            assert asked.sheet(query) == read.sheet(query)
            found = read.search(query)
            assert asked.thumbnail(found.digest) == read.thumbnail(found.digest)
        assert written(running) == before
        assert [match.kind for match in found[:2]] == ["exact", "copy"]
        assert found[1].path == running.album / ODD
        assert found[1].origin.startswith(f"larger copy (200 %) of {ODD}")
        assert len(recorded) == len(found)
        assert asked.images("twin")[0].path == running.album / "twin.jpg"
        (alert,) = asked.alerts()
        assert isinstance(alert, Alert)
        assert (alert.path, alert.kind) == (running.album / "twin.jpg", "exact")
        assert asked.alerts(since=alert.id) == []
        assert [error.path.name for error in asked.errors()] == ["broken.jpg"]


def test_a_notebook_shows_pictures(running: Daemon) -> None:
    """Matches and groups draw themselves, names are escaped, and after the end there are no pictures."""
    with Index(running.state / "socket") as index:
        matches, groups = index.search(running.album / "0.jpg"), index.groups()
        drawn = matches._repr_html_()
        assert drawn.count("data:image/webp;base64,") == len(matches)
        assert "exact 1.000" in drawn
        assert "caf? &amp; &lt;b&gt;.jpg" in drawn
        assert "<b>.jpg" not in drawn
        assert groups
        assert all("<b>keep</b>" in group._repr_html_() for group in groups)
        nothing = index.search(running.album / "0.jpg", kind="shot")
        assert (len(nothing), nothing._repr_html_()) == (0, "<p>nothing found</p>")
    assert "data:" not in matches._repr_html_()
    assert "exact 1.000" in matches._repr_html_()
    with pytest.raises(UnavailableError, match="the index is closed"):
        index.errors()


def test_without_a_place_it_is_found(running: Daemon) -> None:
    """A running daemon, and after its end its state, as `cbir` and `cbir-daemon` find them."""
    code = (
        "import sys; from cbir_daemon import Index\n"
        "with Index() as index: print(index.search(sys.argv[1], limit=1)[0].kind, 'numpy' in sys.modules)"
    )

    def printed() -> str:
        return subprocess.run(  # noqa: S603 -- our own interpreter and code
            [sys.executable, "-c", code, running.album / "0.jpg"],
            cwd=running.home,
            env=running.environ,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert printed() == "exact False\n"
    assert running.stop() == 0
    assert printed() == "exact True\n"


def test_a_file_that_is_away_is_drawn_by_its_numbers(running: Daemon) -> None:
    """The preview needs the file; the 64x64 numbers are always there.  The daemon has ended by now."""
    away = running.album / "3.jpg"
    kept = away.read_bytes()
    with Index(running.state) as index:
        away.unlink()
        assert "data:image/webp" in index.search(kept, limit=1)._repr_html_()
        with pytest.raises(NotFoundError, match="no such file"):
            index.search(away)
    away.write_bytes(kept)


def test_what_is_no_index_is_refused(running: Daemon, tmp_path: Path) -> None:
    """Each mistake is one sentence that names the path."""
    with pytest.raises(NotFoundError, match="nowhere: no such file"):
        Index(tmp_path / "nowhere")
    with pytest.raises(NotFoundError, match="has no index"):
        Index(tmp_path)
    with pytest.raises(BadRequestError, match="neither a folder nor a socket"):
        Index(running.config)
    (tmp_path / "index.sqlite").write_bytes(b"this is no index" * 64)
    with pytest.raises(StorageError, match="not a database"):
        Index(tmp_path)


def test_a_socket_without_a_daemon_is_said(tmp_path: Path) -> None:
    """A socket that a killed daemon left is no folder to be read."""
    with living() as daemon:
        daemon.start()
        daemon.kill()
        with pytest.raises(UnavailableError, match="no daemon listens"):
            Index(daemon.state / "socket")
        with Index(daemon.state) as index:
            assert index.groups() == []
