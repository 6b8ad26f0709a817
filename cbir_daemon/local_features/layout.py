"""The bytes that local features are kept and sent in.

In: arrays.  Out: bytes, and back.  Never here: how features are found, what they are compared for.
"""

from __future__ import annotations

import importlib.util
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.records import DescriptorKind

LOCAL = DescriptorKind("local", "1")
"""How a picture becomes features; a content with features of another version is read again."""

STORED_FEATURES = 170
"""Features kept of a content, at most: 2.4 KB."""

STORED_SIDE_PX = 320
"""Longer side of the picture in which the features of a content are found."""

ASKED_SIDE_PX = 640
"""Longer side of a query's picture: what it shows may be small."""

WORDS = 4096
"""Words that descriptors are sorted by."""

EXTRA = "cbir-daemon[local]"

STORED: Final = np.dtype(
    [("code", "<u8"), ("word", "<u2"), ("x", "u1"), ("y", "u1"), ("scale", "u1"), ("angle", "u1")],
)
"""A feature of a content.  `x`, `y`: share of width and height, in 255ths.  `scale`: see `scales`.  `angle`: of a turn,
in 256ths."""

ASKED: Final = np.dtype(
    [("code", "<u8"), ("words", "<u2", (2,)), ("x", "<f4"), ("y", "<f4"), ("scale", "<f4"), ("angle", "<f4")],
)
"""A feature of a query: `x`, `y` and `scale` in pixels, `angle` in radians; its nearest words, nearest first."""

_SIZE: Final = struct.Struct("<HH")

# Scales from half a pixel up, 16 steps for each doubling.
_LEAST_SCALE_PX, _STEPS = 0.5, 16


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """The local features of a content's picture.

    Parameters
    ----------
    width_px, height_px : int
        Of the picture that the features were found in.
    features : (n,) ndarray of STORED
    """

    width_px: int
    height_px: int
    features: NDArray[np.void]

    def to_bytes(self) -> bytes:
        """Return the bytes that `from_bytes` reads."""
        return _SIZE.pack(self.width_px, self.height_px) + self.features.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> StoredFeatures:
        """Return the features that bytes hold.

        Raises
        ------
        ValueError
            When no features were ever written so.
        """
        if len(data) < _SIZE.size or (len(data) - _SIZE.size) % STORED.itemsize:
            raise ValueError("these bytes are no local features")
        width_px, height_px = _SIZE.unpack_from(data)
        features = np.frombuffer(data, dtype=STORED, offset=_SIZE.size)
        if not width_px or not height_px or (features["word"] >= WORDS).any():
            raise ValueError("these local features are of no picture: a size of zero, or a word that there is not")
        return cls(width_px, height_px, features)

    @property
    def points(self) -> NDArray[np.float32]:
        """Where the features are, (n, 2) in pixels."""
        size = np.array([self.width_px, self.height_px], dtype=np.float32)
        shares = np.stack([self.features["x"], self.features["y"]], axis=1).astype(np.float32) / np.float32(255)
        return np.asarray(shares * size, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class AskedFeatures:
    """The local features of a query's picture.

    Parameters
    ----------
    width_px, height_px : int
    upright, mirrored : (n,) ndarray of ASKED
        Of the picture, and of the picture with left and right changed.
    """

    width_px: int
    height_px: int
    upright: NDArray[np.void]
    mirrored: NDArray[np.void]

    def to_bytes(self) -> bytes:
        """Return the bytes that `from_bytes` reads."""
        return _SIZE.pack(self.width_px, self.height_px) + self.upright.tobytes() + self.mirrored.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> AskedFeatures:
        """Return the features that bytes hold.

        Raises
        ------
        ValueError
            When no features were ever written so.
        """
        if len(data) < _SIZE.size or (len(data) - _SIZE.size) % (2 * ASKED.itemsize):
            raise ValueError("these bytes are no local features of a query")
        width_px, height_px = _SIZE.unpack_from(data)
        both = np.frombuffer(data, dtype=ASKED, offset=_SIZE.size)
        numbers = np.stack([both[name] for name in ("x", "y", "scale", "angle")])
        is_sound = np.isfinite(numbers).all() and (both["scale"] > 0).all() and (both["words"] < WORDS).all()
        if not width_px or not height_px or not is_sound:
            raise ValueError(
                "these local features are of no picture: a size of zero, a word that there is not, or no finite number"
            )
        return cls(width_px, height_px, both[: len(both) // 2], both[len(both) // 2 :])


def is_installed() -> bool:
    """Whether the library is there that finds local features."""
    return importlib.util.find_spec("cv2") is not None


def scale_bytes(scales_px: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return scales as they are kept.

    Parameters
    ----------
    scales_px : (n,) ndarray of float32
        In pixels, above 0.
    """
    steps = np.log2(np.maximum(scales_px, _LEAST_SCALE_PX) / _LEAST_SCALE_PX) * _STEPS
    return np.asarray(np.clip(np.rint(steps), 0, 255), dtype=np.uint8)


def scales(kept: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return scales in pixels, (n,) ndarray of float32.

    Parameters
    ----------
    kept : (n,) ndarray of uint8
        As features have them.
    """
    return np.asarray(_LEAST_SCALE_PX * np.exp2(kept.astype(np.float32) / _STEPS), dtype=np.float32)


def angles(kept: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return angles in radians, (n,) ndarray of float32.

    Parameters
    ----------
    kept : (n,) ndarray of uint8
        As features have them.
    """
    return np.asarray(kept.astype(np.float32) * np.float32(2 * np.pi / 256), dtype=np.float32)
