"""SoundStream against the live reference package, with every weight moved from where it began."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from ema_pytorch import EMA
from torch import nn

from soundstorm_edge.codec.soundstream import SoundStream
from soundstorm_edge.errors import CheckpointError
from soundstorm_edge.interop.audiolm_pytorch import from_audiolm_pytorch, soundstream_from_state
from soundstorm_edge.interop.unpickling import read_plain_pickle
from tests.interop import oracles  # noqa: F401 - before the reference

from audiolm_pytorch import SoundStream as Reference  # isort: skip

STFT = {"channels": 1, "n_fft": 256, "win_length": 256, "hop_length": 64}
TINY: dict[str, Any] = {
    "channels": 4,
    "strides": (2, 4),
    "channel_mults": (2, 4),
    "codebook_dim": 16,
    "codebook_size": 16,
    "rq_num_quantizers": 3,
    "attn_window_size": 8,
    "attn_dim_head": 8,
    "attn_heads": 2,
    "discr_multi_scales": (),
    "complex_stft_discr_kwargs": STFT,
    "multi_spectral_window_powers_of_two": (),  # its spectra need torchaudio
    "multi_spectral_recon_loss_weight": 0.0,
}
FINITE = {"use_finite_scalar_quantizer": True, "codebook_size": None}
CONFIGURATIONS: list[dict[str, Any]] = [
    {},
    {"attn_depth": 3, "attn_heads": 3, "attn_dim_head": 4, "attn_window_size": 5},
    {"attn_window_size": 200, "attn_heads": 1},
    {"attn_xpos_scale_base": 3},
    {"attn_xpos_scale_base": 512, "attn_depth": 2},
    {"attn_dynamic_pos_bias": True},
    {"attn_dynamic_pos_bias": True, "attn_depth": 2, "attn_window_size": 7},
    {"use_local_attn": False},
    {"squeeze_excite": True},
    {"squeeze_excite": True, "channels": 16, "use_local_attn": False},
    {"rq_groups": 2},
    {"rq_groups": 4, "rq_num_quantizers": 1},
    {"use_lookup_free_quantizer": True},
    {"use_lookup_free_quantizer": True, "rq_groups": 4, "codebook_size": 8},
    {"use_lookup_free_quantizer": True, "rq_kwargs": {"spherical": True}},
    FINITE | {"finite_scalar_quantizer_levels": [4, 3, 5]},
    FINITE | {"finite_scalar_quantizer_levels": [2, 8], "rq_groups": 2, "rq_num_quantizers": 1},
    {"pad_mode": "constant"},
    {"pad_mode": "replicate", "enc_cycle_dilations": (1, 2), "dec_cycle_dilations": (2,)},
    {"strides": (3, 5, 2), "channel_mults": (1, 3, 2), "channels": 6},
    {"rq_kwargs": {"codebook_dim": 8}},
    {"rq_kwargs": {"use_cosine_sim": True}, "rq_groups": 2},
    {"rq_kwargs": {"shared_codebook": True}, "rq_ema_decay": 0.9, "rq_rotation_trick": False},
]


def made(seed: int = 0, **changes: Any) -> Any:
    """A reference codec with every parameter and buffer jittered."""
    torch.manual_seed(seed)
    fields = {name: value for name, value in (TINY | changes).items() if value is not None}
    codec = Reference(**fields).eval()
    for name, tensor in codec.state_dict().items():
        if tensor.is_floating_point():
            size = 0.3 if "embed" in name else 0.02 if "inv_freq" in name else 0.05
            tensor.add_(
                size * torch.randn(tensor.shape).abs()
                if "inv_freq" in name
                else size * torch.randn(tensor.shape)
            )
        elif name.endswith("initted"):
            tensor.fill_(True)
    return codec


def noise(samples: int = 1680) -> torch.Tensor:
    return 0.3 * torch.randn(2, samples, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def check_parity(ours: SoundStream, reference: Any) -> None:
    audio = noise()
    latents = reference.encoder(audio[:, None]).transpose(1, 2)
    if reference.encoder_attn is not None:
        latents = reference.encoder_attn(latents)
    torch.testing.assert_close(ours.latents(audio), latents, atol=1e-4, rtol=0)
    codes = reference.tokenize(audio)
    assert codes.unique().numel() > 1
    assert torch.equal(ours.tokenize(audio), codes.permute(1, 2, 0, 3).flatten(2).long())
    expected = reference.decode_from_codebook_indices(codes)[:, 0]
    assert expected.std() > 1e-3
    for form in (codes, codes.permute(1, 2, 0, 3).flatten(2)):
        torch.testing.assert_close(ours.decode_from_codebook_indices(form), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("changes", CONFIGURATIONS, ids=str)
def test_parity(changes: dict[str, Any]) -> None:
    reference = made(**changes)
    check_parity(from_audiolm_pytorch(reference), reference)


def test_a_codec_saved_by_itself(tmp_path: Path) -> None:
    reference = made(rq_groups=2, attn_xpos_scale_base=3)
    reference.save(tmp_path / "soundstream.pt")
    ours = from_audiolm_pytorch(tmp_path / "soundstream.pt")
    assert ours.config.attn_xpos_scale_base == 3
    assert not ours.training
    check_parity(ours, reference)


def test_a_codec_saved_by_its_trainer_gives_the_averaged_weights(tmp_path: Path) -> None:
    online, averaged = made(1), made(2)
    ema = EMA(online)
    ema.ema_model.load_state_dict(averaged.state_dict())
    saved = {
        "model": online.state_dict(),
        "optim": torch.optim.Adam(online.parameters()).state_dict(),
        "config": online._configs,
        "version": "2.4.0",
    }
    torch.save(saved | {"ema_model": ema.state_dict()}, tmp_path / "trainer.pt")
    check_parity(from_audiolm_pytorch(tmp_path / "trainer.pt"), averaged)
    torch.save(saved, tmp_path / "without.pt")
    check_parity(from_audiolm_pytorch(tmp_path / "without.pt"), online)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({}, {}),
        ({"attn_dynamic_pos_bias": True, "attn_depth": 2, "rq_groups": 2}, {}),
        ({"use_local_attn": False, "squeeze_excite": True, "strides": (3, 2), "channel_mults": (3, 1)}, {}),
        ({"use_lookup_free_quantizer": True, "rq_groups": 2, "discr_multi_scales": (1, 0.5)}, {}),
        ({"rq_kwargs": {"codebook_dim": 8}, "pad_mode": "constant"}, {"pad_mode": "constant"}),
        (
            FINITE | {"finite_scalar_quantizer_levels": [4, 3], "rq_groups": 2},
            {"finite_scalar_quantizer_levels": [4, 3], "rq_num_quantizers": 3},
        ),
    ],
    ids=str,
)
def test_bare_weights_tell_their_sizes(
    changes: dict[str, Any], facts: dict[str, Any], tmp_path: Path
) -> None:
    reference = made(**changes)
    torch.save(reference.state_dict(), tmp_path / "bare.pt")
    ours = from_audiolm_pytorch(tmp_path / "bare.pt", target_sample_hz=24_000, attn_window_size=8, **facts)
    assert ours.sample_rate == 24_000
    check_parity(ours, reference)


@pytest.mark.parametrize(
    ("changes", "given", "missing"),
    [
        ({}, {"attn_window_size": 8}, "target_sample_hz"),
        ({}, {"target_sample_hz": 16_000}, "attn_window_size"),
        (
            FINITE | {"finite_scalar_quantizer_levels": [4, 3], "use_local_attn": False},
            {"target_sample_hz": 16_000},
            "finite_scalar_quantizer_levels",
        ),
    ],
)
def test_a_missing_fact_is_asked_for(changes: dict[str, Any], given: dict[str, Any], missing: str) -> None:
    with pytest.raises(CheckpointError, match=f"do not tell {missing}, .* give {missing}=..."):
        soundstream_from_state(made(**changes).state_dict(), **given)


def test_losses_are_those_of_the_reference() -> None:
    reference = made(discr_multi_scales=(1, 0.5))
    ours = from_audiolm_pytorch(reference)
    audio = noise(1024)
    with torch.no_grad():
        total, parts = reference(audio, return_loss_breakdown=True)
        own_total, own_parts = ours(audio, return_loss_breakdown=True)
    torch.testing.assert_close(own_total, total, atol=1e-4, rtol=1e-4)
    for name, own, part in zip(own_parts._fields, own_parts, parts, strict=True):
        torch.testing.assert_close(own, part, atol=1e-5, rtol=1e-4, msg=name)
    settings = {"return_discr_loss": True, "return_discr_losses_separately": True, "apply_grad_penalty": True}
    expected, found = dict(reference(audio, **settings)), dict(ours(audio, **settings))
    for name in ("scale:1", "scale:0.5", "stft", "stft_grad_penalty"):
        torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=1e-3, msg=name)
    # The reference names the two halves of the first scale's penalty, and loses those of the others.
    first = expected["scale_grad_penalty:1"] + expected["scale_grad_penalty:0.5"]
    torch.testing.assert_close(found["scale_grad_penalty:1"], first, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(ours(audio, return_discr_loss=True), reference(audio, return_discr_loss=True))


def test_denoising_is_that_of_the_reference() -> None:
    reference = made()
    ours = from_audiolm_pytorch(reference)
    audio, found = noise(), []
    for denoising in (None, True, False):
        target = None if denoising is None else audio
        with torch.no_grad():
            expected = reference(audio, target, denoising, return_recons_only=True)
            found.append(ours(audio, target, denoising, return_recons_only=True))
        torch.testing.assert_close(found[-1], expected.reshape(2, -1), atol=1e-4, rtol=0)
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[1], found[2])


def test_discriminators_can_be_left_out() -> None:
    ours = from_audiolm_pytorch(made(), discriminators=False)
    assert ours.losses is None
    check_parity(ours, made())


def test_gate_loop_layers_are_named() -> None:
    with pytest.raises(CheckpointError, match=r"cannot be represented .*gate-loop layers are not supported"):
        from_audiolm_pytorch(made(use_gate_loop_layers=True))
    state = made(use_gate_loop_layers=True).state_dict()
    with pytest.raises(CheckpointError, match="gate-loop layers"):
        soundstream_from_state(state, target_sample_hz=16_000, attn_window_size=8)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    with pytest.raises(CheckpointError, match="no file at"):
        from_audiolm_pytorch(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot read"):
        from_audiolm_pytorch(path)
    torch.save({"weights": {}}, path)
    with pytest.raises(CheckpointError, match="holds no weights of a SoundStream"):
        from_audiolm_pytorch(path)
    torch.save(nn.Linear(1, 1), path)  # code, which nobody is to run
    with pytest.raises(CheckpointError, match="cannot read"):
        from_audiolm_pytorch(path)
    state = made().state_dict()
    del state["decoder.0.conv.bias"]
    torch.save({"model": state, "config": made()._configs}, path)
    with pytest.raises(CheckpointError, match=r"do not fit .*decoder\.0\.bias"):
        from_audiolm_pytorch(path)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("boom",)


@pytest.mark.parametrize(
    "value", [Bomb(), {"stft_window_fn": torch.hann_window}, {1, 2}, b"bytes", io.BytesIO]
)
def test_pickled_code_is_refused_before_it_runs(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckpointError, match=r"configuration: it holds .*, expected plain data alone"):
        read_plain_pickle(pickle.dumps({"rq_kwargs": value}), "configuration")
    assert capsys.readouterr().out == ""


def test_plain_pickles_are_read() -> None:
    value = {"a": [1, 2.5, None], "b": (True, "text"), "c": {"d": ()}}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert read_plain_pickle(pickle.dumps(value, protocol), "configuration") == value
    with pytest.raises(CheckpointError, match="configuration cannot be read"):
        read_plain_pickle(pickle.dumps(value)[:-5], "configuration")
