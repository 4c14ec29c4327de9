"""Errors of the training side that a user can cause and fix; see `soundstorm_runtime.errors`.

A wrong argument raises one of two: `ConfigError` where something is made (a recipe, a configuration, a
constructor), and `soundstorm_runtime.errors.OptionError` where a method of it is called.
"""

from soundstorm_runtime.errors import SoundStormError


class ConfigError(SoundStormError, ValueError):
    """A recipe, configuration or constructor argument is unknown, of the wrong type, or impossible."""


class CorpusError(SoundStormError):
    """A corpus is missing, malformed, or cannot be made."""


class UnusableRecordingError(CorpusError):
    """A recording is intact, but has nothing to learn from: no words, or no speech."""


class CheckpointError(SoundStormError):
    """A checkpoint is missing, truncated, of another version or origin, or lacks a part."""
