"""The training run of a recipe: its stages, and the folder in which they leave their results.

corpus/               utterances.jsonl, audio/
codec/                state.pt, log.jsonl
units/                units.pt, tokens/
text/                 state.pt, log.jsonl, sources.json; read/, tokens predicted by the text stage
unit_distillation/    state.pt, log.jsonl, sources.json, tokens/; where the recipe has that stage
acoustic/             state.pt, log.jsonl, sources.json, codes/
ckpt.pt               the voice
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn

from soundstorm_runtime.bundle.prompts import Prompt
from soundstorm_runtime.support.atomic import write_file
from soundstorm_runtime.support.command import needs_extra
from soundstorm_runtime.support.files import parse_json, read_text, reason
from soundstorm_runtime.text.lexicon import Lexicon

from ..checkpoint import VoiceConfig, build_codec, build_voice, save_voice
from ..codec.interface import Codec
from ..data.corpus import Corpus, make_corpus
from ..data.degradation import degrade
from ..data.shipped_lexicon import shipped_lexicon
from ..errors import CheckpointError, ConfigError
from ..text_to_semantic.parallel import ParallelTextConfig, ParallelTextToSemantic
from ..units.semantic_units import PhoneticUnits, SemanticTokenizer, build_units
from .batches import pad
from .loop import train
from .recipe import FORMER_NAMES, Recipe
from .stages.acoustic_stage import AcousticStage
from .stages.codec_stage import CodecStage
from .stages.text_stage import TextStage, with_durations
from .stages.unit_distillation import UnitDistillationStage
from .stages.units_stage import fit_units, load_units, phones_of_frames
from .state import read_state, trained_weights
from .token_cache import Tokens, corpus_tokens, fingerprint, tokens_of_utterances

PROMPT_SECONDS = 3.0
SOURCES = "sources.json"
COMMANDS = {"unit_distillation": "distill-units"}  # of the stages whose command differs from their folder


class TrainingRun:
    """Runs the stages of a recipe; each resumes where it was stopped.

    Args:
        recipe: the settings of every stage.
        folder: holds the results of the stages, which later stages read.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder

    # The stages, in their order

    def make_corpus(self, cluster: str | None = None) -> Corpus:
        """Make the corpus, or complete it, on the Ray cluster of an address where one is given."""
        arguments = self.recipe.corpus, self.folder / "corpus", self.recipe.lexicon
        if cluster is None:
            return make_corpus(*arguments)
        with needs_extra("ray"):
            from soundstorm_runtime.support.cluster import connect

            from ..data.ray_corpus import on_cluster
        connect(cluster)
        return make_corpus(*arguments, on_cluster)

    def train_codec(self) -> None:
        """Train the codec on the corpus."""
        settings = self.recipe.codec
        train(CodecStage(settings, self.corpus), settings.optimization, self.stage_folder("codec"))

    def fit_units(self) -> None:
        """Fit the semantic units to the corpus, and tokenize the corpus with them."""
        path = self.stage_folder("units") / "units.pt"
        units = fit_units(self.recipe.units, self.corpus, path, self.lexicon.symbols)
        self._semantic_tokens("units", units)

    def train_text(self) -> None:
        """Train the text stage to predict the semantic tokens of the corpus from its phones."""
        settings, corpus, units = self.recipe.text, self.corpus, self.fitted_units()
        self._record_sources("text", units=units)
        tokens = self._semantic_tokens("units", units)
        config = self.recipe.text_config(self.lexicon.symbols)
        stage = TextStage(settings, config, corpus, tokens, units.rate, self.lexicon)
        train(stage, settings.optimization, self.stage_folder("text"))

    def distill_units(self) -> None:
        """Train units that predict, for any speaker, the tokens that the text stage predicts.

        Raises:
            ConfigError: the recipe has no such stage.
        """
        settings = self.recipe.unit_distillation
        if settings is None:
            raise ConfigError(
                f"recipe {self.recipe.name} has no [unit_distillation]; go on without this stage"
            )
        corpus, text = self.corpus, self.trained_text("unit_distillation")
        self._record_sources("unit_distillation", text=text)
        stage = UnitDistillationStage(settings, corpus, self._predicted_tokens(text))
        train(stage, settings.optimization, self.stage_folder("unit_distillation"))

    def train_acoustic(self) -> None:
        """Train SoundStorm on the codes of the trained codec and the semantic tokens of the units."""
        settings, corpus = self.recipe.acoustic, self.corpus
        codec, units = self.trained_codec(), self.trained_units()
        self._record_sources("acoustic", codec=codec, units=units)
        folder = self.stage_folder("acoustic")
        codes = corpus_tokens(folder / "codes", corpus, codec, codec.tokenize)
        tokens = self._semantic_tokens(self._units_stage, units)
        predicted = None
        if settings.predicted_tokens:
            predicted = self._predicted_tokens(self.trained_text("acoustic.predicted_tokens"))
        frames_per_token = codec.sample_rate // (codec.hop * units.rate)
        stage = AcousticStage(
            settings,
            self.recipe.soundstorm_config(),
            corpus,
            codes,
            tokens,
            frames_per_token,
            predicted,
            self._degraded_tokens(codec, units) if settings.degraded_prompts else None,
        )
        train(stage, settings.optimization, folder)

    def _degraded_tokens(self, codec: Codec, units: SemanticTokenizer) -> tuple[Tokens, Tokens]:
        """Return codes and semantic tokens of the corpus as it sounds outside a studio."""

        def degraded(audio: Tensor) -> Tensor:
            return torch.from_numpy(degrade(audio[0].cpu().numpy(), codec.sample_rate))[None].to(audio)

        folder = self.stage_folder("acoustic")
        codes = corpus_tokens(
            folder / "degraded-codes", self.corpus, codec, lambda audio: codec.tokenize(degraded(audio))
        )
        tokens = corpus_tokens(
            folder / "degraded-tokens", self.corpus, units, lambda audio: units.tokenize(degraded(audio))
        )
        return codes, tokens

    def assemble(self, path: Path, precision: Literal["fp16", "fp32"] = "fp16") -> None:
        """Write the trained stages to one checkpoint.

        Args:
            path: of the checkpoint.
            precision: of the weights in it.

        Raises:
            CheckpointError: a stage is not trained, or was trained on results that have changed since.
        """
        recipe, corpus = self.recipe, self.corpus
        codec, units = self.trained_codec(), self.trained_units()
        self._check_sources("acoustic", codec=codec, units=units)
        self._check_sources("text", units=self.fitted_units())
        prompts = {}
        if len(corpus.utterances.speakers) > 1:
            prompts = speaker_prompts(corpus, codec, units, recipe.corpus.voices)
        elif recipe.acoustic.conformer.block_causal:  # a prompt costs time once, and not in every step
            (prompt,) = speaker_prompts(corpus, codec, units).values()
            prompts = {recipe.name: prompt}
        config = VoiceConfig(
            name=recipe.name,
            codec=recipe.codec.model,
            units=(recipe.unit_distillation or recipe.units).model,
            soundstorm=recipe.soundstorm_config(),
            text=recipe.text_config(self.lexicon.symbols),
            decode=recipe.decode,
            speaker=next(iter(prompts), None),
            notice=recipe.notice,
        )
        voice = build_voice(config, self.lexicon, prompts)
        voice.codec.load_state_dict(codec.state_dict())
        voice.units.load_state_dict(units.state_dict())
        voice.soundstorm.load_state_dict(self.weights("acoustic", config.soundstorm))
        voice.text.load_state_dict(self.weights("text", config.text))
        if recipe.unit_distillation is not None:
            self._check_sources("unit_distillation", text=voice.text)
        save_voice(path, voice, precision)

    # What the stages have made

    @cached_property
    def corpus(self) -> Corpus:
        """The corpus, which has to be complete."""
        return Corpus(self.folder / "corpus")

    @cached_property
    def lexicon(self) -> Lexicon:
        """The pronunciations that the text is read with."""
        return shipped_lexicon(self.recipe.lexicon)

    def stage_folder(self, stage: str) -> Path:
        """Return the folder of a stage; that of its former name where an older version has begun it."""
        for former, name in FORMER_NAMES.items():
            if name == stage and (self.folder / former).exists():
                return self.folder / former
        return self.folder / stage

    def weights(self, stage: str, config: Any, prefix: str = "") -> dict[str, Any]:
        """Read the trained weights of a stage.

        Args:
            stage: the name of its folder.
            config: of the network, which the state has to match.
            prefix: selects the weights whose names begin with it, which is removed.

        Raises:
            CheckpointError: there are none, or they are of another configuration.
        """
        path = self.stage_folder(stage) / "state.pt"
        if not path.exists():
            raise CheckpointError(
                f"nothing trained in {path.parent}; run 'soundstorm-train {_command(stage)}' first"
            )
        found = trained_weights(read_state(path, config, "train it again, or choose another --run"))
        return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}

    def trained_codec(self) -> Codec:
        """Return the trained codec, without the discriminators beside it, in evaluation mode."""
        codec = build_codec(self.recipe.codec.model)
        codec.load_state_dict(self.weights("codec", self.recipe.codec.model, "codec."))
        return codec.eval()

    def fitted_units(self) -> SemanticTokenizer:
        """Return the units that were fitted to the corpus, which the text stage learns from."""
        return load_units(self.stage_folder("units") / "units.pt", self.recipe.units.model).eval()

    def trained_units(self) -> SemanticTokenizer:
        """Return the units of the finished voice: the distilled ones where the recipe has them."""
        settings = self.recipe.unit_distillation
        if settings is None:
            return self.fitted_units()
        units = build_units(settings.model)
        units.load_state_dict(self.weights("unit_distillation", settings.model, "units."))
        return units.eval()

    def trained_text(self, needed_by: str) -> ParallelTextToSemantic:
        """Return the trained parallel text stage; `needed_by` is the part of the recipe that requires it."""
        config = self.recipe.text_config(self.lexicon.symbols)
        if not isinstance(config, ParallelTextConfig):
            raise ConfigError(
                f"the recipe has {needed_by}, which needs text.model.kind = 'parallel'; set it, or leave "
                f"{needed_by} out"
            )
        text = ParallelTextToSemantic(config)
        text.load_state_dict(self.weights("text", config))
        return text

    @property
    def _units_stage(self) -> str:
        return "units" if self.recipe.unit_distillation is None else "unit_distillation"

    def _semantic_tokens(self, stage: str, units: SemanticTokenizer) -> Tokens:
        """Return the semantic tokens of the corpus, which the folder of the units' stage caches."""
        folder, corpus = self.stage_folder(stage) / "tokens", self.corpus
        if not (isinstance(units, PhoneticUnits) and units.config.by_phone):
            return corpus_tokens(folder, corpus, units, units.tokenize)
        ids = {symbol: number for number, symbol in enumerate(self.lexicon.symbols)}

        def compute(numbers: Sequence[int], device: torch.device) -> list[Tensor]:
            found = []
            for utterance in (corpus.utterances[number] for number in numbers):
                audio = torch.from_numpy(corpus.audio(utterance))[None].to(device)
                if not utterance.ends:
                    found.append(units.tokenize(audio)[0])
                    continue
                frames = -(-audio.shape[1] * units.rate // units.sample_rate)
                phones = torch.from_numpy(phones_of_frames(utterance, units.rate, frames, ids))[None]
                found.append(units.tokenize_phones(audio, phones.to(device))[0])
            return found

        return tokens_of_utterances(folder, corpus, units, compute, batch=1, uses_phones=True)

    def _predicted_tokens(self, text: ParallelTextToSemantic) -> Tokens:
        """Return the semantic tokens that the text stage predicts for the true durations of the phones."""
        units, utterances = self.fitted_units(), self.corpus.utterances
        tokens = self._semantic_tokens("units", units)
        ids = {symbol: index for index, symbol in enumerate(text.config.symbols)}

        def predict(numbers: Sequence[int], device: torch.device) -> list[Tensor]:
            rows = [with_durations(utterances[n], tokens[n], units.rate, ids)[:2] for n in numbers]
            (phones, lengths), (durations, _) = (pad(column) for column in zip(*rows, strict=True))
            batch = text.predict(phones.to(device), lengths.to(device), durations.to(device))
            return [row[: len(tokens[n])] for row, n in zip(batch, numbers, strict=True)]

        models = nn.ModuleDict({"text": text, "units": units})  # other units make other lengths
        folder = self.stage_folder("text") / "read"
        return tokens_of_utterances(folder, self.corpus, models, predict, batch=16, uses_phones=True)

    # What a stage was trained on

    def _record_sources(self, stage: str, **models: nn.Module) -> None:
        """Note which models a stage is trained on; raises `CheckpointError` if it began with others."""
        folder = self.stage_folder(stage)
        if (folder / "state.pt").exists():
            self._check_sources(stage, **models)
        elif PartialState().is_main_process:
            write_file(folder / SOURCES, json.dumps(_fingerprints(models)))

    def _check_sources(self, stage: str, **models: nn.Module) -> None:
        """Raise `CheckpointError` where a stage was trained on other weights than the run has now."""
        folder = self.stage_folder(stage)
        recorded = _recorded_sources(folder / SOURCES)
        now = _fingerprints(models)
        for name, value in recorded.items():
            if value != now.get(name):
                raise CheckpointError(
                    f"{folder} was trained with another {name} than the run has now; remove "
                    f"{folder} and run 'soundstorm-train {_command(stage)}' again"
                )


def _fingerprints(models: Mapping[str, nn.Module]) -> dict[str, str]:
    """Return digests of weights alone: a stage may go on with a corpus that has grown."""
    return {name: fingerprint(model) for name, model in models.items()}


def _recorded_sources(path: Path) -> dict[str, str]:
    """Read which models a stage was trained on; nothing where an older version has trained it."""
    if not path.exists():
        return {}
    try:
        return dict(parse_json(read_text(path)))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({reason(error)}); remove {path.parent} and train that stage again"
        ) from error


