"""Reading images: every rule of pixels, files and formats, in this process; workers are in `test_decode_pool`."""

from __future__ import annotations

import ctypes
import gzip
import hashlib
import io
import mmap
import os
import random
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from cbir_daemon import decode
from cbir_daemon.decode import REASONS, Readers
from cbir_daemon.decode.opening import open_file, state_from
from cbir_daemon.decode.reader import Extra
from cbir_daemon.decode.reading import UnreadableError, read_whole
from cbir_daemon.pictures import PICTURES, formats
from cbir_daemon.pictures.extras import jxl_header
from cbir_daemon.pictures.pixels import read_colour, read_picture, read_preview
from cbir_daemon.records import FileState, Heals, Unreadable
from tests.pictures import photograph
from tests.places import ZOO

MAX_PIXELS = 50_000_000
MAX_BYTES = 50_000_000

# Largest mean difference, in grey levels, between the vectors of one photograph in two forms.
SAME = 0.6
SAME_AFTER_LOSS = 1.5
SAME_IN_FEW_COLOURS = 6.0

# Their encoders search for the smallest file for half a second otherwise.
QUICK_AVIF = {"speed": 10}
QUICK_HEIF = {"preset": "ultrafast"}

needs_zoo = pytest.mark.skipif(not ZOO.is_dir(), reason="no folder of odd files beside the checkout")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A photograph that lies (wider than high) and looks different from every side."""
    return Image.fromarray(photograph(7, (480, 320)))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401 -- Pillow's own signature
    output = io.BytesIO()
    # Most are compared with a PNG, which need not be small.
    image.save(output, kind, **({"compress_level": 1} if kind == "PNG" else {}), **options)
    return output.getvalue()


def grey_numbers(data: bytes) -> NDArray[np.int16]:
    return np.frombuffer(read_picture(data, MAX_PIXELS).vector, np.uint8).astype(np.int16)


def distance(first: bytes, second: bytes) -> float:
    return float(np.abs(grey_numbers(first) - grey_numbers(second)).mean())


def refusal(data: bytes, max_pixels: int = MAX_PIXELS) -> str:
    with pytest.raises(UnreadableError) as caught:
        read_picture(data, max_pixels)
    unreadable = caught.value.unreadable
    assert unreadable.code in REASONS
    assert "\n" not in unreadable.message
    assert "0x" not in unreadable.message
    return unreadable.code


# What a vector is.


def test_a_vector_is_the_grey_picture_at_64_by_64(photo: Image.Image) -> None:
    """Nothing but grey, LANCZOS and rounding: within the distance that the faster way is allowed."""
    plain = np.asarray(photo.convert("L").resize((64, 64), Image.Resampling.LANCZOS), np.int16).ravel()
    assert np.abs(grey_numbers(saved(photo, "PNG")) - plain).mean() < SAME


def test_facts_of_a_picture(photo: Image.Image) -> None:
    """Width and height are the image's, the vector has 4096 bytes."""
    picture = read_picture(saved(photo, "PNG"), MAX_PIXELS)
    assert (picture.width_px, picture.height_px, picture.format) == (480, 320, "PNG")
    assert len(picture.vector) == 4096


def test_a_drafted_jpeg_keeps_its_full_size_and_its_vector() -> None:
    """Decoding at a fraction of the size changes neither what is recorded nor, by much, the numbers."""
    photo = Image.fromarray(photograph(3, (1600, 1200)))
    jpeg = saved(photo, "JPEG", quality=90)
    picture = read_picture(jpeg, MAX_PIXELS)
    assert (picture.width_px, picture.height_px) == (1600, 1200)
    assert distance(jpeg, saved(photo, "PNG")) < SAME_AFTER_LOSS


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_all_orientations_give_the_same_vector(photo: Image.Image, kind: str, orientation: int) -> None:
    """EXIF says how to hold the picture; held so, it is the same in every format."""
    turned = as_stored(photo, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}
    options |= QUICK_AVIF if kind == "AVIF" else {}
    data = saved(turned, kind, exif=exif, **options)
    picture = read_picture(data, MAX_PIXELS)
    assert (picture.width_px, picture.height_px) == (480, 320)
    assert distance(data, saved(photo, "PNG")) < SAME_AFTER_LOSS


