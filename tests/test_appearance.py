"""How contents look: what a descriptor sees, how it is searched, when it is made and what asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon.comparison import Reason
from cbir_daemon.decode import DecodeLimits, DecodePool, Readers
from cbir_daemon.indexing.describing import Describer, described
from cbir_daemon.kinds import Kind
from cbir_daemon.matching import GREY64, appearance
from cbir_daemon.matching.spaces import SPACES
from cbir_daemon.medium import space_for, space_of
from cbir_daemon.pictures import PICTURES
from cbir_daemon.pictures.appearance import CHROMA_BYTES, bins_in_gamut, colour_histogram, describe, palette
from cbir_daemon.pictures.file_reader import FILE_READER
from cbir_daemon.pictures.pixels import NO_CHROMA, read_picture
from cbir_daemon.records import LOOK_BYTES, VECTOR_BYTES, Facts, FileState
from cbir_daemon.search.descriptors import DescriptorTable
from cbir_daemon.search.search import LEAST_SIMILAR
from cbir_daemon.store import Indexed
from tests import pictures
from tests.rows import digest
from tests.worlds import World

Bytes = NDArray[np.uint8]

LOOKS = GREY64.appearance
assert LOOKS is not None

GOLDEN = Path(__file__).parent / "golden" / "looks.npz"

RED, GREEN = (200, 40, 30), (40, 170, 50)


def tinted(seed: int, colour: tuple[int, int, int]) -> Image.Image:
    """Return a photograph in shades of one colour."""
    grey = np.asarray(photographed(seed), dtype=np.float64)[..., None] / 255
    return Image.fromarray(np.rint(grey * np.array(colour)).astype(np.uint8))


def photographed(seed: int) -> Image.Image:
    """Return a grey photograph."""
    return Image.fromarray(pictures.photograph(seed)).convert("L")


def read(image: Image.Image, folder: Path, name: str = "picture.png") -> Facts:
    """Return what a worker tells of a picture."""
    path = folder / name
    image.save(path)
    reading = FILE_READER.read(path.read_bytes(), 10**8)
    return Facts(
        digest(hash(name) % 250),
        reading.vector,
        1,
        1,
        "PNG",
        extractor=PICTURES.extractor,
        descriptor=reading.descriptor,
    )


def look(image: Image.Image, folder: Path) -> Bytes:
    """Return the descriptor of a picture."""
    return np.frombuffer(read(image, folder).descriptor, np.uint8)


def alike(first: Bytes, second: Bytes) -> float:
    """Return how alike two pictures look."""
    return float(appearance.alike(first, second[None], appearance.norms(second[None]))[0])


# -- the descriptor ----------------------------------------------------------------------------------------------------


def test_a_descriptor_is_small_and_whole() -> None:
    """At most 512 bytes; its parts have norm 1 each, as far as bytes can tell."""
    assert LOOK_BYTES <= 512
    random = np.random.default_rng(1)
    found = np.stack([noise(random) for _ in range(3)])
    np.testing.assert_allclose(np.linalg.norm(appearance.appearance_rows(found), axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(appearance.norms(found), 255, rtol=0.01)


def noise(random: np.random.Generator) -> Bytes:
    """Return the descriptor of noise in all colours."""
    return np.frombuffer(describe(random.bytes(VECTOR_BYTES), random.bytes(CHROMA_BYTES)), np.uint8)


def test_descriptors_are_those_that_indexes_have() -> None:
    """To the byte: else what is read now would not look like what was read before.  A new descriptor is a new `LOOK`.

    `tests/golden/looks.npz` has vectors, chroma and descriptors of photographs, made by 0.1.0.  Another BLAS may round
    the sums of a blur elsewhere.
    """
    golden = np.load(GOLDEN)
    for vector, chroma, descriptor in zip(golden["vectors"], golden["chroma"], golden["descriptors"], strict=True):
        found = np.frombuffer(describe(vector.tobytes(), chroma.tobytes()), np.uint8)
        np.testing.assert_allclose(found.astype(int), descriptor, atol=1)


def test_every_colour_has_its_bins() -> None:
    """No RGB colour lies outside of the bins that are kept, and each of these holds some."""
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    luma, *planes = np.moveaxis(np.asarray(Image.fromarray(cube, "RGB").convert("YCbCr")), -1, 0).reshape(3, -1)
    counted = colour_histogram(luma, np.stack(planes), np.ones(len(luma), dtype=np.float32))
    # Chroma is rounded to whole numbers, and a corner of the cube may share a bin beside it by a thousandth of a pixel.
    assert np.delete(counted, bins_in_gamut()).max() < 0.004 < counted[bins_in_gamut()].min()


def test_colour_tells_pictures_of_equal_greys_apart(tmp_path: Path) -> None:
    """A picture in red looks more like another one in red than like itself in green."""
    query, red, green = (look(tinted(*what), tmp_path) for what in ((1, RED), (2, RED), (1, GREEN)))
    assert alike(query, query) == pytest.approx(1, abs=1e-3)
    assert alike(query, red) > alike(query, green)


def test_a_reason_is_where_a_picture_stands_out(tmp_path: Path) -> None:
    """Among green pictures a red one resembles by colour; among red ones it is something else."""
    query, red = look(tinted(1, RED), tmp_path), look(tinted(2, RED), tmp_path)
    green = np.stack([look(tinted(seed, GREEN), tmp_path) for seed in range(3, 8)])
    assert appearance.reasons(query, red[None], green) == [Reason.COLOUR]
    reds = np.stack([look(tinted(seed, RED), tmp_path) for seed in range(3, 8)])
    assert appearance.reasons(query, green[:1], np.concatenate([reds, green])) != [Reason.COLOUR]


def test_scores_rise_with_likeness() -> None:
    """Both tables turn what is more alike into a higher score, up to 1."""
    assert np.all(np.diff(appearance.PRODUCTS) > 0)
    assert np.all(np.diff(appearance.SHARES) > 0)
    assert (appearance.PRODUCTS[-1], appearance.SHARES[-1]) == (1.0, 1.0)


# -- chroma ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_chroma_is_that_of_the_picture(tmp_path: Path, suffix: str) -> None:
    """Every format gives Cb and Cr of every second row and column, whatever way it is decoded."""
    path = tmp_path / f"half{suffix}"
    image = Image.new("RGB", (128, 128), RED)
    image.paste(GREEN, (64, 0, 128, 128))
    image.save(path, quality=95)
    planes = np.frombuffer(read_picture(path.read_bytes(), 10**8).chroma, np.uint8).reshape(2, 32, 32)
    for colour, columns in ((RED, slice(0, 14)), (GREEN, slice(18, 32))):
        expected = np.asarray(Image.new("RGB", (1, 1), colour).convert("YCbCr"))[0, 0, 1:]
        np.testing.assert_allclose(planes[:, :, columns].mean(axis=(1, 2)), expected, atol=4)


def test_grey_has_no_chroma(tmp_path: Path) -> None:
    """What has no colour says so, in every mode of grey."""
    for mode in ("L", "LA", "1", "I;16"):
        path = tmp_path / "grey.png"
        photographed(1).convert("I" if mode == "I;16" else mode).convert(mode).save(path)
        assert read_picture(path.read_bytes(), 10**8).chroma == NO_CHROMA


def test_a_jpeg_of_red_green_and_blue_is_read(tmp_path: Path) -> None:
    """Some JPEGs store no luma: libjpeg makes grey of them, so they have no chroma and their vector is as it was."""
    path = tmp_path / "rgb.jpg"
    tinted(1, RED).save(path, quality=95, keep_rgb=True)
    reading = read_picture(path.read_bytes(), 10**8)
    assert (len(reading.vector), len(reading.chroma)) == (VECTOR_BYTES, CHROMA_BYTES)


# -- the table ---------------------------------------------------------------------------------------------------------


def rows_of(count: int) -> list[tuple[int, bytes]]:
    """Return descriptors of contents 1, 2, ..."""
    random = np.random.default_rng(3)
    rows = random.integers(0, 60, (count, LOOK_BYTES), dtype=np.uint8)
    return [(number + 1, row.tobytes()) for number, row in enumerate(rows)]


def test_a_table_grows_and_shrinks_in_order_of_id() -> None:
    """Whatever comes when, it holds the last descriptor of each content that is there."""
    assert LOOKS is not None
    found = rows_of(6)
    table = DescriptorTable.empty(LOOKS.size).extended(LOOKS, found[3:]).extended(LOOKS, found[:3])
    assert table.ids.tolist() == [1, 2, 3, 4, 5, 6]
    changed = table.extended(LOOKS, [(2, found[5][1])]).without({1, 99})
    assert changed.ids.tolist() == [2, 3, 4, 5, 6]
    assert changed.rows[0].tobytes() == found[5][1]
    np.testing.assert_array_equal(changed.norms, LOOKS.norms(changed.rows))
    assert table.rows[1].tobytes() == found[1][1]


def test_tables_that_grow_from_one_show_their_own_rows() -> None:
    """New contents are written behind those of a table, and two tables that follow it do not share that place."""
    assert LOOKS is not None
    found = rows_of(9)
    table = DescriptorTable.empty(LOOKS.size, 4).extended(LOOKS, found[:2])
    first = table.extended(LOOKS, found[2:4])
    second = table.extended(LOOKS, found[4:])
    assert np.shares_memory(first.rows, table.rows)
    assert not np.shares_memory(second.rows, table.rows)
    for grown, ids in ((table, [1, 2]), (first, [1, 2, 3, 4]), (second, [1, 2, 5, 6, 7, 8, 9])):
        assert grown.ids.tolist() == ids
        assert [row.tobytes() for row in grown.rows] == [found[content_id - 1][1] for content_id in ids]
        np.testing.assert_array_equal(grown.norms, LOOKS.norms(grown.rows))


def test_the_nearest_are_those_of_the_highest_scores() -> None:
    """As sorting all of them says; equal ones come in order of id."""
    assert LOOKS is not None
    found = rows_of(40)
    table = DescriptorTable.empty(LOOKS.size).extended(LOOKS, [*found, (41, found[0][1])])
    query = np.frombuffer(found[0][1], np.uint8)
    scores = table.scores(LOOKS, query, table.ids.tolist())
    assert (
        table.nearest(LOOKS, query, 5) == sorted(scores, key=lambda content_id: (-scores[content_id], content_id))[:5]
    )
    assert table.nearest(LOOKS, query, 99)[:2] == [1, 41]
    assert set(table.reasons(LOOKS, query, [1, 7, 99])) == {1, 7}


# -- contents ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An index of an empty album."""
    with closing(World(tmp_path, [tmp_path / "album"])) as world:
        (tmp_path / "album").mkdir()
        world.searcher.load()
        yield world


