"""Benchmarks of SoundStorm Edge: quality and speed of a voice."""