def as_stored(upright: Image.Image, orientation: int) -> Image.Image:
    """Return the pixels that `orientation` turns upright."""
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    stored = upright.copy()
    stored.getexif()[0x0112] = inverse
    turned = ImageOps.exif_transpose(stored)
    assert turned is not None
    return Image.fromarray(np.asarray(turned))


def test_an_orientation_that_is_none_is_ignored(photo: Image.Image) -> None:
    """A value outside 1 to 8, or EXIF that is rubbish, leaves the picture as it lies."""
    exif = Image.Exif()
    exif[0x0112] = 77
    assert distance(saved(photo, "PNG", exif=exif), saved(photo, "PNG")) == 0
    assert distance(saved(photo, "PNG", exif=b"Exif\0\0rubbish"), saved(photo, "PNG")) == 0


MODES = ["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F", "I", "LAB", "HSV"]


def in_mode(photo: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(photo, srgb, lab, outputMode="LAB")
        assert converted is not None
        return converted
    if mode in ("I", "F"):
        return photo.convert("L").convert(mode)
    return photo.convert(mode)


@pytest.mark.parametrize("mode", [*MODES[:-1]])
def test_every_mode_gives_the_same_vector(photo: Image.Image, mode: str) -> None:
    """A photograph is the same in any way of writing colours down."""
    in_other_mode = in_mode(photo, mode)
    data = saved(in_other_mode, "TIFF") if mode != "LA" else saved(in_other_mode, "PNG")
    assert distance(data, saved(photo, "PNG")) < SAME_AFTER_LOSS


@pytest.mark.parametrize("mode", ["1", "P", "PA"])
def test_few_colours_keep_the_picture(photo: Image.Image, mode: str) -> None:
    """Dots and palettes stay near the photograph: averaging undoes the dots."""
    data = saved(photo.convert(mode), "PNG") if mode != "PA" else saved(photo.convert("P"), "GIF", transparency=255)
    assert distance(data, saved(photo, "PNG")) < SAME_IN_FEW_COLOURS


def test_sixteen_bits_are_scaled_by_their_range(photo: Image.Image) -> None:
    """A 16-bit PNG looks like its 8-bit sister, not like its low byte; twelve bits in sixteen are brightened."""
    sixteen = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    assert distance(saved(Image.fromarray(sixteen), "PNG"), saved(photo, "PNG")) < SAME
    twelve = saved(Image.fromarray(sixteen >> 4), "PNG")
    correlation = np.corrcoef(grey_numbers(twelve), grey_numbers(saved(photo, "PNG")))[0, 1]
    assert correlation > 0.999
    assert grey_numbers(twelve).max() > 200


def test_floats_are_scaled_by_their_range(photo: Image.Image) -> None:
    """Numbers from -1 to 3 become 0 to 255."""
    grey = np.asarray(photo.convert("L")).astype(np.float32)
    stretched = Image.fromarray((grey - grey.min()) / (grey.max() - grey.min()) * 4 - 1)
    assert np.corrcoef(grey_numbers(saved(stretched, "TIFF")), grey_numbers(saved(photo, "PNG")))[0, 1] > 0.999


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_pixels_are_white(photo: Image.Image, kind: str) -> None:
    """What hides below a transparent pixel is not seen, not even as a shadow at its edge."""
    hidden = photo.convert("RGBA")
    alpha = Image.new("L", photo.size, 255)
    alpha.paste(0, (240, 0, 480, 320))
    hidden.putalpha(alpha)
    shown = photo.copy()
    shown.paste((255, 255, 255), (240, 0, 480, 320))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    assert distance(saved(hidden, kind, **options), saved(shown, "PNG")) < SAME


def test_a_transparent_palette_entry_is_white(photo: Image.Image) -> None:
    """GIF and palette PNG say transparency by entry."""
    with_palette = photo.quantize(64)
    most_used = max(with_palette.getcolors() or [], default=(0, 0))[1]
    assert isinstance(most_used, int)
    data = saved(with_palette, "PNG", transparency=most_used)
    brighter = grey_numbers(data) - grey_numbers(saved(with_palette, "PNG"))
    assert brighter.max() > 20
    assert brighter.min() >= -2


def test_cmyk_is_read_by_its_profile(photo: Image.Image) -> None:
    """A damaged ink profile is no reason to refuse the picture."""
    data = saved(photo.convert("CMYK"), "JPEG", quality=95, icc_profile=b"no profile at all")
    assert distance(data, saved(photo, "PNG")) < SAME_AFTER_LOSS


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_is_its_first_frame_that_is_not_blank(photo: Image.Image, kind: str) -> None:
    """A fade from white starts with nothing to recognise."""
    blank = Image.new("RGB", photo.size, "white")
    data = saved(blank, kind, save_all=True, append_images=[blank, photo, blank], duration=100)
    assert distance(data, saved(photo, "PNG")) < SAME_IN_FEW_COLOURS


def test_a_blank_animation_is_blank() -> None:
    """When no frame shows anything, the first one counts."""
    frames = [Image.new("RGB", (32, 32), (shade, shade, shade)) for shade in (255, 254, 253)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert grey_numbers(data).min() >= 250


def test_a_broken_later_frame_does_no_harm() -> None:
    """An animation cut off after a blank first frame is that frame."""
    blank = Image.new("RGB", (64, 64), "white")
    data = saved(blank, "GIF", save_all=True, append_images=[Image.fromarray(photograph(1, (64, 64)))])
    assert grey_numbers(data[: len(data) // 2]).min() == 255


def test_pages_of_a_tiff_are_not_frames(photo: Image.Image) -> None:
    """A blank first page stays the picture of a document."""
    blank = Image.new("RGB", (100, 100), "white")
    picture = read_picture(saved(blank, "TIFF", save_all=True, append_images=[photo.copy()]), MAX_PIXELS)
    assert set(picture.vector) == {255}


# Formats, by content.


PLAIN_FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "GIF": {},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90, **QUICK_AVIF},
    "JPEG2000": {},
    "PPM": {},
    "TGA": {},
    "QOI": {},
    "DDS": {},
    "PCX": {},
    "SGI": {},
    "ICO": {"sizes": [(240, 160)]},
    "MPO": {"quality": 95},
}


@pytest.mark.parametrize("kind", PLAIN_FORMATS)
def test_a_format_read_without_extras(photo: Image.Image, kind: str) -> None:
    """The photograph comes out of every format as it went in."""
    data = saved(photo, kind, **PLAIN_FORMATS[kind])
    assert distance(data, saved(photo, "PNG")) < (SAME_IN_FEW_COLOURS if kind == "GIF" else SAME_AFTER_LOSS)


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"subsampling": 0}, {"optimize": True}, {"restart_marker_rows": 1}]
)
def test_every_kind_of_jpeg(photo: Image.Image, options: dict[str, object]) -> None:
    """Progressive, unsubsampled and restartable JPEGs are drafted as well."""
    assert distance(saved(photo, "JPEG", quality=95, **options), saved(photo, "PNG")) < SAME_AFTER_LOSS


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heif_is_read_upright(photo: Image.Image, orientation: int) -> None:
    """By its turns and mirrors (irot, imir), whatever its EXIF says besides; it must not be turned twice."""
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = orientation
    output = io.BytesIO()
    # Written as turns and mirrors of the file itself.
    heif = pillow_heif.from_pillow(as_stored(photo, orientation))
    heif.info["exif"] = exif.tobytes()
    heif.save(output, quality=95, enc_params=QUICK_HEIF)
    written = {name for name in (b"irot", b"imir") if name in output.getvalue()}
    assert written or orientation == 1
    picture = read_picture(output.getvalue(), MAX_PIXELS)
    assert (picture.width_px, picture.height_px, picture.format) == (480, 320, "HEIF")
    assert distance(output.getvalue(), saved(photo, "PNG")) < SAME_AFTER_LOSS


