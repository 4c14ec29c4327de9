"""The configuration of a SoundStorm, and its options in training and decoding."""

from __future__ import annotations

from dataclasses import dataclass, field

from soundstorm_runtime.decoding.maskgit import Schedule

from ..errors import ConfigError
from ..nn.conformer import ConformerConfig
from ..support.config import MOST_LAYERS, check_positive
from .conformer_wrapper import ConformerWrapperConfig

# The rates of tokens and frames: samples a second, and samples of one.
RATES = (
    "wav2vec_target_sample_hz",
    "wav2vec_downsample_factor",
    "codec_target_sample_hz",
    "codec_downsample_factor",
)


@dataclass(frozen=True)
class SoundStormConfig:
    """The configuration of a SoundStorm in a checkpoint.

    Args:
        levels: codes of a frame, over all groups.
        codebook_size: codes of a codebook.
        vocabulary: number of semantic tokens; None for an unconditional model.
        conformer: the network.
        groups: of the quantizers of the codec.
        level_embedding: see `ConformerWrapperConfig`.
        semantic_width: width of the embedding of semantic tokens, where it is projected to that of the
            network.
        frames_per_token: above or below 1, tokens are interpolated.
        self_cond: whether it has self-conditioning.
        self_token_critic: whether it has a critic that shares the network.
        token_critic: the Conformer of a critic with a network of its own.

    Raises:
        ConfigError: a value is impossible.
    """

    levels: int = 6
    codebook_size: int = 512
    vocabulary: int | None = 500
    conformer: ConformerConfig = field(default_factory=lambda: ConformerConfig(dim=256, depth=6))
    groups: int = 1
    level_embedding: bool = True
    semantic_width: int | None = None
    frames_per_token: float = 1.0
    self_cond: bool = False
    self_token_critic: bool = False
    token_critic: ConformerConfig | None = None

    def __post_init__(self) -> None:
        check_positive(self, "codebook_size")
        check_positive(self, "levels", "groups", most=MOST_LAYERS)
        if self.vocabulary is not None:
            check_positive(self, "vocabulary")
        if self.levels % self.groups:
            raise ConfigError(f"{self.levels} levels do not divide into {self.groups} groups")
        if self.frames_per_token <= 0:
            raise ConfigError(f"frames_per_token is {self.frames_per_token}, expected above 0")

    def net(self, conformer: ConformerConfig) -> ConformerWrapperConfig:
        """Return the configuration of the network, or of the critic, around a Conformer."""
        quantizers = self.levels // self.groups
        return ConformerWrapperConfig(
            self.codebook_size, quantizers, conformer, self.groups, self.level_embedding
        )

    @property
    def has_critic(self) -> bool:
        """Whether a critic ranks the sampled codes."""
        return self.self_token_critic or self.token_critic is not None

    @property
    def only_in_pytorch(self) -> tuple[str, ...]:
        """The features of this SoundStorm that the step graph does not support."""
        features = {
            "self_cond": self.self_cond,  # a step needs the result of the step before
            "no vocabulary": self.vocabulary is None,  # the graph has semantic tokens as an input
            "frames_per_token": self.frames_per_token != 1,  # the device does not interpolate
            "cross_attention": self.conformer.cross_attention is not None,
            "adaptive_norm": self.conformer.adaptive_norm is not None,
            "block_causal with a critic": self.conformer.block_causal and self.has_critic,
        }
        return tuple(name for name, is_there in features.items() if is_there)


@dataclass(frozen=True)
class SoundStormOptions:
    """Options of training and decoding, with the names and defaults of soundstorm-pytorch.

    Args:
        steps, schedule, can_mask_prev_unmasked: of decoding; the schedule may also be a function of a tensor,
            and is that of the masks in training as well.
        no_replace_prob, random_token_prob: see `Masking`.
        self_cond: self-conditioning (arXiv 2208.04202), in training with probability `self_cond_train_prob`.
        self_token_critic, critic_loss_weight: a critic that shares the network, and the weight of its loss.
        num_semantic_token_ids: size of the vocabulary, where no attached model determines it.
        semantic_pad_id, pad_id: the padding of semantic tokens and of codes.
        wav2vec_target_sample_hz, wav2vec_downsample_factor, codec_target_sample_hz, codec_downsample_factor:
            the rates of tokens and codes, where no attached model determines them; without, they are equal.
        cond_drop_prob: not in soundstorm-pytorch: share of training samples without condition, for
            classifier-free guidance (arXiv 2207.12598).

    Raises:
        ConfigError: a value is impossible.
    """

    steps: int = 18
    self_cond: bool = False
    self_cond_train_prob: float = 0.75
    no_replace_prob: float = 0.15
    random_token_prob: float = 0.1
    schedule: Schedule = "linear"
    can_mask_prev_unmasked: bool = True
    self_token_critic: bool = False
    critic_loss_weight: float = 1.0
    num_semantic_token_ids: int | None = None
    semantic_pad_id: int = -1
    pad_id: int | None = None
    wav2vec_target_sample_hz: int | None = None
    wav2vec_downsample_factor: int | None = None
    codec_target_sample_hz: int | None = None
    codec_downsample_factor: int | None = None
    cond_drop_prob: float = 0.0

    def __post_init__(self) -> None:
        check_positive(self, "steps")
        for name in ("self_cond_train_prob", "cond_drop_prob"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise ConfigError(f"{name} is {share}, expected a share from 0 to 1")
        for name in RATES:
            if getattr(self, name) is not None:
                check_positive(self, name)
