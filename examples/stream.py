"""Play speech while it is being made; on a machine without a sound card, write it to a file.

python examples/stream.py build/voice -o stream.wav
pip install sounddevice                               # to play it
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import soundfile

from soundstorm_runtime import Voice

TEXT = "The first sound comes before this sentence is complete. The rest follows without a gap."


def play(chunks: Iterator[np.ndarray], sample_rate: int) -> None:
    """Send chunks to the sound card; `write` blocks until there is room for more."""
    import sounddevice

    with sounddevice.OutputStream(sample_rate, channels=1, dtype="float32") as card:
        for chunk in chunks:
            card.write(chunk[:, None])


def write(chunks: Iterator[np.ndarray], sample_rate: int, path: str) -> None:
    """Write chunks to a file as they come."""
    with soundfile.SoundFile(path, "w", sample_rate, channels=1) as file:
        for chunk in chunks:
            file.write(chunk)


def timed(chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Pass chunks on, and print when the first one came."""
    started = time.perf_counter()
    for number, chunk in enumerate(chunks):
        if number == 0:
            print(f"first audio after {1000 * (time.perf_counter() - started):.0f} ms")
        yield chunk


def main() -> None:
    """Stream one text."""
    parser = argparse.ArgumentParser(description="Play speech while it is being made.")
    parser.add_argument("bundle", nargs="?", default="build/voice")
    parser.add_argument("text", nargs="?", default=TEXT)
    parser.add_argument("-o", "--output", help="write to this file instead of playing")
    arguments = parser.parse_args()

    voice = Voice.load(arguments.bundle)
    voice.warm_up()  # measures this machine once, so that the first stream does not have to
    chunks = timed(voice.stream(arguments.text, seed=0))
    if arguments.output:
        write(chunks, voice.sample_rate, arguments.output)
    else:
        play(chunks, voice.sample_rate)


if __name__ == "__main__":
    main()
