"""Speak many short texts together, each to a file of its own.

python examples/batch.py build/voice texts.txt -o spoken

For thousands of lines in several processes, with a way to go on after a stop, there is `soundstorm batch`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import soundfile

from soundstorm_runtime import Voice

AT_ONCE = 8  # texts whose decoding steps are computed together


def main() -> None:
    """Speak every line of a file."""
    parser = argparse.ArgumentParser(description="Speak many short texts together.")
    parser.add_argument("bundle")
    parser.add_argument("texts", type=Path, help="a file with one text in each line")
    parser.add_argument("-o", "--output", type=Path, default=Path("spoken"))
    arguments = parser.parse_args()

    lines = [line for line in arguments.texts.read_text(encoding="utf-8").splitlines() if line.strip()]
    arguments.output.mkdir(parents=True, exist_ok=True)
    # fp32: a text sounds the same in a batch as alone. int8 runs them one after the other.
    voice = Voice.load(arguments.bundle, precision="fp32")
    for start in range(0, len(lines), AT_ONCE):
        batch = lines[start : start + AT_ONCE]
        for number, audio in enumerate(voice.speak_many(batch, seed=0), start):
            path = arguments.output / f"{number:04}.wav"
            soundfile.write(path, audio, voice.sample_rate)
            print(f"{path}: {len(audio) / voice.sample_rate:.2f} s")


if __name__ == "__main__":
    main()
