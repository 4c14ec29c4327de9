"""The decoder of SoundStream in pieces, with its state as argument and result.

The state has the last inputs of each convolution, and the keys and values of a window of each attention
layer.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from ..nn.causal_convolution import CausalConv1d, CausalConvTranspose1d, ResidualUnit
from ..nn.local_attention import FeedForward, LocalAttention
from .soundstream import SoundStream

Step = CausalConv1d | CausalConvTranspose1d | ResidualUnit


class StreamingDecoder:
    """Decodes codes in pieces; `state` has the shapes of its state, without the batch.

    Raises:
        ConfigError: the padding of the codec needs the end of the audio at its start.
    """

    def __init__(self, codec: SoundStream) -> None:
        if codec.config.pad_mode == "circular":
            raise ConfigError(
                "pad_mode is 'circular', which pads the start of the audio with its end, expected another "
                "one to decode in pieces; train the codec with 'constant', or decode it whole"
            )
        attention = codec.decoder_attention
        self._codec = codec
        self._bias = None if attention is None else attention.bias
        self._layers: list[tuple[LocalAttention, FeedForward]] = []
        if attention is not None:
            self._layers = [(layer.attention, layer.feed_forward) for layer in attention.layers]  # type: ignore
        self._steps = list(_steps(codec.decoder))
        shapes: list[tuple[int, ...]] = []
        for layer, _ in self._layers:
            shapes += [(layer.heads, layer.window, len(layer.query_scale))] * 2  # keys and values
        self.state = (*shapes, *(_memory(step) for step in self._steps))

    def decode(self, codes: Tensor, past_frames: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Decode codes int64 `[batch, frames, levels]` to audio float32 `[batch, frames * hop]`.

        The pieces add up to what the whole decodes to, if the first one is longer than the context of every
        convolution (7 frames by default); with "constant" padding, any length will do.

        Args:
            codes: the next frames.
            past_frames: the number of frames before them, int64 `[batch]`, the same for all.
            state: tensors `[batch, *shape]`; of any values where there are no frames before.

        Returns:
            The audio, the next `past_frames`, and the next state.
        """
        x, left = self._codec.quantizer.decode(codes), iter(state)
        first = past_frames[0] == 0
        bias = None if self._bias is None else self._bias()
        made: list[Tensor] = []
        for attention, feed_forward in self._layers:
            heard, *memory = self._attend(attention, x, bias, past_frames[0], next(left), next(left))
            x = x + heard
            x = x + feed_forward(x)
            made += memory
        x = rearrange(x, "b t d -> b d t")
        for step in self._steps:
            x, past = step.forward_after(x, next(left), first)
            made.append(past)
        return (rearrange(x, "b 1 n -> b n"), past_frames + codes.shape[1], *made)

    @staticmethod
    def _attend(
        attention: LocalAttention,
        x: Tensor,
        bias: Tensor | None,
        past_frames: Tensor,
        keys: Tensor,
        values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute `LocalAttention.forward` with the keys and values of the window before."""
        window, frames = attention.window, x.shape[1]
        x = attention.norm(x)
        query, key, value = rearrange(
            attention.to_qkv(x), "b t (three h e) -> three b h t e", three=3, h=attention.heads
        )
        keys = torch.cat((keys, F.normalize(key, dim=-1) * attention.key_scale), dim=2)
        values = torch.cat((values, value), dim=2)
        rest = (frames + window - 1) // window * window - frames
        pieces, their_keys, their_values = (
            rearrange(F.pad(part, (0, 0, 0, rest)), "b h (p w) e -> b h p w e", w=window)
            for part in (F.normalize(query, dim=-1) * attention.query_scale, keys, values)
        )
        their_keys, their_values = (
            torch.cat((part[:, :, :-1], part[:, :, 1:]), dim=3) for part in (their_keys, their_values)
        )
        heard = attention.attend(x, pieces, their_keys, their_values, bias, past_frames)
        return heard, keys[:, :, frames:], values[:, :, frames:]


def _steps(module: nn.Module) -> Iterator[Step]:
    """Return the convolutions and residual units of the decoder, in order."""
    for child in module.children():
        if isinstance(child, Step):
            yield child
        else:
            yield from _steps(child)


def _memory(step: Step) -> tuple[int, int]:
    conv = step.dilated if isinstance(step, ResidualUnit) else step
    return conv.in_channels, conv.context
