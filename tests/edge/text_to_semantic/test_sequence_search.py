"""Ways to write a sequence: greedy, sampled, guided, by beams, and by speculation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from soundstorm_edge.text_to_semantic.autoregressive import TextToSemantic, TextToSemanticConfig
from soundstorm_edge.text_to_semantic.sequence_search import top_k, top_p
from soundstorm_runtime.errors import OptionError

TINY = TextToSemanticConfig(
    dim=16, source_depth=1, target_depth=2, heads=2, dim_head=8, target_early_exit_layer=1,
    num_text_token_ids=9, num_semantic_token_ids=12, cond_drop_prob=0.2,
)  # fmt: skip
TEXT_TO_SPEECH = {"source_type": "text", "target_type": "speech"}
END = 12


def make_model(config: TextToSemanticConfig = TINY, seed: int = 3) -> TextToSemantic:
    """A model whose sequences vary and come to their ends: its blocks outweigh its embeddings."""
    torch.manual_seed(seed)
    model = TextToSemantic(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += 0.2 * torch.randn_like(parameter)
            parameter *= 4 if ".blocks." in name and parameter.ndim > 1 else 1
    return model.eval()


@pytest.fixture(scope="module")
def model() -> TextToSemantic:
    return make_model()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def texts() -> Tensor:
    torch.manual_seed(5)
    texts = torch.randint(1, 9, (4, 6))
    texts[2, 3:] = 0
    return texts


def write(model: TextToSemantic, texts: Tensor, **options: object) -> Tensor:
    return model.generate(texts, max_length=24, **{"temperature": 0, **TEXT_TO_SPEECH, **options})


@torch.no_grad()
def log_likelihood(model: TextToSemantic, text: Tensor, tokens: Tensor) -> float:
    """Of one sequence `[tokens]`, its end included where it has one, padding left out."""
    tokens = tokens[tokens >= 0]
    scores = model(text[None], tokens[None], cond_drop_prob=0.0, **TEXT_TO_SPEECH)[0].log_softmax(-1)
    return float(scores[torch.arange(len(tokens)), tokens].sum())


def test_greedy_takes_the_likeliest_of_the_full_pass(model: TextToSemantic, texts: Tensor) -> None:
    written = write(model, texts)
    assert len(written.unique()) > 5
    for text, tokens in zip(texts, written, strict=True):
        kept = tokens[tokens >= 0]
        scores = model(text[None], kept[None], cond_drop_prob=0.0, **TEXT_TO_SPEECH)
        assert scores[0, :-1].argmax(-1).tolist() == kept.tolist()


def test_each_sequence_is_cut_after_its_end(model: TextToSemantic, texts: Tensor) -> None:
    written, mask = write(model, texts, temperature=1.0, return_target_mask=True)
    ended = [row.tolist().index(END) for row in written if END in row]
    assert len(ended) > 1
    assert len(set(ended)) > 1
    for row, real in zip(written, mask, strict=True):
        length = row.tolist().index(END) + 1 if END in row else len(row)
        assert real.tolist() == [i < length for i in range(len(row))]
        assert (row[length:] == -1).all()


def test_gives_back_the_source_with_its_end(model: TextToSemantic, texts: Tensor) -> None:
    source, _ = write(model, texts, return_source=True)
    assert source[2].tolist() == [*texts[2, :3].tolist(), 9, 0, 0, 0]
    assert source[0].tolist() == [*texts[0].tolist(), 9]


def test_rows_do_not_see_each_other(model: TextToSemantic, texts: Tensor) -> None:
    together = write(model, texts)
    for text, row in zip(texts, together, strict=True):
        alone = write(model, text[text > 0][None])[0]
        assert alone.tolist() == row[: len(alone)].tolist()


def test_writes_text_from_speech(model: TextToSemantic) -> None:
    speech = torch.tensor([[1, 2, 3], [4, 5, -1]])
    written = model.generate(speech, source_type="speech", target_type="text", max_length=6)
    assert written.shape[0] == 2
    assert ((written >= 0) & (written <= 9)).all()


def test_the_model_goes_on_training_after_it_wrote(texts: Tensor) -> None:
    model = make_model(replace(TINY, ff_dropout=0.5)).train()
    first, second = write(model, texts), write(model, texts)
    assert model.training
    assert first.equal(second)


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_grouped_queries_keep_fewer_keys(kv_heads: int, texts: Tensor) -> None:
    model = make_model(replace(TINY, target_kv_heads=kv_heads))
    ids, mask = model.ids_and_mask(texts, "text")
    x = model.embed("speech", torch.zeros(4, 5, dtype=torch.int64), begin=True)
    encoded = model.source(model.embed("text", ids), mask)
    seen = torch.nn.functional.pad(mask, (1, 0), value=True)
    decoded = model.target(x, model.target.cross(encoded), seen)
    assert [k.shape for k in decoded.keys] == [torch.Size([4, kv_heads, 6, 8])] * 2
    # Taken one by one, they give the same sequences as all at once.
    written = write(model, texts)
    scores = model(texts, written.clamp(min=0), cond_drop_prob=0.0, **TEXT_TO_SPEECH)[:, :-1]
    assert (scores.argmax(-1) == written)[written >= 0].all()


def test_guidance_draws_away_from_what_the_model_says_without_a_source(
    model: TextToSemantic, texts: Tensor
) -> None:
    seen, blind = (model(texts, texts[:, :0], cond_drop_prob=p, **TEXT_TO_SPEECH)[:, 0] for p in (0.0, 1.0))
    assert (blind == blind[:1]).all()
    for scale in (1.5, 3.0, 6.0):
        first = write(model, texts, cond_scale=scale)[:, 0]
        assert first.tolist() == (blind + scale * (seen - blind)).argmax(-1).tolist()
    assert not write(model, texts).equal(write(model, texts, cond_scale=3.0))


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_beam_of_one_is_greedy(model: TextToSemantic, texts: Tensor, scale: float) -> None:
    beam = write(model, texts, temperature=1.0, beam_search_decode=True, beam_size=1, cond_scale=scale)
    assert beam.equal(write(model, texts, cond_scale=scale))


def test_beams_find_likelier_sequences_than_greedy(model: TextToSemantic, texts: Tensor) -> None:
    options = {"max_length": 5, **TEXT_TO_SPEECH}
    greedy = model.generate(texts, temperature=0, **options)
    beam = model.generate(texts, beam_search_decode=True, beam_size=6, **options)
    gains = [
        log_likelihood(model, text[text > 0], b) - log_likelihood(model, text[text > 0], g)
        for text, b, g in zip(texts, beam, greedy, strict=True)
    ]
    assert max(gains) > 0.1
    assert min(gains) > -1e-4


def test_a_wide_beam_finds_the_likeliest_of_all(model: TextToSemantic, texts: Tensor) -> None:
    text = texts[:1]
    found = model.generate(text, max_length=2, beam_search_decode=True, beam_size=13, **TEXT_TO_SPEECH)[0]
    pairs = torch.cartesian_prod(torch.arange(13), torch.arange(13))
    pairs[:, 1][pairs[:, 0] == END] = -1
    best = max(pairs.unique(dim=0), key=lambda pair: log_likelihood(model, text[0], pair))
    assert found.tolist() == best[best >= 0].tolist()


@pytest.mark.parametrize("gamma", [1, 3, 5, 40])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_speculation_equals_greedy(model: TextToSemantic, texts: Tensor, gamma: int, scale: float) -> None:
    spoken = write(model, texts, spec_decode=True, spec_decode_gamma=gamma, cond_scale=scale)
    assert spoken.equal(write(model, texts, cond_scale=scale))


def test_speculation_needs_fewer_passes_where_the_early_exit_guesses_well(texts: Tensor) -> None:
    """The second block changes nothing, and the early exit scores as the decoder does."""
    model = make_model()
    last, head = model.target.blocks[1], model.early_exit
    with torch.no_grad():
        for out in (last.self_attention.to_out, last.cross_attention.to_out, last.feed_forward[4]):
            out.weight.zero_()
        for changes in (last.feed_forward[4], head.feed_forward[4]):
            changes.bias.zero_()
        head.feed_forward[4].weight.zero_()
        head.norm.load_state_dict(model.target.norm.state_dict())
        head.to_logits.weight.copy_(model.embedding["speech"].weight)
    passes = []
    last.register_forward_hook(lambda *_: passes.append(1))
    greedy = write(model, texts)
    plain = len(passes)
    assert write(model, texts, spec_decode=True, spec_decode_gamma=5).equal(greedy)
    assert len(passes) - plain == -(-plain // 6)  # one pass takes five guesses and the token after them


def test_lenience_takes_more_guesses(model: TextToSemantic, texts: Tensor) -> None:
    passes = []
    handle = model.target.blocks[1].register_forward_hook(lambda *_: passes.append(1))
    options = {"spec_decode": True, "temperature": 1.0, "filter_fn_kwargs": {"k": 13}}
    counts = []
    for lenience in (1.0, 0.01):
        passes.clear()
        torch.manual_seed(0)
        written = write(model, texts[:1], spec_decode_lenience=lenience, **options)
        counts.append(len(passes) / written.shape[1])
    handle.remove()
    assert counts[1] < 0.7 * counts[0]


@torch.no_grad()
@pytest.mark.parametrize("rows", [40, 2000])
def test_speculation_draws_what_sampling_draws(rows: int) -> None:
    """The first two tokens of equal rows, against their probabilities (arXiv 2211.17192, A.1)."""
    model, text = make_model(replace(TINY, num_semantic_token_ids=4)), torch.tensor([[1, 2, 3]])
    for table in (model.embedding["speech"].weight, model.early_exit.to_logits.weight):
        table *= 0.4  # so that no token is all but certain
    options = {"max_length": 2, "spec_decode": True, "spec_decode_gamma": 2, "filter_fn_kwargs": {"k": 5}}
    texts = text.expand(rows, -1)
    times = max(1, 800 // rows)
    drawn = torch.cat([model.generate(texts, **options, **TEXT_TO_SPEECH) for _ in range(times)])
    options = {"cond_drop_prob": 0.0, **TEXT_TO_SPEECH}
    first = model(text, text[:, :0], **options)[0, 0].softmax(-1)
    found = torch.bincount(drawn[:, 0], minlength=5) / len(drawn)
    torch.testing.assert_close(found, first, atol=2 / len(drawn) ** 0.5, rtol=0)
    likeliest = int(first[:4].argmax())
    second = model(text, torch.tensor([[likeliest]]), **options)[0, 1].softmax(-1)
    followers = drawn[drawn[:, 0] == likeliest][:, 1]
    found = torch.bincount(followers, minlength=5) / len(followers)
    torch.testing.assert_close(found, second, atol=2 / len(followers) ** 0.5, rtol=0)


def test_the_early_exit_learns_and_may_leave_the_decoder_alone(texts: Tensor) -> None:
    speech = torch.randint(12, (4, 7))
    options = {"return_loss": True, "cond_drop_prob": 0.0, **TEXT_TO_SPEECH}
    gradients = []
    for detach in (False, True):
        model = make_model(replace(TINY, detach_early_exit_embed=detach))
        plain = model(texts, speech, **options)
        loss = model(texts, speech, return_early_exit_loss=True, **options)
        assert loss > plain + 0.1
        (loss - plain).backward()
        assert model.early_exit.to_logits.weight.grad.abs().max() > 0
        gradients.append(model.target.blocks[0].feed_forward[1].weight.grad.abs().max().item())
    assert gradients[0] > 1e-3
    assert gradients[1] < 1e-5


def test_top_k_and_top_p() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    assert top_k(logits, thres=0.5).isfinite().tolist() == [[False, True, False, True]]
    assert top_k(logits, k=1).isfinite().tolist() == [[False, True, False, False]]
    assert top_p(logits, thres=0.6).isfinite().tolist() == [[False, True, False, True]]
    assert top_p(logits, thres=0.8).isfinite().tolist() == [[False, True, True, True]]


def test_filters_limit_what_is_drawn(model: TextToSemantic, texts: Tensor) -> None:
    options = {"temperature": 5.0, "filter_logits_fn": top_k}
    assert write(model, texts, filter_fn_kwargs={"k": 1}, **options).equal(write(model, texts))
    assert not write(model, texts, filter_fn_kwargs={"k": 12}, **options).equal(write(model, texts))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            {"cond_drop_prob": 0.0},
            {"cond_scale": 2.0},
            "cond_scale is 2.0, expected 1, or more with",
        ),
        ({}, {"cond_scale": 0.5}, "cond_scale is 0.5, expected 1"),
        ({}, {"spec_decode": True, "beam_search_decode": True}, "were both given, expected one or neither"),
        (
            {"target_early_exit_layer": None},
            {"spec_decode": True},
            "no early exit; set target_early",
        ),
        (
            {},
            {"spec_decode": True, "target_type": "text"},
            "target_type is 'text', expected 'speech'",
        ),
        ({}, {"target_type": "music"}, "a modality is 'music', expected 'speech' or 'text'"),
    ],
)
def test_refuses_what_the_model_was_not_made_for(
    change: dict[str, object], options: dict[str, object], message: str, texts: Tensor
) -> None:
    with pytest.raises(OptionError, match=message):
        write(make_model(replace(TINY, **change)), texts, **options)
