"""The interface of codecs: audio to codes and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from soundstorm_runtime.errors import AudioError

# Prefixes of the names of weights that determine the codes, in both codecs.
CODING = ("encoder", "to_latent", "quantizer")


@dataclass(frozen=True)
class CodecOutput:
    """The result of a training pass.

    Args:
        audio: the reconstruction, float32 `[batch, samples]`.
        codes: int64 `[batch, frames, levels]`, -1 for a level that quantizer dropout left out.
        commitment_loss: scalar.
        pitch_loss: scalar, of a codec that predicts pitch.
    """

    audio: Tensor
    codes: Tensor
    commitment_loss: Tensor
    pitch_loss: Tensor | None = None


class Pitch(NamedTuple):
    """Pitch of audio in the middle of every transform of a codec with a source.

    Attributes:
        hertz: the fundamental frequency, float32 `[batch, transforms]`; anything above 0 where there is none.
        voiced: from 0 to 1, likewise.
    """

    hertz: Tensor
    voiced: Tensor


class Codec(nn.Module, ABC):
    """Audio `[batch, samples]` to codes `[batch, frames, levels]` and back; one frame is `hop` samples.

    A subclass implements `reconstruct` for training, `_encode` and `decode_from_codebook_indices`.
    """

    sample_rate: int
    hop: int
    levels: int
    codebook_size: int

    @abstractmethod
    def reconstruct(self, audio: Tensor, pitch: Pitch | None = None) -> CodecOutput:
        """Encode and decode float32 audio `[batch, samples]`, samples a multiple of the hop.

        `pitch` is that of the audio, which a codec with a source needs.
        """

    def reconstruct_codes(self, codes: Tensor, pitch: Pitch | None = None) -> CodecOutput:
        """Decode the codes int64 `[batch, frames, levels]` of audio in training, when they are fixed."""
        return CodecOutput(
            self.decode_from_codebook_indices(codes), codes, torch.zeros((), device=codes.device)
        )

    @abstractmethod
    def _encode(self, audio: Tensor) -> Tensor:
        """Encode checked audio, a whole number of frames."""

    @abstractmethod
    def decode_from_codebook_indices(self, codes: Tensor) -> Tensor:
        """Decode codes int64 `[batch, frames, levels]` to audio float32 `[batch, frames * hop]`."""

    @torch.no_grad()
    def tokenize(self, audio: Tensor) -> Tensor:
        """Encode audio float32 `[batch, samples]`, in -1 to 1, as codes int64 `[batch, frames, levels]`.

        The last frame is padded with silence.

        Raises:
            AudioError: another shape or dtype, no samples, or samples that are not finite.
        """
        check_audio(audio)
        return self._encode(self.pad_to_frames(audio))

    def pad_to_frames(self, audio: Tensor) -> Tensor:
        """Pad audio `[batch, samples]` with silence to a whole number of frames."""
        return nn.functional.pad(audio, (0, -audio.shape[-1] % self.hop))


def check_audio(audio: Tensor) -> None:
    """Raise `AudioError` unless this is finite floating-point audio `[batch, samples]`, not empty."""
    if audio.ndim != 2 or not audio.is_floating_point() or audio.shape[1] == 0:
        raise AudioError(
            f"audio is {audio.dtype} {list(audio.shape)}, expected float [batch, samples], not empty"
        )
    if not torch.isfinite(audio).all():
        raise AudioError("audio has samples that are not finite, expected -1 to 1; repair the recording")
