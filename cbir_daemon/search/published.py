"""A snapshot on its way to search processes: parts in shared memory, and what is put together from them.

In: snapshots in the daemon, messages with descriptors in a search process.  Out: such messages, and the same snapshot.
Never here: processes, searches.

The codes stay in their file, which both map, and descriptors in the memory into which the daemon writes new ones behind
those that are there.  Which content each row is, and positions, are copied once into memory that all processes map.  So
every process searches the very state that the daemon does, and none keeps a copy.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.medium import Medium
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.search.candidates import SavedLists
from cbir_daemon.search.code_table import FollowedRows
from cbir_daemon.search.collection import Collection, CollectionSnapshot, lists_beside
from cbir_daemon.search.descriptors import DescriptorTable
from cbir_daemon.search.shared_arrays import GrowingArrays, SharedArrays, mapped
from cbir_daemon.search.snapshot import Map, SearchSnapshot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a snapshot in shared memory.

    Parameters
    ----------
    source : object
        What it is a copy of.
    message : dict
        Tells a process of it.
    shared : SharedArrays or GrowingArrays
    """

    source: object
    message: dict[str, Any]
    shared: SharedArrays | GrowingArrays


@dataclass(slots=True)
class Publisher:
    """Copies the parts of snapshots into shared memory: each once, however many processes it goes to.

    Notes
    -----
    Any thread.
    """

    _published: dict[str, Part] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def parts(self, snapshot: SearchSnapshot, names: frozenset[str]) -> dict[str, Part]:
        """Return parts of a snapshot by name.

        Parameters
        ----------
        snapshot : SearchSnapshot
            Its codes are all in their file.
        names : frozenset of str
            Of "rows", "map" and "looks".

        Raises
        ------
        OSError
            When memory is out.
        """
        with self._lock:
            return {name: self._part(name, snapshot) for name in sorted(names)}

    def forget(self) -> None:
        """Give back the memory; who has it mapped keeps it."""
        with self._lock:
            self._published.clear()

    def _part(self, name: str, snapshot: SearchSnapshot) -> Part:
        source = {"rows": snapshot.collection.rows, "map": snapshot.map, "looks": snapshot.looks}[name]
        last = self._published.get(name)
        if last is None or last.source is not source:
            last = self._published[name] = _published_part(name, snapshot, source)
        return last


def _published_part(name: str, snapshot: SearchSnapshot, source: object) -> Part:
    """Return a part of a snapshot; it is copied where it does not lie in shared memory already."""
    if name == "looks" and snapshot.looks is not None and snapshot.looks.shared is not None:
        growing = snapshot.looks.shared
        message = {"part": name, "arrays": growing.layout, "memory": growing.number, "filled": len(snapshot.looks)}
        return Part(source, {"do": "take", **message}, growing)
    details, arrays = _described(name, snapshot)
    shared = SharedArrays(arrays)
    return Part(source, {"do": "take", "part": name, "arrays": shared.layout, **details}, shared)


def _described(name: str, snapshot: SearchSnapshot) -> tuple[dict[str, Any], Sequence[NDArray[Any]]]:
    rows, current, looks = snapshot.collection.rows, snapshot.map, snapshot.looks
    if name == "rows":
        details = {"path": str(rows.path), "generation": rows.generation.hex(), "extent_rows": rows.extent_rows}
        return details, (rows.ids, rows.alive)
    if name == "map":
        return (
            ({"run_id": None}, ())
            if current is None
            else ({"run_id": current.run_id}, (current.ids, current.positions))
        )
    return {}, () if looks is None else (looks.ids, looks.rows, looks.norms)


class Follower:
    """Holds, in a search process, the state that the daemon has told of.

    Parameters
    ----------
    medium : Medium
    """

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._followed: FollowedRows | None = None
        self._lists: SavedLists | None = None
        self._collection = Collection(medium).snapshot()
        self._map: Map | None = None
        self._looks: DescriptorTable | None = None
        # What is filled row by row is mapped once; its parts tell how far it is filled.
        self._growing: tuple[int, list[NDArray[Any]]] | None = None

    @property
    def snapshot(self) -> SearchSnapshot:
        """The snapshot that the daemon searches; without codes that it has not published."""
        return SearchSnapshot(self._collection, self._map, self._looks)

    def take(self, frame: Frame, descriptor: int) -> None:
        """Take up a part.

        Parameters
        ----------
        frame : Frame
            Has the message of a `Part`.
        descriptor : int
            Of its memory; may be closed afterwards.

        Raises
        ------
        OSError, ValueError
            When the codes that the daemon means are in their file no more.
        """
        message = frame.message
        arrays = self._filled(message, descriptor) if "filled" in message else mapped(descriptor, message["arrays"])
        if message["part"] == "rows":
            self._take_rows(message, *arrays)
        elif message["part"] == "map":
            self._map = Map(message["run_id"], *arrays) if arrays else None
        else:
            self._looks = DescriptorTable(*arrays) if arrays else None

    def _filled(self, message: dict[str, Any], descriptor: int) -> list[NDArray[Any]]:
        """Return the rows that are filled of arrays that grow."""
        if self._growing is None or self._growing[0] != message["memory"]:
            self._growing = message["memory"], mapped(descriptor, message["arrays"])
        return [array[: message["filled"]] for array in self._growing[1]]

    def _take_rows(self, message: dict[str, Any], ids: NDArray[np.int64], alive: NDArray[np.bool_]) -> None:
        path, generation = Path(message["path"]), bytes.fromhex(message["generation"])
        if self._followed is None or self._followed.generation != generation:
            self._followed = FollowedRows(path, self._medium, generation, message["extent_rows"])
            self._lists = SavedLists(lists_beside(path), self._medium)
        assert self._lists is not None
        rows = self._followed.frozen(ids, alive)
        self._lists.refresh(rows)
        self._collection = CollectionSnapshot(self._medium, rows, self._lists)
