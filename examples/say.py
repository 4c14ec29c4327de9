"""Speak a text to a WAV file.

python examples/say.py build/voice "Good morning." -o hello.wav
"""

from __future__ import annotations

import argparse

import soundfile

from soundstorm_runtime import Voice


def main() -> None:
    """Read the arguments, speak, and write the file."""
    parser = argparse.ArgumentParser(description="Speak a text to a WAV file.")
    parser.add_argument("bundle", nargs="?", default="build/voice")
    parser.add_argument("text", nargs="?", default="Good morning. The kettle is on.")
    parser.add_argument("-o", "--output", default="say.wav")
    arguments = parser.parse_args()

    voice = Voice.load(arguments.bundle)
    audio = voice.speak(arguments.text, seed=0)  # float32 [samples], in -1 to 1
    soundfile.write(arguments.output, audio, voice.sample_rate)
    print(f"{arguments.output}: {len(audio) / voice.sample_rate:.2f} s")


if __name__ == "__main__":
    main()
