"""What synthesis costs on this machine, measured once a voice: for blocks of a stream and for budgets."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ..decoding.maskgit import DecodeOptions, finish
from ..decoding.prefix_cache import BLOCK_FRAMES
from ..engines.timing import quickest
from .acoustic_stage import AcousticStage
from .sentence_reader import Part, SentenceReader

_SENTENCE = "The old clock in the hall strikes ten every morning."

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Costs:
    """Seconds of computation, as a linear function of the length.

    Attributes:
        sentence: The text stage, for each sentence.
        token: The text stage, for each semantic token, where it makes them one by one.
        step: One step of SoundStorm.
        step_frame: One step of SoundStorm, for each frame.
        codec_frame: The codec's decoder, for each frame.
    """

    sentence: float
    token: float
    step: float
    step_frame: float
    codec_frame: float

    def text_stage(self, tokens: int) -> float:
        """Return the seconds of the text stage for so many semantic tokens."""
        return self.sentence + self.token * tokens

    def one_step(self, frames: int) -> float:
        """Return the seconds of one step of SoundStorm, over so many frames with the prompt's."""
        return self.step + self.step_frame * frames

    def codec(self, frames: int) -> float:
        """Return the seconds that the codec's decoder takes for so many frames."""
        return self.codec_frame * frames

    def rounded(self) -> Costs:
        """Round up to powers of the square root of 2.

        The audio of a stream then depends on the machine, and hardly ever on the moment of measuring.
        """
        return Costs(*(_round_up(getattr(self, field.name)) for field in fields(self)))


class Calibration:
    """Measures the costs of a voice when they are first asked for. Threads may share it.

    Args:
        acoustics: The acoustic stage of the voice.
        levels: Levels of its codec.
    """

    def __init__(self, acoustics: AcousticStage, levels: int) -> None:
        self._acoustics, self._levels = acoustics, levels
        self._costs: Costs | None = None
        self._measuring = threading.Lock()

    def costs(self, reader: SentenceReader, given: Costs | None = None) -> Costs:
        """Return the costs; `given` ones take the place of measured ones from now on."""
        with self._measuring:
            if given is not None or self._costs is None:
                self._costs = given or measure(reader, self._acoustics, self._levels).rounded()
            return self._costs


def measure(reader: SentenceReader, acoustics: AcousticStage, levels: int) -> Costs:
    """Measure the costs with one sentence, and with the shortest and the longest block of a stream.

    Args:
        reader: The text stage.
        acoustics: The acoustic stage.
        levels: Levels of the codec.
    """
    (sentence,), seed = reader.sentences(_SENTENCE), np.random.SeedSequence(0)
    arrays, reading = quickest(lambda: list(next(reader.read_as_made(sentence, seed)).tokens))
    one_by_one = len(arrays) > 1
    options = DecodeOptions((1,) * levels)

    def decode(frames: int) -> tuple[np.ndarray, float]:
        tokens = np.zeros(frames // acoustics.per_token, np.int64)
        context = acoustics.context(None, options)

        def codes() -> np.ndarray:
            return finish(acoustics.codes_in_steps(Part(tokens, np.random.default_rng(0)), options, context))

        return quickest(codes)

    few, many = BLOCK_FRAMES[0], BLOCK_FRAMES[-1]
    (_, short), (codes, long) = decode(few), decode(many)
    _, codec = quickest(lambda: acoustics.audio(codes))
    frame = max(0.0, long - short) / (many - few) / levels
    return Costs(
        sentence=0.0 if one_by_one else reading,
        token=reading / len(arrays) if one_by_one else 0.0,
        step=max(0.0, short / levels - few * frame),
        step_frame=frame,
        codec_frame=codec / many,
    )


def steps_within(
    seconds: float,
    costs: Costs,
    own: Sequence[int],
    tokens: int,
    frames: int,
    prompt_frames: int,
) -> tuple[int, ...]:
    """Return as many of a voice's steps per level as let a sentence be ready in time, and log the choice.

    Args:
        seconds: The time there is. Each level keeps one step, even where that takes longer.
        costs: What synthesis costs.
        own: The voice's steps per level.
        tokens: Semantic tokens of the sentence.
        frames: Frames of the sentence.
        prompt_frames: Frames of the prompt before it.
    """
    text, codec = costs.text_stage(tokens), costs.codec(frames)
    step = costs.one_step(prompt_frames + frames)
    steps = share_steps(own, int((seconds - text - codec) / step) if step else sum(own))
    expected = text + step * sum(steps) + codec
    chosen = f"steps {','.join(map(str, steps))}, about {1000 * expected:.0f} ms"
    if expected > seconds:
        _log.warning(
            "budget: %g ms are too few on this machine; using the fewest, %s", 1000 * seconds, chosen
        )
    else:
        _log.info(
            "budget: %g ms allow %s (text %.0f ms, each step %.1f ms, codec %.0f ms)",
            1000 * seconds,
            chosen,
            *(1000 * part for part in (text, step, codec)),
        )
    return steps


def share_steps(own: Sequence[int], total: int) -> tuple[int, ...]:
    """Reduce `own` steps per level to `total` in all, each level in proportion and to 1 at least.

    A level with 0 steps keeps 0.
    """
    fewest = fewest_steps(own)
    extra = [steps - least for steps, least in zip(own, fewest, strict=True)]
    left = min(max(total - sum(fewest), 0), sum(extra))
    exact = [left * steps / sum(extra) if left else 0.0 for steps in extra]
    shares = [int(share) for share in exact]
    # What rounding leaves goes to the levels that lost most, to the coarser of equals.
    for place in sorted(range(len(own)), key=lambda place: shares[place] - exact[place])[
        : left - sum(shares)
    ]:
        shares[place] += 1
    return tuple(least + share for least, share in zip(fewest, shares, strict=True))


def fewest_steps(own: Sequence[int]) -> tuple[int, ...]:
    """Return one step for each level that has any."""
    return tuple(min(1, steps) for steps in own)


def _round_up(seconds: float) -> float:
    return 2 ** (math.ceil(2 * math.log2(seconds)) / 2) if seconds > 0 else 0.0
