"""What a block-causal network computed of the frames before a block (Block Diffusion, arXiv 2503.09573)."""

from __future__ import annotations

# Frames of the blocks that a stream decodes one after the other; networks are trained on these lengths.
BLOCK_FRAMES = (16, 24, 32, 48, 64, 96, 128, 192)
