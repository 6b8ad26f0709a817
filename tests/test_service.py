"""The service without its process: what counts as alive, what is told, what is wrong."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from datetime import time as clock_time
from pathlib import Path

import pytest
from PIL import Image

from cbir_daemon import config
from cbir_daemon.config import Config
from cbir_daemon.config.settings import SECTIONS
from cbir_daemon.daemon.rooms import OpenRooms
from cbir_daemon.daemon.service import RETRY_S, Service
from cbir_daemon.decode import Readers, ReadTask
from cbir_daemon.indexing.batches import Progress
from cbir_daemon.map import Projector
from cbir_daemon.map.refit import RefitState
from cbir_daemon.matching import CODE_VERSION
from cbir_daemon.pictures import PICTURES
from cbir_daemon.pictures.formats import EXTRAS
from cbir_daemon.protocol.messages import Request
from cbir_daemon.records import IMAGE, FileState, FitOutcome, ResolveTask, TaskState, Unreadable
from cbir_daemon.serving import handlers
from cbir_daemon.serving.handlers.problems import problems
from cbir_daemon.serving.handlers.rooms import Rooms
from cbir_daemon.serving.handlers.summary import reading, summary
from cbir_daemon.store import Failed, FitBegun, Store
from cbir_daemon.system import heartbeat
from tests.patience import PATIENCE_S
from tests.pictures import photograph

NOW = 1_767_225_600.0


@dataclass(frozen=True)
class Started:
    """A service whose threads run, its rooms, and the configuration that it reads next."""

    service: Service
    opened: OpenRooms
    asked: list[Config]

    def read_again(self, asked: Config) -> None:
        """Let the service read another configuration."""
        self.asked[:] = [asked]
        self.service.read_again(self.opened)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """Give a service whose threads run on an empty album; nothing is watched, and no signal is taken."""
    (tmp_path / "album").mkdir()
    settings = config.load(state=tmp_path / "state", albums=(tmp_path / "album",), environ={"HOME": str(tmp_path)})
    (tmp_path / "state").mkdir(mode=0o700)
    asked = [settings]
    service = Service(settings, lambda: asked[0])
    with service.started() as opened:
        yield Started(service, opened, asked)


@pytest.fixture
def service(started: Started) -> Service:
    """Give a service that has started."""
    return started.service


@pytest.fixture
def rooms(started: Started) -> Rooms:
    """Give the rooms that a service's handlers may ask."""
    return started.opened.handled


def whats(rooms: Rooms) -> list[str]:
    """Return what is wrong; each has something to do about it."""
    found = problems(rooms)
    assert all(problem.do for problem in found)
    return [problem.what for problem in found]


# -- alive -------------------------------------------------------------------------------------------------------------


def test_every_thread_of_the_daemon_has_a_heartbeat(service: Service) -> None:
    """Each thread that the daemon cannot do without promises when it is heard of again."""
    names = {thread.name for thread in heartbeat.all_now()}
    assert names == {thread.name for thread in service.threads} | {"writer", "server"}
    assert {"pairing", "projection", "refit", "ingest", "backups"} < names
    assert service.lives(time.monotonic())


def test_no_thread_takes_features_that_nobody_asks_for(service: Service, rooms: Rooms) -> None:
    """Without `match.local` there is none: its loop would have nothing to wait for."""
    assert not rooms.features.enabled
    assert "features" not in {thread.name for thread in service.threads}


