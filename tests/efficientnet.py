"""EfficientNet-Lite0 by plain arithmetic: batch norms as they are defined, padding by hand, no graph and no library.

For the figures that `meaning/worker.py` checks a built network by, and for the test that they are right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

# Repeats, side of the kernel and stride of each stage: table 1 of Tan and Le.
STAGES = ((1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1))


def features(tensors: Mapping[str, NDArray[Any]], picture: NDArray[np.uint8]) -> Doubles:
    """Return the 1280 pooled features of a (height, width, 3) picture of red, green and blue."""
    values = (picture.astype(np.float64) - 127) / 128
    values = values.transpose(2, 0, 1)
    values = relu6(normed(tensors, "_bn0", dense(values, tensors["_conv_stem.weight"], 2)))
    number = 0
    for repeats, side, first_stride in STAGES:
        for repeat in range(repeats):
            prefix = f"_blocks.{number}."
            assert tensors[f"{prefix}_depthwise_conv.weight"].shape[2] == side
            values = block(tensors, prefix, values, first_stride if repeat == 0 else 1)
            number += 1
    values = relu6(normed(tensors, "_bn1", dense(values, tensors["_conv_head.weight"], 1)))
    pooled: Doubles = np.cbrt((values**3).mean(axis=(1, 2)))
    return pooled


def block(tensors: Mapping[str, NDArray[Any]], prefix: str, before: Doubles, stride: int) -> Doubles:
    """Return what an inverted bottleneck makes of a feature map, (channels, height, width)."""
    values = before
    if f"{prefix}_expand_conv.weight" in tensors:
        values = relu6(normed(tensors, f"{prefix}_bn0", dense(values, tensors[f"{prefix}_expand_conv.weight"], 1)))
    values = relu6(
        normed(tensors, f"{prefix}_bn1", depthwise(values, tensors[f"{prefix}_depthwise_conv.weight"], stride))
    )
    values = normed(tensors, f"{prefix}_bn2", dense(values, tensors[f"{prefix}_project_conv.weight"], 1))
    return values + before if stride == 1 and values.shape == before.shape else values


def windows(values: Doubles, side: int, stride: int) -> Doubles:
    """Return the windows of a padded feature map: (channels, rows, columns, side, side)."""
    padding = [(0, 0)]
    for length in values.shape[1:]:
        missing = max((-(-length // stride) - 1) * stride + side - length, 0)
        padding.append((missing // 2, missing - missing // 2))
    padded = np.pad(values, padding)
    found: Doubles = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    return found[:, ::stride, ::stride]


def dense(values: Doubles, weights: NDArray[Any], stride: int) -> Doubles:
    """Return a convolution over all channels."""
    found: Doubles = np.einsum("chwij,ocij->ohw", windows(values, weights.shape[2], stride), weights, optimize=True)
    return found


def depthwise(values: Doubles, weights: NDArray[Any], stride: int) -> Doubles:
    """Return a convolution of each channel by itself."""
    found: Doubles = np.einsum("chwij,cij->chw", windows(values, weights.shape[2], stride), weights[:, 0])
    return found


def normed(tensors: Mapping[str, NDArray[Any]], name: str, values: Doubles) -> Doubles:
    """Return a feature map after a batch norm."""
    mean, variance, weight, bias = (
        tensors[f"{name}.{part}"].astype(np.float64)[:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    normal: Doubles = (values - mean) / np.sqrt(variance + 0.001) * weight + bias
    return normal


def relu6(values: Doubles) -> Doubles:
    """Return a feature map, cut at 0 and at 6."""
    return np.clip(values, 0, 6)
