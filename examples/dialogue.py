"""Two speakers, decoded in one sequence, with the times of their turns.

python examples/dialogue.py build/voice --voices rms slt -o talk.wav
"""

from __future__ import annotations

import argparse

import soundfile

from soundstorm_runtime import Turn, Voice


def main() -> None:
    """Speak four turns."""
    parser = argparse.ArgumentParser(description="Speak a dialogue.")
    parser.add_argument("bundle", nargs="?", default="build/voice")
    parser.add_argument("--voices", nargs=2, help="two of those that 'soundstorm voices' lists")
    parser.add_argument("-o", "--output", default="talk.wav")
    arguments = parser.parse_args()

    voice = Voice.load(arguments.bundle)
    anna, ben = arguments.voices or (*voice.voices, None, None)[:2]
    spoken = voice.dialogue(
        [
            (anna, "Did you see the lights last night?"),
            (ben, "No, I was asleep."),
            Turn(anna, "All night?", gap=-0.2),  # both speak for 0.2 s
            (ben, "[gap 0.6s] Well, most of it."),
        ],
        seed=0,
    )
    soundfile.write(arguments.output, spoken.audio, voice.sample_rate)
    for turn in spoken.turns:
        print(f"{turn.start:5.2f} to {turn.end:5.2f} s  {turn.voice or 'default'}: {turn.text}")


if __name__ == "__main__":
    main()
