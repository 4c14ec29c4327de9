"""Trainers that exist for their interface, that of soundstorm-pytorch, audiolm-pytorch, spear-tts-pytorch."""
