"""Scripts written for soundstorm-pytorch, with the import changed and sizes made small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import soundstorm_edge
from soundstorm_edge import (
    Conformer,
    ConformerWrapper,
    SoundStorm,
    SoundStormTrainer,
    SoundStream,
    TextToSemantic,
)

SMALL = {"dim": 32, "depth": 1, "dim_head": 16, "heads": 2}
CODEC = {"channels": 4, "codebook_dim": 32, "attn_dim_head": 8, "attn_heads": 2, "discriminators": False}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def soundstream() -> SoundStream:
    return SoundStream(codebook_size=1024, rq_num_quantizers=12, attn_window_size=128, attn_depth=2, **CODEC)


def test_train_on_codes_and_generate_codes() -> None:
    conformer = ConformerWrapper(codebook_size=1024, num_quantizers=12, conformer=dict(**SMALL))
    model = SoundStorm(conformer, steps=18, schedule="cosine")

    codes = torch.randint(0, 1024, (2, 64, 12))
    loss, _ = model(codes)
    loss.backward()

    generated = model.generate(64, batch_size=2)
    assert generated.shape == (2, 64, 12)
    assert generated.max() < 1024


def test_train_on_audio_and_generate_audio() -> None:
    conformer = ConformerWrapper(codebook_size=1024, num_quantizers=12, conformer=dict(**SMALL))
    model = SoundStorm(conformer, soundstream=soundstream())

    audio = torch.randn(2, 10080)
    loss, _ = model(audio)
    loss.backward()

    generated_audio = model.generate(seconds=1, batch_size=2)
    assert generated_audio.shape == (2, 16_000)
    assert torch.isfinite(generated_audio).all()


def test_text_to_speech() -> None:
    text_to_semantic = TextToSemantic(
        dim=32,
        source_depth=1,
        target_depth=1,
        num_text_token_ids=50000,
        num_semantic_token_ids=12,
        use_openai_tokenizer=True,
    )
    conformer = ConformerWrapper(codebook_size=1024, num_quantizers=12, conformer=dict(**SMALL))
    model = SoundStorm(conformer, soundstream=soundstream(), spear_tts_text_to_semantic=text_to_semantic)

    generated_speech = model.generate(
        texts=["the rain in spain stays mainly in the plain", "the quick brown fox jumps over the lazy dog"],
        text_to_semantic_generate_kwargs={"max_length": 40},
    )
    lengths = [len(audio) for audio in generated_speech]
    assert len(set(lengths)) == 2
    assert all(length % 320 == 0 and length > 0 for length in lengths)

    loss, _ = model(torch.randn(2, 10080), cond_semantic_token_ids=torch.randint(12, (2, 31)))
    loss.backward()


def test_the_trainer(tmp_path: Path) -> None:
    class Codes(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
        def __len__(self) -> int:
            return 40

        def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.randint(10, (16,)), torch.randint(32, (16, 2))

    conformer = ConformerWrapper(codebook_size=32, num_quantizers=2, conformer=Conformer(**SMALL))
    model = SoundStorm(
        conformer,
        num_semantic_token_ids=10,
        wav2vec_target_sample_hz=16_000,
        wav2vec_downsample_factor=320,
        codec_target_sample_hz=16_000,
        codec_downsample_factor=320,
    )
    trainer = SoundStormTrainer(
        model,
        dataset=Codes(),
        num_train_steps=2,
        num_warmup_steps=1,
        batch_size=2,
        results_folder=str(tmp_path / "results"),
        force_clear_prev_results=False,
    )
    trainer.train()


def test_the_names_are_imported_when_they_are_asked_for(environment: dict[str, str]) -> None:
    code = "import sys, soundstorm_edge as s; assert 'torch' not in sys.modules"
    code += "; print(*map(s.__getattr__, s.__all__))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'Soundstorm'; it has AudioLMSoundStream"):
        soundstorm_edge.Soundstorm  # noqa: B018
