"""Recordings to prompts on the device, by the codec's encoder and the semantic tokenizer."""

from __future__ import annotations

import numpy as np

from ..audio.recording import Recording, prepare
from ..bundle.manifest import PromptEncoderReport
from ..bundle.prompts import Prompt
from ..bundle.reader import Bundle
from ..engines.base import Engine
from ..engines.onnx.onnx_engine import OnnxEngine
from ..errors import OptionError


class PromptEncoder:
    """Makes prompts for the voice of a bundle.

    Its graphs are opened for the first prompt, since speech needs neither. They run on the CPU in fp32,
    whatever the voice runs on: a recording makes the same prompt everywhere.

    Args:
        bundle: The voice.
        threads: Threads within one operator; None uses the available processors, up to 8.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self._bundle, self._threads = bundle, threads
        self._engines: dict[str, Engine] = {}

    def make(self, recording: Recording) -> Prompt:
        """Make a prompt of a recording.

        Raises:
            AudioError: The recording cannot serve as a prompt.
            OptionError: The voice makes no prompts of recordings.
            BundleError: A graph's file fails its check.
            EngineError: A graph cannot be run.
        """
        manifest = self._bundle.manifest
        speech = prepare(recording, manifest.audio.sample_rate, self._report().level)
        return self.tokenize(speech)

    def tokenize(self, audio: np.ndarray) -> Prompt:
        """Turn audio, float32 [samples] at the voice's rate, into codes and semantic tokens without changes.

        Silence fills the last token.

        Raises:
            OptionError: The voice makes no prompts of recordings.
        """
        self._report()
        manifest = self._bundle.manifest
        hop = manifest.audio.hop
        per_token = hop * manifest.frames_per_token
        whole = np.pad(audio, (0, -len(audio) % per_token))[None]
        codes = self._run("encoder", whole.reshape(1, -1, hop))["codes"][0]
        tokens = self._run("units", whole.reshape(1, -1, per_token))["semantic_tokens"][0]
        return Prompt(codes, tokens, manifest.fingerprint)

    def _run(self, name: str, audio: np.ndarray) -> dict[str, np.ndarray]:
        if name not in self._engines:
            manifest, file = self._bundle.manifest, self._bundle.graph_file(name)
            graph = manifest.prompt_graphs()[name]
            self._engines[name] = OnnxEngine(graph, file, manifest.axes, threads=self._threads)
        return self._engines[name].run({"audio": audio})

    def _report(self) -> PromptEncoderReport:
        manifest = self._bundle.manifest
        if manifest.hearing is None:
            reason = "it has no graphs for that; export it again with soundstorm-export"
            if manifest.semantic.units == "hubert":
                reason = (
                    "it was exported without HuBERT, which makes its semantic tokens; export it again with "
                    "soundstorm-export on the machine that it was trained on, where HuBERT's weights are"
                )
            raise OptionError(f"voice '{manifest.name}' makes no prompts of recordings: {reason}")
        return manifest.hearing
