"""What people and programs do to photographs: the edits that the benchmarks look for.

In: an image and a random generator.  Out: the edited image.  Never here: who finds it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

WHITE, BLACK = (255, 255, 255), (0, 0, 0)

Random = np.random.Generator
Edit = Callable[[Image.Image, Random], Image.Image]


def saved(kind: str, quality: int) -> Edit:
    """Return the edit that saves in a lossy format."""

    def edit(image: Image.Image, _: Random) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, kind, quality=quality)
        return Image.open(stream)

    return edit


def scaled(share_x: float, share_y: float) -> Edit:
    """Return the edit that scales both axes."""
    return lambda image, _: image.resize((round(image.width * share_x), round(image.height * share_y)))


def thumbnail(image: Image.Image, _: Random) -> Image.Image:
    """Return the image within 96x96 pixels."""
    small = image.copy()
    small.thumbnail((96, 96))
    return small


def gamma(exponent: float) -> Edit:
    """Return the edit that bends the tones."""
    return lambda image, _: image.point([round(255 * (level / 255) ** exponent) for level in range(256)] * 3)


def cropped(area: float, *, corner: bool = False) -> Edit:
    """Return the edit that cuts off a share of the area, around the middle or from a corner."""

    def edit(image: Image.Image, random: Random) -> Image.Image:
        side = math.sqrt(1 - area)
        width, height = image.width * side, image.height * side
        at_x, at_y = random.integers(2, size=2) if corner else (0.5, 0.5)
        left, top = (image.width - width) * at_x, (image.height - height) * at_y
        return image.crop((round(left), round(top), round(left + width), round(top + height)))

    return edit


def turned(angle_deg: float) -> Edit:
    """Return the edit that turns either way, corners black."""
    return lambda image, random: image.rotate(angle_deg * random.choice([-1, 1]), Image.Resampling.BICUBIC)


def bordered(share: float, colour: tuple[int, int, int]) -> Edit:
    """Return the edit that adds a border on all sides."""
    return lambda image, _: ImageOps.expand(image, round(share * min(image.size)), fill=colour)


def captioned(*, above: bool) -> Edit:
    """Return the edit that adds a white bar with a line of text."""

    def edit(image: Image.Image, _: Random) -> Image.Image:
        bar = round(image.height * 0.15)
        whole = Image.new("RGB", (image.width, image.height + bar), WHITE)
        whole.paste(image, (0, bar if above else 0))
        at = (image.width * 0.05, (0 if above else image.height) + bar * 0.2)
        font = ImageFont.load_default(max(8, round(bar * 0.5)))
        ImageDraw.Draw(whole).text(at, "when the weekend is over", font=font, fill=BLACK)
        return whole

    return edit


def text_over(image: Image.Image, random: Random) -> Image.Image:
    """Return the image with large letters across."""
    written = image.copy()
    at = (image.width * 0.06, image.height * random.uniform(0.3, 0.6))
    font = ImageFont.load_default(max(10, image.height // 9))
    ImageDraw.Draw(written).text(at, "HOLIDAY 2019", font=font, fill=WHITE, stroke_width=2, stroke_fill=BLACK)
    return written


def with_logo(image: Image.Image, _: Random) -> Image.Image:
    """Return the image with a disc in a corner."""
    marked = image.copy()
    size = round(0.18 * min(image.size))
    left, top = image.width - size - 6, image.height - size - 6
    draw = ImageDraw.Draw(marked)
    draw.ellipse((left, top, left + size, top + size), fill=(220, 30, 30))
    draw.text((left + size * 0.25, top + size * 0.2), "ab", font=ImageFont.load_default(max(8, size // 2)), fill=WHITE)
    return marked


def letterboxed(image: Image.Image, _: Random) -> Image.Image:
    """Return the image with black bars that make it 16:9."""
    width, height = max(image.width, round(image.height * 16 / 9)), max(image.height, round(image.width * 9 / 16))
    whole = Image.new("RGB", (width, height))
    whole.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return whole


def screenshot(image: Image.Image, _: Random) -> Image.Image:
    """Return the image scaled to a phone's width, a status bar above it and buttons below."""
    width, bar = 360, 48
    shown = image.resize((width, round(image.height * width / image.width)))
    whole = Image.new("RGB", (width, shown.height + 2 * bar), (24, 24, 24))
    whole.paste(shown, (0, bar))
    draw = ImageDraw.Draw(whole)
    draw.text((12, 14), "12:45", font=ImageFont.load_default(16), fill=WHITE)
    draw.rectangle((width - 50, 16, width - 16, 32), outline=WHITE)
    for left in range(30, width - 50, 90):
        top = shown.height + bar + 12
        draw.ellipse((left, top, left + 24, top + 24), outline=WHITE, width=2)
    return whole


