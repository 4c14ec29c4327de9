"""A run: the folder in which the stages of one recipe leave what the next ones need.

corpus/               utterances.jsonl, audio/
codec/                state.pt, log.jsonl
units/                units.pt, tokens/
text/                 state.pt, log.jsonl, sources.json; read/ where others learn from what it reads
hearing/              state.pt, log.jsonl, sources.json, tokens/, where units learn from what is read
acoustic/             state.pt, log.jsonl, codes/, sources.json
ckpt.pt               the voice
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn

from soundstorm_runtime.bundle.prompts import Prompt
from soundstorm_runtime.support.atomic import write_file
from soundstorm_runtime.text.lexicon import Lexicon

from ..checkpoint import VoiceConfig, build_codec, build_voice, save_voice
from ..codec.interface import Codec
from ..codec.soundstream import SoundStreamConfig
from ..data.corpus import Corpus, make_corpus
from ..data.shipped_lexicon import shipped_lexicon
from ..errors import CheckpointError, ConfigError
from ..soundstorm.model import SoundStormConfig
from ..text_to_semantic.autoregressive import TextToSemanticConfig
from ..text_to_semantic.parallel import ParallelTextConfig, ParallelTextToSemantic
from ..units.semantic_units import SemanticTokenizer, build_units
from .batches import pad
from .loop import train
from .stages.acoustic_stage import AcousticStage
from .stages.codec_stage import CodecStage
from .stages.text_stage import TextStage, with_alphabets, with_durations
from .stages.unit_distillation import HearingStage
from .stages.units_stage import fit_units, load_units
from .state import read_state, trained_weights
from .token_cache import Tokens, corpus_tokens, fingerprint, tokens_of_utterances

if TYPE_CHECKING:
    from .recipe import Recipe

PROMPT_SECONDS = 3.0
SOURCES = "sources.json"


def corpus(recipe: Recipe, folder: Path) -> Corpus:
    """Make the corpus of a run, or complete it."""
    return make_corpus(recipe.corpus, folder / "corpus")


def codec(recipe: Recipe, folder: Path) -> None:
    """Train the codec."""
    train(CodecStage(recipe.codec, Corpus(folder / "corpus")), recipe.codec.optimization, folder / "codec")


def units(recipe: Recipe, folder: Path) -> None:
    """Fit the semantic units, and tokenize the corpus with them."""
    speech = Corpus(folder / "corpus")
    path, symbols = folder / "units" / "units.pt", shipped_lexicon(recipe.lexicon).symbols
    fitted = fit_units(recipe.units, speech, path, symbols)
    _heard(folder / "units", speech, fitted)


def text(recipe: Recipe, folder: Path) -> None:
    """Train the text stage on the semantic tokens of the corpus."""
    speech, lexicon = Corpus(folder / "corpus"), shipped_lexicon(recipe.lexicon)
    fitted = _fitted_units(recipe, folder)
    _learn_from(folder / "text", _sources(speech, units=fitted))
    tokens = _heard(folder / "units", speech, fitted)
    stage = TextStage(recipe.text, text_config(recipe, lexicon), speech, tokens, fitted.rate, lexicon)
    train(stage, recipe.text.optimization, folder / "text")


def hearing(recipe: Recipe, folder: Path) -> None:
    """Teach units to hear what the text stage reads."""
    if recipe.hearing is None:
        raise ConfigError(f"recipe {recipe.name} has no [hearing]; go on without this stage")
    speech, reader = Corpus(folder / "corpus"), _reader(recipe, folder, "hearing")
    _learn_from(folder / "hearing", _sources(speech, text=reader))
    stage = HearingStage(recipe.hearing, speech, _read_tokens(recipe, folder, speech, reader))
    train(stage, recipe.hearing.optimization, folder / "hearing")


def acoustic(recipe: Recipe, folder: Path) -> None:
    """Train SoundStorm on the codes of the trained codec."""
    speech = Corpus(folder / "corpus")
    place, hearers = _units(recipe, folder)
    trained = _trained_codec(recipe, folder)
    _learn_from(folder / "acoustic", _sources(speech, codec=trained, units=hearers))
    codes = corpus_tokens(folder / "acoustic" / "codes", speech, trained, trained.tokenize)
    tokens = _heard(place, speech, hearers)
    frames_per_token = trained.sample_rate // (trained.hop * hearers.rate)
    read = None
    if recipe.acoustic.read:
        read = _read_tokens(recipe, folder, speech, _reader(recipe, folder, "acoustic.read"))
    stage = AcousticStage(
        recipe.acoustic, soundstorm_config(recipe), speech, codes, tokens, frames_per_token, read
    )
    train(stage, recipe.acoustic.optimization, folder / "acoustic")


def assemble(recipe: Recipe, folder: Path, path: Path, precision: Literal["fp16", "fp32"]) -> None:
    """Join the trained stages to one checkpoint at `path`."""
    speech, lexicon = Corpus(folder / "corpus"), shipped_lexicon(recipe.lexicon)
    trained = _trained_codec(recipe, folder)
    _, hearers = _units(recipe, folder)
    _check_sources(folder / "acoustic", _sources(speech, codec=trained, units=hearers))
    _check_sources(folder / "text", _sources(speech, units=_fitted_units(recipe, folder)))
    prompts = _prompts(speech, trained, hearers)
    config = VoiceConfig(
        recipe.name,
        recipe.codec.model,
        (recipe.hearing or recipe.units).model,
        soundstorm_config(recipe),
        text_config(recipe, lexicon),
        recipe.decode,
        next(iter(prompts), None),
    )
    voice = build_voice(config, lexicon, prompts)
    voice.codec.load_state_dict(trained.state_dict())
    voice.units.load_state_dict(hearers.state_dict())
    voice.soundstorm.load_state_dict(_trained_weights(folder / "acoustic", config.soundstorm))
    voice.text.load_state_dict(_trained_weights(folder / "text", config.text))
    if recipe.hearing is not None:
        _check_sources(folder / "hearing", _sources(speech, text=voice.text))
    save_voice(path, voice, precision)


def _prompts(speech: Corpus, trained: Codec, units: SemanticTokenizer) -> dict[str, Prompt]:
    """Take an utterance of every speaker as the prompt, where there are several; a held-out one if there is.

    Whole and about `PROMPT_SECONDS` long: what follows a prompt begins as a sentence does.
    """
    utterances = speech.utterances
    if len(utterances.speakers) < 2:
        return {}
    found = {}
    per_token = trained.sample_rate // (trained.hop * units.rate)
    for number, name in enumerate(utterances.speakers):
        spoken = utterances.speaker == number
        own = utterances.where(utterances.held_out & spoken) or utterances.where(spoken)
        chosen = own[int(np.abs(own.seconds - PROMPT_SECONDS).argmin())]
        audio = torch.from_numpy(speech.audio(chosen))[None]
        with torch.inference_mode():
            codes, tokens = trained.tokenize(audio)[0], units.tokenize(audio)[0]
        count = min(len(codes) // per_token, len(tokens))
        found[name] = Prompt(codes[: count * per_token].numpy(), tokens[:count].numpy())
    return found


def soundstorm_config(recipe: Recipe) -> SoundStormConfig:
    """Say which SoundStorm a recipe asks for: its codec and units give the alphabets."""
    model = recipe.codec.model
    vocabulary = recipe.units.model.vocabulary
    groups = model.rq_groups if isinstance(model, SoundStreamConfig) else 1
    return SoundStormConfig(model.levels, model.codebook_size, vocabulary, recipe.acoustic.conformer, groups)


def text_config(recipe: Recipe, lexicon: Lexicon) -> ParallelTextConfig | TextToSemanticConfig:
    """Say which text stage a recipe asks for: the lexicon and the units give the alphabets."""
    units_config = recipe.units.model
    return with_alphabets(recipe.text.model, lexicon.symbols, units_config.vocabulary, units_config.rate)


def _fitted_units(recipe: Recipe, folder: Path) -> SemanticTokenizer:
    return load_units(folder / "units" / "units.pt", recipe.units.model)


def _heard(folder: Path, speech: Corpus, units: SemanticTokenizer) -> Tokens:
    """Give the corpus as the units in `folder` hear it."""
    return corpus_tokens(folder / "tokens", speech, units, units.tokenize)


def _units(recipe: Recipe, folder: Path) -> tuple[Path, SemanticTokenizer]:
    """Give the units that SoundStorm learns from, and their folder: `hearing`, where the recipe has it."""
    if recipe.hearing is None:
        return folder / "units", _fitted_units(recipe, folder).eval()
    units = build_units(recipe.hearing.model)
    units.load_state_dict(_trained_weights(folder / "hearing", recipe.hearing.model, "units."))
    return folder / "hearing", units.eval()


def _reader(recipe: Recipe, folder: Path, asked_by: str) -> ParallelTextToSemantic:
    """Give the trained text stage, which reads at a given pace where it is the parallel one."""
    config = text_config(recipe, shipped_lexicon(recipe.lexicon))
    if not isinstance(config, ParallelTextConfig):
        raise ConfigError(
            f"the recipe has {asked_by}, which needs text.model.kind = 'parallel'; set it, or leave "
            f"{asked_by} out"
        )
    reader = ParallelTextToSemantic(config)
    reader.load_state_dict(_trained_weights(folder / "text", config))
    return reader


def _read_tokens(recipe: Recipe, folder: Path, speech: Corpus, reader: ParallelTextToSemantic) -> Tokens:
    """Let the text stage read the corpus at the pace at which it was spoken."""
    fitted = _fitted_units(recipe, folder)
    tokens = _heard(folder / "units", speech, fitted)
    ids = {symbol: index for index, symbol in enumerate(reader.config.symbols)}

    def read(numbers: Sequence[int], device: torch.device) -> list[Tensor]:
        rows = [with_durations(speech.utterances[n], tokens[n], fitted.rate, ids)[:2] for n in numbers]
        (phones, lengths), (durations, _) = (pad(column) for column in zip(*rows, strict=True))
        batch = reader.read(phones.to(device), lengths.to(device), durations.to(device))
        return [row[: len(tokens[n])] for row, n in zip(batch, numbers, strict=True)]

    models = nn.ModuleDict({"text": reader, "units": fitted})  # other units, other lengths
    return tokens_of_utterances(folder / "text" / "read", speech, models, read, batch=16)


def _sources(speech: Corpus, **models: nn.Module) -> dict[str, str]:
    """Tell the models that a stage learns from by fingerprints."""
    return {name: fingerprint(model, speech) for name, model in models.items()}


def _learn_from(folder: Path, sources: Mapping[str, str]) -> None:
    """Let a stage learn from these, and keep that; a training that began with others does not go on."""
    if (folder / "state.pt").exists():
        _check_sources(folder, sources)
    elif PartialState().is_main_process:
        write_file(folder / SOURCES, json.dumps(sources))


def _check_sources(folder: Path, sources: Mapping[str, str]) -> None:
    """Raise `CheckpointError` where what is trained in `folder` learned from other weights."""
    kept = json.loads((folder / SOURCES).read_text()) if (folder / SOURCES).is_file() else {}
    for name, value in kept.items():
        if value != sources[name]:
            raise CheckpointError(
                f"what is trained in {folder} learned from another {name} than the run has by now; remove "
                f"{folder} and run 'soundstorm-train {folder.name}' again"
            )


def _trained_codec(recipe: Recipe, folder: Path) -> Codec:
    trained = build_codec(recipe.codec.model)
    # The discriminators beside it have done their work.
    trained.load_state_dict(_trained_weights(folder / "codec", recipe.codec.model, "codec."))
    return trained.eval()


def _trained_weights(folder: Path, config: Any, part: str = "") -> dict[str, Any]:
    """Read what a stage has trained: of the `part` of its model alone whose names begin so."""
    if not (folder / "state.pt").exists():
        raise CheckpointError(f"nothing trained in {folder}; run 'soundstorm-train {folder.name}' first")
    remedy = "train it again, or choose another --run"
    weights = trained_weights(read_state(folder / "state.pt", config, remedy))
    return {name.removeprefix(part): value for name, value in weights.items() if name.startswith(part)}
