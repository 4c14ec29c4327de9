"""A word of finished speech replaced by another; everything else stays as it is.

python examples/edit.py build/voice "We meet on Tuesday." Tuesday Thursday -o edited.wav
"""

from __future__ import annotations

import argparse

import numpy as np
import soundfile

from soundstorm_runtime import Voice


def main() -> None:
    """Speak a text, and replace words in it."""
    parser = argparse.ArgumentParser(description="Replace words of finished speech.")
    parser.add_argument("bundle", nargs="?", default="build/voice")
    parser.add_argument("text", nargs="?", default="We will all meet on Tuesday at the old bridge.")
    parser.add_argument("old", nargs="?", default="Tuesday")
    parser.add_argument("new", nargs="?", default="Thursday")
    parser.add_argument("-o", "--output", default="edited.wav")
    arguments = parser.parse_args()

    voice = Voice.load(arguments.bundle)
    speech = voice.speak_timed(arguments.text, seed=0)
    edited = voice.edit(speech, arguments.old, arguments.new)
    soundfile.write(arguments.output, edited.audio, voice.sample_rate)

    shorter = min(len(speech.audio), len(edited.audio))
    (changed,) = np.nonzero(speech.audio[:shorter] != edited.audio[:shorter])
    print(" ".join(word.word for word in edited.words))
    same = changed[0] if len(changed) else shorter
    print(f"the first {same / voice.sample_rate:.2f} s are the same to the bit")


if __name__ == "__main__":
    main()
