"""NVIDIA's ONNX parser and builder of TensorRT for RTX 1.7.1 through `ctypes`: no GPU, no headers, no
compiler.

The shared libraries come in the wheel `onnxruntime-ep-nv-tensorrt-rtx-cu12`. TensorRT for RTX builds ahead of
time for compute capabilities that are named. Its C++ objects are a table of functions and a pointer to an
implementation, whose table holds the methods in the order of NvInferImpl.h; the slots below hold for version
1.7.1 alone, and so the wheel is pinned.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WHEEL = "onnxruntime-ep-nv-tensorrt-rtx-cu12==0.5.0"
MODULE = "onnxruntime_ep_nv_tensorrt_rtx"
VERSION = "1.7.1"

_Pointer, _Int, _Text, _Bool, _Size = (
    ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p, ctypes.c_bool, ctypes.c_size_t,
)  # fmt: skip
_TF32 = 6  # BuilderFlag
_WORKSPACE = 0  # MemoryPoolType
_ERROR, _VERBOSE = 1, 4  # severities up to these
_DTYPES = {
    0: "FLOAT",
    1: "HALF",
    2: "INT8",
    3: "INT32",
    4: "BOOL",
    5: "UINT8",
    6: "FP8",
    7: "BF16",
    8: "INT64",
}

Span = tuple[Sequence[int], Sequence[int], Sequence[int]]  # the smallest, likely and largest shape


class Dims(ctypes.Structure):
    """`nvinfer1::Dims64`."""

    _fields_ = (("count", _Int), ("lengths", ctypes.c_int64 * 8))

    @classmethod
    def of(cls, shape: Sequence[int]) -> Dims:
        """Make one."""
        return cls(len(shape), (ctypes.c_int64 * 8)(*shape))


@dataclass(frozen=True)
class Built:
    """What came of a graph.

    tensors: type of each input and output, as the parser has it. plan: None where nothing was built. errors:
    of the parser, then of the builder. log: every message of the builder.
    """

    tensors: dict[str, str]
    plan: bytes | None
    errors: tuple[str, ...]
    log: str

    @property
    def activations(self) -> int:
        """Bytes of the GPU's memory that a run needs beside its weights, in the largest shapes."""
        return max(map(int, re.findall(r"Total Activation Memory: (\d+) bytes", self.log)))

    @property
    def layers(self) -> list[str]:
        """The builder's list of layers, a line each."""
        _, _, listed = self.log.partition("Engine Layer Information:\n")
        return [line for line in listed.splitlines() if line.startswith("Layer(")]

    @property
    def fused_attentions(self) -> int:
        """How many blocks of attention became one kernel, in all profiles."""
        return len(re.findall(rb"function=\{ name=_gemm_mha_v2 ", self.plan or b""))

    @property
    def products(self) -> dict[tuple[str, ...], str]:
        """The type of the second factor of each matrix product that is a layer of its own.

        Keys are the ONNX nodes of a layer: products of one input are merged into one.
        """
        plan = self.plan or b""
        types = dict(re.findall(rb'tensor=\{ [^\n]*?name="([^"]+)"[^\n]*? type=(\w+) \}', plan))
        layers = re.findall(rb'fully_connected=\{ name="([^"]+)" [^\n]*?input=\{"[^"]+" "([^"]+)"', plan)
        return {
            tuple(names.decode().split("+")): types.get(factor.partition(b"^")[0], b"?").decode()
            for names, factor in layers
        }