def test_a_thread_that_hangs_withholds_the_ping(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """A broken promise means that the daemon does not live, and the log names the thread; a kept one heals that."""
    with heartbeat.of("one"), caplog.at_level(logging.ERROR):
        heartbeat.beat(-1.0)
        assert not service.lives(time.monotonic())
        assert "thread stuck name=one late_s=" in caplog.text
        heartbeat.beat()
        assert service.lives(time.monotonic())


def test_who_waits_for_a_file_system_is_alive(service: Service, rooms: Rooms) -> None:
    """A hung disk is no reason to start again, where the daemon would hang again: it is a problem to be told."""
    with heartbeat.of("one"):
        heartbeat.beat(-100.0, waits_for="the file system of /mnt/nas")
        assert service.lives(time.monotonic())
        assert whats(rooms) == ["thread one has waited 220 s for the file system of /mnt/nas"]


def test_a_dead_thread_withholds_the_ping(service: Service, rooms: Rooms) -> None:
    """When a thread has ended the daemon does not live."""
    rooms.maps.stop()
    service.stop()
    rooms.store.wake()
    next(thread for thread in service.threads if thread.name == "refit").join()
    assert not service.lives(time.monotonic())


def test_a_daemon_shows_its_open_rooms_once_it_runs(tmp_path: Path) -> None:
    """Whoever draws progress is called once, with an index that answers; a stop asked for by then is taken."""
    (tmp_path / "album").mkdir()
    settings = config.load(state=tmp_path / "state", albums=(tmp_path / "album",), environ={"HOME": str(tmp_path)})
    service = Service(settings, lambda: settings)
    roots: list[bytes] = []

    def show(rooms: Rooms) -> None:
        roots.extend(album.path for album in rooms.store.albums.listed())
        service.stop()

    assert service.run(show) == 0
    assert roots == [bytes(tmp_path / "album")]


def test_nothing_runs_after_a_block_that_failed(tmp_path: Path) -> None:
    """An error while the daemon runs ends its threads and closes its index, as a stop does."""
    (tmp_path / "album").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    settings = config.load(state=tmp_path / "state", albums=(tmp_path / "album",), environ={"HOME": str(tmp_path)})
    service = Service(settings, lambda: settings)

    def fail() -> None:
        with service.started():
            assert {"writer", "server", "ingest"} < {thread.name for thread in heartbeat.all_now()}
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not any(thread.is_alive() for thread in service.threads)
    assert heartbeat.all_now() == []
    assert not os.path.lexists(settings.socket_path)


# -- what is asked ----------------------------------------------------------------------------------------------------


def wait_until(rooms: Rooms, holds: Callable[[], bool]) -> None:
    """Return once something holds of the index."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        moment = rooms.store.moment
        if holds():
            return
        assert time.monotonic() < deadline
        rooms.store.wait_for_change(moment, PATIENCE_S)


def test_cbir_scan_tries_a_file_at_once_whose_disk_failed(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks to look again now has mended the disk, and does not wait for a pause to end."""
    path = rooms.config.state_dir.parent / "album" / "a.png"
    Image.fromarray(photograph(1, (48, 32))).save(path)
    os.utime(path, (NOW - 86_400 * 365, NOW - 86_400 * 365))

    def fail(tasks: Sequence[ReadTask]) -> Iterator[tuple[ReadTask, Unreadable]]:
        yield from ((task, Unreadable("read-failed", "the server does not answer")) for task in tasks)

    with monkeypatch.context() as patch:
        patch.setattr(rooms.pool, "read_files", fail)
        rooms.ingest.request_scan()
        wait_until(rooms, lambda: rooms.store.files.counts().errors == 1)
        wait_until(rooms, lambda: rooms.ingest.idle)
    list(handlers.handle(rooms, Request(1, "scan")))
    wait_until(rooms, lambda: rooms.store.files.counts().errors == 0)


# -- what is wrong -----------------------------------------------------------------------------------------------------


def test_nothing_is_wrong_with_a_sound_daemon(rooms: Rooms) -> None:
    """An empty album on a disk with room is no problem."""
    assert whats(rooms) == []


def test_a_thread_that_is_refused_says_why(rooms: Rooms) -> None:
    """Until its loop goes round again, a thread whose work the disk refused is the first problem."""
    with heartbeat.of("pairing"):
        heartbeat.refused("index.sqlite: database or disk is full", RETRY_S)
        assert whats(rooms) == ["thread pairing failed and tries again: index.sqlite: database or disk is full"]
        heartbeat.idle(0.0)
        assert whats(rooms) == []


def test_a_thread_that_hangs_is_told(rooms: Rooms) -> None:
    """A thread that broke its promise for no reason of the disk's is a fault of ours, and said so."""
    with heartbeat.of("one"):
        heartbeat.beat(-1.0)
        assert whats(rooms) == ["thread one hangs"]


def test_a_disk_that_is_nearly_full_is_told(rooms: Rooms) -> None:
    """Before the index cannot grow any more, the status says how much is left, and where."""
    free_bytes = shutil.disk_usage(rooms.config.state_dir).free
    (problem,) = problems(rooms, 2 * free_bytes)
    assert problem.what.startswith(f"the disk of {rooms.config.state_dir} is nearly full: ")


def test_a_failed_fit_is_told_until_one_goes_well(rooms: Rooms) -> None:
    """The last fit counts: a failed one is a problem with its reason, one cut short by a stop is none."""
    for outcome, count in ((FitOutcome.FAILED, 1), (FitOutcome.CANCELLED, 1)):
        run_id = rooms.store.runs.start(FitBegun("there is no map", "mean16/1", 30), NOW)
        rooms.store.runs.end(run_id, outcome, "memory ran out", NOW)
        assert whats(rooms) == ["the last fit of the map failed: memory ran out"] * count
    rooms.maps.of(IMAGE).refit.state = RefitState(3, "tune", 0.5, "trying", 0.0)
    assert whats(rooms) == []
    rooms.maps.of(IMAGE).refit.state = None


def test_images_without_a_place_are_told(rooms: Rooms) -> None:
    """While the model worker fails, the status says why new images have no place."""
    rooms.maps.of(IMAGE).projection.failing = "the model worker was killed"
    assert whats(rooms) == ["new images are not placed on the map: the model worker was killed"]


def test_a_resolve_that_was_broken_off_is_told(rooms: Rooms) -> None:
    """Once it has noted nothing for a minute: before that, it may be under way."""
    task = ResolveTask(
        "trash", "copy", Path("/album/a.jpg"), Path("/album/b.jpg"), bytes(32), bytes(32), 1, 1, None, TaskState.PLANNED
    )
    now = time.time()
    run = rooms.store.journal.start([task, task], now)
    assert whats(rooms) == []
    (first, second) = rooms.store.journal.tasks(run)
    rooms.store.journal.note(first.id, TaskState.DONE, b"/trash/a.jpg", "", now - 120)
    rooms.store.journal.note(second.id, TaskState.BEGUN, b"/trash/a.jpg", "", now - 90)
    (problem,) = problems(rooms)
    assert problem.what == f"resolve {run} was broken off; 1 file to go"
    assert f"cbir resolve --continue {run}" in problem.do
    rooms.store.journal.note(second.id, TaskState.UNDONE, None, "", now - 80)
    assert whats(rooms) == []


def put_unreadable(store: Store, *codes: str) -> None:
    """Record files that could not be read."""
    (album,) = store.albums.listed()
    store.files.apply(
        [
            Failed(album.id, f"{number}.jpg".encode(), FileState(1, 1, number + 1), Unreadable(code, "why"))
            for number, code in enumerate(codes)
        ]
    )


def test_files_that_could_not_be_read_are_counted_by_reason(rooms: Rooms) -> None:
    """Most frequent first; those that only need a package are a problem of their own, with the command."""
    put_unreadable(rooms.store, "truncated", "empty", "truncated", "needs-extra")
    extra, rest = problems(rooms)
    assert extra.what.startswith("1 file needs an extra that was installed after")
    assert "restart the daemon" in extra.do
    assert (rest.what, rest.do) == (
        "3 files could not be read: 2 truncated, 1 empty",
        "`cbir errors` lists them, with reasons",
    )


def test_extras_that_files_need_are_named(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those alone, with the command that installs them; a missing one that no file needs is no problem."""
    nowhere = {name: replace(extra, module=f"cbir_no_{extra.name}") for name, extra in EXTRAS.items()}
    monkeypatch.setattr(rooms.pool, "readers", Readers([replace(PICTURES, extras=tuple(nowhere.values()))]))
    assert problems(rooms) == []
    (album,) = rooms.store.albums.listed()
    for number, name in enumerate(("SVG", "HEIF", "SVG")):
        failed = Unreadable("needs-extra", nowhere[name].words)
        rooms.store.files.apply([Failed(album.id, b"%d" % number, FileState(1, 1, number + 1), failed)])
    (problem,) = problems(rooms)
    assert problem.what == "3 files need an extra that is not installed: heif,svg"
    assert problem.do.startswith("pip install 'cbir-daemon[heif,svg]', then restart")


# -- what is told ------------------------------------------------------------------------------------------------------


def test_progress_has_everything_that_is_known() -> None:
    """Found, done, errors and rate, and the time left once there is a rate; nothing before it is known how much."""
    assert reading(Progress()) == ""
    assert reading(Progress(found=10)) == "indexing: 0 of 10 files, 0 errors, 0/s"
    line = reading(Progress(found=100, done=50, errors=2, started=time.monotonic() - 10))
    assert line == "indexing: 50 of 100 files, 2 errors, 5/s, 10 s left"


def test_the_summary_says_what_is_done_or_what_there_is(rooms: Rooms) -> None:
    """A fit and its stage; with nothing to do the images and the map; problems last."""
    assert summary(rooms) == "0 images, 0 errors, no map"
    rooms.maps.of(IMAGE).refit.state = RefitState(1, "tune", 0.25, "trying n_neighbors=5", 0.0)
    assert summary(rooms) == "fitting the map: 25%, tune"
    rooms.maps.of(IMAGE).refit.state = None
    put_unreadable(rooms.store, "empty")
    assert summary(rooms) == "0 images, 1 error, no map; 1 problem, see `cbir status`"


def test_a_given_socket_is_the_one_that_answers(tmp_path: Path) -> None:
    """With a socket of the manager's the service listens there, makes none of its own, and leaves it listening."""
    (tmp_path / "album").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    settings = config.load(state=tmp_path / "state", albums=(tmp_path / "album",), environ={"HOME": str(tmp_path)})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as theirs, ExitStack() as stack:
        theirs.bind(str(tmp_path / "given"))
        theirs.listen()
        service = Service(settings, lambda: settings, theirs.dup())
        stack.enter_context(service.started())
        assert service.socket_path == tmp_path / "given"
        assert not os.path.lexists(settings.socket_path)
        stack.close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(tmp_path / "given"))


HOURS = (clock_time(1), clock_time(5))


@dataclass(frozen=True)
class Reload:
    """A new value of a setting, and what shows that it is in force: another value after the reload than before."""

    value: object
    effect: Callable[[OpenRooms], object]


def of_ingest(name: str, value: object) -> Reload:
    """Return the reload of a setting of [watch] that `Ingest` reads when it needs it."""
    return Reload(value, lambda opened: getattr(opened.handled.ingest.settings, name))


def of_refit(name: str, value: object) -> Reload:
    """Return the reload of a setting of [model] that decides when and how the next fit runs."""
    return Reload(value, lambda opened: getattr(opened.handled.maps.of(IMAGE).refit.settings, name))


def projector_of(opened: OpenRooms) -> Projector:
    """Return what the projection would start for another map."""
    return opened.handled.maps.of(IMAGE).projection.projector("map", b"", CODE_VERSION)


def of_outbox(name: str, value: object) -> Reload:
    """Return the reload of a setting of [alerts] by which messages are sent."""
    return Reload(value, lambda opened: getattr(opened.handled.outbox.settings, name))


def of_policy(name: str, value: object) -> Reload:
    """Return the reload of a setting of [alerts] by which alerts are raised."""
    return Reload(value, lambda opened: getattr(opened.policy.settings, name))


RELOADS = {
    "watch.settle_s": of_ingest("settle_s", 3.0),
    "watch.rescan_s": of_ingest("rescan_s", 10.0),
    "watch.poll_s": of_ingest("poll_s", 10.0),
    "watch.missing_fraction": of_ingest("missing_fraction", 0.9),
    "watch.exclude": Reload(
        ("drafts",),
        lambda opened: (opened.handled.ingest.wants_folder(b"/a", b"/a/drafts"), opened.handled.config.watch.exclude),
    ),
    "model.features": of_refit("features", "raw"),
    "model.n_components": of_refit("n_components", 3),
    "model.min_dist": of_refit("min_dist", 0.8),
    "model.min_images": of_refit("min_images", 50),
    "model.max_fit_images": of_refit("max_fit_images", 50),
    "model.refit_changed_fraction": of_refit("refit_changed_fraction", 0.9),
    "model.refit_min_changes": of_refit("refit_min_changes", 5),
    "model.refit_far_fraction": of_refit("refit_far_fraction", 0.9),
    "model.refit_min_interval_s": of_refit("refit_min_interval_s", 5.0),
    "model.fit_hours": of_refit("fit_hours", HOURS),
    "model.seed": of_refit("seed", 7),
    "model.scheduler": of_refit("scheduler", "tcp://127.0.0.1:8786"),
    "model.threads": Reload(
        200,
        lambda opened: (
            opened.handled.maps.of(IMAGE).refit.settings.threads,
            projector_of(opened).threads,
        ),
    ),
    "model.model_idle_s": Reload(5.0, lambda opened: projector_of(opened).idle_s),
    "duplicates.keep": Reload(("oldest",), lambda opened: len(opened.handled.groups.keeping.rules)),
    "duplicates.prefer": Reload(("best",), lambda opened: opened.handled.groups.folders.rank(b"/a/1.jpg")),
    "duplicates.protect": Reload(("raw",), lambda opened: opened.handled.groups.folders.is_protected(b"/a/raw/1.jpg")),
    "alerts.min_kind": of_policy("min_kind", "exact"),
    "alerts.min_score": of_policy("min_score", 0.9),
    "alerts.sinks": of_outbox("sinks", ()),
    "alerts.bundle_s": of_outbox("bundle_s", 1.0),
    "alerts.interval_s": of_outbox("interval_s", 1.0),
    "alerts.quiet_hours": of_outbox("quiet_hours", HOURS),
    "alerts.retry_s": of_outbox("retry_s", 1.0),
    "backup.every_days": Reload(1.0, lambda opened: opened.backups.every_s),
    "log.level": Reload("error", lambda opened: logging.getLogger("cbir_daemon").level),
}
"""Setting -> what a reload does to it."""

RESTARTS = {
    "decode.workers": 200,
    "decode.max_pixels": 5_000,
    "decode.max_file_bytes": 5_000,
    "decode.timeout_s": 5.0,
    "match.copy_threshold": 0.9,
    "match.look": False,
    "match.local": True,
    "meaning.model": "efficientnet-lite0",
    "server.group": "users",
    "server.max_connections": 5,
    "server.search_processes": 7,
    "shared.uri": "http://127.0.0.1:1",
    "shared.token_file": Path("/token"),
    "shared.ca_file": Path("/ca.pem"),
    "shared.site": "studio",
    "shared.collection": "photos",
    "shared.share_paths": False,
    "shared.timeout_s": 1.0,
}
"""Setting -> a value that waits for a restart."""

OF_OTHER_PROGRAMS = {"page.hosts": "`cbir page` reads it when it starts"}
"""Settings that no part of the daemon has."""


def reload_with(started: Started, setting: str, value: object) -> None:
    """Let a service read a configuration in which one setting is another."""
    before = started.opened.handled.config
    section, name = setting.split(".")
    started.read_again(replace(before, **{section: replace(getattr(before, section), **{name: value})}))


def test_every_setting_is_taken_up_by_a_reload_or_needs_a_restart(
    started: Started, rooms: Rooms, caplog: pytest.LogCaptureFixture
) -> None:
    """Every field of every section has an effect, or the log names it and the value before stays in force."""
    names = {f"{section}.{field.name}" for section, declared in SECTIONS.items() for field in fields(declared)}
    assert names == RELOADS.keys() | RESTARTS.keys() | OF_OTHER_PROGRAMS.keys()
    level = logging.getLogger("cbir_daemon").level
    for setting, reload in RELOADS.items():
        before = reload.effect(started.opened)
        reload_with(started, setting, reload.value)
        assert reload.effect(started.opened) != before, setting
    logging.getLogger("cbir_daemon").setLevel(level)
    assert "needs a restart" not in caplog.text
    reload_with(started, "log.level", "info")
    for setting, value in RESTARTS.items():
        caplog.clear()
        before_reload = rooms.config
        reload_with(started, setting, value)
        assert f"needs a restart setting={setting}" in caplog.messages
        assert rooms.config == before_reload, setting
    logging.getLogger("cbir_daemon").setLevel(level)


def test_another_state_or_socket_needs_a_restart(
    started: Started, rooms: Rooms, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names them as the file does; answers go on about the folder in use."""
    before = rooms.config
    started.read_again(replace(before, state_dir=Path("/nowhere/state"), socket_path=Path("/nowhere/socket")))
    assert {"needs a restart setting=state", "needs a restart setting=socket"} <= set(caplog.messages)
    assert (rooms.config.state_dir, rooms.config.socket_path) == (before.state_dir, before.socket_path)
