"""An alert is wanted by kind, score and album, and every one that is written is delivered."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cbir_daemon import alerts
from cbir_daemon.alerts import MAX_MATCHES, Outbox, Policy
from cbir_daemon.config import AlbumConfig, AlertsConfig
from cbir_daemon.records import Kind
from cbir_daemon.store import AlertMatch, AlertRecord, Content, Image, NewAlert, Store
from tests.rows import digest, opened, state

NOW = 1_700_000_000.0
EXACT = AlertMatch(b"/album/same.jpg", Kind.EXACT, 1.0)
COPY = AlertMatch(b"/album/copy.jpg", Kind.COPY, 0.95)


def image(path: bytes = b"/album/new.jpg") -> Image:
    """Return a new image at a path."""
    return Image(1, 1, path, state(1), missing=False, content=Content(1, digest(1), 640, 480, 1_001, "JPEG"))


def alert(number: int) -> NewAlert:
    """Return an alert of its own."""
    return NewAlert(b"/album/%d.jpg" % number, Kind.COPY, (COPY,))


# Which are wanted.


@pytest.mark.parametrize(
    ("settings", "matches", "kept"),
    [
        (AlertsConfig(), [EXACT, COPY], [EXACT, COPY]),
        (AlertsConfig(), [COPY], [COPY]),
        (AlertsConfig(min_kind="exact"), [EXACT, COPY], [EXACT]),
        (AlertsConfig(min_kind="exact"), [COPY], None),
        (AlertsConfig(min_score=0.96), [EXACT, COPY], [EXACT]),
        (AlertsConfig(min_score=0.96), [COPY], None),
        (AlertsConfig(), [], None),
    ],
)
def test_kind_and_score_decide(
    settings: AlertsConfig, matches: Sequence[AlertMatch], kept: Sequence[AlertMatch] | None
) -> None:
    """Only matches that are worth it travel, and an alert has the kind of its best one."""
    wanted = Policy(settings, ()).wanted(image(), matches)
    expected = None if kept is None else NewAlert(b"/album/new.jpg", kept[0].kind, tuple(kept))
    assert wanted == expected


def test_a_long_list_of_matches_is_cut() -> None:
    """The first ones travel."""
    many = [AlertMatch(b"/album/%d.jpg" % n, Kind.COPY, 0.95) for n in range(50)]
    wanted = Policy(AlertsConfig(), ()).wanted(image(), many)
    assert wanted is not None
    assert wanted.matches == tuple(many[:MAX_MATCHES])


def test_an_album_may_be_silent(tmp_path: Path) -> None:
    """By its folder, not by how its name begins, and also when a link leads to it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    silent = Policy(
        AlertsConfig(),
        (AlbumConfig(tmp_path / "link", alerts=False), AlbumConfig(tmp_path / "loud", alerts=True)),
    )
    root = bytes(tmp_path)
    assert silent.wanted(image(root + b"/real/a.jpg"), [EXACT]) is None
    assert silent.wanted(image(root + b"/real2/a.jpg"), [EXACT]) is not None
    assert silent.wanted(image(root + b"/loud/a.jpg"), [EXACT]) is not None


# That they arrive.


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An index."""
    with opened(tmp_path / "index.sqlite") as store:
        yield store


class Sink:
    """Keeps what is delivered, and refuses while told to."""

    def __init__(self) -> None:
        self.had: list[int] = []
        self.broken_after: int | None = None

    def __call__(self, record: AlertRecord) -> None:
        if self.broken_after == len(self.had):
            raise ConnectionError("nobody there")
        self.had.append(record.id)


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Sink:
    """A sink by the name of `test`."""
    sink = Sink()
    monkeypatch.setattr(alerts, "SINKS", {"test": sink, "log": alerts.to_log})
    return sink


def test_each_is_delivered_once_and_in_order(store: Store, sink: Sink) -> None:
    """Also when there are more than one batch, and also over a restart."""
    outbox = Outbox(store, ["test"])
    store.put_alerts([], [alert(n) for n in range(alerts.BATCH + 3)], NOW)
    outbox.deliver()
    assert len(sink.had) == alerts.BATCH + 3
    outbox.deliver()
    Outbox(store, ["test"]).deliver()
    assert sink.had == list(range(1, alerts.BATCH + 4))
    store.put_alerts([], [alert(0)], NOW)
    outbox.deliver()
    assert sink.had[-1] == alerts.BATCH + 4


def test_what_did_not_arrive_is_delivered_later(store: Store, sink: Sink) -> None:
    """At least once, with its id: after a failure, and after a daemon that stopped in between."""
    outbox = Outbox(store, ["test"])
    store.put_alerts([], [alert(n) for n in range(3)], NOW)
    sink.broken_after = 2
    with pytest.raises(ConnectionError):
        outbox.deliver()
    sink.broken_after = None
    Outbox(store, ["test"]).deliver()
    assert set(sink.had) == {1, 2, 3}
    assert store.waiting(store.sinks()["test"].delivered_id) is None


def test_without_a_sink_they_are_kept_all_the_same(store: Store) -> None:
    """`cbir alerts` reads them from the index."""
    store.put_alerts([], [alert(1)], NOW)
    Outbox(store, []).deliver()
    assert [one.path for one in store.alerts(0, 10)] == [b"/album/1.jpg"]


def test_the_log_names_both_files(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """In one line of an operator's log, with id, kind and score."""
    store.put_alerts([], [NewAlert(b"/album/new.jpg", Kind.EXACT, (EXACT, COPY))], NOW)
    with caplog.at_level(logging.WARNING):
        Outbox(store, ["log"]).deliver()
    assert caplog.messages == [
        "alert id=1 kind=exact path=/album/new.jpg match=/album/same.jpg score=1.000 matches=2",
    ]


def test_the_log_says_what_became_of_an_album(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Its folder and why: there are no files to name."""
    store.put_alerts([], [NewAlert(b"/album", "missing", (), "its folder is empty")], NOW)
    with caplog.at_level(logging.WARNING):
        Outbox(store, ["log"]).deliver()
    assert caplog.messages == ["alert id=1 kind=missing path=/album reason=its folder is empty"]
