"""The groups as a person goes through them: sorted, filtered, and still while the index changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cbir_daemon import config
from cbir_daemon.duplicates import Group, Groups
from cbir_daemon.kinds import Kind
from cbir_daemon.serving.ahead import Ahead
from cbir_daemon.serving.queue import ORDERS, Queue, Selection, day_of
from cbir_daemon.store import Store
from tests.rows import facts, indexed, opened, state

WAIT_S = 30.0
DAY_NS = 86_400 * 10**9


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give an index in which three contents have copies: the third in one folder, the others in two."""
    with opened(tmp_path / "index.sqlite") as store:
        album_id = store.albums.listed()[0].id
        for number, folders in ((1, (b"a", b"b")), (2, (b"a", b"b")), (3, (b"a", b"a"))):
            for place, folder in enumerate(folders):
                path = folder + b"/%d-%d.jpg" % (number, place)
                file = indexed(album_id, path, number, inode=100 * number + place)
                written = replace(state(number, 100 * number + place), mtime_ns=20_000 * DAY_NS + number * DAY_NS)
                store.files.apply([replace(file, state=written)])
        yield store


@pytest.fixture
def queue(store: Store, tmp_path: Path) -> Queue:
    """Give the queue of that index."""
    return Queue(store, Groups(store, config.load(environ={"HOME": str(tmp_path)})), kept=2)


def numbers(queue: Queue, selection: Selection, at: int | None = None) -> list[int]:
    """Return the numbers of the contents whose groups are listed."""
    listed = queue.listed(selection, at)
    return [int(group.members[0].image.path.rpartition(b"/")[2][:1]) for group in listed.groups]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), [3, 2, 1]),
        (Selection(is_reversed=True), [1, 2, 3]),
        (Selection(order="date"), [3, 2, 1]),
        (Selection(order="date", is_reversed=True), [1, 2, 3]),
        (Selection(order="folders"), [3, 2, 1]),
        (Selection(folders=(b"/album/a", b"/album/b")), [2, 1]),
        (Selection(folders=(b"/album/a", b"/album/a")), [3]),
        (Selection(since="2024-10-06"), [3, 2]),
        (Selection(until="2024-10-06"), [2, 1]),
        (Selection(since="2024-10", until="2024"), [3, 2, 1]),
        (Selection(max_score=0.5), []),
    ],
)
def test_groups_are_filtered_and_sorted(queue: Queue, selection: Selection, expected: list[int]) -> None:
    """By the space they win, their day, their folders; the other way round; those of two folders, of some days."""
    assert numbers(queue, selection) == expected


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_lists_all(queue: Queue, order: str) -> None:
    """No order loses a group."""
    assert sorted(numbers(queue, Selection(order=order))) == [1, 2, 3]


def test_a_group_has_the_day_of_its_newest_image(queue: Queue) -> None:
    """What a camera says comes before what the file system says."""
    (newest, *_) = queue.listed(Selection(order="date")).groups
    assert day_of(newest) == "2024-10-07"
    member = newest.members[0]
    taken = replace(member.image, content=replace(member.image.content, taken="2030-01-02T03:04:05"))
    assert day_of(replace(newest, members=(replace(member, image=taken), *newest.members[1:]))) == "2030-01-02"


def test_folders_that_share_most_come_first(queue: Queue) -> None:
    """Each pair of folders with its groups and what is won there."""
    pairs = queue.listed(Selection()).folder_pairs
    assert [(pair.folders, pair.groups, pair.saves_bytes) for pair in pairs] == [
        ((b"/album/a", b"/album/b"), 2, 1_001 + 1_002),
        ((b"/album/a", b"/album/a"), 1, 1_003),
    ]


def test_a_list_that_is_scrolled_through_does_not_move(queue: Queue, store: Store) -> None:
    """By its clock the list is the same after a change; without one it is made anew, and forgotten lists are, too."""
    before = queue.listed(Selection()).clock
    third = facts(3).digest
    store.decisions.dismiss(third, third, 1.0)
    assert numbers(queue, Selection(), at=before) == [3, 2, 1]
    assert numbers(queue, Selection()) == [2, 1]
    queue.listed(Selection(order="date"))
    assert numbers(queue, Selection(), at=before) == [2, 1]


