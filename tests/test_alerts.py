"""An alert is wanted by kind, score and album, and every one that is written arrives everywhere, at least once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time
from pathlib import Path

import pytest

from cbir_daemon import config
from cbir_daemon.alerts import Message, Outbox, Policy, outbox, sinks
from cbir_daemon.alerts.message import sentence
from cbir_daemon.alerts.outbox import Clocks
from cbir_daemon.alerts.policy import MAX_MATCHES
from cbir_daemon.alerts.sinks import BUNDLED, Sink
from cbir_daemon.config import AlbumConfig, AlertsConfig, Config, SinkConfig
from cbir_daemon.errors import NotFoundError, SinkError
from cbir_daemon.kinds import Kind
from cbir_daemon.store import AlertMatch, AlertRecord, ContainedWork, Content, Image, NewAlert, SinkState, Store
from tests.patience import PATIENCE_S
from tests.rows import digest, opened, state

NOW = 1_700_000_000.0
EXACT = AlertMatch(b"/album/same.jpg", Kind.EXACT, 1.0)
COPY = AlertMatch(b"/album/copy.jpg", Kind.COPY, 0.95)
WORK = ContainedWork("harbour.tif", Kind.COPY, 0.9)


def configured(alerts: AlertsConfig, *sinks: str) -> Config:
    """Return a configuration with these alerts and sinks, and the defaults for the rest."""
    plain = config.load(environ={"HOME": "/nowhere"})
    return replace(plain, alerts=alerts, sinks=tuple(SinkConfig(name, "command") for name in sinks))


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
    raised = Policy(settings, ()).alert_for(image(), matches)
    expected = None if kept is None else NewAlert(b"/album/new.jpg", kept[0].kind, tuple(kept))
    assert raised == expected


def test_a_long_list_of_matches_is_cut() -> None:
    """The first ones travel."""
    many = [AlertMatch(b"/album/%d.jpg" % n, Kind.COPY, 0.95) for n in range(50)]
    raised = Policy(AlertsConfig(), ()).alert_for(image(), many)
    assert raised is not None
    assert raised.matches == tuple(many[:MAX_MATCHES])


def test_an_album_may_be_silent(tmp_path: Path) -> None:
    """By its folder, not by how its name begins, and also when a link leads to it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    silent = Policy(
        AlertsConfig(),
        (AlbumConfig(tmp_path / "link", alerts=False), AlbumConfig(tmp_path / "loud", alerts=True)),
    )
    root = bytes(tmp_path)
    assert silent.alert_for(image(root + b"/real/a.jpg"), [EXACT]) is None
    assert silent.alert_for(image(root + b"/real/a.jpg"), [], [WORK]) is None
    assert silent.alert_for(image(root + b"/real2/a.jpg"), [EXACT]) is not None
    assert silent.alert_for(image(root + b"/loud/a.jpg"), [EXACT]) is not None


def test_a_work_is_always_told() -> None:
    """Whatever kind and score a duplicate must have, and also where there is no duplicate."""
    strict = Policy(AlertsConfig(min_kind="exact", min_score=1.0), ())
    assert strict.alert_for(image(), [COPY], [WORK]) == NewAlert(b"/album/new.jpg", "copy", (), watched=(WORK,))
    same = replace(WORK, kind="exact")
    assert strict.alert_for(image(), [], [same]) == NewAlert(b"/album/new.jpg", "exact", (), watched=(same,))


# What is said.


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (AlertRecord(1, NOW, b"/a", "exact", (EXACT,)), "/a has the same bytes as /album/same.jpg"),
        (AlertRecord(1, NOW, b"/a", "copy", (COPY, COPY)), "/a is a copy (0.950) of /album/copy.jpg and 1 more"),
        (
            AlertRecord(1, NOW, b"/a", "copy", (replace(COPY, done="crop (38 %), mirrored"), COPY)),
            "/a is a copy (0.950) of /album/copy.jpg [crop (38 %), mirrored] and 1 more",
        ),
        (
            AlertRecord(1, NOW, b"/a", "exact", (EXACT,), returned=NOW),
            "/a has the same bytes as /album/same.jpg; resolved away on 2023-11-14, it is back",
        ),
        (AlertRecord(1, NOW, b"/a", "missing", (), "it is empty"), "album /a is missing: it is empty"),
        (AlertRecord(1, NOW, b"/\xff", "copy", (), watched=(WORK,)), "/\ufffd contains your work harbour.tif (0.900)"),
        (
            AlertRecord(1, NOW, b"/a", "copy", (COPY,), watched=(ContainedWork("x", "exact", 1.0), WORK)),
            "/a contains your work x (the same bytes), your work harbour.tif (0.900)"
            " and is a copy (0.950) of /album/copy.jpg",
        ),
    ],
)
def test_an_alert_as_a_line(record: AlertRecord, said: str) -> None:
    """People are told what happened, to which file, and why."""
    assert sentence(record) == said


