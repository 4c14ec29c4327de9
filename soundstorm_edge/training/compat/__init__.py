"""Trainers with the interface of soundstorm-pytorch, audiolm-pytorch and spear-tts-pytorch."""
