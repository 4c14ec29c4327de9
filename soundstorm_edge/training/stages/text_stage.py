"""Stage `text`: train the text stage to predict semantic tokens from phones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from soundstorm_runtime.text.lexicon import Lexicon

from ...checkpoint import build_text
from ...data.corpus import Corpus
from ...data.utterances import Utterance
from ...errors import CorpusError
from ...nn.conformer import frame_mask
from ...text_to_semantic.autoregressive import TextToSemanticConfig
from ...text_to_semantic.parallel import ParallelTextConfig
from ..batches import pad
from ..optimization import Optimization
from ..stage import Stage


@dataclass(frozen=True)
class TextRecipe:
    """The settings of the stage.

    Args:
        model: `parallel` needs the times of the phones, `autoregressive` the phones only. Its symbols,
            vocabulary and rate are set to those of lexicon and units.
        speaker: train on this speaker only, whose rhythm all voices then have; empty trains on all.
        optimization: how it is trained.
    """

    model: ParallelTextConfig | TextToSemanticConfig = field(default_factory=ParallelTextConfig)
    speaker: str = ""
    optimization: Optimization = field(default_factory=Optimization)


class TextStage(Stage):
    """Whole utterances: phones, semantic tokens, and durations for the parallel model."""

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
        self.config, self.corpus, self.tokens, self.rate, self.lexicon = config, corpus, tokens, rate, lexicon
        torch.manual_seed(recipe.optimization.seed)
        self.ids = {symbol: index for index, symbol in enumerate(config.symbols)}
        self.model: nn.Module = build_text(config)
        utterances = corpus.utterances
        speaks = np.ones(len(utterances), bool)
        if recipe.speaker:
            speaks = np.array([name == recipe.speaker for name in utterances.speakers])[utterances.speaker]
        held_out = utterances.held_out
        self.numbers = np.flatnonzero(speaks & ~held_out).tolist()
        self.held_out = [self._read(number) for number in np.flatnonzero(speaks & held_out)[:48].tolist()]
        if not self.numbers or not self.held_out:
            whose = f" of {recipe.speaker!r}" if recipe.speaker else ""
            raise CorpusError(f"the corpus has no training or no held-out utterance{whose}; add speech")
        self.lengths = np.array([len(tokens[number]) for number in self.numbers])

    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read an utterance: phones, [durations,] tokens."""
        return self._read(self.numbers[number])

    def _read(self, number: int) -> tuple[np.ndarray, ...]:
        utterance, tokens = self.corpus.utterances[number], self.tokens[number]
        if isinstance(self.config, ParallelTextConfig):
            return with_durations(utterance, tokens, self.rate, self.ids)
        return _without_durations(utterance, tokens, self.ids, self.lexicon)

    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Stack phones, their lengths, [durations,] tokens, their lengths."""
        columns = [pad(column) for column in zip(*samples, strict=True)]
        if len(columns) == 2:
            (phones, phone_lengths), (tokens, token_lengths) = columns
            return phones, phone_lengths, tokens, token_lengths
        (phones, phone_lengths), (durations, _), (tokens, token_lengths) = columns
        return phones, phone_lengths, durations, tokens, token_lengths

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the cross entropy of the tokens, and the squared error of the log durations."""
        if isinstance(self.config, TextToSemanticConfig):
            return _autoregressive_loss(model, self.config, *batch), {}
        tokens, durations = model(*batch)
        return tokens + durations, {"tokens": tokens.detach(), "durations": durations.detach()}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Return the losses of held-out utterances."""
        batch = tuple(tensor.to(device) for tensor in self.collate(self.held_out))
        loss, parts = self.loss(self.model, batch)
        return {name: value.item() for name, value in (parts or {"tokens": loss}).items()}


def with_alphabets(
    config: ParallelTextConfig | TextToSemanticConfig, symbols: tuple[str, ...], vocabulary: int, rate: int
) -> ParallelTextConfig | TextToSemanticConfig:
    """Return `config` with the phones of a lexicon, and the vocabulary and rate of the units."""
    if isinstance(config, ParallelTextConfig):
        return replace(config, symbols=symbols, vocabulary=vocabulary)
    return replace(
        config, symbols=symbols, autoset_text_eos_id=False, num_semantic_token_ids=vocabulary, rate=rate
    )


def _autoregressive_loss(
    model: nn.Module,
    config: TextToSemanticConfig,
    phones: Tensor,
    phone_lengths: Tensor,
    tokens: Tensor,
    token_lengths: Tensor,
) -> Tensor:
    return model(
        phones,
        tokens,
        source_type="text",
        target_type="speech",
        source_mask=frame_mask(phone_lengths, phones.shape[1]),
        target_mask=frame_mask(token_lengths, tokens.shape[1]),
        return_loss=True,
        return_early_exit_loss=config.target_early_exit_layer is not None,
    )


def with_durations(
    utterance: Utterance, tokens: np.ndarray, rate: int, ids: dict[str, int]
) -> tuple[np.ndarray, ...]:
    """Return the phone ids of an utterance, their durations in tokens, and the tokens, all int64."""
    if not utterance.ends:
        raise CorpusError(
            f"utterance {utterance.id} has no phone times, which the parallel text stage needs; "
            "set text.model.kind = 'autoregressive', or use a corpus with times"
        )
    borders = np.minimum(np.round(np.array((0.0, *utterance.ends)) * rate).astype(np.int64), len(tokens))
    borders[-1] = len(tokens)
    return phone_ids(utterance.phones, ids), np.diff(borders), tokens


def _without_durations(
    utterance: Utterance, tokens: np.ndarray, ids: dict[str, int], lexicon: Lexicon
) -> tuple[np.ndarray, ...]:
    phones = utterance.phones or tuple(lexicon.phones(utterance.text))
    return phone_ids(phones, ids), tokens


def phone_ids(phones: Sequence[str], ids: Mapping[str, int]) -> np.ndarray:
    """Return the ids of phones, int64 `[phones]`; raises `CorpusError` where the lexicon lacks one."""
    if unknown := sorted(set(phones) - set(ids)):
        raise CorpusError(f"phone {unknown[0]!r} of the corpus is not in the lexicon ({', '.join(ids)})")
    return np.array([ids[phone] for phone in phones])
