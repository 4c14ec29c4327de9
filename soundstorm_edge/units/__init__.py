"""Semantic units: audio to semantic tokens."""
