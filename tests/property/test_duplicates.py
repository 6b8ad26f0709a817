"""Groups depend on what is a copy of what, not on ids or order, and nobody is grouped with a stranger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from cbir_daemon.duplicates import Group, copy_groups, exact_groups
from cbir_daemon.kinds import Kind
from cbir_daemon.records import FileState
from cbir_daemon.store import Content, Image, Pair

Described = frozenset[frozenset[tuple[bytes, bool, str]]]


@dataclass(frozen=True)
class Collection:
    """Images of some contents, and which contents are copies of each other."""

    images: Mapping[int, Sequence[Image]]
    pairs: Sequence[Pair]

    def files(self) -> list[Image]:
        """Return every image."""
        return [image for same in self.images.values() for image in same]


@st.composite
def collections(draw: st.DrawFn) -> Collection:
    """Few sizes and times, so that ties are common; some files are hard links of each other."""
    count = draw(st.integers(1, 7))
    images: dict[int, list[Image]] = {}
    number = 0
    for content_id in range(1, count + 1):
        width, size_bytes = draw(st.sampled_from([(2, 10), (2, 10), (2, 20), (4, 10)]))
        content = Content(content_id, bytes([content_id]) * 32, width, 1, size_bytes, "PNG")
        images[content_id] = []
        for _ in range(draw(st.integers(1, 3))):
            number += 1
            inode = draw(st.sampled_from([content_id, 100 + number]))
            state = FileState(size_bytes, 0 if inode == content_id else draw(st.integers(0, 2)), inode)
            path = draw(st.sampled_from([b"/a/", b"/b/"])) + b"%d.png" % number
            images[content_id].append(Image(number, 1, path, state, missing=False, content=content))
    possible = [(a, b) for a in images for b in images if a < b]
    chosen = draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []
    return Collection(images, [Pair(a, b, 0.95) for a, b in chosen])


def described(groups: Sequence[Group]) -> Described:
    """Return what a user sees of groups."""
    return frozenset(
        frozenset((member.image.path, member.keep, member.why) for member in group.members) for group in groups
    )


def renamed(collection: Collection, ids: Sequence[int]) -> Collection:
    """Give the contents other ids, and everything another order."""
    new = dict(zip(collection.images, ids, strict=True))
    images = {
        new[content_id]: [replace(image, content=replace(image.content, id=new[content_id])) for image in same]
        for content_id, same in reversed(list(collection.images.items()))
    }
    ends = [sorted((new[pair.content_id], new[pair.other_id])) for pair in collection.pairs]
    return Collection(images, [Pair(first, second, 0.95) for first, second in reversed(ends)])


@given(collections(), st.permutations(range(10, 17)), st.booleans())
def test_groups_do_not_depend_on_ids_or_order(collection: Collection, ids: list[int], backwards: bool) -> None:
    """The same files are grouped, kept and reasoned about, whichever content was indexed first."""
    again = renamed(collection, ids[: len(collection.images)])
    pairs = [Pair(pair.other_id, pair.content_id, pair.score) for pair in again.pairs] if backwards else again.pairs
    assert described(copy_groups(collection.pairs, collection.images)) == described(copy_groups(pairs, again.images))
    assert described(exact_groups(collection.files())) == described(exact_groups(again.files()))


# Ties all the way are rare, and each example takes a few milliseconds.
@settings(max_examples=400)
@given(collections())
def test_every_member_is_a_verified_copy_of_the_one_kept(collection: Collection) -> None:
    """Or has its bytes: a copy of a copy alone is no reason to remove a file."""
    verified = {frozenset((pair.content_id, pair.other_id)) for pair in collection.pairs}
    for group in copy_groups(collection.pairs, collection.images):
        keeper, *others = group.members
        assert group.kind is Kind.COPY
        assert keeper.keep
        assert others
        for member in others:
            assert not member.keep
            ids = {keeper.image.content.id, member.image.content.id}
            assert len(ids) == 1 or ids in verified


@given(collections())
def test_a_file_is_in_one_group_at_most(collection: Collection) -> None:
    """No two groups contradict each other about a file, and no file is in one under two names."""
    for groups in (copy_groups(collection.pairs, collection.images), exact_groups(collection.files())):
        members = [member.image for group in groups for member in group.members]
        assert len({image.path for image in members}) == len(members)
        assert len({image.state for image in members}) == len({(image.content.id, image.state) for image in members})
        assert len({(image.content.id, image.state) for image in members}) == len(members)


@given(collections())
def test_nobody_who_has_a_copy_left_is_left_out(collection: Collection) -> None:
    """Two contents that are copies of each other are not both outside of every group."""
    grouped = {m.image.content.id for g in copy_groups(collection.pairs, collection.images) for m in g.members}
    assert all(pair.content_id in grouped or pair.other_id in grouped for pair in collection.pairs)


@given(collections())
def test_nobody_in_a_group_is_better_than_the_one_kept(collection: Collection) -> None:
    """No member has clearly more pixels; among those of as many bytes a pixel and pixels, none is older."""

    def measures(image: Image) -> tuple[int, int]:
        return image.content.width_px, image.content.size_bytes

    for group in [*copy_groups(collection.pairs, collection.images), *exact_groups(collection.files())]:
        keeper, *others = (member.image for member in group.members)
        assert all(measures(image)[0] <= measures(keeper)[0] for image in others)
        for image in others:
            if image.content.id == keeper.content.id:
                assert (keeper.state.mtime_ns, keeper.path) < (image.state.mtime_ns, image.path)


@given(collections())
def test_equal_files_are_grouped_by_their_bytes(collection: Collection) -> None:
    """Every file that shares its bytes with another file on disk is in the group of those bytes, and no other."""
    groups = exact_groups(collection.files())
    found = {
        group.members[0].image.content.id: {member.image.state for member in group.members}
        for group in groups
        if len({member.image.content.id for member in group.members}) == 1
    }
    assert len(found) == len(groups)
    states = {content_id: {image.state for image in same} for content_id, same in collection.images.items()}
    assert found == {content_id: same for content_id, same in states.items() if len(same) > 1}
