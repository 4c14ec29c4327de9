"""Convolutions over the past, and the residual unit that SoundStream builds from them.

A stream that continues has to carry nothing but each convolution's `context`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KERNEL = 7  # of residual units


class CausalConv1d(nn.Conv1d):
    """A convolution over `[batch, channels, length]` whose output i sees no input after `(i + 1) * stride`.

    The length must be a multiple of the stride; it is divided by it. `pad_mode` is what stands before the
    first input: "constant" is the silence a stream begins with, "reflect" mirrors what comes (and so sees
    ahead there), the others are those of `torch.nn.functional.pad`.
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
        """Past inputs that a stream must keep: how many this pads on the left."""
        return self.dilation[0] * (self.kernel_size[0] - 1) + 1 - self.stride[0]

    def forward(self, input: Tensor) -> Tensor:
        """Convolve after padding on the left."""
        return super().forward(self._padded(input))

    def forward_after(self, x: Tensor, past: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve `[batch, channels, length]` after the inputs `past` `[batch, channels, context]`.

        first: bool scalar, whether nothing came before, so that `past` counts for nothing. Gives the outputs
        and the next past; pieces one after the other give what the whole gives, if the first one is longer
        than the context.
        """
        after = torch.cat((past, x), dim=-1)
        padded = after if self.pad_mode == "constant" else torch.where(first, self._padded(x), after)
        return super().forward(padded), after[..., after.shape[-1] - self.context :]

    def _padded(self, x: Tensor) -> Tensor:
        if not self.context:
            return x
        if self.pad_mode != "reflect":
            return F.pad(x, (self.context, 0), self.pad_mode)
        # Unlike PyTorch's own reflection, this takes inputs shorter than the context: it then repeats the
        # last one. A graph with a dynamic length has to stand any.
        places = torch.arange(self.context, 0, -1, device=x.device)
        mirrored = torch.minimum(places, torch.full_like(places, x.shape[-1] - 1))
        return torch.cat((x.index_select(-1, mirrored), x), dim=-1)


class CausalConvTranspose1d(nn.ConvTranspose1d):
    """Upsamples `[batch, channels, length]` to `length * stride`; input i touches no output before its own.

    What a plain transposed convolution adds on the right of the last input's own outputs is trimmed.
    """

    @property
    def context(self) -> int:
        """Past inputs that a stream must keep: how many still reach into the next output."""
        return (self.kernel_size[0] - 1) // self.stride[0]

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Upsample, and trim on the right."""
        return super().forward(input, output_size)[..., : input.shape[-1] * self.stride[0]]

    def forward_after(self, x: Tensor, past: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample after the inputs `past` `[batch, channels, context]`, at first zeros; gives the next."""
        after = torch.cat((past, x), dim=-1)
        start, length = self.context * self.stride[0], x.shape[-1] * self.stride[0]
        upsampled = super().forward(after)[..., start : start + length]
        return upsampled, after[..., after.shape[-1] - self.context :]


class SqueezeExcite(nn.Module):
    """Gates of channels (arXiv 1709.01507), computed from running means.

    The means run over the channels and not over time: so audiolm-pytorch does it, and so its checkpoints
    were trained. A gate therefore depends on its own moment alone.
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
    """A dilated convolution and a pointwise one, added to what came in (SoundStream, figure 3)."""

    def __init__(self, channels: int, dilation: int, pad_mode: str, *, squeeze_excite: bool) -> None:
        super().__init__()
        self.dilated = CausalConv1d(channels, channels, KERNEL, dilation=dilation, pad_mode=pad_mode)
        self.pointwise = CausalConv1d(channels, channels, 1)
        self.gate = SqueezeExcite(channels) if squeeze_excite else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, channels, length]` to the same shape."""
        return x + self._finished(self.dilated(x))

    def forward_after(self, x: Tensor, past: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Do so after the inputs `past` of the dilated convolution, as its `forward_after` has them."""
        dilated, past = self.dilated.forward_after(x, past, first)
        return x + self._finished(dilated), past

    def _finished(self, dilated: Tensor) -> Tensor:
        return self.gate(F.elu(self.pointwise(F.elu(dilated))))
