"""Does a prompt speak like its recording? Warnings for whoever made it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..audio.pitch import median_pitch, pitch_warning, speakers_warning
from ..audio.recording import Recording

SENTENCE = "This is how the new voice sounds."


def prompt_warnings(
    recording: Recording, speak: Callable[[str], np.ndarray] | None, sample_rate: int
) -> list[str]:
    """Return what speaks against a voice that was made of a recording.

    Args:
        recording: The recording.
        speak: Speaks a text in the new voice, float32 [samples]; None where that is not possible.
        sample_rate: Samples a second of what it returns.
    """
    audio = recording.samples.mean(axis=1)
    found = [speakers_warning(audio, recording.sample_rate)]
    recorded = median_pitch(audio, recording.sample_rate)
    if recorded is not None and speak is not None:
        found.append(pitch_warning(recorded, median_pitch(speak(SENTENCE), sample_rate)))
    return [warning for warning in found if warning is not None]
