"""Pictures of many small ones: what a worker draws of a table and squares of grey."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from PIL import Image

from cbir_daemon.decode import DecodeLimits, DecodePool
from cbir_daemon.decode.canvas import TILE, Canvas
from cbir_daemon.pictures import PICTURES
from cbir_daemon.pictures.appearance import CHROMA_BYTES, describe
from cbir_daemon.records import VECTOR_BYTES

WHITE = (255, 255, 255)
RED = (220, 20, 60)


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    """Give a pool of one worker."""
    pool = DecodePool(1, DecodeLimits(10**6, 10**7, timeout_s=30.0), PICTURES)
    yield pool
    pool.close()


def drawn(
    pool: DecodePool, canvas: Canvas, rows: Sequence[tuple[int, ...]], greys: list[int], descriptor: bytes = b""
) -> Image.Image:
    """Return the picture of plain squares."""
    squares = b"".join(bytes([grey]) * canvas.side_px**2 for grey in greys)
    table = b"".join(TILE.pack(*row) for row in rows)
    return Image.open(io.BytesIO(pool.draw_mosaic(canvas, table, descriptor * len(greys), squares)))


@pytest.mark.process
def test_each_tile_lies_where_its_row_says(pool: DecodePool) -> None:
    """A tile is scaled into its place, and what lies between tiles is background."""
    rows = [(0, 0, 20, 10, 0, 0, 0, 0), (30, 20, 10, 20, 0, 0, 0, 0)]
    picture = drawn(pool, Canvas(50, 40, 16, "PNG", 0, WHITE), rows, [10, 200])
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (50, 40))
    expected = np.full((40, 50, 3), 255, np.uint8)
    expected[0:10, 0:20], expected[20:40, 30:40] = 10, 200
    assert np.array_equal(np.asarray(picture), expected)


@pytest.mark.process
def test_a_frame_lies_around_its_tile(pool: DecodePool) -> None:
    """The frame is as wide as the row says, in its colour, and covers nothing of the tile."""
    picture = np.asarray(drawn(pool, Canvas(30, 30, 8, "PNG", 0, WHITE), [(10, 10, 8, 8, *RED, 2)], [0]))
    assert (picture[8:10, 8:20] == RED).all()
    assert (picture[18:20, 8:20] == RED).all()
    assert (picture[10:18, 10:18] == 0).all()
    assert (picture[7] == 255).all()


@pytest.mark.process
def test_an_atlas_holds_the_squares(pool: DecodePool) -> None:
    """An atlas is a WebP whose tiles are those that were sent, up to its losses."""
    picture = drawn(
        pool, Canvas(32, 16, 16, "WEBP"), [(0, 0, 16, 16) + (0,) * 4, (16, 0, 16, 16) + (0,) * 4], [40, 210]
    )
    assert (picture.format, picture.size) == ("WEBP", (32, 16))
    grey = np.asarray(picture.convert("L"), dtype=int)
    assert abs(grey[4:12, 2:12] - 40).max() <= 6
    assert abs(grey[4:12, 20:30] - 210).max() <= 6


@pytest.mark.process
def test_a_tile_has_the_colours_that_its_descriptor_tells(pool: DecodePool) -> None:
    """A red picture is red again."""
    descriptor = describe(
        bytes([76]) * VECTOR_BYTES, bytes([85]) * (CHROMA_BYTES // 2) + bytes([200]) * (CHROMA_BYTES // 2)
    )
    canvas = Canvas(8, 8, 8, "PNG", len(descriptor))
    colours = np.asarray(drawn(pool, canvas, [(0, 0, 8, 8) + (0,) * 4], [76], descriptor)).astype(int)
    assert np.abs(colours - (177, 39, 0)).max() <= 4


@pytest.mark.process
def test_no_tiles_are_an_empty_picture(pool: DecodePool) -> None:
    """A canvas without tiles is background."""
    assert (np.asarray(drawn(pool, Canvas(5, 4, 16, "PNG", 0, WHITE), [], [])) == 255).all()
