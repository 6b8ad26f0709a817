"""The doctor finds what is wrong with a state, says what to do, and touches nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cbir_daemon import config
from cbir_daemon.config import Config
from cbir_daemon.daemon import doctor
from cbir_daemon.daemon.rooms import INDEX_FILE
from cbir_daemon.store import SCHEMA_VERSION, FitBegun, Gone, Placed
from tests.rows import indexed, opened, position, report

NOW = 1_700_000_000.0


@pytest.fixture
def watches(tmp_path: Path) -> Path:
    """What the kernel says of inotify: enough."""
    path = tmp_path / "max_user_watches"
    path.write_text("524288\n")
    return path


def findings_of(configured: Config) -> list[str]:
    """Return what is wrong, where the kernel says what `watches` says."""
    return doctor.check(configured, configured.state_dir.with_name("max_user_watches"))


@pytest.fixture
def configured(tmp_path: Path, watches: Path) -> Config:
    """A configuration whose state has an index with one image."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with opened(state / INDEX_FILE) as store:
        store.files.apply([indexed(store.albums.listed()[0].id, b"a.jpg", 1)])
    return config.load(state=state, environ={}, albums=[])


def execute(configured: Config, statement: str) -> None:
    """Change the index behind everybody's back."""
    with closing(sqlite3.connect(configured.state_dir / INDEX_FILE, isolation_level=None)) as connection:
        connection.execute(statement)


def test_a_sound_state_has_no_findings(configured: Config) -> None:
    """And it is as it was, byte for byte."""
    before = (configured.state_dir / INDEX_FILE).read_bytes()
    assert findings_of(configured) == []
    assert (configured.state_dir / INDEX_FILE).read_bytes() == before


def test_an_index_in_use_is_sound(configured: Config) -> None:
    """While a daemon writes, what is committed is looked at."""
    with opened(configured.state_dir / INDEX_FILE) as store:
        store.files.apply(
            [Gone(store.albums.listed()[0].id, b"a.jpg"), indexed(store.albums.listed()[0].id, b"b.jpg", 2)]
        )
        assert findings_of(configured) == []


def test_a_state_without_an_index_is_sound(configured: Config) -> None:
    """The daemon makes it; the doctor does not."""
    (configured.state_dir / INDEX_FILE).unlink()
    assert findings_of(configured) == []
    assert not (configured.state_dir / INDEX_FILE).exists()


def test_a_state_that_is_not_there_is_said(configured: Config, tmp_path: Path) -> None:
    """It is not made either."""
    absent = config.load(state=tmp_path / "absent", environ={}, albums=[])
    assert findings_of(absent) == [f"state: {tmp_path / 'absent'} is not there yet; the daemon makes it"]
    assert not (tmp_path / "absent").exists()


def open_to_others(configured: Config) -> None:
    configured.state_dir.chmod(0o755)


def index_open_to_others(configured: Config) -> None:
    (configured.state_dir / INDEX_FILE).chmod(0o640)


def damaged(configured: Config) -> None:
    (configured.state_dir / INDEX_FILE).write_bytes(b"no database" * 1_000)


def damaged_inside(configured: Config) -> None:
    path = configured.state_dir / INDEX_FILE
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 6] = b"\xff" * (4096 * 3)
    path.write_bytes(data)


def newer(configured: Config) -> None:
    execute(configured, "PRAGMA user_version = 99")


def orphaned(configured: Config) -> None:
    execute(configured, "DELETE FROM file")


def without_artifact(configured: Config) -> None:
    with opened(configured.state_dir / INDEX_FILE) as store:
        run = store.runs.start(FitBegun("asked for", "code/1", 1), NOW)
        store.runs.activate(run, report(), [Placed(1, "fitted", position(0, 0))], NOW)


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        (open_to_others, "state: {state} can be read by others; chmod go= {state}"),
        (index_open_to_others, "state: {state}/index.sqlite can be read by others; chmod go= {state}/index.sqlite"),
        (damaged, "index: {state}/index.sqlite: file is not a database: `cbir-daemon restore FILE --state"),
        (damaged_inside, "index: "),
        (newer, "index: {state}/index.sqlite: has schema 99, this release reads up to {newest}"),
        (orphaned, "index: 1 content belongs to no file"),
        (without_artifact, "model: "),
    ],
)
def test_each_fault_is_found_and_not_mended(configured: Config, spoil: Callable[[Config], None], finding: str) -> None:
    """In a sentence that says where and what; asked again, it is still there."""
    spoil(configured)
    for _ in range(2):
        findings = findings_of(configured)
        assert len(findings) >= 1
        assert findings[0].startswith(finding.format(state=configured.state_dir, newest=SCHEMA_VERSION))


def test_the_kernel_s_limits_are_looked_at(configured: Config, watches: Path) -> None:
    """Too few watches, and none at all."""
    watches.write_text("1024")
    assert findings_of(configured) == [
        "watching: fs.inotify.max_user_watches is 1024; sysctl -w fs.inotify.max_user_watches=524288"
    ]
    for spoil in (lambda: watches.write_text("many"), watches.unlink):
        spoil()
        assert findings_of(configured) == ["watching: this kernel has no inotify; albums are polled"]