def test_a_long_message_has_a_count_and_the_first_few() -> None:
    """The title counts, the text ends with how the others are had, and the document has every id."""
    records = tuple(AlertRecord(n, NOW, b"/%d" % n, "copy", (COPY,)) for n in range(7, 17))
    message = Message(tuple(range(7, 507)), records)
    assert (message.id, message.title) == ("7-506", "500 alerts from your albums")
    lines = message.text.split("\n")
    assert len(lines) == 11
    assert lines[-1] == "and 490 more: cbir alerts --since 6"
    document = message.to_json()
    assert (document["count"], document["ids"], len(document["alerts"])) == (500, list(range(7, 507)), 10)
    assert (Message((7,), records[:1]).id, Message((7,), records[:1]).title) == ("7", "Duplicate: 7")


# That they arrive.


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An index."""
    with opened(tmp_path / "index.sqlite") as store:
        yield store


@dataclass
class Time:
    """Time that passes only when told."""

    now: float = NOW
    hour: time = time(12)

    def clocks(self) -> Clocks:
        """Return the clocks that show it."""
        local = datetime(2026, 1, 1).astimezone()
        return Clocks(
            lambda: self.now, lambda: self.now, lambda: local.replace(hour=self.hour.hour, minute=self.hour.minute)
        )


@dataclass
class Place:
    """Keeps what is delivered; refuses while told to, and hangs while told to."""

    had: list[Message] = field(default_factory=list)
    error: Exception | None = None
    gate: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)

    def __call__(self, message: Message) -> None:
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        self.had.append(message)

    @property
    def ids(self) -> list[str]:
        """The ids of what it had."""
        return [message.id for message in self.had]


class Post:
    """An outbox with two places, `phone` and `spare`, and its time; alerts go to the first."""

    outbox: Outbox

    def __init__(self, store: Store) -> None:
        self.store = store
        self.time = Time()
        self.phone, self.spare = Place(), Place()
        self.bundling = BUNDLED
        self.settings = AlertsConfig(sinks=("phone",))

    def opened(self) -> Outbox:
        """Return the outbox as it is after a start."""
        made = Outbox(self.store, self.time.clocks(), lambda config, stopping: self.sink_of(config))
        made.configure(configured(self.settings, "phone", "spare"))
        return made

    def sink_of(self, config: SinkConfig) -> Sink:
        """Return what leads to a place."""
        return Sink(config.name, getattr(self, config.name), 30.0, self.bundling)

    def configure(self, settings: AlertsConfig) -> None:
        """Change the settings of the running one."""
        self.settings = settings
        self.outbox.configure(configured(settings, "phone", "spare"))

    def write(self, *numbers: int) -> None:
        """Write alerts at this moment."""
        self.store.alerts.put([], [alert(number) for number in numbers], self.time.now)

    def step(self) -> float:
        """Let everything that is due now be delivered, and return the seconds until something else is."""
        wait_s = self.outbox.step()
        while threads := self.under_way():
            for thread in threads:
                thread.join(PATIENCE_S)
            wait_s = self.outbox.step()
        return wait_s

    def under_way(self) -> list[threading.Thread]:
        """Return what delivers to places that do not hang."""
        return [thread for name, thread in self.outbox.under_way.items() if getattr(self, name).gate is None]

    def after(self, seconds: float) -> float:
        """Let time pass, and step."""
        self.time.now += seconds
        return self.step()


@pytest.fixture
def post(store: Store) -> Post:
    """An outbox of which both ends are in the test's hand."""
    post = Post(store)
    post.outbox = post.opened()
    return post


def test_a_burst_is_one_message(post: Post) -> None:
    """It goes out once nothing has come for `bundle_s`, with a count, every id and the first few alerts."""
    for number in range(500):
        post.write(number)
        assert post.after(0.1) > 0
    assert post.phone.had == []
    assert post.after(9.8) == pytest.approx(0.1, abs=0.01)
    post.after(0.2)
    (message,) = post.phone.had
    assert (message.alert_ids, len(message.alerts)) == (tuple(range(1, 501)), 10)
    assert post.step() == float("inf")


