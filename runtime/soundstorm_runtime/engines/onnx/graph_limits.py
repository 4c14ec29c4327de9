"""Limits of an ONNX file, checked before ONNX Runtime parses it: what a graph may hold, and how much.

The file is walked as protocol-buffer fields (onnx.proto, https://protobuf.dev/programming-guides/encoding),
which needs no library and copies no weights. What is checked: no functions, and no graphs inside nodes except
the branches of `If` where they are expected; no operators that read files, run code or draw random numbers;
every tensor has exactly the bytes of its shape, in the file or in the file of weights that belongs to it; and
no constant asks for an array of more than `LARGEST_ARRAY` elements.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ...support.files import check_file, open_file

MOST_NODES = 50_000
MOST_TENSORS = 50_000
MOST_NODES_OF_A_BRANCH = 100
MOST_AXES = 8
LARGEST_ARRAY = 1 << 28  # elements that constants may ask for; 1 GiB of floats

# Those of ONNX Runtime's own operators that compute on tensors alone. Others of its domain load engines from
# files (EPContext), run Python or hold graphs.
OWN_OPERATORS = frozenset(
    (
        "Attention BiasGelu DequantizeLinear DynamicQuantizeMatMul FastGelu FusedConv FusedGemm "
        "FusedMatMul GatherND Gelu GroupQueryAttention MatMulInteger16 MatMulIntegerToFloat MatMulNBits "
        "MultiHeadAttention PackedMultiHeadAttention QAttention QGemm QLinearAdd QLinearConcat QLinearMul "
        "QLinearSigmoid QuantizeLinear QuickGelu RotaryEmbedding SkipLayerNormalization "
        "SkipSimplifiedLayerNormalization SimplifiedLayerNormalization"
    ).split()
)
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_RANDOM = ("Random", "Multinomial", "Bernoulli")  # a voice's random numbers come from its seed
# Where an operator reads the size of its result: its input, and how the values there make a size.
_SIZES: dict[str, tuple[int, Callable[[Iterable[int]], int]]] = {
    "ConstantOfShape": (0, math.prod), "Expand": (1, math.prod), "Tile": (1, math.prod),
    "Pad": (1, sum), "OneHot": (1, sum), "Resize": (3, math.prod),
}  # fmt: skip
_RANGE = "Range"
_SHORT = 8  # integers of a constant that may be a shape
_LONGEST_VARINT = 10  # bytes

# Bytes of an element by TensorProto.DataType; strings (8) are not among them.
_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2,
          17: 1, 18: 1, 19: 1, 20: 1, 21: 0.5, 22: 0.5, 23: 0.5}  # fmt: skip
_INT64 = 7

# Field numbers of onnx.proto
_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 20, 25
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE = 1, 5, 15
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_SPARSE, _ATTRIBUTE_GRAPHS = (5, 10), (22, 23), (6, 11)
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 2, 8, 9, 13, 14
_TENSOR_INT64 = 7
_TENSOR_DATA = (4, 5, _TENSOR_INT64, 10, 11)

_Field = tuple[int, int, "int | memoryview"]


def check_graph(path: Path, weights: Path | None = None, *, branches: bool = False) -> None:
    """Check an ONNX file.

    Args:
        path: The file.
        weights: The one file that may hold its external data, if any.
        branches: Whether it may have the operator `If`, as graphs for ONNX Runtime on CPUs have.

    Raises:
        OSError: A file cannot be read.
        ValueError: It is no ONNX file, or exceeds a limit; the message says what was found.
    """
    with open_file(path) as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # ValueError for an empty file
    _Walk(path, weights, branches).model(memoryview(content))


@dataclass
class _Walk:
    path: Path
    weights: Path | None
    branches: bool
    nodes: int = 0
    tensors: int = 0
    constants: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def model(self, data: memoryview) -> None:
        graphs = 0
        for number, value in _messages(data):
            if number == _MODEL_GRAPH:
                graphs += 1
                self.graph(value, depth=0)
            elif number == _MODEL_FUNCTIONS:
                raise ValueError("it has functions of its own, expected operators alone")
            elif number == _MODEL_TRAINING:
                raise ValueError("it has training information")
        if graphs != 1:
            raise ValueError(f"it has {graphs} graphs, expected 1")

    def graph(self, data: memoryview, depth: int) -> None:
        before = self.nodes
        for number, value in _messages(data):
            if number == _GRAPH_TENSOR:
                self.tensor(value)
            elif number == _GRAPH_SPARSE:
                raise ValueError("it has sparse tensors")
        for number, value in _messages(data):  # after the constants, which follow the nodes in the file
            if number == _GRAPH_NODE:
                self.node(value, depth)
        if depth and self.nodes - before > MOST_NODES_OF_A_BRANCH:
            raise ValueError(
                f"a branch has {self.nodes - before} nodes, expected at most {MOST_NODES_OF_A_BRANCH}"
            )

    def node(self, data: memoryview, depth: int) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise ValueError(f"it has more than {MOST_NODES} nodes")
        values: dict[int, list[memoryview]] = {}
        for number, value in _messages(data):
            values.setdefault(number, []).append(value)
        operator, domain = (_text(values.get(n, [])) for n in (_NODE_OPERATOR, _NODE_DOMAIN))
        _check_operator(operator, domain)
        for attribute in values.get(_NODE_ATTRIBUTE, []):
            self.attribute(operator, attribute, depth, [_text([v]) for v in values.get(_NODE_OUTPUT, [])])
        self.sizes(operator, [_text([value]) for value in values.get(_NODE_INPUT, [])])

    def attribute(self, operator: str, data: memoryview, depth: int, outputs: list[str]) -> None:
        singular = [number for number, _ in _messages(data) if number in (5, 6)]
        if len(singular) > len(set(singular)):  # which parsers would merge
            raise ValueError("it is damaged: an attribute has two values")
        for number, value in _messages(data):
            if number in _ATTRIBUTE_TENSORS:
                found = self.tensor(value)
                if operator == "Constant" and found is not None and outputs:
                    self.constants[outputs[0]] = found
            elif number in _ATTRIBUTE_SPARSE:
                raise ValueError("it has sparse tensors")
            elif number in _ATTRIBUTE_GRAPHS:
                if operator != "If" or not self.branches or depth:
                    raise ValueError(f"operator {operator} has a graph inside, expected none")
                self.graph(value, depth + 1)

    def sizes(self, operator: str, inputs: list[str]) -> None:
        """Check what a node asks for with constants."""
        if operator == _RANGE:
            asked = max((abs(v) for name in inputs for v in self.constants.get(name, ())), default=0)
        elif operator in _SIZES and len(inputs) > _SIZES[operator][0]:
            place, size = _SIZES[operator]
            asked = size(max(1, abs(value)) for value in self.constants.get(inputs[place], ()))
        else:
            return
        if asked > LARGEST_ARRAY:
            raise ValueError(
                f"operator {operator} asks for {asked} elements, expected at most {LARGEST_ARRAY}"
            )

    def tensor(self, data: memoryview) -> tuple[int, ...] | None:
        """Check that a tensor has the bytes of its shape; return the values of a short one of integers."""
        self.tensors += 1
        if self.tensors > MOST_TENSORS:
            raise ValueError(f"it has more than {MOST_TENSORS} tensors")
        dims: list[int] = []
        name, kind, outside, raw, typed = "", 0, False, None, 0
        integers: list[int] = []
        external: dict[str, str] = {}
        for number, _, value in _fields(data):
            if number == _TENSOR_DIMS:
                dims += _varints(value)
            elif number == _TENSOR_TYPE:
                kind = _number(value)
            elif number == _TENSOR_NAME:
                name = _text([_bytes(value)])
            elif number == _TENSOR_RAW:
                raw = _bytes(value)
            elif number == _TENSOR_LOCATION:
                outside = _number(value) != 0
            elif number == _TENSOR_EXTERNAL:
                pair = {n: _text([v]) for n, v in _messages(_bytes(value))}
                external[pair.get(1, "")] = pair.get(2, "")
            elif number in _TENSOR_DATA:
                typed += len(value) if isinstance(value, memoryview) else 1
                if number == _TENSOR_INT64 and typed <= _SHORT * _LONGEST_VARINT:
                    integers += _varints(value)
        if kind not in _BYTES or len(dims) > MOST_AXES or any(dim < 0 for dim in dims):
            raise ValueError(f"tensor {name!r} has type {kind} and shape {dims}, expected numbers")
        elements = math.prod(dims)
        size = math.ceil(elements * _BYTES[kind]) if elements < 1 << 60 else elements
        if outside or external:
            self.outside(name, size, external)
            return None
        if (raw is not None and len(raw) != size) or (raw is None and elements > typed):
            found = typed if raw is None else len(raw)
            raise ValueError(f"tensor {name!r} has {found} bytes for shape {dims}, expected {size}")
        if kind != _INT64 or elements > _SHORT:
            return None
        values = struct.unpack(f"<{elements}q", raw) if raw is not None else tuple(map(_signed, integers))
        self.constants[name] = values
        return values

    def outside(self, name: str, size: int, external: Mapping[str, str]) -> None:
        """Check where the data of a tensor lie in the file of weights."""
        location = external.get("location", "")
        if self.weights is None or PurePosixPath(location).name != location or (
            self.path.parent / location != self.weights
        ):  # fmt: skip
            own = "no other file" if self.weights is None else self.weights.name
            raise ValueError(f"tensor {name!r} has its data in {location[:100]!r}, expected {own}")
        whole = check_file(self.weights).st_size
        start, length = int(external.get("offset", "0")), int(external.get("length", str(size)))
        if length != size or start < 0 or start + length > whole:
            raise ValueError(
                f"tensor {name!r} has {length} bytes from {start} on in {location}, expected {size} of "
                f"{whole}"
            )


def _check_operator(operator: str, domain: str) -> None:
    shown = f"{domain}::{operator}" if domain else operator
    if domain not in _DOMAINS or (domain == _DOMAINS[-1] and operator not in OWN_OPERATORS):
        raise ValueError(f"it has the operator {shown[:100]!r}, which no voice has")
    if operator.startswith(_RANDOM):
        raise ValueError(f"it has the operator {shown!r}, which draws random numbers of its own")


def _fields(data: memoryview) -> Iterator[_Field]:
    """Yield number, wire type and value of each field of a message: an integer, or its bytes."""
    place, end = 0, len(data)
    while place < end:
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield number, wire, value
            continue
        if wire == 2:
            length, place = _varint(data, place)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError("it is damaged, or no ONNX file")
        if length > end - place:
            raise ValueError("it is truncated")
        yield number, wire, data[place : place + length]
        place += length


def _messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and bytes of each field that has a length."""
    return (
        (number, value)
        for number, wire, value in _fields(data)
        if isinstance(value, memoryview) and wire == 2
    )


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """Return an integer of seven bits a byte, and the place after it."""
    value = shift = 0
    while place < len(data) and shift < 7 * _LONGEST_VARINT:
        byte = data[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value & (1 << 64) - 1, place
        shift += 7
    raise ValueError("it is truncated")


def _varints(value: int | memoryview) -> list[int]:
    """Return the integers of a repeated field, packed or not, with their sign."""
    if isinstance(value, int):
        return [_signed(value)]
    found, place = [], 0
    while place < len(value):
        each, place = _varint(value, place)
        found.append(_signed(each))
    return found


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("it is damaged, or no ONNX file")
    return value


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("it is damaged, or no ONNX file")
    return value


def _text(values: list[memoryview]) -> str:
    """Return a text field; of several, the last counts."""
    return bytes(values[-1]).decode("utf-8") if values else ""