def put(world: World, name: str, facts: Facts) -> int:
    """Index a picture as the ingest thread does, and return its content."""
    state = FileState(len(name), 1, facts.digest[0])
    world.apply([Indexed(world.album_id, name.encode(), state, facts, described(Readers([PICTURES]), facts))])
    content = world.store.contents.by_digest(facts.digest)
    assert content is not None
    return content.id


def test_a_new_content_is_described_in_its_own_commit(world: World, tmp_path: Path) -> None:
    """Also one that came without a descriptor is kept, and has none."""
    assert LOOKS is not None
    seen = put(world, "a.png", read(tinted(1, RED), tmp_path, "a.png"))
    bare = put(world, "b.png", replace(read(tinted(2, RED), tmp_path, "b.png"), descriptor=b""))
    assert list(world.store.descriptors.of(LOOKS.kind, [seen, bare])) == [seen]
    assert world.searcher.snapshot.looks is not None
    assert world.searcher.snapshot.looks.ids.tolist() == [seen]


def test_what_looks_alike_is_similar_and_strangers_are_not(world: World, tmp_path: Path) -> None:
    """Red pictures resemble a red one by colour, best first; green ones come after them or not at all."""
    assert LOOKS is not None
    reds = {put(world, f"r{seed}.png", read(tinted(seed, RED), tmp_path, f"r{seed}.png")) for seed in range(4)}
    greens = {put(world, f"g{seed}.png", read(tinted(seed, GREEN), tmp_path, f"g{seed}.png")) for seed in range(30, 42)}
    query = read(tinted(20, RED), tmp_path)
    assert query.vector is not None
    found = world.searcher.search(query.vector, None, 16, look=query.descriptor)
    assert [match.kind for match in found] == [Kind.SIMILAR] * len(found)
    assert {match.content_id for match in found[:4]} == reds
    assert all(match.score >= LEAST_SIMILAR for match in found)
    assert [match.score for match in found] == sorted((match.score for match in found), reverse=True)
    assert found[0].why is Reason.COLOUR
    by_grey = world.searcher.search(query.vector, None, 16)
    assert {match.content_id for match in by_grey} == reds | greens
    assert {match.why for match in by_grey} == {Reason.GREY}


