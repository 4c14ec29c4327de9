"""A lower bound of a step's time: its matrix products alone, chained in one graph."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx_ir as ir

from soundstorm_edge.soundstorm.model import SoundStormConfig

OPSET = 20


class Products:
    """Builds a graph of matrix products of random weights, scaled so that their results stay about 1."""

    def __init__(self) -> None:
        self.nodes: list[ir.Node] = []
        self.weights: list[ir.Value] = []
        self.inputs: list[ir.Value] = []
        self.outputs: list[ir.Value] = []
        self._rng = np.random.default_rng(0)

    def input(self, *shape: int) -> ir.Value:
        """Add an input `x0`, `x1`, ... of the graph."""
        value = ir.Value(
            name=f"x{len(self.inputs)}", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape)
        )
        self.inputs.append(value)
        return value

    def weight(self, *shape: int) -> ir.Value:
        """Add a weight, the last but one of its axes summed over by a product."""
        array = self._rng.standard_normal(shape).astype(np.float32) * shape[-2] ** -0.5
        return self._constant(array)

    def product(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """Multiply."""
        return self._node("MatMul", x, y)

    def shaped(self, x: ir.Value, *shape: int) -> ir.Value:
        """Reshape a value, which costs nothing."""
        return self._node("Reshape", x, self._constant(np.array(shape, np.int64)))

    def give(self, *values: ir.Value) -> None:
        """Make values outputs, so that no node is removed as unused."""
        self.outputs += values

    def model(self) -> ir.Model:
        """Return the graph."""
        graph = ir.Graph(
            self.inputs,
            self.outputs,
            nodes=self.nodes,
            initializers=self.weights,
            opset_imports={"": OPSET},
            name="floor",
        )
        return ir.Model(graph, ir_version=10)

    def _constant(self, array: np.ndarray) -> ir.Value:
        name = f"w{len(self.weights)}"
        tensor = ir.tensor(array, name=name)
        value = ir.Value(
            name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor
        )
        self.weights.append(value)
        return value

    def _node(self, operator: str, *inputs: ir.Value) -> ir.Value:
        node = ir.node(operator, list(inputs))
        node.outputs[0].name = f"y{len(self.nodes)}"
        node.outputs[0].dtype = ir.DataType.FLOAT
        self.nodes.append(node)
        return node.outputs[0]


def step_products(config: SoundStormConfig, frames: int) -> ir.Model:
    """Chain all products of one step of one sample: each block's, then one head's.

    Keys and values of attention come in from outside, of the right shape, for a product of three
    results in a chain would grow without bounds; those that the block makes go out.
    """
    net = config.conformer
    dim, inner = net.dim, net.heads * net.dim_head
    wide = dim * net.conv_expansion_factor
    chain = Products()
    x = chain.input(1, frames, dim)
    keys = chain.input(1, net.heads, net.dim_head, frames)
    values = chain.input(1, net.heads, frames, net.dim_head)

    def through(x: ir.Value, *widths: int) -> ir.Value:
        for before, after in pairwise(widths):
            x = chain.product(x, chain.weight(before, after))
        return x

    for place in range(net.depth):
        x = through(x, dim, dim * net.ff_mult, dim)
        chain.give(through(x, dim, inner), through(x, dim, inner))
        if place and net.value_residual:
            chain.give(through(x, dim, net.heads))
        queries = chain.shaped(through(x, dim, inner), 1, net.heads, frames, net.dim_head)
        attended = chain.product(chain.product(queries, keys), values)
        x = through(chain.shaped(attended, 1, frames, inner), inner, dim)
        chain.give(through(x, dim, wide))
        x = through(x, dim, wide, dim)
        x = through(x, dim, dim * net.ff_mult, dim)
    for width in (dim, config.codebook_size):
        x = chain.product(x, chain.shaped(chain.input(1, dim, width), dim, width))
    chain.give(x)
    return chain.model()


def example_inputs(model: ir.Model) -> dict[str, np.ndarray]:
    """Draw the inputs of a floor graph."""
    rng = np.random.default_rng(1)
    feeds = {}
    for value in model.graph.inputs:
        shape = value.shape.numpy() if value.shape is not None else ()
        feeds[str(value.name)] = (rng.standard_normal(shape) * shape[-2] ** -0.5).astype(np.float32)
    return feeds