def test_jpeg_xl_is_read_upright(photo: Image.Image) -> None:
    """The size and the turn are in the header, before anything is decoded."""
    pytest.importorskip("pillow_jxl")
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(as_stored(photo, 6), "JXL", quality=95, exif=exif.tobytes())
    picture = read_picture(data, MAX_PIXELS)
    assert (picture.width_px, picture.height_px, picture.format) == (480, 320, "JXL")
    assert distance(data, saved(photo, "PNG")) < SAME_AFTER_LOSS
    # Cut off after its header, which is enough to refuse it.
    assert refusal(data[:200], max_pixels=480 * 320 - 1) == "too-many-pixels"


@pytest.mark.parametrize(
    "size", [(480, 320), (256, 256), (64, 48), (8, 8), (3000, 1), (640, 480), (1920, 1080), (33, 70)]
)
def test_the_header_of_jpeg_xl_tells_the_size(size: tuple[int, int]) -> None:
    """Small, ratio and general headers, bare and boxed."""
    pytest.importorskip("pillow_jxl")
    image = Image.new("L", size, 128)
    for boxed in (False, True):
        assert jxl_header(saved(image, "JXL", effort=1, use_container=boxed)) == (*size, 1)


SVG = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink" {size}>
<rect width="60" height="40" fill="white"/><circle cx="20" cy="20" r="15" fill="black"/>{more}</svg>"""


@pytest.mark.parametrize(
    ("size", "width_px", "height_px"),
    [
        ('width="60" height="40"', 60, 40),
        ('width="6cm" height="4cm" viewBox="0 0 60 40"', 227, 151),
        ('viewBox="0 0 60 40"', 60, 40),
    ],
)
def test_a_drawing_is_read_at_any_size(size: str, width_px: int, height_px: int) -> None:
    """The size is what the drawing says; the vector shows what it shows."""
    pytest.importorskip("resvg_py")
    picture = read_picture(SVG.format(size=size, more="").encode(), MAX_PIXELS)
    assert (picture.width_px, picture.height_px, picture.format) == (width_px, height_px, "SVG")
    grey = np.frombuffer(picture.vector, np.uint8).reshape(64, 64)
    assert grey[32, 21] < 10
    assert grey[5, 60] > 245


def test_a_compressed_drawing_is_read() -> None:
    """SVGZ is SVG; a compressed text is no image."""
    pytest.importorskip("resvg_py")
    assert read_picture(gzip.compress(SVG.format(size="", more="").encode()), MAX_PIXELS).format == "SVG"
    assert refusal(gzip.compress(b"hello")) == "not-an-image"


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("attribute", ["href", "x:href", "x:href "])
def test_a_drawing_reads_no_other_file(tmp_path: Path, quote: str, attribute: str) -> None:
    """A path inside an SVG is not followed, however it is written."""
    pytest.importorskip("resvg_py")
    Image.new("RGB", (10, 10), "black").save(tmp_path / "outside.png")
    image = f"<image {attribute}={quote}{tmp_path}/outside.png{quote} width='60' height='40'/>"
    plain = SVG.format(size='width="60" height="40"', more="").encode()
    pointing = SVG.format(size='width="60" height="40"', more=image).encode()
    assert distance(pointing, plain) == 0


def test_a_drawing_whose_entities_hold_markup_is_refused() -> None:
    """Such an entity could say what `test_a_drawing_reads_no_other_file` forbids."""
    pytest.importorskip("resvg_py")
    markup = "<!DOCTYPE svg [<!ENTITY i \"<rect width='60' height='40'/>\">]>"
    assert refusal((markup + SVG.format(size="", more="&i;")).encode()) == "damaged"
    harmless = '<!DOCTYPE svg [<!ENTITY name "http://example.org/">]>'
    assert read_picture((harmless + SVG.format(size='id="&name;"', more="")).encode(), MAX_PIXELS).format == "SVG"


@pytest.mark.parametrize("preview", ["none", "whole", "with bars"])
def test_camera_raw_is_read(photo: Image.Image, preview: str) -> None:
    """By its preview when that shows the whole picture, else developed; of full size, held as the camera was."""
    pytest.importorskip("rawpy")
    stored = as_stored(photo, 6)
    shown = {"none": None, "whole": stored.resize((160, 240)), "with bars": ImageOps.pad(stored, (240, 240))}[preview]
    raw = digital_negative(np.asarray(stored), orientation=6, preview=shown)
    picture = read_picture(raw, MAX_PIXELS)
    assert (picture.width_px, picture.height_px, picture.format) == (480, 320, "RAW")
    if preview == "whole":
        assert distance(raw, saved(photo, "PNG")) < SAME_AFTER_LOSS
    grey = np.frombuffer(picture.vector, np.uint8)
    assert np.corrcoef(grey, grey_numbers(saved(photo, "PNG")))[0, 1] > 0.9
    assert refusal(raw, max_pixels=1000) == "too-many-pixels"


Entry = tuple[int, int, int, int | bytes]


def digital_negative(picture: NDArray[np.uint8], orientation: int, preview: Image.Image | None) -> bytes:
    """Return a DNG file: an uncompressed 16-bit RGGB mosaic of `picture` and perhaps a JPEG preview.

    References
    ----------
    Adobe, Digital Negative Specification 1.4.0.0.
    """
    height, width = picture.shape[:2]
    mosaic = picture[..., 1].astype(np.uint16)
    mosaic[0::2, 0::2] = picture[0::2, 0::2, 0]
    mosaic[1::2, 1::2] = picture[1::2, 1::2, 2]
    # Sensors count light, files store its root.
    pixels = ((mosaic / 255.0) ** 2.2 * 65535).astype("<u2").tobytes()
    jpeg = saved(preview, "JPEG", quality=95) if preview else b""
    identity = struct.pack("<18i", *(number for cell in np.eye(3, dtype=int).ravel() for number in (cell, 1)))
    camera: list[Entry] = [
        *((271, 2, 6, b"Test\0\0"), (272, 2, 6, b"Test\0\0"), (274, 3, 1, orientation)),
        *((50706, 1, 4, bytes((1, 4, 0, 0))), (50708, 2, 6, b"Test\0\0"), (50721, 10, 9, identity)),
        *((50728, 5, 3, struct.pack("<6I", 1, 1, 1, 1, 1, 1)), (50778, 3, 1, 21)),
    ]
    sensor: list[Entry] = [
        *((254, 4, 1, 0), (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 32803)),
        *((273, 4, 1, 8 + len(jpeg)), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, len(pixels))),
        *((33421, 3, 2, struct.pack("<2H", 2, 2)), (33422, 1, 4, bytes((0, 1, 1, 2)))),
    ]
    start = 8 + len(jpeg) + len(pixels)
    if preview is None:
        return b"II*\0" + struct.pack("<I", start) + pixels + directory([*camera, *sensor], start)
    below = directory(sensor, start)
    first: list[Entry] = [
        *((254, 4, 1, 1), (256, 4, 1, preview.width), (257, 4, 1, preview.height), (259, 3, 1, 7), (262, 3, 1, 6)),
        *((258, 3, 3, struct.pack("<3H", 8, 8, 8)), (273, 4, 1, 8), (277, 3, 1, 3), (278, 4, 1, preview.height)),
        *((279, 4, 1, len(jpeg)), (330, 4, 1, start)),
    ]
    top = directory([*camera, *first], start + len(below))
    return b"II*\0" + struct.pack("<I", start + len(below)) + jpeg + pixels + below + top


def directory(entries: list[Entry], start: int) -> bytes:
    """Return a TIFF directory that begins at `start`, and after it the values that do not fit into it."""
    after = start + 2 + 12 * len(entries) + 4
    packed, beyond = struct.pack("<H", len(entries)), b""
    for tag, kind, count, value in sorted(entries):
        content = value if isinstance(value, bytes) else struct.pack("<I", value)
        if len(content) > 4:
            content, beyond = struct.pack("<I", after + len(beyond)), beyond + content
        packed += struct.pack("<HHI", tag, kind, count) + content.ljust(4, b"\0")
    return packed + struct.pack("<I", 0) + beyond


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that only an extra reads is not called broken."""
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert refusal(SVG.format(size="", more="").encode()) == "needs-extra"


