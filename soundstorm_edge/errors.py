"""What a user of the training side can get wrong; the rules of `soundstorm_runtime.errors` hold."""

from soundstorm_runtime.errors import SoundStormError


class RecipeError(SoundStormError):
    """A recipe or configuration has an unknown key, a wrong type or an impossible value."""


class CorpusError(SoundStormError):
    """A corpus is missing, malformed, or cannot be made."""


class CheckpointError(SoundStormError):
    """A checkpoint is missing, truncated, foreign, of another version, or lacks a part."""
