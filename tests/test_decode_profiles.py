"""Colours are seen through the profile that comes with them: profiles made here, of lights and of inks."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.pictures.extras import load_extra
from cbir_daemon.pictures.formats import EXTRAS
from cbir_daemon.pictures.pixels import read_colour, read_picture
from tests.places import ZOO
from tests.test_decode import MAX_PIXELS, distance, grey_numbers, photo, saved

__all__ = ["photo"]

SAME_SEEN_THROUGH_A_PROFILE = 2.5
"""Largest mean difference, in grey levels, of a photograph in another space; a wide one has fewer levels to give."""
SAME = 0.6
"""The same, of one photograph by two ways of rounding."""
UNLIKE = 6.0
"""Smallest, of the same numbers taken for sRGB."""

D50 = (0.9642, 1.0, 0.8249)
# ProPhoto (ROMM) RGB: primaries as XYZ under D50, gamma 1.8.
PROPHOTO = ((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249))


def fixed(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def profile(space: bytes, connection: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return an ICC profile of version 2.4 (ICC.1:2001-04, 6)."""
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(padded))
        body += padded
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", 0x02400000, kind, space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + b"".join(map(fixed, D50))
    return head.ljust(128, b"\0") + table + body


def lights(primaries: tuple[tuple[float, float, float], ...] = PROPHOTO, gamma: float = 1.8) -> bytes:
    """Return the profile of a space of three lights."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    tags = {b"wtpt": b"XYZ \0\0\0\0" + b"".join(map(fixed, D50))}
    for name, primary in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + b"".join(map(fixed, primary))
        tags[name + b"TRC"] = curve
    return profile(b"RGB ", b"XYZ ", b"mntr", tags)


def inks() -> bytes:
    """Return the profile of a strange press: black alone darkens, cyan, magenta and yellow do nothing."""
    grid = [(255 * (1 - black), 128, 128) for _ in range(8) for black in (0, 1)]
    ramp = bytes(range(256))
    identity = b"".join(fixed(float(row == column)) for row in range(3) for column in range(3))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + ramp * 4 + bytes(n for cell in grid for n in cell)
    return profile(b"CMYK", b"Lab ", b"prtr", {b"A2B0": table + ramp * 3})


def in_prophoto(photo: Image.Image) -> Image.Image:
    """Return the same colours as the numbers of a wide space."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(lights()))
    converted = ImageCms.profileToProfile(photo, ImageCms.createProfile("sRGB"), target, outputMode="RGB")
    assert converted is not None
    # What is saved carries a profile only when it is given one.
    converted.info.clear()
    return converted


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "P", "RGBA"])
def test_a_wide_space_shows_the_same_photograph(photo: Image.Image, kind: str) -> None:
    """In formats and modes that carry a profile (the writer of JPEG XL writes none); without it numbers are others."""
    if kind == "HEIF":
        load_extra(EXTRAS[kind])
    wide = in_prophoto(photo)
    stored = wide.convert(kind) if kind in ("P", "RGBA") else wide
    file_format = "PNG" if kind in ("P", "RGBA") else kind
    options: dict[str, Any] = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF", "HEIF") else {}
    # Their encoders search for the smallest file for half a second otherwise.
    quick: dict[str, dict[str, Any]] = {"AVIF": {"speed": 10}, "HEIF": {"enc_params": {"preset": "ultrafast"}}}
    options |= quick.get(kind, {})
    seen = saved(stored, file_format, icc_profile=lights(), **options)
    limit = SAME_SEEN_THROUGH_A_PROFILE + (4.0 if kind == "P" else 0.0)
    assert distance(seen, saved(photo, "PNG")) < limit
    assert distance(saved(wide, "PNG"), saved(photo, "PNG")) > UNLIKE


def test_transparent_pixels_stay_white_under_a_profile(photo: Image.Image) -> None:
    """White is white in every space."""
    wide = in_prophoto(photo).convert("RGBA")
    wide.paste((0, 0, 0, 0), (240, 0, 480, 320))
    shown = photo.copy()
    shown.paste((255, 255, 255), (240, 0, 480, 320))
    assert distance(saved(wide, "PNG", icc_profile=lights()), saved(shown, "PNG")) < SAME_SEEN_THROUGH_A_PROFILE


def test_the_usual_profile_changes_nothing(photo: Image.Image) -> None:
    """Most pictures say that they are sRGB: they are read as those that say nothing, at the same speed."""
    usual = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("JPEG", "PNG"):
        assert distance(saved(photo, kind, icc_profile=usual), saved(photo, kind)) == 0


@pytest.mark.parametrize("broken", [b"no profile at all", b"\0" * 16 + b"RGB " + b"\0" * 300, lights()[:200], inks()])
def test_a_profile_that_cannot_be_used_is_passed_over(photo: Image.Image, broken: bytes) -> None:
    """Damaged, or of inks where there are lights: no reason to refuse the picture."""
    assert distance(saved(photo, "PNG", icc_profile=broken), saved(photo, "PNG")) < SAME


def test_inks_are_seen_through_their_profile() -> None:
    """What a press makes of its inks counts, not what they are called."""
    drawn = np.zeros((64, 64, 4), np.uint8)
    drawn[:32, :, :3] = 255
    drawn[:, 32:, 3] = 255
    data = saved(Image.fromarray(drawn, "CMYK"), "TIFF", icc_profile=inks())
    vector = grey_numbers(data).reshape(64, 64)
    assert vector[:, :28].min() > 240
    assert vector[:, 36:].max() < 15
    without = grey_numbers(saved(Image.fromarray(drawn, "CMYK"), "TIFF")).reshape(64, 64)
    assert without[:28, :28].max() < 15


def test_a_sheet_shows_the_colours_of_the_profile(photo: Image.Image) -> None:
    """People see what the vector was made of."""
    seen = read_colour(saved(in_prophoto(photo), "JPEG", quality=95, icc_profile=lights()), MAX_PIXELS, 120)
    expected = np.asarray(photo.resize(seen.size, Image.Resampling.LANCZOS), np.int16)
    assert np.abs(np.asarray(seen, np.int16) - expected).mean() < 6


def outcome(data: bytes) -> str:
    try:
        read_picture(data, MAX_PIXELS)
    except UnreadableError as error:
        return error.unreadable.code
    return "read"


@pytest.mark.skipif(not ZOO.is_dir(), reason="no folder of odd files beside the checkout")
def test_real_profiles_are_all_used() -> None:
    """Of every image at hand that has one it can be told what it makes of it; none is refused for it."""
    read = 0
    for path in sorted((ZOO / "pillow").rglob("*")):
        if path.suffix in (".jpg", ".png", ".tif", ".webp"):
            data = path.read_bytes()
            if b"acsp" in data[:100_000]:
                assert outcome(data) in ("read", "truncated", "damaged"), path
                read += outcome(data) == "read"
    assert read > 3
