"""What a user can get wrong, as exceptions.

Every message says what was given, what was expected and what to do, in one line: the command line
prints it as it stands and exits with 1. Anything else that escapes is a bug of ours.
"""


class SoundStormError(Exception):
    """Base of all errors that a user can cause and mend."""


class BundleError(SoundStormError):
    """A bundle is missing, truncated, of another version, or not what its manifest says."""


class EngineError(SoundStormError):
    """An engine is absent, cannot be used, or was fed what its graph does not take."""


class TextError(SoundStormError):
    """A text cannot be spoken: empty, too long, or without a speakable character."""


class OptionError(SoundStormError):
    """An option's value is out of range or contradicts the voice."""


class AudioError(SoundStormError):
    """An audio file cannot be read or written."""
