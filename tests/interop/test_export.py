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
from spear_tts_pytorch import TextToSemantic  # isort: skip

from soundstorm_edge.interop import from_soundstorm_pytorch
from soundstorm_edge.text_to_semantic.autoregressive import TextToSemantic as Own
from soundstorm_export.cli.export import export
from soundstorm_export.errors import ExportError
from soundstorm_export.third_party import read_parts
from soundstorm_runtime.bundle.open_engines import open_engines
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.synthesis.sentence_reader import SentenceReader
from soundstorm_runtime.voice import Voice

assert oracles  # it must come before the reference

CODES, LEVELS, TOKENS = 16, 2, 10
# 50 semantic tokens a second: an untrained text stage does not end, and is cut after so many seconds. All
# voices of these tests have this rate, so that few graphs are traced.
HZ = 400
RATES: dict[str, Any] = {"wav2vec_target_sample_hz": HZ, "wav2vec_downsample_factor": 8}
CONDITION: dict[str, Any] = {"num_semantic_token_ids": TOKENS, **RATES}
SOUNDSTREAM = f"""
[soundstream]
target_sample_hz = {HZ}
attn_window_size = 8
multi_spectral_window_powers_of_two = []
multi_spectral_recon_loss_weight = 0.0
"""
FACTS = f"""
name = "borrowed"
[soundstorm]
steps = 3
wav2vec_target_sample_hz = {HZ}
wav2vec_downsample_factor = 8
{SOUNDSTREAM}"""


def codec() -> Any:
    torch.manual_seed(1)
    return SoundStream(
        channels=4, strides=(2, 4), channel_mults=(1, 2), codebook_dim=8, codebook_size=CODES,
        rq_num_quantizers=LEVELS, target_sample_hz=HZ, attn_window_size=8, attn_dim_head=8, attn_heads=2,
        discr_multi_scales=(), multi_spectral_window_powers_of_two=(),
        multi_spectral_recon_loss_weight=0.0,
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
        wav2vec_target_sample_hz=HZ,
        wav2vec_downsample_factor=8,
        soundstream={"target_sample_hz": HZ, "attn_window_size": 8},
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


def test_every_checkpoint_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"codec_target_sample_hz": HZ, "codec_downsample_factor": 8}
    paths = [write(tmp_path / "soundstorm.pt", **CONDITION, **rates), tmp_path / "soundstream.pt"]
    codec().save(paths[1])
    (tmp_path / "facts.toml").write_text(FACTS)
    load, found = torch.load, []
    monkeypatch.setattr(torch, "load", lambda path, **options: found.append(path) or load(path, **options))
    read_parts(paths, tmp_path / "facts.toml")
    assert found == paths


def test_a_model_without_condition_takes_one_mute_token(tmp_path: Path) -> None:
    path = write(tmp_path / "soundstorm.pt", soundstream=codec())
    (tmp_path / "facts.toml").write_text(f"{SOUNDSTREAM}[decode]\nsteps = [2, 1]\n")
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
    assert "has no codec inside; give the file of its SoundStream, too" in str(result.exception)
    result = run(tmp_path / "soundstream.pt", path, "-o", tmp_path / "voice", "--precision", "fp32")
    assert result.exit_code == 0, result.output
    (tmp_path / "facts.toml").write_text(FACTS)  # the codec's file tells its rate and hop
    told = write(tmp_path / "told.pt", **CONDITION, codec_target_sample_hz=HZ, codec_downsample_factor=8)
    with_codec = (told, tmp_path / "soundstream.pt", "--config", tmp_path / "facts.toml")
    result = run(*with_codec, "-o", tmp_path / "with-condition", "--precision", "fp32")
    assert result.exit_code == 0, result.output
    inside = write(tmp_path / "inside.pt", soundstream=codec())
    result = run(inside, tmp_path / "soundstream.pt", "-o", tmp_path / "other")
    assert "inside.pt has its soundstream inside; leave" in str(result.exception)
    result = run(path, inside, "-o", tmp_path / "other")
    assert "both hold a soundstorm; leave one out" in str(result.exception)


@pytest.mark.parametrize(
    ("options", "facts", "message"),
    [
        ({"self_cond": True}, "", "this SoundStorm has self_cond, which the step graph cannot hold"),
        (CONDITION, "", "do not tell wav2vec_target_sample_hz; give wav2vec_target_sample_hz="),
        ({}, "[decode]\nstep = 3\n", "decode: .*'step'"),
        (
            {},
            "[decoder]\n",
            "unknown key 'decoder'; valid keys: name, soundstorm, soundstream, text, tokenizer, decode",
        ),
        ({}, "[", "facts.toml is not TOML"),
    ],
)
def test_what_is_in_the_way_is_named(
    tmp_path: Path, options: dict[str, Any], facts: str, message: str
) -> None:
    path = write(tmp_path / "soundstorm.pt", soundstream=codec(), **options)
    (tmp_path / "facts.toml").write_text(SOUNDSTREAM + facts)
    result = run(path, "-o", tmp_path / "voice", "--config", tmp_path / "facts.toml")
    assert result.exit_code != 0
    with pytest.raises(Exception, match=message):
        raise result.exception
    assert not (tmp_path / "voice").exists()