def noisy(image: Image.Image, random: Random) -> Image.Image:
    """Return the image with Gaussian noise of 20 grey levels."""
    pixels = np.asarray(image, dtype=np.float32) + random.normal(0, 20, (image.height, image.width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def in_turn(*edits: Edit) -> Edit:
    """Return the edit that does several one after another."""

    def edit(image: Image.Image, random: Random) -> Image.Image:
        for step in edits:
            image = step(image, random)
        return image

    return edit


def transposed(*methods: Image.Transpose) -> Edit:
    """Return the edit that flips or turns by quarters, one of the ways at random."""
    return lambda image, random: image.transpose(methods[random.integers(len(methods))])


def cropped_anywhere(least: float, most: float) -> Edit:
    """Return the edit that keeps a share of the area between two bounds, at any place and of any shape.

    The sides' shares of the image's differ by at most 1 to 2.2: narrower strips of a third are no photographs.
    """

    def edit(image: Image.Image, random: Random) -> Image.Image:
        area = random.uniform(least, most)
        shape = math.exp(random.uniform(-1, 1) * min(math.log(2.2), -math.log(area)) / 2)
        width, height = image.width * math.sqrt(area) * shape, image.height * math.sqrt(area) / shape
        left, top = random.uniform(0, image.width - width), random.uniform(0, image.height - height)
        return image.crop((round(left), round(top), round(left + width), round(top + height)))

    return edit


def straightened(image: Image.Image, random: Random) -> Image.Image:
    """Return the image turned by 3 to 10 degrees and cropped to what has no corners outside."""
    angle_deg = random.uniform(3, 10) * random.choice([-1, 1])
    sine, cosine = math.sin(math.radians(abs(angle_deg))), math.cos(math.radians(angle_deg))
    width, height = image.size
    # The largest scale at which the turned frame lies inside the image.
    share = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    wide, high = width * share / 2, height * share / 2
    turned_image = image.rotate(angle_deg, Image.Resampling.BICUBIC)
    return turned_image.crop(
        (round(width / 2 - wide), round(height / 2 - high), round(width / 2 + wide), round(height / 2 + high))
    )


def grown(image: Image.Image, random: Random) -> Image.Image:
    """Return the image turned by 3 to 10 degrees in a frame that grew, with white corners."""
    angle_deg = random.uniform(3, 10) * random.choice([-1, 1])
    return image.rotate(angle_deg, Image.Resampling.BICUBIC, expand=True, fillcolor=WHITE)


def phone(image: Image.Image, random: Random) -> Image.Image:
    """Return the image in the middle of an upright phone's screen, black or white, with clock and buttons."""
    width, height = 360, 780
    dark = bool(random.integers(2))
    ink = WHITE if dark else BLACK
    shown = ImageOps.contain(image, (width, height - 160))
    whole = Image.new("RGB", (width, height), BLACK if dark else WHITE)
    whole.paste(shown, ((width - shown.width) // 2, (height - shown.height) // 2))
    draw = ImageDraw.Draw(whole)
    draw.text((14, 12), "12:45", font=ImageFont.load_default(16), fill=ink)
    draw.rectangle((width - 46, 16, width - 16, 30), outline=ink)
    draw.line((120, height - 14, 240, height - 14), fill=ink, width=4)
    return whole


def moved_camera(share: float) -> Edit:
    """Return the edit that shows the scene from another place: near things move by a share of the width, far ones not.

    Depth rises towards the lower edge, as in most photographs, with hills and hollows; the frame moves along a little.
    """

    def edit(image: Image.Image, random: Random) -> Image.Image:
        width, height = image.size
        noise = Image.fromarray(random.normal(0, 1, (4, 6)).astype(np.float32))
        hills = np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC))
        y, x = np.mgrid[:height, :width].astype(np.float32)
        depth = y / height + 0.5 * hills / np.abs(hills).max()
        shift = share * width * (depth - depth.mean()) / (depth.max() - depth.min())
        across = np.clip(x + shift * random.choice([-1, 1]), 0, width - 1).round().astype(np.int64)
        pixels = np.asarray(image)[y.astype(np.int64), across]
        return cropped(0.04, corner=True)(Image.fromarray(pixels), random)

    return edit


def moved_thing(share: float) -> Edit:
    """Return the edit that moves what is in the middle, a quarter of the area, against the rest, which stands still."""

    def edit(image: Image.Image, random: Random) -> Image.Image:
        width, height = image.size
        wide, high = width * 0.28, height * 0.28
        mask = Image.new("L", image.size, 0)
        box = (width / 2 - wide, height / 2 - high, width / 2 + wide, height / 2 + high)
        ImageDraw.Draw(mask).ellipse(box, fill=255)
        angle = random.uniform(0, 2 * math.pi)
        by_x, by_y = round(share * width * math.cos(angle)), round(share * width * math.sin(angle))
        moved = Image.fromarray(np.roll(np.asarray(image), (by_y, by_x), axis=(0, 1)))
        return Image.composite(moved, image, mask.filter(ImageFilter.GaussianBlur(3)))

    return edit


def other_thing(image: Image.Image, random: Random) -> Image.Image:
    """Return the image with a quarter of its area replaced by what is elsewhere in it."""
    width, height = image.size
    mask = Image.new("L", image.size, 0)
    left, top = random.uniform(0, width * 0.44), random.uniform(0, height * 0.44)
    ImageDraw.Draw(mask).ellipse((left, top, left + width * 0.56, top + height * 0.56), fill=255)
    shifted = Image.fromarray(np.roll(np.asarray(image), (height // 2, width // 2), axis=(0, 1)))
    return Image.composite(shifted, image, mask.filter(ImageFilter.GaussianBlur(3)))


EDITS: dict[str, Edit] = {
    "unchanged": lambda image, _: image,
    "half size": scaled(0.5, 0.5),
    "thumbnail of 96 px": thumbnail,
    "JPEG 10": saved("JPEG", 10),
    "WebP 20": saved("WEBP", 20),
    "aspect 0.8": scaled(0.8, 1.0),
    "aspect 1.25": scaled(1.25, 1.0),
    "gamma 0.6": gamma(0.6),
    "gamma 1.6": gamma(1.6),
    "brightness 1.4": lambda image, _: ImageEnhance.Brightness(image).enhance(1.4),
    "contrast 0.5": lambda image, _: ImageEnhance.Contrast(image).enhance(0.5),
    "autocontrast": lambda image, _: ImageOps.autocontrast(image, cutoff=2),
    "grey": lambda image, _: image.convert("L").convert("RGB"),
    "sepia": lambda image, _: ImageOps.colorize(image.convert("L"), (30, 15, 0), (255, 235, 200)),
    "inverted": lambda image, _: ImageOps.invert(image),
    "blur 3": lambda image, _: image.filter(ImageFilter.GaussianBlur(3)),
    "sharpen": lambda image, _: image.filter(ImageFilter.UnsharpMask(3, 200, 0)),
    "noise 20": noisy,
    "text over": text_over,
    "caption above": captioned(above=True),
    "caption below": captioned(above=False),
    "logo in a corner": with_logo,
    "border 5 % black": bordered(0.05, BLACK),
    "border 10 % white": bordered(0.1, WHITE),
    "letterbox 16:9": letterboxed,
    "crop 5 %": cropped(0.05),
    "crop 10 %": cropped(0.1),
    "crop 20 %": cropped(0.2),
    "crop 30 %": cropped(0.3),
    "crop 50 %": cropped(0.5),
    "corner 20 %": cropped(0.2, corner=True),
    "corner 50 %": cropped(0.5, corner=True),
    "turn 2": turned(2),
    "turn 5": turned(5),
    "turn 10": turned(10),
    "quarter turn": transposed(Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270),
    "half turn": transposed(Image.Transpose.ROTATE_180),
    "mirror": transposed(Image.Transpose.FLIP_LEFT_RIGHT),
    "flip": transposed(Image.Transpose.FLIP_TOP_BOTTOM),
    "crop 20 %, mirror, JPEG 30": in_turn(cropped(0.2), transposed(Image.Transpose.FLIP_LEFT_RIGHT), saved("JPEG", 30)),
    "screenshot": screenshot,
}

HARDER: dict[str, Edit] = {
    "any crop to 50 to 100 %": cropped_anywhere(0.5, 1.0),
    "any crop to 25 to 50 %": cropped_anywhere(0.25, 0.5),
    "crop to 25 %": cropped(0.75),
    "turned and straightened": straightened,
    "turned, frame grown": grown,
    "phone screen": phone,
    "border, text, JPEG 30": in_turn(bordered(0.06, WHITE), text_over, saved("JPEG", 30)),
    "crop, caption, gamma": in_turn(cropped(0.2, corner=True), captioned(above=False), gamma(0.7)),
    "turn 5, mirror, grey, thumbnail": in_turn(
        turned(5),
        transposed(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image, _: image.convert("L").convert("RGB"),
        thumbnail,
    ),
    "any crop, negative": in_turn(cropped_anywhere(0.5, 1.0), lambda image, _: ImageOps.invert(image)),
    "any crop, quarter turn, logo": in_turn(
        cropped_anywhere(0.5, 1.0), transposed(Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270), with_logo
    ),
}
"""Beyond what was asked for: printed below the others and averaged apart."""

SHOTS: dict[str, Edit] = {
    "camera moved: near things by 4 %": moved_camera(0.04),
    "camera moved: near things by 8 %": moved_camera(0.08),
    "what is in the middle moved by 2 %": moved_thing(0.02),
    "what is in the middle moved by 5 %": moved_thing(0.05),
    "something else on a quarter of the area": other_thing,
}
"""Other shots of a scene, simulated: no copies, so the fewer are accepted, the better."""
