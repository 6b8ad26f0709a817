"""What can be drawn of an image that cannot be read whole."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFile

from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.pictures.pixels import read_picture
from cbir_daemon.pictures.remains import read_remains
from tests import pictures

MAX_PIXELS = 10**6
SIZE_PX = (480, 320)


@pytest.fixture
def photo() -> Image.Image:
    """Give a photograph."""
    return Image.fromarray(pictures.photograph(3, SIZE_PX))


def saved(image: Image.Image, form: str) -> bytes:
    """Return an image as a file."""
    output = io.BytesIO()
    image.save(output, form)
    return output.getvalue()


def difference(shown: Image.Image, photo: Image.Image) -> float:
    """Return the mean difference of two pictures, in levels."""
    levels = [np.asarray(image.resize(photo.size), np.int16) for image in (shown, photo)]
    return float(np.abs(levels[0] - levels[1]).mean())


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_the_beginning_of_a_picture_is_drawn(photo: Image.Image, form: str) -> None:
    """Of a file that is cut off in the middle the upper part is there; reading it stays an error."""
    whole = saved(photo, form)
    data = whole[: len(whole) * 2 // 3]
    with pytest.raises(UnreadableError):
        read_picture(data, MAX_PIXELS)
    shown = read_remains(data, MAX_PIXELS, 256)
    assert max(shown.size) in (240, 256)
    upper = (0, 0, shown.width, shown.height // 3)
    assert difference(shown.crop(upper), photo.resize(shown.size).crop(upper)) < 8
    with pytest.raises(UnreadableError):
        read_picture(data, MAX_PIXELS)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_jpeg_inside_of_a_file_is_drawn(photo: Image.Image) -> None:
    """The largest of those that lie in a file of an unknown format."""
    small = saved(photo.transpose(Image.Transpose.ROTATE_180).resize((96, 64)), "JPEG")
    data = b"a camera of our own\0" + small + b"\0" * 50 + saved(photo, "JPEG") + b"sensor" * 99
    shown = read_remains(data, MAX_PIXELS, 256)
    assert shown.size == (240, 160)
    assert difference(shown, photo) < 12


def test_a_jpeg_of_too_many_pixels_is_drawn_at_an_eighth(photo: Image.Image) -> None:
    """What may not be decoded whole may be as small as a preview."""
    data = saved(photo.resize((2400, 1600)), "JPEG")
    with pytest.raises(UnreadableError, match="more pixels"):
        read_picture(data, MAX_PIXELS)
    assert difference(read_remains(data, MAX_PIXELS, 256), photo) < 8
    with pytest.raises(UnreadableError):
        read_remains(saved(photo.resize((2400, 1600)), "PNG"), MAX_PIXELS, 256)


@pytest.mark.parametrize(
    "data", [b"", b"not an image", b"\xff\xd8\xff\xe0 no picture either", b"RIFF\xff\xd8\xff\xdb" * 40]
)
def test_where_nothing_is_there_nothing_is_drawn(data: bytes) -> None:
    """Words, and what only looks like the beginning of a picture."""
    with pytest.raises(UnreadableError, match="nothing of it"):
        read_remains(data, MAX_PIXELS, 256)


def test_a_picture_of_which_nothing_is_there_is_not_drawn(photo: Image.Image) -> None:
    """A file that ends right after its header would be a plain area."""
    with pytest.raises(UnreadableError, match="nothing of it"):
        read_remains(saved(photo, "PNG")[:60], MAX_PIXELS, 256)