def absent() -> str | None:
    """Say why the libraries cannot be used here; None where they can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"TensorRT for RTX is tested on x86-64 Linux, this is {platform.machine()} {sys.platform}"
    if importlib.util.find_spec(MODULE) is None:
        return f"pip install --no-deps {WHEEL}"
    return None


class Rtx:
    """The two libraries. Messages are kept until the next build begins."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec(MODULE)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        folder = Path(spec.submodule_search_locations[0])
        self._library = _load(folder / f"libtensorrt_rtx.so.{VERSION}", "createInferBuilder_INTERNAL", 1)
        name = f"libtensorrt_onnxparser_rtx.so.{VERSION}"
        self._parsers = _load(folder / name, "createNvOnnxParser_INTERNAL", 2)
        self._messages: list[tuple[int, str]] = []
        self._logger, self._kept = _logger(self._messages)

    def takes(self, file: Path) -> list[str]:
        """Parse a graph; gives the parser's complaints, none where it takes all of it."""
        with self._builder() as builder, self._network(builder) as network:
            return self._parse(network, file)

    def build(
        self,
        file: Path,
        profiles: Sequence[Mapping[str, Span]],
        capabilities: Sequence[int] = (),
        workspace: int | None = None,
    ) -> Built:
        """Parse a graph and build its engine.

        profiles: shapes of the inputs that have symbolic axes. capabilities: such as 86; empty for the GPU at
        hand. workspace: bytes.
        """
        self._messages.clear()
        with self._builder() as builder, self._network(builder) as network:
            if errors := self._parse(network, file):
                return Built({}, None, tuple(errors), "")
            tensors = dict(_tensors(network))
            with _owned(_method(builder, 5, _Pointer)()) as config:
                _method(config, 8, None, _Int)(_TF32)
                _check(_method(config, 55, _Bool, _Int)(len(capabilities)) or not capabilities)
                for place, capability in enumerate(capabilities):
                    _check(_method(config, 57, _Bool, _Int, _Int)(capability, place))
                if workspace is not None:
                    _method(config, 32, None, _Int, _Size)(_WORKSPACE, workspace)
                for shapes in profiles:
                    self._add_profile(builder, config, shapes)
                plan = self._plan(builder, network, config)
        errors = [message for severity, message in self._messages if severity <= _ERROR]
        return Built(tensors, plan, tuple(errors), "\n".join(message for _, message in self._messages))

    @contextmanager
    def _builder(self) -> Iterator[int]:
        version = self._library.getInferLibVersion()
        with _owned(self._library.createInferBuilder_INTERNAL(self._logger, version)) as builder:
            yield builder

    @contextmanager
    def _network(self, builder: int) -> Iterator[int]:
        with _owned(_method(builder, 6, _Pointer, ctypes.c_uint32)(0)) as network:
            yield network

    def _parse(self, network: int, file: Path) -> list[str]:
        version = self._parsers.getNvOnnxParserVersion()
        parser = self._parsers.createNvOnnxParser_INTERNAL(network, self._logger, version)
        if _own_method(parser, 1, _Bool, _Text, _Int)(str(file).encode(), _VERBOSE):
            return []
        errors = []
        for place in range(_own_method(parser, 3, _Int)()):
            error = _own_method(parser, 4, _Pointer, _Int)(place)
            node, name, operator, reason = (
                _own_method(error, slot, kind)()
                for slot, kind in ((5, _Int), (6, _Text), (7, _Text), (1, _Text))
            )
            errors.append(f"node {node} '{name.decode()}' ({operator.decode()}): {reason.decode()}")
        return errors

    def _add_profile(self, builder: int, config: int, shapes: Mapping[str, Span]) -> None:
        profile = _method(builder, 7, _Pointer)()  # belongs to the builder
        for name, span in shapes.items():
            for which, shape in enumerate(span):
                set_shape = _method(profile, 2, _Bool, _Text, _Int, ctypes.POINTER(Dims))
                _check(set_shape(name.encode(), which, ctypes.byref(Dims.of(shape))))
        _check(_method(config, 23, _Int, _Pointer)(profile) >= 0)

    def _plan(self, builder: int, network: int, config: int) -> bytes | None:
        memory = _method(builder, 11, _Pointer, _Pointer, _Pointer)(network, config)
        if not memory:
            return None
        with _owned(memory) as owned:
            return ctypes.string_at(_method(owned, 2, _Pointer)(), _method(owned, 3, _Size)())


@functools.cache
def rtx() -> Rtx:
    """Load the libraries once."""
    return Rtx()


def _load(file: Path, create: str, pointers: int) -> ctypes.CDLL:
    library = ctypes.CDLL(str(file), ctypes.RTLD_GLOBAL)
    function = getattr(library, create)
    function.restype, function.argtypes = _Pointer, [_Pointer] * pointers + [_Int]
    return library


def _logger(messages: list[tuple[int, str]]) -> tuple[int, object]:
    """Make an `ILogger`: an object whose table has its version, what it is, two destructors, and `log`."""
    function = ctypes.CFUNCTYPE(None, _Pointer, _Int, _Text)
    log = function(lambda this, severity, text: messages.append((severity, text.decode(errors="replace"))))
    nothing = ctypes.CFUNCTYPE(ctypes.c_long, _Pointer)(lambda this: 0)
    slots = (nothing, nothing, nothing, nothing, log)
    table = (_Pointer * 5)(*(ctypes.cast(slot, _Pointer) for slot in slots))
    logger = (_Pointer * 1)(ctypes.addressof(table))
    return ctypes.addressof(logger), (log, nothing, table, logger)


def _own_method(this: int, slot: int, result: Any, *types: Any) -> Any:
    """Return a method of an object's own table."""
    table = ctypes.cast(ctypes.cast(this, ctypes.POINTER(_Pointer))[0], ctypes.POINTER(_Pointer))
    return functools.partial(ctypes.CFUNCTYPE(result, _Pointer, *types)(table[slot]), this)


def _method(this: int, slot: int, result: Any, *types: Any) -> Any:
    """Return a method of an object's implementation."""
    return _own_method(ctypes.cast(this, ctypes.POINTER(_Pointer))[1] or 0, slot, result, *types)


@contextmanager
def _owned(this: int) -> Iterator[int]:
    """Delete an object in the end: the second entry of its table is the deleting destructor."""
    _check(this)
    try:
        yield this
    finally:
        _own_method(this, 1, None)()


def _tensors(network: int) -> Iterator[tuple[str, str]]:
    """List inputs, then outputs, with their types."""
    for count, get in ((14, 15), (16, 17)):
        for place in range(_method(network, count, _Int)()):
            tensor = _method(network, get, _Pointer, _Int)(place)
            yield _method(tensor, 3, _Text)().decode(), _DTYPES[_method(tensor, 6, _Int)()]


def _check(result: object) -> None:
    assert result, "TensorRT refused a call"
