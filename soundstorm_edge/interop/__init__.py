"""Checkpoints of soundstorm-pytorch, audiolm-pytorch and spear-tts-pytorch, read without those packages."""

from .audiolm_pytorch import from_audiolm_pytorch
from .soundstorm_pytorch import from_soundstorm_pytorch
from .spear_tts_pytorch import from_spear_tts_pytorch

__all__ = ["from_audiolm_pytorch", "from_soundstorm_pytorch", "from_spear_tts_pytorch"]
