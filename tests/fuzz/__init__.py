"""What reads bytes that others wrote, made ready to be fuzzed: protocol, configuration, plans of files, EXIF.

In: bytes.  Out: nothing, or the error that a user may see; anything else is a find.  Never here: who makes the bytes.

`scripts/fuzz` runs a target for long, by atheris where that is installed; `tests/test_fuzz_targets.py` for a moment.
What was found lies in `found/TARGET/` and is read in every test.
"""

from __future__ import annotations

import io
import random
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cbir_daemon import config
from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.errors import CbirError
from cbir_daemon.pictures.pixels import read_picture
from cbir_daemon.protocol.framing import FrameReader, encode
from cbir_daemon.protocol.messages import Params, Request, error_from
from cbir_daemon.protocol.plan import dumped, parsed
from tests import pictures

FOUND = Path(__file__).parent / "found"
MAX_BLOB_BYTES = 4096
MAX_PIXELS = 1_000_000
MAX_INPUT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """What is fuzzed.

    Parameters
    ----------
    run : callable
        Takes bytes; raises only for a find.
    seeds : callable
        Returns good inputs, from which others are made.
    words : tuple of bytes
        What is worth putting in.
    """

    run: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    words: tuple[bytes, ...] = ()


# -- protocol ----------------------------------------------------------------------------------------------------------


def _protocol(data: bytes) -> None:
    """Read a stream, cut in two anywhere, and each request and error in it, with every kind of parameter."""
    place = len(data) // 3
    reader = FrameReader(MAX_BLOB_BYTES)
    with suppress(CbirError):
        for part in (data[:place], data[place:]):
            reader.receive(part)
            for frame in reader.frames():
                with suppress(CbirError):
                    request = Request.from_message(frame.message, frame.blob)
                    # What was understood can be said again.
                    encode(request.to_message(), request.blob)
                    _ask_all(Params(request.params))
                if isinstance(frame.message.get("error"), dict):
                    str(error_from(frame.message["error"]))


def _ask_all(params: Params) -> None:
    asks: tuple[Callable[[], object], ...] = (
        lambda: params.integer("limit", 10, least=1, most=1000),
        lambda: params.number("min_score", 0.0, least=0.0, most=1.0),
        lambda: params.choice("kind", ("exact", "copy")),
        lambda: params.text("name"),
        lambda: params.flag("explain"),
        lambda: params.digest("digest"),
        lambda: params.items("paths", 1000),
        lambda: params.path("path"),
        lambda: params.maybe_path("album"),
    )
    for ask in asks:
        with suppress(CbirError):
            ask()


def _messages() -> list[bytes]:
    requests = [
        Request(1, "query", {"path": "/a.jpg", "limit": 3, "min_score": 0.5, "kind": "copy", "explain": True}),
        Request("two", "watch_add", {"name": "caf\u00e9"}, b"the bytes of an image"),
        Request(3, "images", {"paths": ["/a", {"b64": "L//+"}], "digest": "ab" * 32, "album": None}),
    ]
    error = {"v": 1, "id": 1, "error": {"code": "too-plain", "message": "m", "hint": "h", "retryable": False}}
    whole = [encode(request.to_message(), request.blob) for request in requests]
    return [*whole, b"".join(whole), encode(error)]


# -- configuration -----------------------------------------------------------------------------------------------------


def _configuration(data: bytes) -> None:
    """Read a configuration file, and write down what it says."""
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        with suppress(CbirError):
            config.show(config.load(config=Path(file.name), environ={"HOME": "/home/ana"}))


def _configurations() -> list[bytes]:
    example = '[[album]]\npath = "~/Pictures"\nwatch = "poll"\n[model]\nfit_hours = "22:00-06:30"\n'
    sink = '[alerts]\nsinks = ["phone"]\n[[sink]]\nname = "phone"\ntype = "command"\ncommand = ["/bin/true"]\n'
    return [config.sample().encode(), example.encode(), sink.encode()]


# -- plans -------------------------------------------------------------------------------------------------------------


def _plan(data: bytes) -> None:
    """Read a plan; what was understood is read again as the same."""
    try:
        lines = parsed(data.decode())
    except (CbirError, UnicodeDecodeError):
        return
    assert parsed(dumped(lines)) == lines


def _plans() -> list[bytes]:
    row = '{"group":1,"action":"%s","path":"/a/%d.jpg","digest":"%s","size":3,"mtime_ns":4,"kind":"%s"%s}\n'
    keep = row % ("keep", 1, "ab" * 32, "copy", "")
    rest = [row % (action, 2, "cd" * 32, "exact", more) for action, more in (("trash", ""), ("move", ',"to":"/b"'))]
    return [(keep + line).encode() for line in rest]


# -- EXIF --------------------------------------------------------------------------------------------------------------


def _exif(data: bytes) -> None:
    """Read a picture as a worker does, which turns it upright and takes its time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(UnreadableError):
            read_picture(data, MAX_PIXELS)


def _pictures() -> list[bytes]:
    photo = Image.fromarray(pictures.photograph(1, (24, 16)))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x0132] = "2024:05:06 07:08:09"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    made = []
    for form in ("JPEG", "PNG", "WEBP", "TIFF"):
        output = io.BytesIO()
        photo.save(output, form, exif=exif)
        made.append(output.getvalue())
    return made


EXTREMES = (b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\x00\x00\x00")

TARGETS = {
    "protocol": Target(
        _protocol,
        _messages,
        (b'"bytes":', b"-1", b"1e999", b"NaN", b"null", b"[[[[", b'{"b64":"', b"\\ud800", b"\n", b"4097"),
    ),
    "configuration": Target(
        _configuration,
        _configurations,
        (b"[[album]]\n", b"[[sink]]\n", b"path = ", b'"', b"'''", b"inf", b"nan", b"-1", b"99999999999999999999", b"["),
    ),
    "plan": Target(
        _plan,
        _plans,
        (
            b'"group":',
            b"null",
            b"NaN",
            b"1e999",
            b'"keep"',
            b'"link"',
            b'{"b64":"L//+"}',
            b"\\ud800",
            b"\\u0000",
            b"\n",
        ),
    ),
    "exif": Target(_exif, _pictures, (*EXTREMES, b"Exif\x00\x00", b"II*\x00", b"MM\x00*", b"\x01\x12\x00\x03")),
}
"""By name."""


def mutated(target: Target, seeds: Sequence[bytes], choice: random.Random) -> bytes:
    """Return an input made of good ones.

    Parameters
    ----------
    target : Target
    seeds : sequence of bytes
    choice : random.Random
        The same numbers make the same input.
    """
    data = bytearray(choice.choice(seeds))
    for _ in range(choice.randint(1, 6)):
        place, length = choice.randint(0, len(data)), choice.choice((1, 1, 2, 4, 16))
        match choice.randint(0, 5):
            case 0:
                data[place : place + length] = choice.randbytes(length)
            case 1:
                del data[place : place + length]
            case 2:
                word = choice.choice(target.words)
                data[place : place + choice.choice((0, len(word)))] = word
            case 3:
                data[place:place] = data[choice.randint(0, len(data)) :][: length * 4]
            case 4:
                data[place:] = choice.choice(seeds)[place:]
            case _:
                if place < len(data):
                    data[place] ^= 1 << choice.randint(0, 7)
    return bytes(data[:MAX_INPUT_BYTES])
