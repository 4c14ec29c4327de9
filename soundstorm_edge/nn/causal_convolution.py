"""Causal convolutions, and the residual unit that SoundStream builds from them.

The state of a stream is the `context` of each convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KERNEL = 7  # of residual units


class CausalConv1d(nn.Conv1d):
    """A causal convolution: output i depends on no input after `(i + 1) * stride`.

    The length must be a multiple of the stride, and is divided by it. `pad_mode` is the padding before the
    first input: "constant" is silence, as at the start of a stream; "reflect" mirrors the first inputs, and
    so looks ahead there; the others are those of `torch.nn.functional.pad`.
    """

    def __init__(
        self,
        channels: int,
        wider: int,
        kernel: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        pad_mode: str = "constant",
    ) -> None:
        super().__init__(channels, wider, kernel, stride, dilation=dilation)
        self.pad_mode = pad_mode

    @property
    def context(self) -> int:
        """The number of past inputs in the state of a stream: the padding on the left."""
        return self.dilation[0] * (self.kernel_size[0] - 1) + 1 - self.stride[0]

    def forward(self, input: Tensor) -> Tensor:
        """Convolve `[batch, channels, length]`, padded on the left."""
        return super().forward(self._padded(input))

    def forward_after(self, x: Tensor, past: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve inputs that continue a stream.

        Pieces add up to the result for the whole, if the first one is longer than the context.

        Args:
            x: `[batch, channels, length]`.
            past: the inputs before, `[batch, channels, context]`.
            first: bool scalar, whether there are none, so that `past` is ignored.

        Returns:
            The outputs, and the next `past`.
        """
        after = torch.cat((past, x), dim=-1)
        padded = after if self.pad_mode == "constant" else torch.where(first, self._padded(x), after)
        return super().forward(padded), after[..., after.shape[-1] - self.context :]

    def _padded(self, x: Tensor) -> Tensor:
        if not self.context:
            return x
        if self.pad_mode != "reflect":
            return F.pad(x, (self.context, 0), self.pad_mode)
        # Unlike PyTorch's own reflection, this accepts inputs shorter than the context, and repeats the
        # last one: a graph with a dynamic length has to accept any.
        places = torch.arange(self.context, 0, -1, device=x.device)
        mirrored = torch.minimum(places, torch.full_like(places, x.shape[-1] - 1))
        return torch.cat((x.index_select(-1, mirrored), x), dim=-1)


class CausalConvTranspose1d(nn.ConvTranspose1d):
    """Upsamples `[batch, channels, length]` to `length * stride`, causally.

    Outputs of a transposed convolution beyond those of the last input are trimmed.
    """

    @property
    def context(self) -> int:
        """The number of past inputs in the state of a stream: those that reach into the next output."""
        return (self.kernel_size[0] - 1) // self.stride[0]

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Upsample `[batch, channels, length]`, trimmed on the right."""
        return super().forward(input, output_size)[..., : input.shape[-1] * self.stride[0]]

    def forward_after(self, x: Tensor, past: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample after the inputs `past` `[batch, channels, context]`, zeros at first; and the next."""
        after = torch.cat((past, x), dim=-1)
        start, length = self.context * self.stride[0], x.shape[-1] * self.stride[0]
        upsampled = super().forward(after)[..., start : start + length]
        return upsampled, after[..., after.shape[-1] - self.context :]


class SqueezeExcite(nn.Module):
    """Gates of channels (arXiv 1709.01507), computed from running means.

    The means are over the channels and not over time, as in audiolm-pytorch, whose checkpoints were trained
    so. A gate therefore depends on its own frame only.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(8, channels // 4)
        self.squeeze = nn.Conv1d(channels, narrow, 1)
        self.excite = nn.Conv1d(narrow, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, channels, length]` to the same shape."""
        counts = torch.arange(1, x.shape[-2] + 1, device=x.device, dtype=x.dtype)
        means = x.cumsum(dim=-2) / counts[:, None]
        return x * self.excite(F.silu(self.squeeze(means))).sigmoid()


class ResidualUnit(nn.Module):
    """A dilated convolution and a pointwise one with a skip connection (SoundStream, figure 3)."""

    def __init__(self, channels: int, dilation: int, pad_mode: str, *, squeeze_excite: bool) -> None:
        super().__init__()
        self.dilated = CausalConv1d(channels, channels, KERNEL, dilation=dilation, pad_mode=pad_mode)
        self.pointwise = CausalConv1d(channels, channels, 1)
        self.gate = SqueezeExcite(channels) if squeeze_excite else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, channels, length]` to the same shape."""
        return x + self._finished(self.dilated(x))

    def forward_after(self, x: Tensor, past: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Map inputs that continue a stream; `past` is that of the dilated convolution."""
        dilated, past = self.dilated.forward_after(x, past, first)
        return x + self._finished(dilated), past

    def _finished(self, dilated: Tensor) -> Tensor:
        return self.gate(F.elu(self.pointwise(F.elu(dilated))))
