"""Errors of the export; they follow the rules of `soundstorm_runtime.errors`."""

from soundstorm_runtime.errors import SoundStormError


class ExportError(SoundStormError):
    """A voice cannot be exported: a graph cannot be traced or converted, or differs from PyTorch."""