def test_missing_extras_are_found_without_importing() -> None:
    """What is installed is not missing, and the other way round."""
    reader = replace(PICTURES, extras=(Extra("none", "nothing", "cbir_no_such_module"), Extra("some", "plain", "gzip")))
    assert Readers([reader]).missing_extras() == ("none",)


def test_the_type_is_told_by_content(photo: Image.Image, tmp_path: Path) -> None:
    """A PNG named .jpg is a PNG."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(saved(photo, "PNG"))
    data, _ = read(path)
    assert read_picture(data, MAX_PIXELS).format == "PNG"


def test_suffixes_are_lower_case_and_hold_those_of_the_notebook() -> None:
    """What people had before is still looked at."""
    suffixes = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tiff", ".tif", ".webp", ".svg"}
    assert suffixes <= PICTURES.suffixes
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in PICTURES.suffixes)


# Refusals.


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("data", [b"hello, this is text\n" * 50, b"\0" * 1000, b"%PDF-1.7\n", EPS])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    """Text, zeros, documents; and EPS, which Pillow would hand to another program."""
    assert refusal(data) == "not-an-image"


def test_random_bytes_are_refused() -> None:
    """No plugin may take noise for a picture of its own."""
    generator = random.Random(1)  # noqa: S311 -- a seed, not a secret
    assert all(refusal(generator.randbytes(500)) in ("not-an-image", "damaged") for _ in range(50))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_image_is_refused(photo: Image.Image, kind: str, share: float) -> None:
    """Half a photograph would be found as if it were whole: it is an error that names its format."""
    data = saved(photo, kind)
    assert refusal(data[: int(share * len(data))]) in ("truncated", "damaged")


def test_a_bomb_is_refused_by_its_header() -> None:
    """A megabyte that unpacks to gigabytes costs nothing."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"\0" * 100
    assert refusal(data) in ("damaged", "too-many-pixels")
    assert refusal(saved(Image.new("1", (8_000, 8_000)), "PNG")) == "too-many-pixels"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "WEBP"])