def test_other_settings_make_other_lists(store: Store, tmp_path: Path) -> None:
    """A list made by settings that no longer hold is not given again, though the index did not change."""
    groups = Groups(store, config.load(environ={"HOME": str(tmp_path)}))
    queue = Queue(store, groups)
    assert queue.listed(Selection()).spare.saves_bytes == 1_001 + 1_002 + 1_003
    settings = tmp_path / "config.toml"
    settings.write_text('[duplicates]\nprotect = ["/album/*"]\n')
    groups.configure(config.load(config=settings, environ={"HOME": str(tmp_path)}))
    assert queue.listed(Selection()).spare.saves_bytes == 0


# -- made ahead --------------------------------------------------------------------------------------------------------


class CountedGroups(Groups):
    """Groups that count how often they are asked."""

    def __init__(self, store: Store, home: Path) -> None:
        super().__init__(store, config.load(environ={"HOME": str(home)}))
        self.asked = threading.Semaphore(0)

    def found(
        self, kind: Kind | None = None, below: bytes | None = None, *, across: bool = False, unlooked: bool = False
    ) -> list[Group]:
        """Count, and return what all groups return."""
        self.asked.release()
        return super().found(kind, below, across=across, unlooked=unlooked)

    def was_asked(self) -> bool:
        """Whether they were asked since the last time that this was called."""
        return self.asked.acquire(blocking=False)


def test_the_first_list_is_there_before_it_is_asked_for(store: Store, tmp_path: Path) -> None:
    """It is made once after a change, and who asks for it then waits for no grouping."""
    groups = CountedGroups(store, tmp_path)
    queue = Queue(store, groups)
    ahead = Ahead(store, queue, lambda: True)
    assert ahead.step()
    assert groups.was_asked()
    assert numbers(queue, Selection()) == [3, 2, 1]
    assert not ahead.step()
    assert not groups.was_asked()
    third = facts(3).digest
    store.decisions.dismiss(third, third, 1.0)
    assert ahead.step()
    assert groups.was_asked()
    assert numbers(queue, Selection()) == [2, 1]
    assert not groups.was_asked()


def test_no_list_is_made_ahead_of_a_large_index_or_while_indexing(store: Store, tmp_path: Path) -> None:
    """Three contents with two files each have six images in groups; memory is bounded by their number."""
    queue = Queue(store, CountedGroups(store, tmp_path))
    assert not Ahead(store, queue, lambda: False).step()
    assert not Ahead(store, queue, lambda: True, most_images=5).step()
    assert Ahead(store, queue, lambda: True, most_images=6).step()


def test_lists_are_made_after_each_change(store: Store, tmp_path: Path) -> None:
    """The thread makes one at the start, one after a change, and ends when it is asked to."""
    groups = CountedGroups(store, tmp_path)
    ahead = Ahead(store, Queue(store, groups), lambda: True)
    thread = threading.Thread(target=ahead.run)
    thread.start()
    try:
        assert groups.asked.acquire(timeout=WAIT_S)
        third = facts(3).digest
        store.decisions.dismiss(third, third, 1.0)
        assert groups.asked.acquire(timeout=WAIT_S)
    finally:
        ahead.stop()
        store.wake()
        thread.join(WAIT_S)
    assert not thread.is_alive()


def test_groups_are_made_once_for_all_lists(store: Store, tmp_path: Path) -> None:
    """Lists of other orders and filters hold the same groups, until the index changes."""
    groups = Groups(store, config.load(environ={"HOME": str(tmp_path)}))
    queue = Queue(store, groups)
    first = queue.listed(Selection()).groups
    assert [group is again for group, again in zip(first, groups.found(Kind.EXACT), strict=True)] == [True] * 3
    second = queue.listed(Selection(is_reversed=True, folders=(b"/album/a", b"/album/b"))).groups
    assert [group is again for group, again in zip(second, (first[2], first[1]), strict=True)] == [True] * 2
    store.decisions.dismiss(facts(3).digest, facts(3).digest, 1.0)
    assert queue.listed(Selection()).groups[0] is not first[1]