def test_a_burst_without_end_is_told_all_the_same(post: Post) -> None:
    """After thirty times `bundle_s` at the latest."""
    for _ in range(61):
        post.write(1)
        post.after(5.0)
    assert len(post.phone.had) == 1


def test_messages_keep_an_interval(post: Post) -> None:
    """What comes within `interval_s` of a message is one message after it, also over a restart."""
    post.write(1)
    post.after(10.0)
    for number in (2, 3):
        post.write(number)
        assert post.after(11.0) > 0
    post.outbox = post.opened()
    assert post.after(30.0) == pytest.approx(8.0)
    post.after(8.0)
    assert post.phone.ids == ["1", "2-3"]


def test_a_clock_that_is_set_back_holds_nothing_up(post: Post) -> None:
    """How long ago something was cannot be told then: it is told now."""
    post.write(1)
    post.after(10.0)
    post.write(2)
    post.after(-100_000.0)
    assert post.phone.ids == ["1", "2"]


def test_nobody_is_told_in_quiet_hours(post: Post) -> None:
    """What comes then is one message after them."""
    post.configure(replace(post.settings, quiet_hours=(time(22), time(7))))
    post.time.hour = time(23)
    post.write(1)
    for _ in range(5):
        assert post.after(3600.0) == outbox.POLL_S
        post.write(2)
    assert post.phone.had == []
    post.time.hour = time(7)
    post.after(60.0)
    assert post.phone.ids == ["1-6"]


def test_what_is_at_once_waits_for_nothing(post: Post) -> None:
    """A message for each alert, in order, at any hour."""
    post.bundling = sinks.AT_ONCE
    post.configure(replace(post.settings, quiet_hours=(time(0), time(23, 59))))
    post.write(1, 2, 3)
    post.step()
    assert post.phone.ids == ["1", "2", "3"]


def test_a_refused_message_is_tried_again_as_it_was(post: Post) -> None:
    """Later each time; what comes meanwhile is a message of its own; `cbir status` says so from the second time on."""
    post.phone.error = SinkError("nobody there", hint="go and see")
    post.write(1, 2)
    assert post.after(10.0) == pytest.approx(10.0)
    assert post.outbox.problems() == []
    post.write(3)
    assert post.after(10.0) == pytest.approx(20.0)
    (problem,) = post.outbox.problems()
    assert problem.what == "sink phone: 2 attempts failed: nobody there; 3 alerts wait"
    assert problem.do == "go and see; the daemon tries again, `cbir alerts test phone` tries now"
    assert post.after(20.0) == pytest.approx(40.0)
    for _ in range(20):
        post.after(3600.0)
    assert post.after(0.0) == pytest.approx(outbox.LONGEST_RETRY_S)
    post.phone.error = None
    post.after(3600.0)
    post.after(60.0)
    assert post.phone.ids == ["1-2", "3"]
    assert post.outbox.problems() == []


def test_who_asks_to_be_left_alone_is(post: Post) -> None:
    """As long as the other side says, when that is longer."""
    post.phone.error = SinkError("too many", retry_s=500.0)
    post.write(1)
    assert post.after(10.0) == pytest.approx(500.0)


