"""A voice: text to audio, with the graphs of a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .bundle import Bundle, read_bundle
from .decode import DecodeOptions, decode
from .engine import Engine
from .errors import BundleError, EngineError, OptionError, TextError
from .istft import inverse_stft
from .lexicon import Lexicon
from .manifest import Manifest, ParallelTextFacts
from .onnx_engine import OnnxEngine, Provider
from .semantic import AutoregressiveText, ParallelText, TextStage, TooLongError
from .text import split_sentences

PAUSE = "pau"  # the phone of silence: at both ends of a sentence and at its phrase breaks
PAUSE_SECONDS = 0.15  # silence between two sentences, beside what each has at its ends


class Voice:
    """Speaks text. `Voice.load` makes one; the same text, options and seed give the same audio.

    `sample_rate` is in samples a second; `options` are the voice's own decode options.
    """

    def __init__(
        self, manifest: Manifest, text: TextStage, step: Engine, decoder: Engine, lexicon: Lexicon
    ) -> None:
        self.sample_rate = manifest.audio.sample_rate
        self.options = manifest.decode
        self._manifest = manifest
        self._text = text
        self._step = step
        self._decoder = decoder
        self._lexicon = lexicon
        self._ids = {symbol: place for place, symbol in enumerate(manifest.text.symbols)}

    @classmethod
    def load(cls, path: str | Path, *, threads: int | None = None, provider: Provider = "auto") -> Voice:
        """Load the bundle in the folder `path`.

        threads: threads within one operator; None takes the processors at hand, up to 8.
        provider: 'cpu', 'cuda', or 'auto' for the best that works, which the log then names.

        Raises `BundleError` for a bundle that fails a check, `EngineError` for an engine that is
        missing or cannot be used.
        """
        bundle = read_bundle(path)
        manifest = bundle.manifest
        engines: dict[str, Engine] = {}
        for name, graph in manifest.expected_graphs().items():
            engine = OnnxEngine(
                graph, bundle.graph_file(name), manifest.axes, provider=provider, threads=threads
            )
            provider = engine.provider  # the other graphs run where the first one does
            engines[name] = engine
        text = _text_stage(bundle, engines)
        return cls(manifest, text, engines["step"], engines["decoder"], Lexicon.load(bundle.lexicon_file))

    def speak(
        self,
        text: str,
        *,
        seed: int = 0,
        steps: Sequence[int] | None = None,
        temperature: float | None = None,
        options: DecodeOptions | None = None,
    ) -> np.ndarray:
        """Speak a text of any number of sentences; float32 [samples] in [-1, 1] at `sample_rate`.

        options: how codes are decoded; None takes the voice's own. `steps` (one number per level)
        and `temperature` replace theirs.

        Raises `TextError` for a text that cannot be spoken, `OptionError` for an option out of range.
        """
        return np.concatenate(
            list(self.speak_sentences(text, seed=seed, steps=steps, temperature=temperature, options=options))
        )

    def speak_sentences(
        self,
        text: str,
        *,
        seed: int = 0,
        steps: Sequence[int] | None = None,
        temperature: float | None = None,
        options: DecodeOptions | None = None,
    ) -> Iterator[np.ndarray]:
        """Give what `speak` returns sentence by sentence, each but the first with a pause before it.

        Text and options are checked at the call, before the first sentence is asked for.
        """
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise OptionError(f"seed is {seed!r}, expected a whole number of 0 or more")
        options = options or self.options
        if steps is not None:
            options = replace(options, steps=tuple(steps))
        if temperature is not None:
            options = replace(options, temperature=temperature)
        options.check_levels(self._manifest.audio.levels)
        return self._speak_each(split_sentences(text), int(seed), options)

    def _speak_each(self, sentences: list[str], seed: int, options: DecodeOptions) -> Iterator[np.ndarray]:
        pause = np.zeros(round(PAUSE_SECONDS * self.sample_rate), np.float32)
        for place, sentence in enumerate(sentences):
            # A stream of its own for each sentence: what is said before does not change it.
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(place,)))
            try:
                audio = self._speak_phones(self._lexicon.phones(sentence), options, rng)
            except TooLongError as error:
                raise TextError(f"{error} or put commas into it: {_excerpt(sentence)}") from error
            yield np.concatenate([pause, audio]) if place else audio

    def _speak_phones(
        self, phones: list[str], options: DecodeOptions, rng: np.random.Generator
    ) -> np.ndarray:
        ids = self._phone_ids(phones)
        try:
            tokens = self._text.semantic_tokens(ids, rng)
        except TooLongError:
            parts = _split_at_break(phones)
            if not parts:
                raise
            return np.concatenate([self._speak_phones(part, options, rng) for part in parts])
        return self._speak_tokens(tokens, options, rng)

    def _speak_tokens(
        self, tokens: np.ndarray, options: DecodeOptions, rng: np.random.Generator
    ) -> np.ndarray:
        facts = self._manifest.audio
        aligned = np.repeat(tokens, self._manifest.frames_per_token)[None]
        lengths = np.array([aligned.shape[1]])
        codes = decode(self._step, aligned, lengths, facts.levels, facts.codebook_size, options, rng)
        decoded = self._decoder.run({"codes": codes})
        if facts.codec == "spectral":
            audio = inverse_stft(decoded["spectrum"], facts.window, facts.hop)[0]
        else:
            audio = decoded["audio"][0]
        if not np.isfinite(audio).all():
            raise EngineError(
                "the codec's decoder gave samples that are not finite numbers; "
                "try another provider, or export the voice again with soundstorm-export"
            )
        return np.clip(audio, -1, 1)

    def _phone_ids(self, phones: list[str]) -> np.ndarray:
        try:
            return np.array([self._ids[phone] for phone in phones], np.int64)
        except KeyError as error:
            raise BundleError(
                f"the lexicon of voice '{self._manifest.name}' has the phone {error.args[0]!r}, "
                f"expected one of {', '.join(self._ids)}; export it again with soundstorm-export"
            ) from error


def _text_stage(bundle: Bundle, engines: Mapping[str, Engine]) -> TextStage:
    """Make the text stage that the manifest names; it takes what the other graphs can take, too."""
    manifest = bundle.manifest
    axes, encoder = manifest.axes, engines["text_encoder"]
    frames = axes["frames"].max // manifest.frames_per_token
    if isinstance(manifest.text, ParallelTextFacts):
        return ParallelText(encoder, engines["text_decoder"], min(frames, axes["tokens"].max))
    semantic, limit = manifest.semantic, min(frames, axes["past"].max)
    return AutoregressiveText(encoder, engines["text_step"], limit, semantic.vocabulary, semantic.rate)


def _split_at_break(phones: list[str]) -> list[list[str]]:
    """Split phones at the phrase break nearest to the middle, or give nothing where there is none."""
    breaks = [place for place, phone in enumerate(phones) if phone == PAUSE and 0 < place < len(phones) - 1]
    if not breaks:
        return []
    middle = min(breaks, key=lambda place: abs(place - len(phones) / 2))
    return [phones[: middle + 1], phones[middle:]]


def _excerpt(sentence: str) -> str:
    return repr(sentence if len(sentence) <= 60 else f"{sentence[:57]}...")
