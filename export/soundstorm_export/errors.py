"""What can go wrong in an export; the rules of `soundstorm_runtime.errors` hold."""

from soundstorm_runtime.errors import SoundStormError


class ExportError(SoundStormError):
    """A graph cannot be exported, or is not what PyTorch computes."""
