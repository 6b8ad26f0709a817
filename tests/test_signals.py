"""What becomes of signals while the main thread has something else to do."""

import signal

from cbir_daemon.system.signals import Signals


def test_signals_wait_until_they_are_read() -> None:
    """All that came are read at once, each number once; nothing is read twice."""
    signals = Signals()
    with signals.caught(signal.SIGHUP, signal.SIGUSR1):
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
            signal.raise_signal(number)
        assert signals.wait(0.0) == {signal.SIGHUP, signal.SIGUSR1}
        assert signals.wait(0.0) == set()


def test_the_handlers_of_before_come_back() -> None:
    """After the block a signal is nobody's again."""
    signals, before = Signals(), signal.getsignal(signal.SIGHUP)
    with signals.caught(signal.SIGHUP):
        assert signal.getsignal(signal.SIGHUP) != before
    assert signal.getsignal(signal.SIGHUP) == before


def test_a_thread_asks_as_a_signal_does() -> None:
    """What `put` was given is read with the signals."""
    signals = Signals()
    signals.put(signal.SIGTERM)
    assert signals.wait(0.0) == {signal.SIGTERM}
