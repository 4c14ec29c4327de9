"""What a SoundStorm is, how it is trained, and what of it a device can run."""

from __future__ import annotations

from dataclasses import dataclass, field

from soundstorm_runtime.decoding.maskgit import Schedule

from ..errors import ConfigError
from ..nn.conformer import ConformerConfig
from ..support.config import check_positive
from .conformer_wrapper import ConformerWrapperConfig

# How semantic tokens lie to frames: samples a second and samples of one, of the tokens and of the frames.
RATES = (
    "wav2vec_target_sample_hz",
    "wav2vec_downsample_factor",
    "codec_target_sample_hz",
    "codec_downsample_factor",
)


@dataclass(frozen=True)
class SoundStormConfig:
    """What a checkpoint says of SoundStorm: all that its weights and a device need.

    levels: codes of a frame, those of all `groups` of the codec's quantizers. vocabulary: how many
    semantic tokens condition it; None: it knows nothing of what is said. semantic_width: of their
    embedding, where it is projected to the network's. frames_per_token: where it is not 1, the network
    interpolates. token_critic: the critic's own Conformer; self_token_critic: it shares the network.
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
        check_positive(self, "levels", "codebook_size", "groups")
        if self.vocabulary is not None:
            check_positive(self, "vocabulary")
        if self.levels % self.groups:
            raise ConfigError(f"{self.levels} levels do not divide into {self.groups} groups")
        if self.frames_per_token <= 0:
            raise ConfigError(f"frames_per_token is {self.frames_per_token}, expected above 0")

    def net(self, conformer: ConformerConfig) -> ConformerWrapperConfig:
        """Give the configuration of the network, or of the critic's, around a Conformer."""
        quantizers = self.levels // self.groups
        return ConformerWrapperConfig(
            self.codebook_size, quantizers, conformer, self.groups, self.level_embedding
        )

    @property
    def only_in_pytorch(self) -> tuple[str, ...]:
        """Name what keeps this SoundStorm off a device: the step graph holds no such thing."""
        features = {
            "self_cond": self.self_cond,  # a step needs what the one before it said
            "no vocabulary": self.vocabulary is None,  # the graph is always told what is said
            "frames_per_token": self.frames_per_token != 1,  # a device repeats tokens, and interpolates none
            "cross_attention": self.conformer.cross_attention is not None,
            "adaptive_norm": self.conformer.adaptive_norm is not None,
            "block_causal": self.conformer.block_causal,
        }
        return tuple(name for name, is_there in features.items() if is_there)


@dataclass(frozen=True)
class SoundStormOptions:
    """How a SoundStorm is trained and decodes, with the names and defaults of soundstorm-pytorch.

    steps, schedule, can_mask_prev_unmasked: of decoding; the schedule may also be a function of a tensor,
    and is that of training's masks as well. no_replace_prob, random_token_prob: see `Masking`.
    self_cond: the network is told what it said before (arXiv 2208.04202), in training with
    self_cond_train_prob. semantic_pad_id, pad_id: what fills a batch of tokens and of codes.
    wav2vec_..., codec_...: the rates of semantic tokens and codes, where no model tells; without them
    there is a token for every frame. Not in soundstorm-pytorch: cond_drop_prob, the share of training
    samples whose condition is dropped, for classifier-free guidance (arXiv 2207.12598).
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