def test_one_pixel_too_many_is_too_many(photo: Image.Image, kind: str) -> None:
    """The limit is exact, above it nothing is decoded."""
    data = saved(photo, kind)
    assert read_picture(data, 480 * 320).width_px == 480
    assert refusal(data, max_pixels=480 * 320 - 1) == "too-many-pixels"


def test_a_single_pixel_is_an_image() -> None:
    """Plain as it is, it has a vector; whether that tells anything is not decided here."""
    assert set(read_picture(saved(Image.new("L", (1, 1), 77), "PNG"), MAX_PIXELS).vector) == {77}


def test_mutated_images_never_raise_anything_else(photo: Image.Image) -> None:
    """Bytes changed, cut out and repeated at random: a picture or a reason, for every format."""
    generator = random.Random(20)  # noqa: S311 -- a seed, not a secret
    small = photo.resize((60, 40))
    seeds = [saved(small, kind, **PLAIN_FORMATS[kind]) for kind in PLAIN_FORMATS if kind != "ICO"]
    for data in mutations(seeds, generator, rounds=25):
        assert outcome(data) in {"read", *REASONS}


def outcome(data: bytes) -> str:
    try:
        read_picture(data, MAX_PIXELS)
    except UnreadableError as error:
        return error.unreadable.code
    return "read"


