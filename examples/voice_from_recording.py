"""Speak in the voice of a recording: three to five seconds of one person, in a quiet room.

python examples/voice_from_recording.py build/voice guest.wav -o guest-says.wav
"""

from __future__ import annotations

import argparse

import soundfile

from soundstorm_runtime import Voice


def main() -> None:
    """Make a prompt of the recording, and speak with it."""
    parser = argparse.ArgumentParser(description="Speak in the voice of a recording.")
    parser.add_argument("bundle")
    parser.add_argument("recording", help="a sound file of any sample rate")
    parser.add_argument("-t", "--text", default="This is how the recording says something new.")
    parser.add_argument("-o", "--output", default="guest-says.wav")
    arguments = parser.parse_args()

    voice = Voice.load(arguments.bundle)
    prompt = voice.prompt(arguments.recording)  # once; any number of texts may use it
    audio = voice.speak(arguments.text, voice=prompt, seed=0)
    soundfile.write(arguments.output, audio, voice.sample_rate)
    print(f"{arguments.output}: {len(audio) / voice.sample_rate:.2f} s")


if __name__ == "__main__":
    main()
