"""The autoregressive text-to-semantic stage (SPEAR-TTS, arXiv 2302.03540): phones to semantic tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundstorm_runtime.graphs import AXES, Graph, autoregressive_text_graphs
from soundstorm_runtime.semantic import AutoregressiveText

from .conformer import frame_mask
from .engine import TorchEngine
from .errors import CorpusError
from .transformer import BlockConfig, Decoder, Encoder

IGNORED = -100  # the target that cross entropy leaves out


@dataclass(frozen=True)
class TextToSemanticConfig:
    """What a text-to-semantic model is: its two alphabets and the sizes of its two stacks."""

    kind: Literal["autoregressive"] = "autoregressive"
    symbols: tuple[str, ...] = ()  # the phones, in the order of their ids
    vocabulary: int = 500  # semantic tokens; the id after the last begins and ends a sequence
    rate: int = 50  # semantic tokens per second
    dim: int = 256
    source_depth: int = 4
    target_depth: int = 4
    heads: int = 4
    dim_head: int = 64
    ff_mult: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if len(set(self.symbols)) < len(self.symbols):
            raise ValueError(f"{len(self.symbols)} symbols, expected no symbol twice")
        sizes = ("vocabulary", "rate", "dim", "source_depth", "target_depth", "heads", "dim_head", "ff_mult")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.dim_head % 2:
            raise ValueError(f"dim_head is {self.dim_head}, expected an even number: rotations turn pairs")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, expected 0 or more and less than 1")


class TextToSemantic(nn.Module):
    """Encoder-decoder transformer that predicts the next semantic token from phones and past tokens.

    `forward` trains it; `encode` and `step` are the two graphs of
    `soundstorm_runtime.graphs.autoregressive_text_graphs`, argument by argument. They trust their ids,
    because what is exported cannot look at values.
    """

    def __init__(self, config: TextToSemanticConfig) -> None:
        super().__init__()
        self.config = config
        block = BlockConfig(config.dim, config.heads, config.dim_head, config.ff_mult, config.dropout)
        self.phone_embedding = nn.Embedding(len(config.symbols), config.dim)
        self.source = Encoder(block, config.source_depth, AXES["phones"].max)
        self.target = Decoder(block, config.target_depth, AXES["past_and_one"].max)
        # One table embeds tokens and scores them. Its last row only ever scores the end, since a sequence
        # begins with a vector of its own.
        self.token_embedding = nn.Embedding(config.vocabulary + 1, config.dim)
        self.begin = nn.Parameter(torch.empty(config.dim))
        for weight in (self.token_embedding.weight, self.begin):
            nn.init.normal_(weight, std=config.dim**-0.5)  # scores of a fresh model have a deviation of 1

    @property
    def end(self) -> int:
        """The id that begins and ends a sequence of semantic tokens."""
        return self.config.vocabulary

    @property
    def graphs(self) -> tuple[Graph, Graph]:
        """What `encode` and `step` take and give, as engines and the export see it."""
        config = self.config
        return autoregressive_text_graphs(
            config.target_depth, config.heads, config.dim_head, config.vocabulary
        )

    def forward(self, phones: Tensor, phone_lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Tensor:
        """Give the mean cross entropy (nats) of each next token, the end included, padding left out.

        Takes int64 `phones` `[batch, phones]`, `tokens` `[batch, tokens]` and their lengths `[batch]`;
        what lies beyond a length may be any number. Raises `CorpusError` for lengths and ids out of range.
        """
        phones = _without_padding("phones", phones, phone_lengths, len(self.config.symbols))
        tokens = _without_padding("tokens", tokens, token_lengths, self.config.vocabulary)
        logits = self.logits(phones, phone_lengths, tokens)
        position = torch.arange(tokens.shape[1] + 1, device=tokens.device)
        targets = F.pad(tokens, (0, 1)).masked_fill(position == token_lengths[:, None], self.end)
        targets = targets.masked_fill(position > token_lengths[:, None], IGNORED)
        return F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORED)

    def logits(self, phones: Tensor, phone_lengths: Tensor, tokens: Tensor) -> Tensor:
        """Score every next token in one pass, given all `tokens` before it (teacher forcing).

        Gives float32 `[batch, tokens + 1, vocabulary + 1]`: position i follows the first i tokens.
        """
        cross = self.encode(phones, phone_lengths)
        ids = F.pad(tokens, (1, 0), value=self.end)
        return self._score(self.target(self._embed(ids), phone_lengths, cross)[0])

    def encode(self, phones: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Project int64 `phones` `[batch, phones]` to what the decoder looks at in every step.

        Gives cross_keys and cross_values, float32 `[target_depth, batch, heads, phones, dim_head]`.
        """
        return self.target.cross(self.source(self.phone_embedding(phones), lengths))

    def step(
        self,
        token: Tensor,
        lengths: Tensor,
        cross_keys: Tensor,
        cross_values: Tensor,
        keys: Tensor,
        values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Score what follows `token` `[batch]`, whose position is the length of the cache.

        `lengths` `[batch]` are those of the phones; `keys` and `values` are
        `[target_depth, batch, heads, past, dim_head]`, with past = 0 and token = vocabulary at the start.
        Gives logits `[batch, vocabulary + 1]`, and keys and values of length past + 1.
        """
        past = (keys, values)
        x, next_keys, next_values = self.target(
            self._embed(token[:, None]), lengths, (cross_keys, cross_values), past
        )
        return self._score(x[:, 0]), torch.stack(next_keys), torch.stack(next_values)

    def generate(
        self, phones: Tensor, lengths: Tensor, *, temperature: float = 0.0, seed: int = 0
    ) -> list[Tensor]:
        """Decode the semantic tokens of each sample, int64 `[tokens]`, by the runtime's loop around PyTorch.

        Takes what `encode` takes. A `temperature` of 0 picks the most likely token. Dropout stays as it
        is: call `eval()` first.
        """
        encoder_graph, step_graph = self.graphs
        stage = AutoregressiveText(
            TorchEngine(encoder_graph, self.encode, phones.device),
            TorchEngine(step_graph, self.step, phones.device),
            AXES["tokens"].max,
            self.config.vocabulary,
            self.config.rate,
            temperature,
        )
        rng = np.random.default_rng(seed)
        samples = (ids[:length].cpu().numpy() for ids, length in zip(phones, lengths, strict=True))
        return [torch.from_numpy(stage.semantic_tokens(ids, rng)).to(phones.device) for ids in samples]

    def _embed(self, ids: Tensor) -> Tensor:
        return torch.where((ids == self.end)[..., None], self.begin, self.token_embedding(ids))

    def _score(self, x: Tensor) -> Tensor:
        return F.linear(x, self.token_embedding.weight)


def _without_padding(name: str, ids: Tensor, lengths: Tensor, count: int) -> Tensor:
    """Check `ids` `[batch, length]` within their `lengths`, cut them to the longest and pad with 0."""
    shape = list(ids.shape)
    if ids.ndim != 2 or not ids.numel() or lengths.shape != ids.shape[:1]:
        raise CorpusError(
            f"{name} {shape} have lengths {list(lengths.shape)}, "
            "expected [batch, length] and [batch], both at least 1"
        )
    limit = min(ids.shape[1], AXES[name].max)
    for length in (int(lengths.min()), longest := int(lengths.max())):
        if not 1 <= length <= limit:
            raise CorpusError(f"a sample has {length} {name}, expected 1 to {limit}; leave it out")
    ids = ids[:, :longest]
    inside = frame_mask(lengths, longest)
    wrong = ids[inside & ((ids < 0) | (ids >= count))]
    if len(wrong):
        raise CorpusError(
            f"{name} hold the id {int(wrong[0])}, expected 0 to {count - 1}; "
            "make them with the symbols and units that this model was made for"
        )
    return ids.masked_fill(~inside, 0)
