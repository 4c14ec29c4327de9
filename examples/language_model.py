"""Speak the tokens of a language model as they arrive.

python examples/language_model.py build/voice -o reply.wav

`reply` stands for the model: any iterator of strings will do, such as the stream of a chat client:

    (event.choices[0].delta.content or "" for event in client.chat.completions.create(..., stream=True))
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import soundfile

from soundstorm_runtime import Voice

TOKENS = (
    "It", " is", " half", " past", " seven", ".", " The", " train", " leaves", " in", " ten", " minutes",
    ",", " so", " there", " is", " time", " for", " tea", ".",
)  # fmt: skip


def reply(seconds_per_token: float) -> Iterator[str]:
    """Yield tokens at the pace of a model."""
    for token in TOKENS:
        time.sleep(seconds_per_token)
        yield token


def main() -> None:
    """Write the speech of a reply, and print when each chunk came."""
    parser = argparse.ArgumentParser(description="Speak the tokens of a language model as they arrive.")
    parser.add_argument("bundle", nargs="?", default="build/voice")
    parser.add_argument("-o", "--output", default="reply.wav")
    parser.add_argument("--token-seconds", type=float, default=0.05, help="time between two tokens")
    arguments = parser.parse_args()

    voice = Voice.load(arguments.bundle)
    voice.warm_up()
    started = time.perf_counter()
    with soundfile.SoundFile(arguments.output, "w", voice.sample_rate, channels=1) as file:
        # A sentence is spoken as soon as the next one begins, while the model goes on writing.
        for chunk in voice.stream(reply(arguments.token_seconds), seed=0):
            file.write(chunk)
            seconds = len(chunk) / voice.sample_rate
            print(f"{time.perf_counter() - started:5.2f} s: {seconds:.2f} s of audio")


if __name__ == "__main__":
    main()
