"""Builds EfficientNet-Lite0, up to its last feature map and the pooling of it, as an ONNX graph.

In: the tensors of its weights.  Out: the bytes of an ONNX file.  Never here: files, running it.

Batch norms are folded into the convolutions before them.  The pooling is the generalised mean of the feature map with
exponent 3: what shows strongly somewhere counts more than in a plain mean.

References
----------
Tan, Le: EfficientNet, ICML 2019, table 1; Lite0 has no squeeze-and-excitation and ReLU6 for swish.
Radenovic, Tolias, Chum: Fine-tuning CNN image retrieval with no human annotation, PAMI 2019 (generalised mean).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cbir_daemon.errors import ModelError

EPSILON: Final = 1e-3
"""The number that batch norm adds to a variance: TensorFlow's, where these weights were trained."""

GREATEST: Final = 6.0
"""ReLU6 ends here."""

EXPONENT: Final = 3.0
"""Of the generalised mean."""

FEATURES: Final = 1280

MEAN: Final = (127 / 255,) * 3
DEVIATION: Final = (128 / 255,) * 3
"""What is taken off the red, green and blue of a picture, from 0 to 1, and what the rest is divided by."""

BLOCKS: Final = 16
HALVING_BLOCKS: Final = (1, 3, 5, 11)
"""Blocks that halve the sides of the feature map, as the stem does before them."""

INPUT, OUTPUT = "picture", "features"

# Of ONNX: 17 is what onnxruntime 1.12, of 2022, reads.
_OPSET, _IR_VERSION = 17, 8

Array = NDArray[Any]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution and the batch norm after it, as one.

    Parameters
    ----------
    name : str
        Of the convolution's weights.
    weights : (out, in / groups, side, side) ndarray of float32
    bias : (out,) ndarray of float32
    stride : int
    groups : int
    bounded : bool
        Whether ReLU6 follows.
    """

    name: str
    weights: Floats
    bias: Floats
    stride: int
    groups: int
    bounded: bool


@dataclass(frozen=True, slots=True)
class Block:
    """Convolutions in a row.

    Parameters
    ----------
    convolutions : tuple of Convolution
    adds_input : bool
        Whether what went in is added to what comes out.
    """

    convolutions: tuple[Convolution, ...]
    adds_input: bool = False


def blocks_of(tensors: Mapping[str, Array]) -> list[Block]:
    """Return the network, from the stem to the head.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        As the package of its weights names them.

    Raises
    ------
    ModelError
        When a tensor is missing or of another shape.
    """
    try:
        return list(_blocks(tensors))
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(f"these are not the weights of EfficientNet-Lite0: {error}") from error


def network_of(tensors: Mapping[str, Array]) -> bytes:
    """Return the ONNX file of a network that takes pictures and gives `FEATURES` numbers of each.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        As the package of its weights names them.

    Returns
    -------
    bytes
        Input: n x 3 x height x width, of any size.  Properties `mean` and `deviation`: what is made of colours first.

    Raises
    ------
    ModelError
        When a tensor is missing or of another shape.
    """
    graph = _Graph()
    graph.constant("least", np.array(0, np.float32))
    graph.constant("greatest", np.array(GREATEST, np.float32))
    value = INPUT
    for block in blocks_of(tensors):
        before = value
        for convolution in block.convolutions:
            value = graph.convolution(value, convolution)
        if block.adds_input:
            value = graph.node("Add", before, value)
    graph.pooling(value)
    pictures, features = _floats(INPUT, ["n", 3, "height", "width"]), _floats(OUTPUT, ["n", FEATURES])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "efficientnet-lite0", [pictures], [features], graph.constants),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="cbir-daemon",
    )
    helper.set_model_props(model, {"mean": _text(MEAN), "deviation": _text(DEVIATION)})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _blocks(tensors: Mapping[str, Array]) -> Iterator[Block]:
    yield Block((_folded(tensors, "_conv_stem", "_bn0", stride=2),))
    for number in range(BLOCKS):
        prefix = f"_blocks.{number}."
        stride = 2 if number in HALVING_BLOCKS else 1
        depthwise = _folded(tensors, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride=stride, depthwise=True)
        project = _folded(tensors, f"{prefix}_project_conv", f"{prefix}_bn2", bounded=False)
        # The first block does not widen what goes in.
        widening = () if number == 0 else (_folded(tensors, f"{prefix}_expand_conv", f"{prefix}_bn0"),)
        width = widening[0].weights.shape[1] if widening else len(depthwise.weights)
        yield Block((*widening, depthwise, project), adds_input=stride == 1 and width == len(project.weights))
    head = _folded(tensors, "_conv_head", "_bn1")
    if len(head.weights) != FEATURES:
        raise ValueError(f"features: {len(head.weights)}")
    yield Block((head,))


def _folded(
    tensors: Mapping[str, Array],
    name: str,
    norm: str,
    *,
    stride: int = 1,
    depthwise: bool = False,
    bounded: bool = True,
) -> Convolution:
    """Return a convolution that does what a batch norm does after it: (x - mean) * scale + bias is linear."""
    weights = tensors[f"{name}.weight"].astype(np.float64)
    scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"].astype(np.float64) + EPSILON)
    bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale
    return Convolution(
        name,
        (weights * scale[:, None, None, None]).astype(np.float32),
        bias.astype(np.float32),
        stride,
        len(weights) if depthwise else 1,
        bounded,
    )


@dataclass(slots=True)
class _Graph:
    """Nodes in order, and the constants that they take."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:  # noqa: ANN401 -- as ONNX has them
        """Add a node and return the name of its output."""
        output = output or f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Array) -> str:
        """Add a constant and return its name."""
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def convolution(self, value: str, convolution: Convolution) -> str:
        """Add a convolution and return the name of its output."""
        weights = self.constant(f"{convolution.name}.weight", convolution.weights)
        bias = self.constant(f"{convolution.name}.bias", convolution.bias)
        # As TensorFlow pads: where a side needs an odd number of rows, one more below than above.
        value = self.node(
            *("Conv", value, weights, bias),
            auto_pad="SAME_UPPER",
            kernel_shape=convolution.weights.shape[2:],
            strides=(convolution.stride, convolution.stride),
            group=convolution.groups,
        )
        if not convolution.bounded:
            return value
        return self.node("Clip", value, "least", "greatest")

    def pooling(self, value: str) -> None:
        """Add the generalised mean over a feature map; its output is the graph's."""
        cubes = self.node("Pow", value, self.constant("exponent", np.array(EXPONENT, np.float32)))
        mean = self.node("GlobalAveragePool", cubes)
        roots = self.node("Pow", mean, self.constant("root", np.array(1 / EXPONENT, np.float32)))
        self.node("Flatten", roots, output=OUTPUT)


def _floats(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _text(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{number:.9g}" for number in numbers)
