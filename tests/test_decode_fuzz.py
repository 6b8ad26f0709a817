"""Files changed at random, through real workers: each is a picture or a known word, and the workers go on.

The same files each time.  More of them, and for longer: `FUZZ_ROUNDS=1000 pytest tests/test_decode_fuzz.py`.
"""

from __future__ import annotations

import io
import os
import random
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pillow_heif
import pillow_jxl
import pytest
from PIL import Image

from cbir_daemon.decode import REASONS, DecodeLimits, DecodePool, ReadTask
from cbir_daemon.pictures import PICTURES
from cbir_daemon.pictures.formats import PILLOW_FORMATS
from cbir_daemon.records import Facts, Unreadable
from tests.pictures import real_photographs
from tests.places import ZOO

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "8"))
SEED = 20
SIZE_PX = (96, 64)
LIMITS = DecodeLimits(
    max_pixels=4_000_000, max_file_bytes=4_000_000, timeout_s=10.0, max_memory_bytes=1024 * 1024 * 1024
)
ZOO_FILES = 120
MAX_ZOO_BYTES = 100_000
MODES = ("RGB", "RGBA", "L", "P", "1", "CMYK", "I;16")

# What numbers at the ends of their range look like; sizes and offsets in headers are made of these.
EXTREMES = (
    b"\x00" * 4,
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\x00\x00\x00",
    b"\x00\x01\x00\x00",
)


def written() -> dict[str, bytes]:
    """Return the two real photographs in every format that is written and read here, in the modes that it takes."""
    Image.init()
    files: dict[str, bytes] = {}
    kinds = [kind for kind in Image.SAVE if kind in {*PILLOW_FORMATS, "MPO", "HEIF", "JXL"}]
    for number, pixels in enumerate(real_photographs()):
        photo = Image.fromarray(pixels).resize(SIZE_PX)
        for kind in kinds:
            for mode in MODES[number::2]:
                output = io.BytesIO()
                image = photo.convert("L").convert("I").convert("I;16") if mode == "I;16" else photo.convert(mode)
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        image.save(output, kind)
                # A format that does not take the mode says so in its own way.
                except (OSError, ValueError, KeyError, TypeError, NotImplementedError):
                    continue
                files[f"{number}-{mode}.{kind}"] = output.getvalue()
    return files


def mutations(data: bytes, generator: random.Random, rounds: int) -> Iterator[bytes]:
    """Yield changed copies: bytes, runs and numbers replaced, taken out, repeated; most of them near the header."""
    for _ in range(rounds):
        changed = bytearray(data)
        for _ in range(generator.randint(1, 6)):
            if not changed:
                break
            reach = len(changed) if generator.random() < 0.4 else min(len(changed), 200)
            at = generator.randrange(reach)
            length = generator.choice([1, 1, 2, 4, 16, 300])
            match generator.randrange(6):
                case 0:
                    changed[at] ^= 1 << generator.randrange(8)
                case 1:
                    changed[at : at + length] = generator.randbytes(length)
                case 2:
                    del changed[at : at + length]
                case 3:
                    changed[at:at] = changed[at : at + length]
                case 4:
                    changed[at : at + 4] = generator.choice(EXTREMES)
                case 5:
                    del changed[generator.randrange(len(changed)) :]
        yield bytes(changed)


def read_all(folder: Path, files: Iterable[bytes]) -> Counter[str]:
    """Let two workers read files, and return how often each word came; both kinds of answer are looked at."""
    paths = []
    for number, data in enumerate(files):
        paths.append(folder / f"{number:05d}")
        paths[-1].write_bytes(data)
    good = folder / "good"
    Image.fromarray(real_photographs()[0]).save(good, "PNG")
    said: Counter[str] = Counter()
    with closing(DecodePool(2, LIMITS, PICTURES)) as pool:
        for path, result in results(pool, paths):
            if isinstance(result, Unreadable):
                assert result.code in REASONS, path
                assert result.message.isprintable(), path
                said[result.code] += 1
            else:
                assert len(result.vector or b"") == 4096, path
                assert 0 < result.width_px * result.height_px <= LIMITS.max_pixels or result.format == "SVG", path
                said["read"] += 1
        assert pool.peak_memory_bytes() < LIMITS.max_memory_bytes
        [(_, last)] = results(pool, [good])
    assert isinstance(last, Facts)
    assert said.total() == len(paths)
    return said


def results(pool: DecodePool, paths: Sequence[Path]) -> Iterator[tuple[bytes, Facts | Unreadable]]:
    for task, result in pool.read_files([ReadTask(os.fsencode(path)) for path in paths]):
        yield task.path, result


def test_changed_photographs_are_read_or_refused(tmp_path: Path) -> None:
    """In every format that Pillow and the extras write, none is lost, and no worker takes another file along."""
    pillow_heif.register_heif_opener()
    assert "JXL" in Image.SAVE, pillow_jxl
    generator = random.Random(SEED)  # noqa: S311 -- a seed, not a secret
    originals = written()
    kinds = {name.partition(".")[2] for name in originals}
    assert {"JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "HEIF", "JXL"} <= kinds
    changed = [mutation for data in originals.values() for mutation in mutations(data, generator, ROUNDS)]
    said = read_all(tmp_path, changed)
    # Not all are refused at the door, and not all are so little changed that nothing is tried.
    assert said["read"] > len(changed) // 20
    assert said["damaged"] + said["truncated"] > len(changed) // 20
    assert said["crashed"] + said["timed-out"] <= len(changed) // 100, said


@pytest.mark.skipif(not ZOO.is_dir(), reason="no folder of odd files beside the checkout")
def test_odd_files_that_are_changed_as_well(tmp_path: Path) -> None:
    """Files that were made to be odd, broken once more."""
    generator = random.Random(SEED)  # noqa: S311 -- a seed, not a secret
    every = sorted(path for path in ZOO.rglob("*") if path.is_file() and 0 < path.stat().st_size < MAX_ZOO_BYTES)
    chosen = generator.sample(every, min(ZOO_FILES, len(every)))
    changed = [mutation for path in chosen for mutation in mutations(path.read_bytes(), generator, max(1, ROUNDS // 4))]
    said = read_all(tmp_path, changed)
    assert said["crashed"] + said["timed-out"] <= len(changed) // 20, said
