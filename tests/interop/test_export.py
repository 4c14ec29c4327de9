"""A SoundStorm of soundstorm-pytorch becomes a bundle, and speaks in it as it does in PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tests.interop import oracles

import soundstorm_pytorch as reference  # isort: skip
from audiolm_pytorch import SoundStream  # isort: skip

from soundstorm_edge.interop import from_soundstorm_pytorch
from soundstorm_export.cli import export
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.voice import Voice

assert oracles  # it must come before the reference

CODES, LEVELS, TOKENS = 16, 2, 10
CONDITION: dict[str, Any] = {
    "num_semantic_token_ids": TOKENS,
    "wav2vec_target_sample_hz": 16_000,
    "wav2vec_downsample_factor": 8,
}
FACTS = """
name = "borrowed"
[soundstorm]
steps = 3
wav2vec_target_sample_hz = 16000
wav2vec_downsample_factor = 8
[soundstream]
target_sample_hz = 16000
attn_window_size = 8
"""


def codec() -> Any:
    torch.manual_seed(1)
    return SoundStream(
        channels=4, strides=(2, 4), channel_mults=(1, 2), codebook_dim=8, codebook_size=CODES,
        rq_num_quantizers=LEVELS, attn_window_size=8, attn_dim_head=8, attn_heads=2, discr_multi_scales=(),
        multi_spectral_window_powers_of_two=(), multi_spectral_recon_loss_weight=0.0,
    )  # fmt: skip


def write(path: Path, **options: Any) -> Path:
    torch.manual_seed(0)
    conformer = {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "conv_kernel_size": 3}
    net = reference.ConformerWrapper(codebook_size=CODES, num_quantizers=LEVELS, conformer=conformer)
    model = reference.SoundStorm(net, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    torch.save({"model": model.state_dict(), "optim": {}, "scheduler": {}}, path)
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(export, [str(argument) for argument in arguments])


def test_it_speaks_as_in_pytorch(tmp_path: Path) -> None:
    path = write(tmp_path / "soundstorm.100.pt", soundstream=codec(), **CONDITION)
    (tmp_path / "facts.toml").write_text(FACTS)
    result = run(path, "-o", tmp_path / "voice", "--config", tmp_path / "facts.toml", "--precision", "fp32")
    assert result.exit_code == 0, result.output
    voice = Voice.load(tmp_path / "voice", provider="cpu")
    assert voice.options.steps == (3, 1)

    tokens = np.random.default_rng(0).integers(TOKENS, size=40)
    audio = voice.speak_tokens(tokens, seed=5)
    model = from_soundstorm_pytorch(
        path,
        steps=3,
        wav2vec_target_sample_hz=16_000,
        wav2vec_downsample_factor=8,
        soundstream={"target_sample_hz": 16_000, "attn_window_size": 8},
    )
    seed = int(np.random.default_rng(np.random.SeedSequence(5)).integers(2**63, size=1)[0])
    assert audio.shape == (40 * 8,)
    assert seed >= 0
    expected = model.generate(
        cond_semantic_token_ids=torch.from_numpy(tokens)[None], options=voice.options, seed=5
    )
    np.testing.assert_allclose(audio, expected[0].clamp(-1, 1).numpy(), atol=1e-3)
    with pytest.raises(OptionError, match="voice 'borrowed' has no text stage; give it semantic tokens"):
        voice.speak("Hello.")


def test_a_model_without_condition_takes_one_mute_token(tmp_path: Path) -> None:
    path = write(tmp_path / "soundstorm.pt", soundstream=codec())
    (tmp_path / "facts.toml").write_text(
        "[soundstream]\ntarget_sample_hz = 16000\nattn_window_size = 8\n[decode]\nsteps = [2, 1]\n"
    )
    result = run(path, "-o", tmp_path / "voice", "--config", tmp_path / "facts.toml")
    assert result.exit_code == 0, result.output
    voice = Voice.load(tmp_path / "voice", provider="cpu")
    assert voice.speak_tokens(np.zeros(12, int)).shape == (96,)
    with pytest.raises(OptionError, match="semantic tokens go from 0 to 1, expected 0 to 0"):
        voice.speak_tokens(np.array([0, 1]))


def test_the_codec_may_be_a_file_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "soundstorm.pt")
    codec().save(tmp_path / "soundstream.pt")
    result = run(path, "-o", tmp_path / "voice")
    assert "has no codec inside; name its file in --config: [soundstream] path" in str(result.exception)
    (tmp_path / "facts.toml").write_text(f"[soundstream]\npath = '{tmp_path / 'soundstream.pt'}'\n")
    result = run(path, "-o", tmp_path / "voice", "--config", tmp_path / "facts.toml", "--precision", "fp32")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("options", "facts", "message"),
    [
        ({"self_cond": True}, "", "this SoundStorm has self_cond, which the step graph cannot hold"),
        (CONDITION, "", "do not tell wav2vec_target_sample_hz; give wav2vec_target_sample_hz="),
        ({}, "[decode]\nstep = 3\n", "decode: .*'step'"),
        ({}, "[decoder]\n", "unknown key 'decoder'; valid keys: name, soundstorm, soundstream, decode"),
        ({}, "[", "facts.toml is not TOML"),
    ],
)
def test_what_is_in_the_way_is_named(
    tmp_path: Path, options: dict[str, Any], facts: str, message: str
) -> None:
    path = write(tmp_path / "soundstorm.pt", soundstream=codec(), **options)
    own = "[soundstream]\ntarget_sample_hz = 16000\nattn_window_size = 8\n"
    (tmp_path / "facts.toml").write_text(own + facts)
    result = run(path, "-o", tmp_path / "voice", "--config", tmp_path / "facts.toml")
    assert result.exit_code != 0
    with pytest.raises(Exception, match=message):
        raise result.exception
    assert not (tmp_path / "voice").exists()


def test_a_codec_alone_is_no_voice(tmp_path: Path) -> None:
    codec().save(tmp_path / "soundstream.pt")
    result = run(tmp_path / "soundstream.pt", "-o", tmp_path / "voice")
    assert "was not written by soundstorm-edge, and is no SoundStorm" in str(result.exception)