def _command(stage: str) -> str:
    return COMMANDS.get(stage, stage)


def speaker_prompts(
    corpus: Corpus, codec: Codec, units: SemanticTokenizer, voices: Sequence[str] = ()
) -> dict[str, Prompt]:
    """Return a prompt for each speaker, by name.

    A prompt is a whole utterance of about `PROMPT_SECONDS`, so that speech follows it as one sentence
    follows another; a held-out one where there is any.

    Args:
        corpus: that the prompts are cut from.
        codec: of the voice.
        units: of the voice.
        voices: the speakers to be offered, since random blends teach a voice and are not worth a name; all
            speakers where the corpus has none of them.
    """
    utterances = corpus.utterances
    prompts = {}
    frames_per_token = codec.sample_rate // (codec.hop * units.rate)
    speakers = list(utterances.speakers)
    for name in [name for name in voices if name in speakers] or speakers:
        spoken = utterances.speaker == speakers.index(name)
        own = utterances.where(utterances.held_out & spoken) or utterances.where(spoken)
        chosen = own[int(np.abs(own.seconds - PROMPT_SECONDS).argmin())]
        audio = torch.from_numpy(corpus.audio(chosen))[None]
        with torch.inference_mode():
            codes, tokens = codec.tokenize(audio)[0], units.tokenize(audio)[0]
        count = min(len(codes) // frames_per_token, len(tokens))
        prompts[name] = Prompt(codes[: count * frames_per_token].numpy(), tokens[:count].numpy())
    return prompts