def test_a_codec_alone_is_no_voice(tmp_path: Path) -> None:
    codec().save(tmp_path / "soundstream.pt")
    result = run(tmp_path / "soundstream.pt", "-o", tmp_path / "voice")
    assert "no SoundStorm among them, which every voice needs; give its file" in str(result.exception)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    result = run(tmp_path / "other.pt", "-o", tmp_path / "voice")
    assert "and is no SoundStorm of soundstorm-pytorch, SoundStream of" in str(result.exception)


def text_stage(**options: Any) -> Any:
    torch.manual_seed(2)
    model = TextToSemantic(
        dim=16,
        source_depth=1,
        target_depth=1,
        heads=2,
        dim_head=8,
        **{"num_semantic_token_ids": TOKENS, **options},
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def test_the_text_stage_speaks_on_the_device(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    text = text_stage(use_openai_tokenizer=True)
    path = write(tmp_path / "soundstorm.pt", soundstream=codec(), spear_tts_text_to_semantic=text, **RATES)
    (tmp_path / "facts.toml").write_text(FACTS + "[text]\nuse_openai_tokenizer = true\n")
    result = run(path, "-o", tmp_path / "voice", "--config", tmp_path / "facts.toml", "--precision", "fp32")
    assert result.exit_code == 0, result.output + str(result.exception)
    bundle = read_bundle(tmp_path / "voice")
    facts_of_text, spelling = bundle.manifest.text, bundle.spelling()
    assert facts_of_text is not None
    assert spelling is not None
    reader = SentenceReader(
        bundle.manifest, facts_of_text, open_engines(bundle, provider="cpu").by_name, spelling
    )
    for written in ("the rain in spain ...", "“Don’t”, said the Quick brown fox!", "Ça va?"):
        (sentence,) = reader.sentences(written)
        assert sentence == written
        (part,) = reader.read(sentence, np.random.SeedSequence(0))
        expected = text.generate(
            [written], source_type="text", target_type="speech", temperature=0.0, max_length=len(part.tokens)
        )
        assert part.tokens.tolist() == expected[0, : len(part.tokens)].tolist()
    assert np.abs(Voice.load(bundle.path, provider="cpu").speak("One, two. Three, four!")).max() > 0


def test_the_text_stage_may_be_a_file_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    paths = [write(tmp_path / "soundstorm.pt", soundstream=codec(), **CONDITION), tmp_path / "text.pt"]
    torch.save({"model": text_stage(use_openai_tokenizer=True).state_dict()}, paths[1])
    config = tmp_path / "facts.toml"
    config.write_text(FACTS + "[text]\nuse_openai_tokenizer = true\n")
    parts = read_parts(paths, config)
    assert isinstance(parts.text, Own)
    assert parts.vocabulary == parts.text.config.vocabulary == TOKENS
    assert "</w>" in (parts.tokenizer or "")
    torch.save(
        text_stage(num_semantic_token_ids=TOKENS + 1, use_openai_tokenizer=True).state_dict(), paths[1]
    )
    with pytest.raises(ExportError, match="predicts 11 semantic tokens, SoundStorm reads 10; give the text"):
        read_parts(paths, config)


def test_a_text_stage_without_its_tokenizer_is_asked_for_it(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    soundstorm = write(tmp_path / "soundstorm.pt", soundstream=codec(), **CONDITION)
    torch.save(text_stage(num_text_token_ids=4).state_dict(), tmp_path / "text.pt")
    (tmp_path / "facts.toml").write_text(FACTS)
    command = [
        soundstorm,
        tmp_path / "text.pt",
        "-o",
        tmp_path / "voice",
        "--config",
        tmp_path / "facts.toml",
    ]
    result = run(*command)
    assert "and none is named; set use_openai_tokenizer" in str(result.exception)
    (tmp_path / "facts.toml").write_text("tokenizer = 'words.json'\n" + FACTS)
    assert "but there is no file" in str(run(*command).exception)
    words = tokenizers.models.WordLevel({"no": 0, "one": 1, "two": 2, "three": 3, "four": 4}, unk_token="no")
    tokenizers.Tokenizer(words).save(str(tmp_path / "words.json"))
    result = run(*command)
    assert "words.json has 5 tokens, expected at most 4" in str(result.exception)
    assert not (tmp_path / "voice").exists()