@pytest.fixture
def pool() -> Iterator[DecodePool]:
    """One worker."""
    with closing(DecodePool(1, DecodeLimits(10**8, 10**8, 30.0), PICTURES)) as pool:
        yield pool


def test_contents_of_an_older_index_are_described_from_their_files(
    world: World, pool: DecodePool, tmp_path: Path
) -> None:
    """Once each; one whose file has gone is passed over, and nothing waits for it."""
    assert LOOKS is not None
    path = tmp_path / "album" / "a.png"
    tinted(1, RED).save(path)
    facts = pool.read_image(path)
    kept = put(world, "a.png", replace(facts, descriptor=b""))
    gone = put(world, "gone.png", replace(read(tinted(2, RED), tmp_path, "gone.png"), descriptor=b""))
    describer = Describer(world.store, world.searcher, pool, lambda: True)
    describer.open()
    assert (describer.pending, describer.idle) == (2, False)
    assert describer.step()
    assert not describer.step()
    assert (describer.pending, describer.idle) == (0, True)
    assert world.store.descriptors.of(LOOKS.kind, [kept, gone]) == {kept: facts.descriptor}
    assert world.searcher.snapshot.looks is not None
    assert world.searcher.snapshot.looks.ids.tolist() == [kept]
    again = world.new_searcher()
    assert again.snapshot.looks is not None
    assert again.snapshot.looks.ids.tolist() == [kept]


