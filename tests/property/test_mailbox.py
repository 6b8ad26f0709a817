"""The mailbox is a dictionary of deadlines, whatever happens in whichever order."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cbir_daemon.watching.mailbox import Mailbox
from tests.fakes import FakeClock

paths = st.sampled_from([b"/a", b"/a/b", b"/c\n", b"/\xff"])
seconds = st.sampled_from([0.0, 0.5, 2.0, 3600.0])


class MailboxAgainstDictionary(RuleBasedStateMachine):
    """Puts, takes and time in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.mailbox = Mailbox(self.clock)
        self.due: dict[bytes, float] = {}

    @rule(noticed=st.lists(paths, max_size=4), quiet_s=seconds)
    def put(self, noticed: list[bytes], quiet_s: float) -> None:
        self.mailbox.put(noticed, quiet_s)
        self.due |= dict.fromkeys(noticed, self.clock() + quiet_s)

    @rule(passed_s=seconds)
    def let_time_pass(self, passed_s: float) -> None:
        self.clock.advance(passed_s)

    @rule()
    def take(self) -> None:
        ready = sorted(path for path, due in self.due.items() if due <= self.clock())
        assert self.mailbox.take() == ready
        self.due = {path: due for path, due in self.due.items() if path not in ready}

    @rule()
    def wait_when_there_is_a_reason_not_to(self) -> None:
        if self.due and min(self.due.values()) <= self.clock():
            self.mailbox.wait(3600.0)
        else:
            self.mailbox.wake()
            self.mailbox.wait(3600.0)

    @invariant()
    def each_path_is_held_once(self) -> None:
        assert len(self.mailbox) == len(self.due)


TestMailboxAgainstDictionary = MailboxAgainstDictionary.TestCase
