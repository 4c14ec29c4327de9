"""Speech of a text that grows while it is spoken, where the caller decides when to compute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..text.incremental import Fragments, Split
from ..text.words import Sentence
from .stream import Stream, chunks
from .word_times import TimedAudio


class IncrementalSpeech:
    """Speech of one text. `Voice.incremental` makes it; one thread at a time may use it.

    `append`, `flush` and `finish` return the sentences that can be spoken from now on; `speak` speaks them.
    The audio is that of `Voice.stream` where nothing is flushed.

    Args:
        stream: The synthesis, at its start.
        split: Cuts a text into sentences.
    """

    def __init__(self, stream: Stream, split: Split) -> None:
        self._stream = stream
        self._fragments = Fragments(split)

    def append(self, text: str) -> list[Sentence]:
        """Append to the text, and return the sentences that are complete now: the next one has begun.

        Raises:
            TextError: A sentence is too long.
        """
        return self._fragments.push(text)

    def flush(self) -> list[Sentence]:
        """Return what is left, complete or not. More text may follow, which begins a new sentence."""
        return self._fragments.flush()

    def finish(self) -> list[Sentence]:
        """Return what is left, at the end of the text. Raises `TextError` if nothing was to be spoken."""
        return self._fragments.finish()

    def speak(self, sentences: Iterable[Sentence]) -> Iterator[TimedAudio]:
        """Speak sentences, in the order in which they were returned.

        Yields:
            Chunks of audio, with the words that begin in them if times were asked for.
        """
        return chunks(self._stream.speak(sentences))