def mutations(seeds: list[bytes], generator: random.Random, rounds: int) -> Iterator[bytes]:
    for data in seeds:
        for _ in range(rounds):
            changed = bytearray(data)
            for _ in range(generator.randint(1, 8)):
                at = generator.randrange(len(changed))
                changed[at : at + generator.choice([1, 1, 1, 4])] = generator.randbytes(generator.choice([0, 1, 1, 4]))
            yield bytes(changed)


# Files.


def read(path: Path | bytes, max_bytes: int = MAX_BYTES, *, follow: bool = False) -> tuple[bytes, FileState]:
    """Open a file as the daemon does and read it as a worker does."""
    opened = open_file(os.fsencode(path), max_bytes, follow=follow)
    if isinstance(opened, Unreadable):
        raise UnreadableError(opened.code, opened.message, opened.state)
    try:
        return read_whole(opened.descriptor)
    finally:
        opened.close()


def reason(path: Path | bytes, max_bytes: int = MAX_BYTES) -> str:
    with pytest.raises(UnreadableError) as caught:
        read(path, max_bytes)
    return caught.value.unreadable.code


def test_a_file_is_read_whole_with_its_state(tmp_path: Path) -> None:
    """Bytes and state are those of the file, whatever its name."""
    path = os.fsencode(tmp_path) + b"/\xff\xfe name.jpg"
    with open(path, "wb") as stream:  # noqa: PTH123 -- a name that is not text
        stream.write(b"some bytes")
    data, state = read(path)
    assert data == b"some bytes"
    assert state == state_from(os.lstat(path))
    assert state.size_bytes == 10


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    """A folder, a pipe that nobody writes to, a link and a socket: at once, and unread."""
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "target.jpg").write_bytes(b"x")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "target.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.jpg"))
        names = ("folder.jpg", "pipe.jpg", "link.jpg", "s.jpg")
        assert {name: reason(tmp_path / name) for name in names} == dict.fromkeys(names, "not-a-file")
    assert reason(Path("/dev/zero")) == "not-a-file"


