"""The configuration of SoundStream: its sizes, options and loss weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..errors import ConfigError
from ..support.config import LONGEST_WINDOW, MOST_LAYERS, check_positive
from .discriminators import StftDiscriminatorConfig

PadMode = Literal["reflect", "constant", "replicate", "circular"]


@dataclass(frozen=True)
class SoundStreamConfig:
    """Sizes and options of SoundStream, with the names and defaults of audiolm-pytorch.

    The encoder has a block per stride, and the decoder mirrors it; block i has `channels * channel_mults[i]`
    output channels, and a frame has the product of the strides as samples. `codebook_size` is 1024 by
    default, or follows from `finite_scalar_quantizer_levels`. `rq_kwargs` are passed to the quantizer of
    vector-quantize-pytorch. `input_channels` and `use_gate_loop_layers` are accepted with their defaults
    only.

    Not in audiolm-pytorch: `strided_pad_mode`, the padding of the encoder's strided convolutions, which that
    package always reflects; and `discriminators`, without which the codec has no losses. A streaming codec
    needs "constant" for both paddings: a reflection looks ahead at the start.

    Raises:
        ConfigError: a value is impossible or not supported.
    """

    kind: Literal["soundstream"] = "soundstream"
    channels: int = 32
    strides: tuple[int, ...] = (2, 4, 5, 8)
    channel_mults: tuple[int, ...] = (2, 4, 8, 16)
    codebook_dim: int = 512
    codebook_size: int = 0
    finite_scalar_quantizer_levels: tuple[int, ...] = ()
    rq_num_quantizers: int = 8
    rq_commitment_weight: float = 1.0
    rq_ema_decay: float = 0.95
    rq_quantize_dropout_multiple_of: int = 1
    rq_groups: int = 1
    rq_stochastic_sample_codes: bool = False
    rq_rotation_trick: bool = True
    rq_kwargs: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    use_lookup_free_quantizer: bool = False
    use_finite_scalar_quantizer: bool = False
    input_channels: int = 1
    discr_multi_scales: tuple[float, ...] = (1.0, 0.5, 0.25)
    stft_normalized: bool = False
    enc_cycle_dilations: tuple[int, ...] = (1, 3, 9)
    dec_cycle_dilations: tuple[int, ...] = (1, 3, 9)
    multi_spectral_window_powers_of_two: tuple[int, ...] = (6, 7, 8, 9, 10, 11)
    multi_spectral_n_ffts: int = 512
    multi_spectral_n_mels: int = 64
    recon_loss_weight: float = 1.0
    multi_spectral_recon_loss_weight: float = 1e-5
    adversarial_loss_weight: float = 1.0
    feature_loss_weight: float = 100.0
    quantize_dropout_cutoff_index: int = 1
    target_sample_hz: int = 16_000
    use_local_attn: bool = True
    attn_window_size: int = 128
    attn_dim_head: int = 64
    attn_heads: int = 8
    attn_depth: int = 1
    attn_xpos_scale_base: float | None = None
    attn_dynamic_pos_bias: bool = False
    use_gate_loop_layers: bool = False
    squeeze_excite: bool = False
    complex_stft_discr_logits_abs: bool = True
    pad_mode: PadMode = "reflect"
    complex_stft_discr_kwargs: StftDiscriminatorConfig = field(default_factory=StftDiscriminatorConfig)
    strided_pad_mode: PadMode = "reflect"
    discriminators: bool = True

    def __post_init__(self) -> None:
        self._check_sizes()
        self._check_support()
        object.__setattr__(self, "codebook_size", self._codes())

    @property
    def levels(self) -> int:
        """Codes of a frame, over all groups."""
        return self.rq_num_quantizers * self.rq_groups

    @property
    def sample_rate(self) -> int:
        """The sample rate in Hz."""
        return self.target_sample_hz

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return math.prod(self.strides)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels before the first block of the encoder, and after each."""
        return (self.channels, *(self.channels * multiple for multiple in self.channel_mults))

    def _check_sizes(self) -> None:
        check_positive(self, "channels", "codebook_dim", "target_sample_hz", "attn_dim_head", "attn_heads")
        check_positive(self, "attn_window_size", most=LONGEST_WINDOW)
        check_positive(self, "rq_num_quantizers", "rq_groups", most=MOST_LAYERS)
        if not 0 <= self.attn_depth <= MOST_LAYERS:
            raise ConfigError(f"attn_depth is {self.attn_depth}, expected 0 to {MOST_LAYERS}")
        check_positive(self, "rq_quantize_dropout_multiple_of")
        for name in ("strides", "channel_mults", "enc_cycle_dilations", "dec_cycle_dilations"):
            values = getattr(self, name)
            if not values or min(values) < 1:
                raise ConfigError(f"{name} is {list(values)}, expected one or more numbers of at least 1")
        if len(self.strides) != len(self.channel_mults):
            raise ConfigError(
                f"strides has {len(self.strides)} entries and channel_mults {len(self.channel_mults)}, "
                "expected one multiple for each stride"
            )
        if self.codebook_dim % self.rq_groups:
            raise ConfigError(
                f"codebook_dim {self.codebook_dim} does not divide into {self.rq_groups} groups"
            )
        if self.attn_dim_head % 2:
            raise ConfigError(f"attn_dim_head is {self.attn_dim_head}, expected an even number")

    def _check_support(self) -> None:
        if self.input_channels != 1:
            raise ConfigError(
                f"input_channels is {self.input_channels}, but only 1 is supported; mix to mono"
            )
        if self.use_gate_loop_layers:
            raise ConfigError("use_gate_loop_layers is true, but gate-loop layers are not supported")
        if self.use_lookup_free_quantizer and self.use_finite_scalar_quantizer:
            raise ConfigError(
                "use_lookup_free_quantizer and use_finite_scalar_quantizer are both true; choose one"
            )
        if self.rq_kwargs.get("implicit_neural_codebook"):
            raise ConfigError("rq_kwargs has implicit_neural_codebook, which is not supported")

    def _codes(self) -> int:
        """Return the codebook size, which depends on the kind of quantizer."""
        levels, size = self.finite_scalar_quantizer_levels, self.codebook_size
        if self.use_finite_scalar_quantizer != bool(levels):
            raise ConfigError(
                f"use_finite_scalar_quantizer is {self.use_finite_scalar_quantizer} and "
                f"finite_scalar_quantizer_levels is {list(levels)}; give both or neither"
            )
        if levels:
            if min(levels) < 2 or size not in (0, math.prod(levels)):
                raise ConfigError(
                    f"finite_scalar_quantizer_levels {list(levels)} are to be 2 or more each, and make "
                    f"{math.prod(levels)} codes, but codebook_size is {size}; leave that out"
                )
            return math.prod(levels)
        size = size or 1024
        if size < 1 or (self.use_lookup_free_quantizer and size & (size - 1)):
            raise ConfigError(f"codebook_size is {size}, expected 1 or more; lookup-free, a power of two")
        return size
