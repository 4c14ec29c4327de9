"""Compare the shipped voice with version 0.1.0: `python -m tests.golden.shipped BUNDLE`.

`flite-multi.json` has the hashes of what 0.1.0 spoke in fp32 with one thread, and of what int8 speaks since
its activations have a scale for each frame. Sums of floats differ between processors, so this is a check for
one machine, before and after a change, and not a test.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from soundstorm_runtime import Voice

TEXT = "The quick brown fox costs $5, and jumps over 3 lazy dogs. Good morning, Dr. Brown!"
TOKENS = 1000  # semantic tokens of the voice


def audio_hash(audio: np.ndarray) -> str:
    """Return the start of the SHA-256 of audio in 16 bits."""
    return hashlib.sha256(np.round(audio * 32767).astype("<i2").tobytes()).hexdigest()[:16]


def main(bundle: str) -> None:
    """Print the hashes that differ from those of version 0.1.0, and exit with 1 if there are any."""
    found = {}
    for precision in ("fp32", "int8"):
        voice = Voice.load(bundle, provider="cpu", precision=precision, threads=1)
        for speaker in ("rms", "slt"):
            found[f"{precision}-{speaker}"] = audio_hash(voice.speak(TEXT, voice=speaker, seed=11))
        tokens = np.random.default_rng(0).integers(TOKENS, size=120)
        found[f"{precision}-tokens"] = audio_hash(voice.speak_tokens(tokens, seed=3))
    expected = json.loads(Path(__file__).with_name("flite-multi.json").read_text())
    wrong = [name for name in expected if found[name] != expected[name]]
    print("\n".join(f"{name}: {found[name]}, expected {expected[name]}" for name in wrong) or "equal")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
