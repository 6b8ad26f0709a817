"""The door to Dask: work of a fit on machines of the user's.

In: the address of a scheduler, a function, what all its calls share, and the other argument of each.  Out: results in
order.  Never here: what is computed; starting schedulers and workers.

Whatever happens to the cluster, every result comes: what it does not give is computed here.  dask and distributed are
imported by the first call that needs them.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import cbir_daemon
from cbir_daemon.errors import CbirError, ModelError
from cbir_daemon.map.artifact import running_versions
from cbir_daemon.map.environment import REPEATABLE

EXTRA = "cbir-daemon[dask]"

CONNECT_S = 10.0
"""Longest wait for a scheduler, at the beginning and when it went away."""

WORKERS_S = 30.0
"""Longest wait for a worker where there is none: a nanny starts another one within seconds."""

LOOK_S = 5.0
"""Time between two looks whether there is still a worker to wait for."""

CLOSE_S = 5.0

ATTEMPTS = 3
"""Times that what is shared is sent when all workers that had it are gone."""

LONGEST_REASON = 200

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")
Warn = Callable[[str], None]
"""Gets one sentence for the log."""


@dataclass(slots=True, eq=False)
class Broadcast(Generic[S]):
    """What all calls of a function share: it travels to the workers once.

    Parameters
    ----------
    value : S
        Of classes whose modules import neither numba nor umap-learn: workers load it before their environment is set.
    """

    value: S
    _remote: Any = None

    def remote(self, client: Any) -> Any:  # noqa: ANN401 -- untyped
        """Return the future that stands for the value on the workers."""
        if self._remote is None:
            # Each worker gets a copy: what was scattered cannot be computed again when the only worker with it is lost.
            [self._remote] = client.scatter([self.value], broadcast=True, hash=False)
        return self._remote

    def forget(self) -> None:
        """Send the value anew the next time."""
        self._remote = None


class Cluster:
    """The workers of a scheduler; the connection is made by the first `map`, and ended by `close` or `with`.

    Parameters
    ----------
    address : str
        Of the scheduler, as Dask writes it.
    warn : callable
        Gets a sentence when the cluster fails; it is asked for nothing more then.
    connect_s : float
        Longest wait for the scheduler, in seconds.
    workers_s : float
        Longest wait for a worker where there is none, in seconds.

    Notes
    -----
    One thread calls it.
    """

    def __init__(self, address: str, warn: Warn, *, connect_s: float = CONNECT_S, workers_s: float = WORKERS_S) -> None:
        self._address = address
        self._warn = warn
        self._connect_s = connect_s
        self._workers_s = workers_s
        self._client: Any = None
        self._has_failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the workers drop what was sent."""
        client, self._client = self._client, None
        if client is not None:
            client.close(timeout=CLOSE_S)

    def map(
        self, function: Callable[[S, T], R], broadcast: Broadcast[S], items: Sequence[T], *, threads: int = 1
    ) -> Iterator[R]:
        """Yield `function(broadcast.value, item)` of each item, in order.

        Parameters
        ----------
        function : callable
            Of a module, by whose name workers find it.
        broadcast : Broadcast
        items : sequence
        threads : int
            Calls side by side here, when the cluster fails.

        Raises
        ------
        CbirError
            What the function raises.
        """
        done = 0
        if not self._has_failed:
            try:
                for result in self._spread(function, broadcast, items):
                    yield result
                    done += 1
            except CbirError as error:
                if not isinstance(error, ClusterError):
                    raise
                self._fail(error)
            # Dask, tornado and sockets raise dozens of kinds for a scheduler that is away, workers that died again and
            # again, and workers without our package: none of them may cost the fit.
            except Exception as error:  # noqa: BLE001
                self._fail(error)
        with ThreadPoolExecutor(threads) as here:
            yield from here.map(partial(function, broadcast.value), items[done:])

    def _spread(self, function: Callable[[S, T], R], broadcast: Broadcast[S], items: Sequence[T]) -> Iterator[R]:
        """Yield the results of workers; what goes with a worker is computed by another one."""
        done = 0
        for attempt in range(ATTEMPTS):
            try:
                for result in self._submitted(function, broadcast, items[done:]):
                    yield result
                    done += 1
            except CancelledError:
                # All workers that had what is shared are gone; or the scheduler, which the next attempt finds out.
                broadcast.forget()
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                return

    def _submitted(self, function: Callable[[S, T], R], broadcast: Broadcast[S], items: Sequence[T]) -> Iterator[R]:
        client = self._connected()
        client.wait_for_workers(1, timeout=self._workers_s)
        remote = broadcast.remote(client)
        name = function.__module__, function.__qualname__
        # Not `pure`: equal names of calls would give the results of another fit.
        pending = [client.submit(perform, versions(), *name, remote, item, pure=False) for item in reversed(items)]
        while pending:
            # Released as soon as it is here.
            yield self._result(pending.pop())

    def _result(self, future: Any) -> Any:  # noqa: ANN401 -- untyped
        while True:
            try:
                return future.result(LOOK_S)
            except TimeoutError:
                if not self._client.scheduler_info()["workers"]:
                    self._client.wait_for_workers(1, timeout=self._workers_s)

    def _connected(self) -> Any:  # noqa: ANN401 -- untyped
        if self._client is None:
            distributed = _distributed()
            self._client = distributed.Client(self._address, timeout=self._connect_s, set_as_default=False)
        return self._client

    def _fail(self, error: Exception) -> None:
        self._has_failed = True
        text = str(error).splitlines()
        reason = (text[0] if text else type(error).__name__)[:LONGEST_REASON]
        self._warn(f"the Dask scheduler {self._address} does not help, the fit goes on here: {reason}")
        self.close()


class ClusterError(ModelError):
    """A cluster that cannot be used."""


def versions() -> dict[str, str]:
    """Return the versions that the results of workers depend on."""
    return {"cbir-daemon": cbir_daemon.__version__} | running_versions()


def perform(
    expected: dict[str, str],
    module: str,
    name: str,
    shared: S,
    item: T,
) -> object:
    """Call a function, on a worker.

    Parameters
    ----------
    expected : dict of str to str
        The versions that the fit runs under.
    module, name : str
        Of the function: umap-learn and numba are imported with it, after the environment was set.
    shared, item : object
        Its arguments.

    Raises
    ------
    ClusterError
        When this worker has other versions, whose results would differ.
    """
    for package, version in versions().items():
        if expected.get(package) != version:
            raise ClusterError(f"a worker has {package} {version}, the daemon {expected.get(package)}")
    os.environ.update(REPEATABLE)
    return getattr(importlib.import_module(module), name)(shared, item)


def _distributed() -> Any:  # noqa: ANN401 -- untyped
    try:
        import distributed  # noqa: PLC0415 -- a second and 60 MB, for who has a cluster
    except ImportError as error:
        raise ClusterError(f"distributed is not installed: pip install '{EXTRA}'") from error
    # It logs each failed try of its own; what comes of it is one line of ours.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    return distributed
