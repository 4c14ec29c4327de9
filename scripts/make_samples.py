"""Speak the samples in `docs/samples`: one Opus file for each speaker of a bundle, and no others.

python -m scripts.make_samples build/voice docs/samples
"""

from __future__ import annotations

import argparse
from pathlib import Path

import soundfile

from soundstorm_runtime import Voice

TEXT = (
    "Hello there. This voice was trained from scratch, and it speaks without a graphics card. "
    "The kettle is on the stove, so tea will be ready in a few minutes."
)


def main() -> None:
    """Write `<speaker>.opus` for every speaker of the bundle: fp32, seed 0, about 32 kbit/s."""
    parser = argparse.ArgumentParser(description="Speak the samples of the documentation.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()

    voice = Voice.load(arguments.bundle, provider="cpu", precision="fp32")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for old in arguments.folder.glob("*.opus"):
        if old.stem not in voice.voices:
            old.unlink()
    for name in voice.voices:
        path = arguments.folder / f"{name}.opus"
        audio = voice.speak(TEXT, voice=name, seed=0)
        soundfile.write(path, audio, voice.sample_rate, format="OGG", subtype="OPUS", compression_level=0.9)
        print(f"{path}: {len(audio) / voice.sample_rate:.1f} s, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
