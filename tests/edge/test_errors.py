"""One mistake in a constructor's arguments, one exception: the same for every network."""

from collections.abc import Callable
from typing import Any

import pytest

import soundstorm_edge as edge
from soundstorm_edge.codec.discriminators import DiscriminatorConfig
from soundstorm_edge.codec.spectral_codec import SpectralCodecConfig
from soundstorm_edge.errors import ConfigError
from soundstorm_edge.nn.conformer import ConformerConfig
from soundstorm_edge.soundstorm.masking import Masking
from soundstorm_edge.soundstorm.soundstorm_config import SoundStormConfig
from soundstorm_edge.text_to_semantic.parallel import ParallelTextConfig
from soundstorm_edge.training.compat.spear_tts_trainers import SemanticToTextTrainer
from soundstorm_edge.training.optimization import Optimization
from soundstorm_edge.units.semantic_units import PhoneticUnitsConfig, SpectralUnitsConfig
from soundstorm_runtime.errors import SoundStormError

CONFORMER = {"dim": 8, "depth": 1, "heads": 2, "dim_head": 4}
TEXT = {"dim": 8, "num_text_token_ids": 5, "num_semantic_token_ids": 5, "source_depth": 1, "target_depth": 1}


def wrapper(**fields: Any) -> edge.ConformerWrapper:
    return edge.ConformerWrapper(
        **{"codebook_size": 4, "num_quantizers": 2, "conformer": CONFORMER, **fields}
    )


def soundstorm(**fields: Any) -> edge.SoundStorm:
    return edge.SoundStorm(wrapper(), **fields)


NETWORKS: list[tuple[Callable[..., Any], str]] = [  # and one of its fields that counts something
    (lambda **fields: edge.Conformer(**{**CONFORMER, **fields}), "depth"),
    (wrapper, "num_quantizers"),
    (soundstorm, "steps"),
    (edge.SoundStream, "channels"),
    (edge.AudioLMSoundStream, "channels"),
    (edge.MusicLMSoundStream, "channels"),
    (lambda **fields: edge.TextToSemantic(**{**TEXT, **fields}), "heads"),
]


@pytest.mark.parametrize(("network", "count"), NETWORKS)
@pytest.mark.parametrize("mistake", ["unknown", "wrong type", "impossible"])
def test_networks_refuse_wrong_arguments_alike(network: Callable[..., Any], count: str, mistake: str) -> None:
    fields, message = {
        "unknown": ({"colour": 1}, "has the unknown key 'colour'; valid keys: "),
        "wrong type": ({count: "many"}, f"{count} is 'many', expected a whole number"),
        "impossible": ({count: 0}, rf"{count} is 0, expected (at least )?1"),
    }[mistake]
    with pytest.raises(ConfigError, match=message):
        network(**fields)


CONFIGS: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (ConformerConfig, {"dim": 0, "depth": 1}),
    (DiscriminatorConfig, {"channels": 3}),
    (Masking, {"prompted": 2.0}),
    (Optimization, {"steps": 0}),
    (ParallelTextConfig, {"encoder": ConformerConfig(8, 1), "decoder": ConformerConfig(16, 1)}),
    (PhoneticUnitsConfig, {"kernel": 4}),
    (SoundStormConfig, {"levels": 0}),
    (SpectralCodecConfig, {"window": 1000}),
    (SpectralUnitsConfig, {"context": -1}),
]


@pytest.mark.parametrize(("config", "fields"), CONFIGS)
def test_configurations_refuse_impossible_values_alike(config: Callable[..., Any], fields: Any) -> None:
    with pytest.raises(ConfigError):
        config(**fields)


def test_models_that_do_not_fit_each_other_are_a_wrong_argument_too() -> None:
    with pytest.raises(ConfigError, match="self_token_critic and token_critic were both given"):
        soundstorm(self_token_critic=True, token_critic=wrapper())
    with pytest.raises(ConfigError, match="has the unknown key 'steps'"):
        SemanticToTextTrainer(edge.TextToSemantic(**TEXT), dataset=[], steps=3)


def test_a_script_may_catch_what_python_would_raise() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, SoundStormError)
