"""SoundStorm: what it learns, and how it is sampled."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from soundstorm_edge.codec.spectral_codec import SpectralCodec, SpectralCodecConfig
from soundstorm_edge.errors import ConfigError
from soundstorm_edge.nn.conformer import ConformerConfig, frame_mask
from soundstorm_edge.nn.torch_engine import TorchEngine
from soundstorm_edge.soundstorm.conformer_wrapper import ConformerWrapper
from soundstorm_edge.soundstorm.masking import Masking
from soundstorm_edge.soundstorm.model import SoundStorm, SoundStormConfig
from soundstorm_runtime.decoding.maskgit import DecodeOptions, decode
from soundstorm_runtime.engines.graphs import quantizer_graph, step_graph
from soundstorm_runtime.errors import OptionError

LEVELS, CODES, UNITS = 3, 16, 10
CONFORMER = ConformerConfig(dim=16, depth=2, heads=2, dim_head=8, conv_kernel_size=5, num_residual_streams=1)
TINY = SoundStormConfig(LEVELS, CODES, UNITS, CONFORMER)


@pytest.fixture
def model() -> SoundStorm:
    torch.manual_seed(0)
    return SoundStorm.from_config(TINY).eval()


def network(groups: int = 1, quantizers: int = LEVELS) -> ConformerWrapper:
    torch.manual_seed(0)
    return ConformerWrapper(
        codebook_size=CODES, num_quantizers=quantizers, grouped_quantizers=groups, conformer=CONFORMER
    )


def example(frames: int = 12, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(CODES, (batch, frames, LEVELS), generator=generator)
    tokens = torch.randint(UNITS, (batch, frames), generator=generator)
    return codes, tokens, torch.full((batch,), frames)


def codec() -> SpectralCodec:
    torch.manual_seed(0)
    config = SpectralCodecConfig(
        mels=20, dim=16, encoder_blocks=1, decoder_blocks=1, latent_dim=8, levels=LEVELS, codebook_size=CODES
    )
    return SpectralCodec(config).eval()


# Training


def test_untrained_loss_is_that_of_chance(model: SoundStorm) -> None:
    torch.manual_seed(0)
    codes, tokens, _ = example(40, 8)
    loss, parts = model(codes, cond_semantic_token_ids=tokens)
    assert loss.item() == pytest.approx(np.log(CODES), abs=0.6)
    assert parts.generator_loss is loss
    assert parts.critic_loss is None


@pytest.mark.parametrize("by", ["mask", "pad_id"])
def test_loss_ignores_padding(by: str) -> None:
    torch.manual_seed(0)
    model = SoundStorm(network(), num_semantic_token_ids=UNITS, pad_id=-1).eval()
    codes, tokens, _ = example(12)
    real = frame_mask(torch.tensor([7, 12]), 12)

    def loss(filler: int) -> float:
        padded = codes.clone()
        padded[~real] = -1 if by == "pad_id" else filler
        spoken = tokens.masked_fill(~real, filler)
        torch.manual_seed(3)
        mask = real if by == "mask" else None
        return model(padded, mask=mask, cond_semantic_token_ids=spoken)[0].item()

    assert loss(1) == pytest.approx(loss(2), abs=1e-5)


def test_it_learns_codes_that_follow_from_the_tokens() -> None:
    torch.manual_seed(0)
    model = SoundStorm.from_config(TINY)
    table = torch.randint(CODES, (UNITS, LEVELS))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    tokens = torch.randint(UNITS, (16, 20))
    for _ in range(150):
        optimizer.zero_grad()
        model(table[tokens], cond_semantic_token_ids=tokens)[0].backward()
        optimizer.step()
    unseen = torch.randint(UNITS, (2, 30))
    options = DecodeOptions(steps=(3, 1, 1), temperature=0.1)
    codes = model.generate(cond_semantic_token_ids=unseen, options=options)
    assert isinstance(codes, Tensor)
    assert (codes == table[unseen]).float().mean() > 0.95


def test_the_loss_is_that_of_the_asked_codes(model: SoundStorm) -> None:
    codes, tokens, lengths = example()
    masking = Masking((0.0, 1.0, 0.0), prompted=0.0, fully_masked=1.0)
    hidden = codes.clone()
    hidden[..., 1:] = CODES
    logits = model.logits(hidden, torch.tensor([1]), tokens, lengths)
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), codes[..., 1])
    loss, _ = model(codes, cond_semantic_token_ids=tokens, masking=masking)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)


def test_raw_audio_becomes_codes() -> None:
    stage, audio = codec(), torch.rand(2, 3200) * 0.1
    model = SoundStorm(network(), soundstream=stage).eval()
    torch.manual_seed(1)
    loss = model(audio)[0]
    torch.manual_seed(1)
    torch.testing.assert_close(loss, model(stage.tokenize(audio))[0])
    with pytest.raises(OptionError, match="audio was given to a model without soundstream; give codes"):
        SoundStorm(network())(audio)


def test_self_conditioning_is_trained_with_and_without_what_was_said() -> None:
    always = SoundStorm(network(), self_cond=True, self_cond_train_prob=1.0)
    never = SoundStorm(network(), self_cond=True, self_cond_train_prob=0.0)
    for model, reached in ((always, False), (never, True)):
        model(example()[0])[0].backward()
        assert model.self_condition is not None
        assert model.self_condition.project.weight.grad is not None
        assert (model.self_condition.nothing.grad is not None) == reached


def test_a_condition_is_dropped_as_often_as_asked() -> None:
    codes, tokens, _ = example(12, 400)
    model = SoundStorm(network(), num_semantic_token_ids=UNITS, cond_drop_prob=0.25)
    seen = []
    model.net.conformer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(codes[:1].expand(400, -1, -1), cond_semantic_token_ids=tokens)
    assert model.condition is not None
    with torch.no_grad():
        model.condition.embedding.weight.fill_(100.0)
        model(codes[:1].expand(400, -1, -1), cond_semantic_token_ids=tokens)
    dropped = (seen[1][:, 0, 0] < 50).float().mean().item()
    assert dropped == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize("conditioned", [True, False])
def test_a_condition_is_given_where_it_is_wanted(conditioned: bool) -> None:
    codes, tokens, _ = example()
    model = SoundStorm(network(), num_semantic_token_ids=UNITS if conditioned else None)
    with pytest.raises(
        OptionError, match="give them to a model with num_semantic_token_ids, and to no other"
    ):
        model(codes, cond_semantic_token_ids=None if conditioned else tokens)
    with pytest.raises(
        OptionError, match="texts or cond_semantic" if conditioned else "num_latents, seconds or"
    ):
        model.generate(**({"num_latents": 5} if conditioned else {"cond_semantic_token_ids": tokens}))


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="SoundStormOptions has the unknown key 'step'; valid keys: steps"):
        SoundStorm(network(), step=18)
    with pytest.raises(
        ConfigError, match=r"SoundStormOptions.schedule is 'square', expected 'cosine' or 'linear'"
    ):
        SoundStorm(network(), schedule="square")
    with pytest.raises(ConfigError, match="soundstream has 3 levels of 16 codes, the network 2 of 16"):
        SoundStorm(network(quantizers=2), soundstream=codec())


# Semantic tokens at another rate than the frames


def test_tokens_of_another_rate_are_interpolated() -> None:
    rates = {"wav2vec_target_sample_hz": 16_000, "wav2vec_downsample_factor": 640}
    rates |= {"codec_target_sample_hz": 24_000, "codec_downsample_factor": 320}
    model = SoundStorm(network(), num_semantic_token_ids=UNITS, **rates)
    assert model.condition is not None
    assert model.condition.frames_per_token == 3.0  # 25 tokens a second, 75 frames
    tokens = torch.tensor([[1, 2, 3, 4], [5, 6, -1, -1]])
    cond, lengths = model.condition(tokens)
    assert cond.shape == (2, 12, 16)
    assert lengths.tolist() == [12, 6]
    torch.testing.assert_close(cond[0, 1::3], model.condition.embed(tokens[:1])[0])
    assert not cond[1, 8:].any()
    assert model.condition(tokens, 20)[0][:, 12:].abs().sum() == 0
    torch.testing.assert_close(model.condition(tokens, 5)[0], cond[:, :5])
    assert model.config.only_in_pytorch == ("frames_per_token",)


# Steps


def test_step_samples_from_the_softmax(model: SoundStorm) -> None:
    """A chi-square test of 10,000 draws against the probabilities they are drawn from."""
    codes, tokens, lengths = example(1, 1)
    codes[..., 1] = CODES
    level = torch.tensor([1])
    with torch.no_grad():
        probabilities = model.logits(codes, level, tokens, lengths).softmax(-1)[0, 0].numpy()
        draws = 10_000
        ids, confidence = model.step(
            codes.expand(draws, -1, -1), level, tokens.expand(draws, -1), lengths.expand(draws),
            torch.from_numpy(np.random.default_rng(0).random((draws, 1), np.float32)), torch.ones(1),
        )  # fmt: skip
    counts = np.bincount(ids[:, 0].numpy(), minlength=CODES)
    chi_square = ((counts - draws * probabilities) ** 2 / (draws * probabilities)).sum()
    assert chi_square < 37.7, "the 99.9 % quantile at 15 degrees of freedom"
    np.testing.assert_allclose(confidence[:, 0], probabilities[ids[:, 0]], atol=1e-5)


def test_temperature_sharpens_but_confidence_stays(model: SoundStorm) -> None:
    codes, tokens, lengths = example(50, 1)
    codes[..., 0] = CODES
    uniform = torch.rand(1, 50)
    with torch.no_grad():
        probabilities = model.logits(codes, torch.tensor([0]), tokens, lengths).softmax(-1)
        ids, confidence = model.step(codes, torch.tensor([0]), tokens, lengths, uniform, torch.tensor([0.01]))
    assert (ids == probabilities.argmax(-1)).float().mean() > 0.9
    torch.testing.assert_close(confidence, probabilities.gather(2, ids[..., None])[..., 0])


def test_a_kept_code_is_given_back_with_what_speaks_for_it(model: SoundStorm) -> None:
    codes, tokens, lengths = example()
    codes[:, ::2, 1] = CODES
    level, uniform = torch.tensor([1]), torch.rand(2, 12)
    with torch.no_grad():
        ids, confidence = model.step(codes, level, tokens, lengths, uniform, torch.ones(1))
        probabilities = model.logits(codes, level, tokens, lengths).softmax(-1)
    assert (ids[:, 1::2] == codes[:, 1::2, 1]).all()
    torch.testing.assert_close(confidence, probabilities.gather(2, ids[..., None])[..., 0])


def test_the_largest_uniform_number_is_a_valid_code(model: SoundStorm) -> None:
    codes, tokens, lengths = example()
    uniform, masked = torch.full((2, 12), 1.0), torch.full_like(codes, CODES)
    with torch.no_grad():
        ids, _ = model.step(masked, torch.tensor([2]), tokens, lengths, uniform, torch.ones(1))
    assert ids.max() < CODES


def test_only_the_head_of_the_level_counts(model: SoundStorm) -> None:
    codes, tokens, lengths = example()
    with torch.no_grad():
        before = model.logits(codes, torch.tensor([1]), tokens, lengths)
        model.net.heads.classifier[0] += 1
        model.net.heads.classifier[2] += 1
        torch.testing.assert_close(model.logits(codes, torch.tensor([1]), tokens, lengths), before)


def test_the_engine_wraps_step(model: SoundStorm) -> None:
    codes, tokens, lengths = example()
    feeds = {
        "codes": codes.numpy(),
        "level": np.array([0]),
        "semantic_tokens": tokens.numpy(),
        "lengths": lengths.numpy(),
        "uniform": np.full((2, 12), 0.5, np.float32),
        "temperature": np.ones(1, np.float32),
    }
    results = TorchEngine(step_graph(LEVELS), model.step).run(feeds)
    assert results["ids"].shape == (2, 12)
    assert results["ids"].dtype == np.int64
    assert results["confidence"].dtype == np.float32


@pytest.mark.parametrize(
    ("fields", "features"),
    [
        ({"self_cond": True}, ("self_cond",)),
        ({"vocabulary": None}, ("no vocabulary",)),
        ({"frames_per_token": 2.0, "self_cond": True}, ("self_cond", "frames_per_token")),
        ({"self_token_critic": True, "semantic_width": 6, "groups": 3}, ()),
    ],
)
def test_what_no_step_graph_holds_is_named(fields: dict[str, Any], features: tuple[str, ...]) -> None:
    config = SoundStormConfig(
        **({"levels": LEVELS, "codebook_size": CODES, "vocabulary": UNITS, "conformer": CONFORMER} | fields)
    )
    assert config.only_in_pytorch == features
    model = SoundStorm.from_config(config)
    assert model.config == config
    codes, tokens, lengths = example()
    if features:
        with pytest.raises(OptionError, match=f"cannot hold {', '.join(features)}; decode with generate"):
            model.step(codes, torch.tensor([0]), tokens, lengths, torch.rand(2, 12), torch.ones(1))
    else:
        model.step(codes, torch.tensor([0]), tokens, lengths, torch.rand(2, 12), torch.ones(1))


# Generation


def test_generate_keeps_the_prompt_and_repeats_with_the_seed(model: SoundStorm) -> None:
    codes, tokens, _ = example()

    def generate(seed: int) -> Tensor:
        made = model.generate(
            cond_semantic_token_ids=tokens, prompt_acoustic_token_ids=codes[:, :5], steps=(4, 2, 1), seed=seed
        )
        assert isinstance(made, Tensor)
        return made

    first = generate(7)
    assert (first[:, :5] == codes[:, :5]).all()
    assert first.max() < CODES
    assert (first == generate(7)).all()
    assert (first != generate(8)).any()


def test_generate_follows_pytorchs_seed(model: SoundStorm) -> None:
    tokens = example()[1]
    made = []
    for _ in range(2):
        torch.manual_seed(5)
        made.append(model.generate(cond_semantic_token_ids=tokens))
    assert (made[0] == made[1]).all()


def test_a_prompt_of_some_levels(model: SoundStorm) -> None:
    codes, tokens, _ = example()
    made = model.generate(cond_semantic_token_ids=tokens, prompt_acoustic_token_ids=codes[:, :5, :2])
    assert (made[:, :5, :2] == codes[:, :5, :2]).all()  # type: ignore[call-overload]


def test_generate_takes_the_expected_codes_where_it_has_the_codec() -> None:
    """The codes of `generate` are those of a device, which has two graphs for it."""
    own, net = codec(), network()
    for name, codebook in own.state_dict().items():
        if name.endswith(".embed"):  # which training initialises
            torch.nn.init.normal_(codebook)
    model = SoundStorm(net, soundstream=own, num_semantic_token_ids=UNITS).eval()
    tokens, options = example()[1], DecodeOptions((2, 1, 1), expected=True)
    audio = model.generate(cond_semantic_token_ids=tokens, options=options, seed=3)
    codebooks = own.quantizer.residual.codebooks
    codes = decode(
        TorchEngine(step_graph(3, latent=8), partial(model.expecting_step, codebooks)),
        tokens.numpy(), np.array([12, 12]), 3, CODES, options, np.random.default_rng(3),
        quantizer=TorchEngine(quantizer_graph(3, 8), own.quantizer.encode),
    )  # fmt: skip
    expected = own.decode_from_codebook_indices(torch.from_numpy(codes)).flatten(1)
    torch.testing.assert_close(torch.stack(list(audio)), expected)
    assert len(np.unique(codes)) > 8, "a test of one code would show nothing"
    alone = SoundStorm(net, num_semantic_token_ids=UNITS)
    with pytest.raises(OptionError, match="expected needs a SpectralCodec, but the model has no codec"):
        alone.generate(cond_semantic_token_ids=tokens, options=options)


def steps_of(model: SoundStorm, **arguments: Any) -> list[dict[str, Tensor]]:
    """Record what the network is shown in every step."""
    seen: list[dict[str, Tensor]] = []
    hidden = model.net.hidden

    def recorded(codes: Tensor, **inputs: Any) -> Tensor:
        seen.append({"codes": codes.clone(), **inputs})
        return hidden(codes, **inputs)

    model.net.hidden = recorded  # type: ignore[method-assign]
    model.generate(**arguments)
    return seen


def test_steps_of_each_level() -> None:
    def levels(**arguments: Any) -> list[int]:
        seen = steps_of(SoundStorm(network(), steps=4), num_latents=20, **arguments)
        return [int(inputs["level"]) for inputs in seen]

    assert levels() == [0] * 4 + [1, 2]
    assert levels(num_full_sampling_levels=2) == [0] * 4 + [1] * 4 + [2]
    assert levels(steps=(1, 2, 3)) == [0, 1, 1, 2, 2, 2]


def test_groups_of_a_level_come_before_the_next_level() -> None:
    model = SoundStorm(network(groups=2, quantizers=2), steps=2)
    assert [int(inputs["level"]) for inputs in steps_of(model, num_latents=20)] == [0, 0, 2, 2, 1, 3]


def test_the_schedule_of_a_model() -> None:
    def masked(schedule: Any) -> list[int]:
        model = SoundStorm(network(), steps=4, schedule=schedule)
        seen = steps_of(model, num_latents=20)
        return [int((inputs["codes"][0, :, 0] == CODES).sum()) for inputs in seen[:4]]

    assert masked("linear") == [20, 15, 10, 5]
    assert masked("cosine") == [20, 18, 14, 7]
    assert masked(lambda t: torch.cos(t * math.pi / 2)) == masked("cosine")
    assert masked(lambda t: 1 - t**2) == [20, 18, 15, 8]


def test_a_filter_leaves_the_likeliest_codes() -> None:
    model = SoundStorm(network(), steps=1).eval()
    codes = torch.full((1, 30, LEVELS), CODES)
    likeliest = model.net.heads(model.net.hidden(codes), torch.tensor([0])).topk(4).indices[0]

    def within(**arguments: Any) -> bool:
        options = {"start_temperature": 50.0, "steps": (2, 1, 1), "seed": 0} | arguments
        made = model.generate(30, **options)
        first = [made[place, 0] for place in range(30)]  # type: ignore[index]
        return all(code in row for code, row in zip(first, likeliest, strict=True))

    # All the first level's codes of the first step: a schedule of one step would be without temperature.
    model.masking = Masking(schedule=lambda progress: 0.0)
    assert within(filter_thres=0.75)
    assert not within(filter_thres=None)


def test_temperature_falls_to_nothing() -> None:
    model = SoundStorm(network(), steps=1)
    made = [model.generate(20, start_temperature=50.0, seed=seed) for seed in (0, 1)]
    assert (made[0] == made[1]).all(), "one step takes the likeliest codes"
    made = [model.generate(20, start_temperature=50.0, steps=(4, 1, 1), seed=seed) for seed in (0, 1)]
    assert (made[0] != made[1]).any()


def test_self_conditioning_hears_the_step_before() -> None:
    model = SoundStorm(network(), steps=3, self_cond=True).eval()
    seen = steps_of(model, num_latents=10)
    assert model.self_condition is not None
    torch.testing.assert_close(seen[0]["sum_embeds"], model.self_condition(None))
    said = model.net.heads.summed_embeddings(type(model.net).hidden(model.net, **seen[0]))
    torch.testing.assert_close(seen[1]["sum_embeds"], model.self_condition(said), atol=1e-4, rtol=1e-4)


def test_guidance_goes_beyond_the_condition() -> None:
    torch.manual_seed(0)
    model = SoundStorm(network(), num_semantic_token_ids=UNITS, steps=1).eval()
    tokens = torch.randint(UNITS, (1, 40))
    codes = torch.full((1, 40, LEVELS), CODES)
    level = torch.tensor([0])
    assert model.condition is not None
    with torch.no_grad():
        seeing = model.net.heads(model.net.hidden(codes, cond=model.condition(tokens)[0]), level)
        blind = model.net.heads(model.net.hidden(codes), level)
    made = model.generate(cond_semantic_token_ids=tokens, cond_scale=4.0)
    assert (made[0, :, 0] == (blind + 4 * (seeing - blind)).argmax(-1)[0]).all()  # type: ignore[call-overload]
    assert (made[0, :, 0] != seeing.argmax(-1)[0]).any()  # type: ignore[call-overload]


def test_lengths_of_what_is_generated() -> None:
    stage = codec()
    plain = SoundStorm(network(), steps=2, soundstream=stage)
    assert plain.generate(seconds=0.1, batch_size=2).shape == (2, 1600)  # type: ignore[union-attr]
    assert plain.generate(5).shape == (5 * stage.hop,)  # type: ignore[union-attr]
    mask = frame_mask(torch.tensor([5, 3]), 5)
    assert [len(audio) for audio in plain.generate(mask=mask, batch_size=2)] == [5 * stage.hop, 3 * stage.hop]
    spoken = SoundStorm(network(), steps=2, soundstream=stage, num_semantic_token_ids=UNITS)
    tokens = torch.tensor([[1, 2, 3, 4], [5, -1, -1, -1]])
    audio = spoken.generate(cond_semantic_token_ids=tokens)
    assert [len(sample) for sample in audio] == [4 * stage.hop, stage.hop]
    codes = SoundStorm(network(), steps=2, num_semantic_token_ids=UNITS).generate(
        cond_semantic_token_ids=tokens
    )
    assert codes.shape == (2, 4, LEVELS)  # type: ignore[union-attr]
    assert not codes[1, 1:].any()  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "the length follows from nothing; give num_latents, seconds or mask alone"),
        ({"num_latents": 3, "seconds": 1}, "from num_latents and seconds; give num_latents, seconds or mask"),
        ({"seconds": 1}, "seconds were given to a model without soundstream; give num_latents"),
        (
            {"texts": ["hello"]},
            "texts were given to a model that reads none; give spear_tts_text_to_semantic",
        ),
        ({"mask": torch.tensor([[True, False, True]])}, "the mask has gaps"),
    ],
)
def test_unclear_lengths_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        SoundStorm(network()).generate(**arguments)


def test_generate_leaves_the_mode_as_it_was(model: SoundStorm) -> None:
    for training in (True, False):
        model.train(training)
        model.generate(cond_semantic_token_ids=example()[1], steps=(1, 1, 1))
        assert model.training == training


# Blocks


def blockwise() -> SoundStorm:
    torch.manual_seed(0)
    return SoundStorm.from_config(replace(TINY, conformer=replace(CONFORMER, block_causal=True))).eval()


def test_a_finished_block_is_the_same_at_every_level() -> None:
    model = blockwise()
    codes, tokens, _ = example()
    assert model.condition is not None
    blocks = (torch.arange(12) >= 5).long().expand(2, -1)
    hidden = [
        model.net.hidden(
            shown, cond=model.condition.embed(tokens), level=torch.tensor([level]), blocks=blocks
        )
        for level, shown in ((0, codes), (2, codes.index_fill(1, torch.arange(5, 12), CODES)))
    ]
    torch.testing.assert_close(hidden[0][:, :5], hidden[1][:, :5])
    assert not torch.allclose(hidden[0][:, 5:], hidden[1][:, 5:])


def test_blocks_are_trained_and_decoded() -> None:
    model = blockwise()
    codes, tokens, _ = example()
    loss, _ = model.train()(codes, cond_semantic_token_ids=tokens)
    loss.backward()
    assert all(p.grad is not None for p in model.net.conformer.parameters())
    made = model.generate(
        cond_semantic_token_ids=tokens, prompt_acoustic_token_ids=codes[:, :4], steps=(2, 1, 1)
    )
    assert torch.equal(made[:, :4], codes[:, :4])  # type: ignore[call-overload]
    assert not model.config.only_in_pytorch