def test_a_link_is_followed_when_asked(tmp_path: Path) -> None:
    """A person who names a link means what it leads to."""
    (tmp_path / "target").write_bytes(b"x")
    (tmp_path / "link").symlink_to("target")
    assert read(tmp_path / "link", follow=True)[0] == b"x"


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    """Gone, empty and too large are three different things."""
    (tmp_path / "empty").touch()
    (tmp_path / "large").write_bytes(b"12345")
    assert reason(tmp_path / "gone") == "vanished"
    assert reason(tmp_path / "empty" / "below") == "vanished"
    assert reason(tmp_path / "empty") == "empty"
    assert reason(tmp_path / "large", max_bytes=4) == "too-large"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    """Permission is not absence."""
    (tmp_path / "private").write_bytes(b"x")
    (tmp_path / "private").chmod(0)
    assert reason(tmp_path / "private") == "no-access"


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the old and half of the new is neither; the state recorded is one that no longer holds."""
    path = tmp_path / "growing"
    path.write_bytes(b"first")
    pread = os.pread

    def read_and_grow(descriptor: int, count: int, start: int) -> bytes:
        data = pread(descriptor, count, start)
        with path.open("ab") as stream:
            stream.write(b"more")
        return data

    monkeypatch.setattr(os, "pread", read_and_grow)
    with pytest.raises(UnreadableError) as caught:
        read(path)
    assert caught.value.unreadable.code == "changed-while-reading"
    assert caught.value.unreadable.state != state_from(path.stat())


def test_reading_leaves_the_page_cache_as_it_was(tmp_path: Path) -> None:
    """What was not in memory before is not afterwards; what was, stays."""
    path = tmp_path / "photo"
    with path.open("wb") as stream:
        stream.write(bytes(1_000_000))
        stream.flush()
        os.fsync(stream.fileno())
    read(path)
    assert resident_pages(path) > 0
    with path.open("rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident_pages(path):
        pytest.skip("this file system does not drop a file from memory")
    read(path)
    assert resident_pages(path) == 0


def resident_pages(path: Path) -> int:
    """Return how many pages of a file are in memory; looking does not fetch any."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        start = ctypes.c_char.from_buffer(mapped)
        assert ctypes.CDLL(None).mincore(ctypes.byref(start), ctypes.c_size_t(len(mapped)), pages) == 0
        del start
    return sum(page & 1 for page in pages)


# The sheet's pictures.


def test_a_colour_picture_is_upright_and_small(photo: Image.Image) -> None:
    """At most as large as asked, never enlarged, with its colours."""
    exif = Image.Exif()
    exif[0x0112] = 6
    small = read_colour(saved(as_stored(photo, 6), "JPEG", exif=exif, quality=95), MAX_PIXELS, 120)
    assert (small.mode, small.size) == ("RGB", (120, 80))
    expected = np.asarray(photo.resize((120, 80), Image.Resampling.LANCZOS), np.int16)
    assert np.abs(np.asarray(small, np.int16) - expected).mean() < 4
    assert read_colour(saved(photo, "PNG"), MAX_PIXELS, 2000).size == (480, 320)


@pytest.mark.parametrize(
    ("stored_px", "side_px", "expected_px"),
    [((1000, 750), 512, (500, 375)), ((750, 1000), 512, (375, 500)), ((1000, 750), 600, (600, 450))],
)
def test_a_preview_takes_the_scale_that_is_nearly_large_enough(
    photo: Image.Image, stored_px: tuple[int, int], side_px: int, expected_px: tuple[int, int]
) -> None:
    """A JPEG whose half is a tenth smaller than asked is decoded at half; else it is made as small as asked."""
    exif = Image.Exif()
    exif[0x0112] = 3
    stored = photo.resize(stored_px)
    preview = read_preview(saved(as_stored(stored, 3), "JPEG", exif=exif, quality=95), MAX_PIXELS, side_px)
    assert preview.size == expected_px
    expected = np.asarray(stored.resize(expected_px, Image.Resampling.LANCZOS), np.int16)
    assert np.abs(np.asarray(preview, np.int16) - expected).mean() < 4
    assert read_preview(saved(photo, "PNG"), MAX_PIXELS, 300).size == (300, 200)
    assert read_preview(saved(photo, "PNG"), MAX_PIXELS, 2000).size == (480, 320)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F", "LAB"])