def test_descriptors_are_made_while_nothing_is_indexed(world: World, pool: DecodePool, tmp_path: Path) -> None:
    """A file of the album goes first."""
    put(world, "a.png", replace(read(tinted(1, RED), tmp_path, "a.png"), descriptor=b""))
    describer = Describer(world.store, world.searcher, pool, lambda: False)
    describer.open()
    describer.step()
    assert (describer.pending, describer.idle) == (1, False)


# -- colours of small pictures -----------------------------------------------------------------------------------------


def test_a_palette_has_the_colours_of_the_picture(tmp_path: Path) -> None:
    """A picture whose dark half is red and whose light half is blue is shown so; without a descriptor it is grey."""
    dark, light = (120, 40, 40), (150, 150, 240)
    pixels = np.zeros((128, 128, 3), np.uint8)
    pixels[:64], pixels[64:] = dark, light
    for unknown in (b"", bytes(LOOK_BYTES)):
        assert palette(unknown) == bytes(grey for grey in range(256) for _ in range(3))
    seen = np.frombuffer(palette(look(Image.fromarray(pixels), tmp_path).tobytes()), np.uint8).reshape(256, 3)
    for colour in (dark, light):
        luma = round(0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2])
        assert np.abs(seen[luma].astype(int) - colour).max() <= 12


# -- the spaces of the map ---------------------------------------------------------------------------------------------


def test_a_code_of_looks_joins_both_distances(tmp_path: Path) -> None:
    """Its distance is the weighted sum of those of greys and of looks; without a look, greys alone count."""
    facts = [read(tinted(*what), tmp_path, f"{what}.png") for what in ((1, RED), (1, GREEN), (2, RED))]
    vectors = np.stack([np.frombuffer(read.vector or b"", np.uint8) for read in facts])
    looks = np.stack([np.frombuffer(read.descriptor, np.uint8) for read in facts])
    codes = SPACES["look"].codes(vectors, looks)
    grey, rows = SPACES["grey"].codes(vectors, looks), appearance.appearance_rows(looks)
    np.testing.assert_allclose(codes @ codes.T, 0.05 * grey @ grey.T + 0.95 * rows @ rows.T, atol=1e-5)
    bare = SPACES["look"].codes(vectors, np.zeros_like(looks))
    np.testing.assert_allclose(bare @ bare.T, grey @ grey.T, atol=1e-5)


def test_a_space_is_found_by_its_setting_and_by_its_codes() -> None:
    """An unknown setting means the default, codes that nothing makes any more mean none."""
    assert space_for(SPACES, "grey") is SPACES["grey"]
    assert space_for(SPACES, "words") is SPACES["look"]
    assert all(space_of(SPACES, space.version) is space for space in SPACES.values())
    assert space_of(SPACES, "words/1") is None
