"""A result that stays on the GPU until the host looks at it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .cuda_runtime import Cuda, DeviceMemory


class DeviceArray:
    """An array that nobody changes, on the GPU. Fed to a graph there it is not copied at all.

    made_on: the stream that fills it, where that may not be finished.

    It has what `Engine.run` checks of an array, and turns into one wherever NumPy wants one.
    """

    def __init__(
        self,
        cuda: Cuda,
        memory: DeviceMemory,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        made_on: Any = None,
    ) -> None:
        self.memory = memory
        self.dtype, self.shape, self.ndim = dtype, shape, len(shape)
        self._cuda, self._made_on = cuda, made_on

    @classmethod
    def of(cls, cuda: Cuda, array: np.ndarray) -> DeviceArray:
        """Copy an array to the GPU."""
        whole = np.ascontiguousarray(array)
        memory = cuda.borrow(whole.nbytes)
        cuda.upload(memory.pointer, whole, cuda.copies)
        cuda.wait(cuda.copies)
        return cls(cuda, memory, whole.dtype, whole.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Copy it to the host."""
        if self._made_on is not None:
            self._cuda.wait(self._made_on)
        array = np.empty(self.shape, self.dtype)
        self._cuda.download(array, self.memory.pointer, self._cuda.copies)
        self._cuda.wait(self._cuda.copies)
        return array if dtype is None else array.astype(dtype)

    def __getitem__(self, key: Any) -> Any:
        """Copy all of it to the host, and give a part."""
        return np.asarray(self)[key]