def test_every_mode_has_a_colour_picture(photo: Image.Image, mode: str) -> None:
    """What has a vector can be shown."""
    image = in_mode(photo, mode)
    data = saved(image, "PNG" if mode in ("1", "LA", "P", "RGBA", "I;16") else "TIFF")
    shown = read_colour(data, MAX_PIXELS, 120)
    expected = np.asarray(photo.convert("L").resize((120, 80), Image.Resampling.LANCZOS), np.int16)
    assert np.abs(np.asarray(shown.convert("L"), np.int16) - expected).mean() < 12


# The house.


def test_the_daemon_imports_neither_pillow_nor_numpy() -> None:
    """Only workers pay for them, and only workers can be hurt through them."""
    code = "import sys, cbir_daemon.decode; print(sorted({'PIL', 'numpy', 'pillow_heif'} & set(sys.modules)))"
    output = subprocess.run(  # noqa: S603 -- our own interpreter
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert output.strip() == "[]"


def test_every_reason_is_described_in_the_documentation() -> None:
    """What `cbir errors` prints can be looked up."""
    text = (Path(decode.__file__).parents[1] / "docs" / "decoding.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| `([a-z-]+)` \|$", text, re.MULTILINE)
    assert rows == [(code, reason.meaning, reason.heals) for code, reason in REASONS.items()]
    assert re.findall(r"^\| `([a-z-]+)` \| (?:and|when) ", text, re.MULTILINE) == list(Heals)
    assert [name for name in formats.PILLOW_FORMATS if name not in text] == []


def test_what_pillow_opens_is_read_or_refused_with_a_reason() -> None:
    """Every format in Pillow's registry, those of the extras aside, is tried here or named as refused in the manual."""
    code = "from PIL import Image; Image.init(); print(*Image.OPEN)"
    command = [sys.executable, "-W", "ignore", "-c", code]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 -- our own interpreter
    registered = set(output.split())
    assert set(formats.PILLOW_FORMATS) <= registered
    text = (Path(decode.__file__).parents[1] / "docs" / "decoding.md").read_text()
    refused = text.partition("What Pillow could read and is refused")[2].partition("## ")[0]
    named = {word.upper() for word in re.findall(r"\w+", refused)}
    assert registered - set(formats.PILLOW_FORMATS) - named == set()
    assert set(formats.PILLOW_FORMATS) & named == set()


# With odd files at hand.


@needs_zoo
@pytest.mark.parametrize("name", ["Landscape", "Portrait"])
def test_real_photographs_in_all_orientations(name: str) -> None:
    """Eight files of one photograph, each stored another way, are one picture."""
    files = [(ZOO / "exif_orientation" / f"{name}_{orientation}.jpg").read_bytes() for orientation in range(1, 9)]
    assert max(distance(data, files[0]) for data in files) < SAME
    assert (
        len({(picture.width_px, picture.height_px) for picture in (read_picture(data, MAX_PIXELS) for data in files)})
        == 1
    )


@needs_zoo
def test_real_photographs_in_all_modes() -> None:
    """One photograph in every colour mode and format that its collectors could think of."""
    folder = ZOO / "pdq" / "data" / "misc-images" / "modes"
    original = (folder / "original.jpg").read_bytes()
    files = [path for path in sorted(folder.iterdir()) if path.suffix in PICTURES.suffixes]
    distances = {path.name: distance(path.read_bytes(), original) for path in files}
    assert max(distances.values()) < 3.0, distances


@needs_zoo
def test_one_picture_in_dozens_of_formats() -> None:
    """Pillow's own test picture is the same in all of them."""
    names = ["bmp", "bw", "dcx", "dds", "fits", "gif", "im", "jpg", "Lab.tif", "pfm", "png", "pnm", "psd", "pxr", "qoi"]
    names += ["ras", "rgb", "sgi", "tif", "webp", "xpm", "iccprofile.tif"]
    original = (ZOO / "pillow" / "hopper.ppm").read_bytes()
    distances = {name: distance((ZOO / "pillow" / f"hopper.{name}").read_bytes(), original) for name in names}
    assert max(distances.values()) < 3.0, distances


def test_a_digest_is_of_the_whole_file(tmp_path: Path) -> None:
    """What is hashed is what was read."""
    (tmp_path / "a").write_bytes(b"abc")
    data, _ = read(tmp_path / "a")
    assert hashlib.sha256(data).hexdigest().startswith("ba7816bf")
