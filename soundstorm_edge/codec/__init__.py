"""Codecs: audio to codes and back, their losses and discriminators."""
