"""Benchmarks of SoundStorm Edge: how well a voice is understood, and how fast it speaks."""
