"""The configuration of the autoregressive text-to-semantic model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError
from ..support.config import MOST_LAYERS, check_positive
from .alphabet import Alphabet, Modality
from .compat.clip_tokenizer import CLIP_TOKENS


@dataclass(frozen=True)
class TextToSemanticConfig:
    """Sizes and alphabets of the model, with the names and defaults of spear-tts-pytorch.

    Args:
        dim, source_depth, target_depth: width, and number of blocks of encoder and decoder.
        dim_head, heads, target_kv_heads: of the attention; key and value heads of the decoder's
            self-attention, None gives one to each head.
        ff_mult: width of the feed-forward layers, in multiples of `dim`.
        attn_dropout, ff_dropout: dropout rates.
        num_text_token_ids, num_semantic_token_ids: sizes of the vocabularies.
        use_openai_tokenizer: texts are tokenized as by CLIP.
        semantic_pad_id, text_pad_id: ids of padding.
        autoset_semantic_eos_id, autoset_text_eos_id: whether sequences have an end.
        attn_flash: accepted for scripts that set it; fused attention is always used.
        cond_drop_prob: probability that training withholds the source of a batch.
        target_early_exit_layer: the block of the decoder after which speculative decoding drafts.
        detach_early_exit_embed: whether the early exit has no gradient for the blocks below.
        align_reg_loss_weight, align_reg_use_logsumexp_pool, align_reg_logsumexp_pool_temp: see
            `similarity_loss`.
        symbols: the phones of a voice, in the order of their ids, in place of `num_text_token_ids`.
        rate: semantic tokens a second.

    Raises:
        ConfigError: a value is impossible.
    """

    kind: Literal["autoregressive"] = "autoregressive"
    dim: int = 256
    source_depth: int = 4
    target_depth: int = 4
    num_text_token_ids: int | None = None
    use_openai_tokenizer: bool = False
    num_semantic_token_ids: int | None = None
    dim_head: int = 64
    heads: int = 8
    target_kv_heads: int | None = None
    attn_dropout: float = 0.0
    ff_mult: int = 4
    ff_dropout: float = 0.0
    semantic_pad_id: int = -1
    text_pad_id: int = 0
    autoset_semantic_eos_id: bool = True
    autoset_text_eos_id: bool = True
    attn_flash: bool = False
    cond_drop_prob: float = 0.0
    target_early_exit_layer: int | None = None
    detach_early_exit_embed: bool = False
    align_reg_loss_weight: float = 0.1
    align_reg_use_logsumexp_pool: bool = True
    align_reg_logsumexp_pool_temp: float = 0.1
    symbols: tuple[str, ...] = ()
    rate: int = 50

    def __post_init__(self) -> None:
        if len(set(self.symbols)) < len(self.symbols):
            raise ConfigError(f"{len(self.symbols)} symbols, expected no symbol twice")
        for name in _SIZES:
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name} is {value}, expected at least 1")
        check_positive(self, "source_depth", "target_depth", most=MOST_LAYERS)
        if self.dim_head % 2:
            raise ConfigError(f"dim_head is {self.dim_head}, expected an even number: rotations turn pairs")
        for name in ("attn_dropout", "ff_dropout", "cond_drop_prob"):
            if not 0 <= (share := getattr(self, name)) < 1:
                raise ConfigError(f"{name} is {share}, expected 0 or more and less than 1")
        if self.align_reg_logsumexp_pool_temp <= 0:
            raise ConfigError(
                f"align_reg_logsumexp_pool_temp is {self.align_reg_logsumexp_pool_temp}, expected above 0"
            )
        if self.heads % self.kv_heads:
            raise ConfigError(f"target_kv_heads is {self.kv_heads}, expected a divisor of heads {self.heads}")
        if (self.target_early_exit_layer or 1) > self.target_depth:
            raise ConfigError(
                f"target_early_exit_layer is {self.target_early_exit_layer}, "
                f"expected 1 to target_depth {self.target_depth}"
            )
        self._check_text()

    def _check_text(self) -> None:
        if self.symbols and self.num_text_token_ids not in (None, len(self.symbols)):
            raise ConfigError(
                f"{len(self.symbols)} symbols and num_text_token_ids {self.num_text_token_ids} were given, "
                "expected one or the other"
            )
        if self.use_openai_tokenizer and (self.num_text_token_ids or CLIP_TOKENS) < CLIP_TOKENS:
            raise ConfigError(
                f"num_text_token_ids is {self.num_text_token_ids}, expected {CLIP_TOKENS} or more "
                "with use_openai_tokenizer"
            )

    @property
    def kv_heads(self) -> int:
        """Key and value heads of the decoder's self-attention."""
        return self.target_kv_heads or self.heads

    @property
    def vocabulary(self) -> int:
        """The number of semantic tokens."""
        if self.num_semantic_token_ids is None:
            raise ConfigError("num_semantic_token_ids is not given; set it to the number of semantic tokens")
        return self.num_semantic_token_ids

    @property
    def text_tokens(self) -> int:
        """The number of text tokens."""
        clip = CLIP_TOKENS if self.use_openai_tokenizer else None
        if not (count := self.num_text_token_ids or len(self.symbols) or clip):
            raise ConfigError("num_text_token_ids is not given; set it, or symbols, or use_openai_tokenizer")
        return count

    @property
    def alphabets(self) -> dict[Modality, Alphabet]:
        """The alphabet of each modality."""
        return {
            "speech": Alphabet("speech", self.vocabulary, self.semantic_pad_id, self.autoset_semantic_eos_id),
            "text": Alphabet("text", self.text_tokens, self.text_pad_id, self.autoset_text_eos_id),
        }

    @property
    def pooling_temperature(self) -> float | None:
        """The temperature of the similarity loss; None where it pools by the maximum."""
        return self.align_reg_logsumexp_pool_temp if self.align_reg_use_logsumexp_pool else None


_SIZES = (
    *("dim", "source_depth", "target_depth", "num_text_token_ids", "num_semantic_token_ids", "dim_head"),
    *("heads", "target_kv_heads", "ff_mult", "target_early_exit_layer", "rate"),
)
