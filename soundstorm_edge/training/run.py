"""A run: the folder in which the stages of one recipe leave what the next ones need.

corpus/               utterances.jsonl, audio/
codec/                state.pt, log.jsonl
units/                units.pt, tokens.npz
acoustic/             state.pt, log.jsonl, codes.npz
text/                 state.pt, log.jsonl
ckpt.pt               the voice
"""

from __future__ import annotations

import dataclasses
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from soundstorm_runtime.lexicon import Lexicon

from ..checkpoint import VoiceConfig, build_codec, build_voice, save_voice
from ..codec import Codec
from ..config import to_plain
from ..corpus import Corpus, make_corpus
from ..errors import CheckpointError
from ..files import load_tensors
from ..parallel_text import ParallelTextConfig
from ..semantic import SemanticTokenizer
from ..soundstorm import SoundStormConfig
from ..text_to_semantic import TextToSemanticConfig
from .acoustic import AcousticStage
from .codec import CodecStage
from .loop import STATE, train
from .text import TextStage
from .tokens import corpus_tokens
from .units import fit_units, load_units

if TYPE_CHECKING:
    from ..recipe import Recipe


def corpus(recipe: Recipe, folder: Path) -> Corpus:
    """Make the corpus of a run, or complete it."""
    return make_corpus(recipe.corpus, folder / "corpus")


def codec(recipe: Recipe, folder: Path) -> None:
    """Train the codec."""
    train(CodecStage(recipe.codec, Corpus(folder / "corpus")), recipe.codec.optimization, folder / "codec")


def units(recipe: Recipe, folder: Path) -> None:
    """Fit the semantic units, and tokenize the corpus with them."""
    speech = Corpus(folder / "corpus")
    _semantic_tokens(folder, speech, fit_units(recipe.units, speech, folder / "units" / "units.pt"))


def acoustic(recipe: Recipe, folder: Path) -> None:
    """Train SoundStorm on the codes of the trained codec."""
    speech = Corpus(folder / "corpus")
    fitted = load_units(folder / "units" / "units.pt", recipe.units.model)
    trained = _trained_codec(recipe, folder)
    codes = corpus_tokens(folder / "acoustic" / "codes.npz", speech, trained, trained.tokenize)
    tokens = _semantic_tokens(folder, speech, fitted)
    frames_per_token = trained.sample_rate // (trained.hop * fitted.rate)
    stage = AcousticStage(recipe.acoustic, _soundstorm(recipe), speech, codes, tokens, frames_per_token)
    train(stage, recipe.acoustic.optimization, folder / "acoustic")


def text(recipe: Recipe, folder: Path) -> None:
    """Train the text stage on the semantic tokens of the corpus."""
    speech, lexicon = Corpus(folder / "corpus"), shipped_lexicon()
    fitted = load_units(folder / "units" / "units.pt", recipe.units.model)
    tokens = _semantic_tokens(folder, speech, fitted)
    stage = TextStage(recipe.text, _text(recipe, lexicon), speech, tokens, fitted.rate, lexicon)
    train(stage, recipe.text.optimization, folder / "text")


def assemble(recipe: Recipe, folder: Path, path: Path, precision: Literal["fp16", "fp32"]) -> None:
    """Join the trained stages to one checkpoint at `path`."""
    lexicon = shipped_lexicon()
    config = VoiceConfig(
        recipe.name,
        recipe.codec.model,
        recipe.units.model,
        _soundstorm(recipe),
        _text(recipe, lexicon),
        recipe.decode,
    )
    voice = build_voice(config, lexicon)
    voice.codec.load_state_dict(_trained_codec(recipe, folder).state_dict())
    voice.units.load_state_dict(load_units(folder / "units" / "units.pt", recipe.units.model).state_dict())
    voice.soundstorm.load_state_dict(_trained_weights(folder / "acoustic", config.soundstorm))
    voice.text.load_state_dict(_trained_weights(folder / "text", config.text))
    save_voice(path, voice, precision)


def shipped_lexicon() -> Lexicon:
    """Read the pronunciations that come with the package."""
    with resources.as_file(resources.files("soundstorm_edge") / "lexicon.txt.gz") as path:
        return Lexicon.load(path)


def _soundstorm(recipe: Recipe) -> SoundStormConfig:
    model = recipe.codec.model
    vocabulary = recipe.units.model.vocabulary
    return SoundStormConfig(model.levels, model.codebook_size, vocabulary, recipe.acoustic.conformer)


def _text(recipe: Recipe, lexicon: Lexicon) -> ParallelTextConfig | TextToSemanticConfig:
    model, units_config = recipe.text.model, recipe.units.model
    symbols, vocabulary = lexicon.symbols, units_config.vocabulary
    if isinstance(model, ParallelTextConfig):
        return dataclasses.replace(model, symbols=symbols, vocabulary=vocabulary)
    return dataclasses.replace(model, symbols=symbols, vocabulary=vocabulary, rate=units_config.rate)


def _semantic_tokens(folder: Path, speech: Corpus, fitted: SemanticTokenizer) -> list[np.ndarray]:
    return corpus_tokens(folder / "units" / "tokens.npz", speech, fitted, fitted.tokenize)


def _trained_codec(recipe: Recipe, folder: Path) -> Codec:
    trained = build_codec(recipe.codec.model)
    weights = _trained_weights(folder / "codec", recipe.codec.model)
    own = {name.removeprefix("codec."): t for name, t in weights.items() if name.startswith("codec.")}
    trained.load_state_dict(own)  # the discriminators beside it have done their work
    return trained.eval()


def _trained_weights(folder: Path, config: Any) -> dict[str, Any]:
    if not (folder / "state.pt").exists():
        raise CheckpointError(f"nothing trained in {folder}; run 'soundstorm-train {folder.name}' first")
    state = load_tensors(folder / "state.pt", STATE, ("config", "step", "model"))
    if state["config"] != to_plain(config):
        raise CheckpointError(
            f"{folder} was trained with another recipe; train it again, or choose another --run"
        )
    return state["model"]
