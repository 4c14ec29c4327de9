"""SoundStream's own losses and trainer."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from soundstorm_edge.codec.discriminators import StftDiscriminatorConfig
from soundstorm_edge.codec.soundstream import SoundStream, SoundStreamConfig
from soundstorm_edge.errors import ConfigError, CorpusError
from soundstorm_edge.training.compat.soundstream_trainer import SoundStreamTrainer
from soundstorm_runtime.errors import AudioError, OptionError

STFT = StftDiscriminatorConfig(
    channels=1, strides=((2, 2), (2, 2)), chan_mults=(1, 1), n_fft=128, win_length=128, hop_length=64
)
TINY = SoundStreamConfig(
    channels=2,
    strides=(2, 4),
    channel_mults=(1, 2),
    codebook_dim=8,
    codebook_size=8,
    rq_num_quantizers=2,
    attn_window_size=8,
    attn_dim_head=4,
    attn_heads=2,
    discr_multi_scales=(1.0,),
    complex_stft_discr_kwargs=STFT,
    multi_spectral_window_powers_of_two=(6, 7),
    multi_spectral_n_ffts=128,
    multi_spectral_n_mels=8,
)


@pytest.fixture
def codec() -> SoundStream:
    torch.manual_seed(0)
    return SoundStream(TINY)


def noise(samples: int = 1003) -> torch.Tensor:
    return 0.3 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0))


def test_the_loss_is_the_weighed_sum_of_its_parts(codec: SoundStream) -> None:
    codec(noise())  # starts the codebooks
    total, parts = codec(noise(), return_loss_breakdown=True)
    assert parts._fields == ("recon", "multi_spectral_recon", "adversarial", "feature", "commitment")
    assert all(part.ndim == 0 and part != 0 for part in parts)
    weights = torch.tensor([1.0, 1e-5, 1.0, 100.0, 1.0])
    torch.testing.assert_close(total, (weights * torch.stack(list(parts))).sum())


def test_each_loss_trains_its_own_side(codec: SoundStream) -> None:
    own = {id(parameter) for parameter in codec.non_discr_parameters()}
    codec(noise()).backward()
    touched = {id(p) for p in codec.parameters() if p.grad is not None}
    assert touched
    assert touched <= own
    codec.zero_grad(set_to_none=True)
    codec(noise(), return_discr_loss=True).backward()
    touched = {id(p) for p in codec.parameters() if p.grad is not None}
    assert touched == {id(p) for p in codec.parameters()} - own


def test_gradient_penalties_are_added_on_request(codec: SoundStream) -> None:
    codec.eval()
    plain = dict(codec(noise(), return_discr_loss=True, return_discr_losses_separately=True))
    penalized = codec(
        noise(), return_discr_loss=True, return_discr_losses_separately=True, apply_grad_penalty=True
    )
    assert list(plain) == ["scale:1", "stft"]
    assert list(dict(penalized)) == ["scale:1", "stft", "scale_grad_penalty:1", "stft_grad_penalty"]
    assert all(loss > 0 for _, loss in penalized)
    total = codec(noise(), return_discr_loss=True, apply_grad_penalty=True)
    torch.testing.assert_close(total, sum(loss for _, loss in penalized))
    total.backward()
    assert codec.losses is not None
    assert all(p.grad is not None for p in codec.losses.parameters())


def test_denoising_learns_towards_the_target(codec: SoundStream) -> None:
    codec.eval()
    noisy, clean = noise(), 0.1 * noise()
    to_clean = codec(noisy, clean, True, return_loss_breakdown=True)[1]
    to_noisy = codec(noisy, noisy, True, return_loss_breakdown=True)[1]
    assert to_clean.recon < to_noisy.recon
    codec.train()(noisy, clean, False).backward()
    assert codec.encoder_film.to_scale_and_shift.weight.grad is not None
    assert codec.decoder_film.to_scale_and_shift.weight.grad is not None
    with pytest.raises(AudioError, match="is_denoising was given without target"):
        codec(noisy, is_denoising=True)


def test_what_forward_gives_on_request(codec: SoundStream) -> None:
    codec.eval()
    audio = noise()
    quantized, codes, commitment = codec(audio, return_encoded=True)
    assert quantized.shape == (2, 125, 8)
    assert codes.shape == (2, 125, 2)
    assert commitment.ndim == 0
    assert torch.equal(codec(audio, return_codes_only=True), codes)
    assert torch.equal(codec.tokenize(audio)[:, :125], codes), "tokenize also codes what is left"
    recons = codec(audio, return_recons_only=True)
    assert recons.shape == (2, 1000)
    torch.testing.assert_close(codec.decode(quantized), recons)
    torch.testing.assert_close(codec.decode_from_codebook_indices(codes), recons, atol=1e-5, rtol=1e-5)
    by_group = codes[None]
    torch.testing.assert_close(codec.decode_from_codebook_indices(by_group), recons, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(codec(audio[0], return_recons_only=True), recons[:1])
    torch.testing.assert_close(
        codec(audio, return_codes_only=True, curtail_from_left=True), codec.tokenize(audio[:, 3:])
    )


def test_audio_of_another_rate_is_resampled(codec: SoundStream) -> None:
    assert codec(noise(4000), return_recons_only=True, input_sample_hz=32_000).shape == (2, 2000)


def test_odd_requests_are_refused(codec: SoundStream) -> None:
    with pytest.raises(AudioError, match="7 samples, expected at least one frame"):
        codec(noise(7))
    with pytest.raises(AudioError, match=r"torch\.int16 \[2, 80\], expected float"):
        codec(torch.zeros(2, 80, dtype=torch.int16))
    bare = SoundStream(dataclasses.replace(TINY, discriminators=False))
    with pytest.raises(OptionError, match="discriminators=False; it has no losses"):
        bare(noise())


def trainer(codec: SoundStream, folder: Path, steps: int = 3) -> SoundStreamTrainer:
    return SoundStreamTrainer(
        codec,
        num_train_steps=steps,
        batch_size=2,
        grad_accum_every=1,
        data_max_length=1003,
        dataset=[wave.numpy() for wave in noise(4 * 1500).reshape(8, 1500)],
        valid_frac=0.25,
        warmup_steps=1,
        lr=1e-3,
        apply_grad_penalty_every=2,
        results_folder=folder,
    )


def test_the_trainer_trains_both_sides_and_keeps_an_average(codec: SoundStream, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in codec.state_dict().items()}
    made = trainer(codec, tmp_path)
    assert len(made.stage.waves) == 6
    assert len(made.stage.held_out) == 2
    made.train()
    for part in ("encoder.0.weight", "losses.discriminators.stft.first.weight"):
        assert not torch.equal(codec.state_dict()[part].cpu(), before[part])
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[0]["stft_grad_penalty"] > 0
    assert "held-out multi_spectral_recon" in rows[-1]
    assert list((tmp_path / "samples").iterdir())
    averaged = SoundStream.init_and_load_from(tmp_path / "soundstream.pt")
    assert averaged.config == TINY
    assert not torch.equal(averaged.encoder[0].weight, codec.encoder[0].weight.cpu())


def test_the_trainer_reads_a_folder_and_names_what_is_wrong(codec: SoundStream, tmp_path: Path) -> None:
    options = {"num_train_steps": 1, "batch_size": 1, "grad_accum_every": 1, "valid_frac": 0}
    soundfile.write(tmp_path / "stereo.wav", np.zeros((3000, 2), np.float32), 8_000)
    made = SoundStreamTrainer(codec, folder=tmp_path, data_max_length_seconds=0.1, **options)
    assert made.stage.samples == 1600
    assert made.stage.waves[0].shape == (6000,)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    broken = SoundStreamTrainer(codec, folder=tmp_path, data_max_length=800, **options)
    with pytest.raises(CorpusError, match=r"cannot read .*broken\.wav"):
        broken.stage.waves[0]
    with pytest.raises(CorpusError, match=r"no audio in .*nowhere"):
        SoundStreamTrainer(codec, folder=tmp_path / "nowhere", data_max_length=800, **options)
    with pytest.raises(ConfigError, match="expected one of them"):
        SoundStreamTrainer(codec, data_max_length=800, **options)
    with pytest.raises(ConfigError, match="a crop has 7 samples, expected at least those of a frame"):
        SoundStreamTrainer(codec, folder=tmp_path, data_max_length=7, **options)
    with pytest.raises(ConfigError, match="data_max_length"):
        SoundStreamTrainer(codec, folder=tmp_path, **options)
