"""Models of soundstorm-pytorch, loaded: they say what they said there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.interop import oracles

import soundstorm_pytorch as reference  # isort: skip
from spear_tts_pytorch import TextToSemantic  # isort: skip

from soundstorm_edge.errors import CheckpointError, ConfigError
from soundstorm_edge.interop import from_soundstorm_pytorch
from soundstorm_edge.soundstorm.model import SoundStorm

assert oracles  # it must come before the reference

CODES, FRAMES = 16, 11
RATES = {
    "wav2vec_target_sample_hz": 16_000,
    "wav2vec_downsample_factor": 640,
    "codec_target_sample_hz": 24_000,
    "codec_downsample_factor": 480,
}


def make(levels: int = 3, groups: int = 1, model: dict[str, Any] | None = None, **conformer: Any) -> Any:
    """A model of the reference of which no parameter is at its initial value."""
    torch.manual_seed(0)
    sizes = {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "conv_kernel_size": 5} | conformer
    net = reference.ConformerWrapper(
        codebook_size=CODES, num_quantizers=levels, grouped_quantizers=groups, conformer=sizes
    )
    return jitter(reference.SoundStorm(net, **(model or {})))


def jitter(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def draw(levels: int) -> Tensor:
    return torch.randint(CODES + 1, (2, FRAMES, levels))


def assert_close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


VARIANTS: list[
    tuple[dict[str, Any], dict[str, Any]]
] = [  # of the reference, and what its weights do not tell
    ({}, {}),
    ({"dim": 24, "heads": 3, "dim_head": 4, "ff_mult": 2, "conv_expansion_factor": 3}, {}),
    ({"num_residual_streams": 1}, {}),
    ({"num_residual_streams": 2, "depth": 3}, {}),
    ({"depth": 1}, {"heads": 2}),
    ({"depth": 1, "num_residual_streams": 1}, {"dim_head": 8}),
    ({"t5_rel_pos_bias": True, "attn_flash": False}, {}),
    ({"t5_rel_pos_bias": True, "attn_flash": False, "depth": 1, "num_residual_streams": 2}, {}),
    ({"conv_causal": True}, {"conv_causal": True}),
    ({"conv_causal": True, "conv_kernel_size": 4}, {"conv_causal": True}),
    ({"conv_kernel_size": 4}, {}),
    ({"conv_kernel_size": 31}, {}),
    ({"conv_kernel_size": 1}, {}),
    ({"levels": 1}, {}),
    ({"levels": 2, "groups": 2}, {}),
    ({"levels": 3, "groups": 3, "num_residual_streams": 1}, {}),
    ({"attn_flash": False}, {"attn_flash": False}),
]


@pytest.mark.parametrize(("fields", "facts"), VARIANTS, ids=str)
def test_logits_and_embeddings_are_equal(fields: dict[str, Any], facts: dict[str, Any]) -> None:
    theirs = make(**fields)
    ours = from_soundstorm_pytorch(theirs.state_dict(), **facts)
    codes = draw(fields.get("levels", 3) * fields.get("groups", 1))
    dim = fields.get("dim", 16)
    gaps = torch.rand(2, FRAMES) < 0.7
    gaps[:, 0] = True
    with torch.no_grad():
        for mask in (None, torch.arange(FRAMES) < torch.tensor([[FRAMES], [6]]), gaps):
            for cond in (None, torch.randn(2, dim), torch.randn(2, FRAMES, dim)):
                inputs = {"mask": mask, "cond": cond, "return_logits_and_embeddings": True}
                assert_close(ours.net(codes, **inputs), theirs.net(codes.flatten(1), **inputs))


@pytest.mark.parametrize("streams", [1, 2])
def test_one_level_for_steps_and_training_is_the_references(streams: int) -> None:
    theirs = make(num_residual_streams=streams)
    ours, codes = from_soundstorm_pytorch(theirs), draw(3)
    with torch.no_grad():
        whole = theirs.net(codes.flatten(1)).unflatten(1, (FRAMES, 3))
        for level in range(3):
            one = torch.tensor([level])
            assert_close(ours.net.heads(ours.net.hidden(codes), one), whole[:, :, level])


@pytest.mark.parametrize(
    "fields", [{}, {"levels": 2, "groups": 2, "t5_rel_pos_bias": True, "attn_flash": False}]
)
def test_self_conditioning_is_equal(fields: dict[str, Any]) -> None:
    theirs = make(**fields, model={"self_cond": True})
    ours = from_soundstorm_pytorch(theirs.state_dict())
    assert ours.self_condition is not None
    codes = draw(ours.levels)
    with torch.no_grad():
        said = theirs.net(codes.flatten(1), return_embeddings=True)
        expected = theirs.net(codes.flatten(1), sum_embeds=theirs.to_self_cond(said))
        hidden = ours.net.hidden(codes)
        found = ours.net(codes, sum_embeds=ours.self_condition(ours.net.heads.summed_embeddings(hidden)))
        assert_close(found, expected)
        expected = theirs.net(codes.flatten(1), sum_embeds=theirs.to_self_cond(theirs.null_embed))
        assert_close(ours.net(codes, sum_embeds=ours.self_condition(None)), expected)


@pytest.mark.parametrize("fields", [{}, {"num_residual_streams": 1}, {"levels": 2, "groups": 2}])
def test_the_critic_is_equal(fields: dict[str, Any]) -> None:
    theirs = make(**fields, model={"self_token_critic": True})
    ours = from_soundstorm_pytorch(theirs.state_dict())
    assert ours.token_critic is not None
    codes = draw(ours.levels)
    with torch.no_grad():
        expected = theirs.token_critic(codes.flatten(1))
        assert_close(ours.token_critic(codes), expected)
        for level in range(ours.levels):
            one = expected.unflatten(1, (FRAMES, ours.levels))[:, :, level, 0]
            assert_close(ours.token_critic.score(codes, torch.tensor([level])), one)


@pytest.mark.parametrize("downsampling", [640, 320, 213])
def test_the_condition_is_aligned_alike(downsampling: int) -> None:
    rates = RATES | {"wav2vec_downsample_factor": downsampling}
    theirs = make(model={"num_semantic_token_ids": 10, **rates})
    ours = from_soundstorm_pytorch(theirs.state_dict(), **rates)
    assert ours.condition is not None
    tokens = torch.randint(10, (2, 9))
    tokens[1, 5:] = -1
    for length in (None, FRAMES, 40):
        with torch.no_grad():
            assert_close(ours.condition(tokens, length)[0], theirs.maybe_get_condition(tokens, length))


def test_the_loss_is_that_of_the_reference() -> None:
    """The reference computes its loss at what it has masked; there ours computes the same."""
    theirs = make(model={"no_replace_prob": 0.0, "random_token_prob": 0.0})
    ours = from_soundstorm_pytorch(theirs.state_dict(), no_replace_prob=0.0, random_token_prob=0.0)
    seen: list[Tensor] = []
    theirs.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    codes = torch.randint(CODES, (2, FRAMES, 3))
    expected = theirs(codes.clone())[0]
    shown = seen[0].unflatten(1, (FRAMES, 3))
    level = int((shown == CODES).any(dim=(0, 1)).nonzero()[0])
    asked = shown[..., level] == CODES
    logits = ours.net.heads(ours.net.hidden(shown), torch.tensor([level]))
    assert_close(nn.functional.cross_entropy(logits[asked], codes[..., level][asked]), expected)


# Files


def test_files_of_a_model_and_of_a_trainer(tmp_path: Path) -> None:
    theirs, codes = make(), draw(3)
    torch.save(theirs.state_dict(), tmp_path / "model.pt")
    optimizer = torch.optim.Adam(theirs.parameters())
    package = {"model": theirs.state_dict(), "optim": optimizer.state_dict(), "scheduler": {"last_epoch": 3}}
    torch.save(package, tmp_path / "trainer.pt")
    for path in ("model.pt", "trainer.pt"):
        ours = from_soundstorm_pytorch(tmp_path / path)
        assert not ours.training
        with torch.no_grad():
            assert_close(ours.net(codes), theirs.net(codes.flatten(1)))


def test_what_shapes_tell_is_inferred() -> None:
    theirs = make(
        levels=2, groups=2, dim=24, depth=3, heads=3, dim_head=4, ff_mult=3, conv_expansion_factor=1,
        conv_kernel_size=7, num_residual_streams=2, model={"self_cond": True, "self_token_critic": True},
    )  # fmt: skip
    config = from_soundstorm_pytorch(theirs.state_dict()).config
    assert (config.levels, config.groups, config.codebook_size, config.vocabulary) == (4, 2, CODES, None)
    assert config.self_cond
    assert config.self_token_critic
    assert not config.level_embedding
    conformer = config.conformer
    assert (conformer.dim, conformer.depth, conformer.heads, conformer.dim_head) == (24, 3, 3, 4)
    assert (conformer.ff_mult, conformer.conv_expansion_factor, conformer.conv_kernel_size) == (3, 1, 7)
    assert conformer.num_residual_streams == 2
    assert not conformer.t5_rel_pos_bias


def test_options_are_taken_as_facts() -> None:
    ours = from_soundstorm_pytorch(make().state_dict(), schedule="cosine", steps=7, ff_dropout=0.5)
    assert (ours.masking.schedule, ours.options.steps) == ("cosine", 7)
    assert ours.config.conformer.ff_dropout == 0.5
    assert ours.generate(8, batch_size=1).shape == (1, 8, 3)  # type: ignore[union-attr]


def test_a_loaded_model_is_one_that_our_checkpoints_hold() -> None:
    theirs = make(model={"num_semantic_token_ids": 10, "self_token_critic": True, **RATES})
    ours = from_soundstorm_pytorch(theirs.state_dict(), **RATES)
    again = SoundStorm.from_config(ours.config)
    again.load_state_dict(ours.state_dict())
    assert again.config == ours.config


@pytest.mark.parametrize(
    ("fields", "facts", "message"),
    [
        ({"depth": 1}, {}, "do not tell how many heads share the 16 dimensions of attention; give heads="),
        ({"depth": 1}, {"heads": 3}, "heads is 3, but the 16 dimensions of attention do not divide by it"),
        ({}, {"heads": 4}, "heads was given as 4, but the weights have 2"),
        ({}, {"self_cond": True}, "self_cond was given as True, but the weights have False"),
        (
            {"model": {"num_semantic_token_ids": 10, **RATES}},
            {"wav2vec_target_sample_hz": 16_000},
            r"do not tell wav2vec_downsample_factor; give wav2vec_downsample_factor=\.\.\.",
        ),
    ],
)
def test_a_missing_or_wrong_fact_is_named(
    fields: dict[str, Any], facts: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        from_soundstorm_pytorch(make(**fields).state_dict(), **facts)
    with pytest.raises(ConfigError, match="the unknown key 'kernel'; valid keys: steps"):
        from_soundstorm_pytorch(make().state_dict(), kernel=5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s | {"net.conformer.layers.0.cross.weight": torch.zeros(3)},
            "layers.0.cross.weight' fits nothing",
        ),
        (
            lambda s: {n: t for n, t in s.items() if "post_norm" not in n},
            "lack what 'net.conformer.blocks.0.norm",
        ),
        (
            lambda s: s | {"net.to_logits.0.weight": torch.zeros(5)},
            r"has shape \[5\], by the other weights expected",
        ),
        (lambda s: {"weight": torch.zeros(3)}, "lacks 'net.code_embeds.weight', expected a SoundStorm of"),
        (lambda s: {"model": 3}, "holds no tensors by name"),
    ],
)
def test_what_cannot_be_represented_is_named(tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    torch.save(change(dict(make().state_dict())), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=message):
        from_soundstorm_pytorch(tmp_path / "model.pt")


def test_files_run_no_code(tmp_path: Path) -> None:
    torch.save({"model": make()}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"cannot read .* as a SoundStorm of soundstorm-pytorch"):
        from_soundstorm_pytorch(tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="no file at"):
        from_soundstorm_pytorch(tmp_path / "absent.pt")


def test_a_codec_and_a_text_stage_inside_come_along() -> None:
    torch.manual_seed(0)
    codec = reference.SoundStream(
        channels=4, strides=(2, 4), channel_mults=(1, 2), codebook_dim=16, codebook_size=CODES,
        rq_num_quantizers=2, attn_window_size=8, attn_dim_head=8, attn_heads=2,
        multi_spectral_window_powers_of_two=(),
    )  # fmt: skip
    text = TextToSemantic(
        dim=24, source_depth=1, target_depth=1, num_text_token_ids=7, num_semantic_token_ids=10,
        heads=2, dim_head=8,
    )  # fmt: skip
    rates = {name: rate for name, rate in RATES.items() if name.startswith("wav2vec")}
    theirs = make(levels=2, model={"soundstream": codec, "spear_tts_text_to_semantic": text, **rates})
    facts = {"target_sample_hz": 16_000, "attn_window_size": 8}
    ours = from_soundstorm_pytorch(theirs.state_dict(), soundstream=facts, **rates)
    assert ours.condition is not None
    assert ours.text_to_semantic is not None
    assert ours.condition.embedding is ours.text_to_semantic.embedding["speech"]
    tokens = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 10, -1, -1]])  # the end is no token either
    codes = torch.randint(CODES, (2, 30, 2))  # the codec reflects more than a few frames
    with torch.no_grad():
        assert_close(ours.condition(tokens)[0], theirs.maybe_get_condition(tokens))
        expected = codec.decode_from_codebook_indices(codes)[:, 0]
        assert_close(ours.soundstream.decode_from_codebook_indices(codes), expected)  # type: ignore[union-attr,operator]
        assert_close(ours.net(codes), theirs.net(codes.flatten(1)))
        alone = ours.standalone()
        assert alone.soundstream is alone.text_to_semantic is None
        assert alone.condition is not None
        torch.testing.assert_close(alone.condition(tokens), ours.condition(tokens))
        torch.testing.assert_close(alone.net(codes), ours.net(codes))
