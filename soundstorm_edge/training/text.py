"""Stage `text`: teach phones to become semantic tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from soundstorm_runtime.lexicon import Lexicon

from ..checkpoint import build_text
from ..corpus import Corpus, Utterance
from ..errors import CorpusError
from ..parallel_text import ParallelTextConfig
from ..text_to_semantic import TextToSemanticConfig
from .batches import draw_alike, pad
from .loop import Optimization, Stage


@dataclass(frozen=True)
class TextRecipe:
    """Which stage: `parallel` needs the time of every phone, `autoregressive` the phones alone.

    The symbols, vocabulary and rate of the model are set to those of the lexicon and the units.
    """

    model: ParallelTextConfig | TextToSemanticConfig = field(default_factory=ParallelTextConfig)
    optimization: Optimization = field(default_factory=Optimization)


class TextStage(Stage):
    """Whole utterances: phones and semantic tokens, and durations where the stage needs them."""

    name = "text"

    def __init__(
        self,
        recipe: TextRecipe,
        config: ParallelTextConfig | TextToSemanticConfig,
        corpus: Corpus,
        tokens: Sequence[np.ndarray],
        rate: int,
        lexicon: Lexicon,
    ) -> None:
        self.config = config
        torch.manual_seed(recipe.optimization.seed)
        ids = {symbol: index for index, symbol in enumerate(config.symbols)}
        self.model: nn.Module = build_text(config)
        if isinstance(config, ParallelTextConfig):
            examples = [
                _with_durations(u, t, rate, ids) for u, t in zip(corpus.utterances, tokens, strict=True)
            ]
        else:
            examples = [_plain(u, t, ids, lexicon) for u, t in zip(corpus.utterances, tokens, strict=True)]
        self.examples = [e for e, u in zip(examples, corpus.utterances, strict=True) if not u.held_out]
        self.held_out = [e for e, u in zip(examples, corpus.utterances, strict=True) if u.held_out][:48]
        if not self.examples or not self.held_out:
            raise CorpusError("the corpus has no training or no held-out utterance; add speech")
        self.lengths = np.array([len(example[-1]) for example in self.examples])

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Draw utterances: phones, their lengths, [durations,] tokens, their lengths."""
        return _collate([self.examples[i] for i in draw_alike(self.lengths, size, rng)])

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the cross entropy of the tokens, and of the durations their squared error."""
        if isinstance(self.config, TextToSemanticConfig):
            return model(*batch), {}
        tokens, durations = model(*batch)
        return tokens + durations, {"tokens": tokens.detach(), "durations": durations.detach()}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Give the losses of held-out utterances."""
        batch = tuple(tensor.to(device) for tensor in _collate(self.held_out))
        loss, parts = self.loss(self.model, batch)
        return {name: value.item() for name, value in (parts or {"tokens": loss}).items()}


def _with_durations(
    utterance: Utterance, tokens: np.ndarray, rate: int, ids: dict[str, int]
) -> tuple[np.ndarray, ...]:
    if not utterance.ends:
        raise CorpusError(
            f"utterance {utterance.id} has no phone times, which the parallel text stage needs; "
            "set text.model.kind = 'autoregressive', or use a corpus with times"
        )
    borders = np.minimum(np.round(np.array((0.0, *utterance.ends)) * rate).astype(np.int64), len(tokens))
    borders[-1] = len(tokens)
    return _phone_ids(utterance.phones, ids), np.diff(borders), tokens


def _plain(
    utterance: Utterance, tokens: np.ndarray, ids: dict[str, int], lexicon: Lexicon
) -> tuple[np.ndarray, ...]:
    phones = utterance.phones or tuple(lexicon.phones(utterance.text))
    return _phone_ids(phones, ids), tokens


def _phone_ids(phones: Sequence[str], ids: dict[str, int]) -> np.ndarray:
    if unknown := sorted(set(phones) - set(ids)):
        raise CorpusError(f"phone {unknown[0]!r} of the corpus is not in the lexicon ({', '.join(ids)})")
    return np.array([ids[phone] for phone in phones])


def _collate(examples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
    columns = [pad(column) for column in zip(*examples, strict=True)]
    if len(columns) == 2:
        (phones, phone_lengths), (tokens, token_lengths) = columns
        return phones, phone_lengths, tokens, token_lengths
    (phones, phone_lengths), (durations, _), (tokens, token_lengths) = columns
    return phones, phone_lengths, durations, tokens, token_lengths
