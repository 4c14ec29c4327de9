"""The form of a graph in fp16 for ONNX Runtime's CUDA provider, with its own operators: fused attention.

By the sources of ONNX Runtime (`contrib_ops/cuda/bert/multihead_attention.cc` of 2025, two states), its
`MultiHeadAttention` with a bias that is added to the scores runs as one kernel that never stores them
(CUTLASS's memory-efficient attention, or cuDNN's), where the frames are a multiple of 8; in other shapes, and
with the masks of `rewrite.cpu`, as several. Releases before 1.22 add a bias wrongly in a batch where they run
several (pull request 24017).

A row of the bias begins at an aligned address if the number of keys is a multiple of 8, which these releases
do not all check: `attention.BIASED` sees to it. There is no `If`: a CUDA graph cannot hold one.
"""

from __future__ import annotations

import onnx_ir as ir

from .attention import BIASED, with_attention


def to_cuda(model: ir.Model) -> ir.Model:
    """Rewrite a model in fp16 (`rewrite.half`) with fused attention, for ONNX Runtime on CUDA alone."""
    return with_attention(model, BIASED)