def test_a_fault_of_ours_loses_nothing(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a place raises, the message is tried again, and the log has the trace."""
    post.phone.error = ZeroDivisionError()
    post.write(1)
    post.after(10.0)
    assert "delivery died sink=phone" in caplog.text
    post.phone.error = None
    post.after(10.0)
    assert post.phone.ids == ["1"]


def test_after_a_kill_the_same_message_is_sent(post: Post) -> None:
    """At least once, with its id, and with none that came later, without waiting again."""
    post.write(1, 2)
    post.phone.gate = threading.Event()
    post.time.now += 10.0
    post.outbox.step()
    assert post.phone.entered.wait(PATIENCE_S)
    assert post.store.sinks.states() == {"phone": SinkState(0, 2)}
    # Killed here: the message had arrived, and nobody has written that down.
    post.write(3)
    post.phone.gate.set()
    post.phone.gate = None
    post.outbox = post.opened()
    post.step()
    assert post.phone.ids[-1] == "1-2"
    post.after(60.0)
    assert post.phone.ids[-1] == "3"


def test_a_place_that_hangs_holds_up_no_other(post: Post) -> None:
    """The other one has everything meanwhile, and the status says which does not come back."""
    post.configure(replace(post.settings, sinks=("phone", "spare")))
    post.phone.gate = threading.Event()
    for number in range(3):
        post.write(number)
        post.after(100.0)
    assert post.spare.ids == ["1", "2", "3"]
    (problem,) = post.outbox.problems()
    assert problem.what == "sink phone: a message has been under way for 200 s; 3 alerts wait"
    post.phone.gate.set()
    post.phone.gate = None
    post.step()
    post.after(60.0)
    assert post.phone.ids == ["1", "2-3"]


def test_settings_change_while_a_message_is_under_way(post: Post) -> None:
    """It comes to its end first: nothing is sent beside it or twice."""
    post.phone.gate = threading.Event()
    post.write(1)
    post.after(10.0)
    assert post.phone.entered.wait(PATIENCE_S)
    post.configure(replace(post.settings, bundle_s=0.0, interval_s=0.0))
    post.write(2)
    assert post.outbox.step() == float("inf")
    post.phone.gate.set()
    post.phone.gate = None
    post.step()
    assert post.phone.ids == ["1", "2"]


def test_a_new_place_has_what_comes_from_now_on(post: Post) -> None:
    """Not all there ever was; one that is taken away and named again begins anew."""
    post.write(1)
    post.after(10.0)
    post.configure(replace(post.settings, sinks=("spare",)))
    post.write(2)
    post.after(60.0)
    post.configure(replace(post.settings, sinks=("spare", "phone")))
    post.write(3)
    post.after(60.0)
    assert (post.phone.ids, post.spare.ids) == (["1", "3"], ["2", "3"])


def test_a_place_that_nothing_goes_to_is_named(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """To be configured and not used is more likely a mistake than a wish."""
    post.configure(post.settings)
    assert caplog.messages == ["sink gets no alerts, alerts.sinks does not name it name=spare"]


def test_a_test_goes_through_one_place(post: Post) -> None:
    """In use or not, at once; a place that refuses is named with the reason, and one that is not there is not found."""
    assert post.outbox.test("spare") >= 0
    assert post.spare.ids == ["test"]
    assert post.spare.had[0].to_json()["test"] is True
    assert (post.outbox.is_used("phone"), post.outbox.is_used("spare")) == (True, False)
    post.spare.error = SinkError("no", hint="yes")
    with pytest.raises(SinkError, match="sink spare: no") as caught:
        post.outbox.test("spare")
    assert caught.value.hint == "yes"
    with pytest.raises(NotFoundError, match="no sink is called mail"):
        post.outbox.test("mail")
    assert post.store.sinks.states() == {"phone": SinkState(0)}


def test_a_running_outbox_delivers_what_is_written_and_stops(post: Post) -> None:
    """The thread waits for commits; at the end it writes down what has just arrived."""
    post.configure(replace(post.settings, bundle_s=0.0, interval_s=0.0))
    thread = threading.Thread(target=post.outbox.run)
    thread.start()
    post.write(1)
    assert post.phone.entered.wait(PATIENCE_S)
    post.outbox.stop()
    post.store.wake()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert post.phone.ids == ["1"]
    assert post.store.sinks.states()["phone"].delivered_id == 1


def test_without_a_place_they_are_kept_all_the_same(store: Store) -> None:
    """`cbir alerts` reads them from the index."""
    alone = Outbox(store)
    alone.configure(configured(AlertsConfig(sinks=())))
    store.alerts.put([], [alert(1)], NOW)
    assert alone.step() == float("inf")
    assert [alert.path for alert in store.alerts.listed(0, 10)] == [b"/album/1.jpg"]


# The log.


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            NewAlert(b"/album/new.jpg", Kind.EXACT, (EXACT, COPY)),
            "alert id=1 kind=exact path=/album/new.jpg match=/album/same.jpg score=1.000 matches=2 watched=-",
        ),
        (
            NewAlert(b"/album/new.jpg", Kind.COPY, (), watched=(WORK, WORK)),
            "alert id=1 kind=copy path=/album/new.jpg watched=harbour.tif, harbour.tif",
        ),
        (
            NewAlert(b"/album", "missing", (), "its folder is empty"),
            "alert id=1 kind=missing path=/album reason=its folder is empty",
        ),
    ],
)
def test_the_log_has_a_line_for_each(
    store: Store, caplog: pytest.LogCaptureFixture, written: NewAlert, said: str
) -> None:
    """With id, kind and what else there is; nothing waits for more."""
    log = Outbox(store)
    log.configure(configured(AlertsConfig()))
    store.alerts.put([], [written], NOW)
    with caplog.at_level(logging.WARNING):
        log.step()
        (thread,) = log.under_way.values()
        thread.join(PATIENCE_S)
    assert caplog.messages == [said]
    assert log.step() == float("inf")
    assert store.sinks.states()["log"].delivered_id == 1
