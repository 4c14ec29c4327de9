"""Fine-tuning as the guide has it: the commands, in their order, with the shipped recipe in small."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from soundstorm_edge.checkpoint import VoiceConfig, build_voice, load_voice, save_voice
from soundstorm_edge.cli.commands import main_group
from soundstorm_edge.data.shipped_lexicon import shipped_lexicon
from soundstorm_edge.training.recipe import load_recipe

SMALL = """
base = "finetune"
name = "my-voice"
[corpus]
path = "recordings"
held_out_percent = 0
[codec.model]
dim = 16
mels = 20
encoder_blocks = 1
decoder_blocks = 1
latent_dim = 8
levels = 2
codebook_size = 16
[units.model]
vocabulary = 12
mels = 20
dim = 16
depth = 1
width = 8
[text.model.encoder]
dim = 16
depth = 1
heads = 2
dim_head = 8
[text.model.decoder]
dim = 16
depth = 1
heads = 2
dim_head = 8
[acoustic]
frames = 40
[acoustic.conformer]
dim = 16
depth = 1
heads = 2
dim_head = 8
conv_kernel_size = 3
[acoustic.optimization]
steps = 2
batch = 2
warmup = 1
"""


def _recordings(folder: Path) -> None:
    """Noise, whose transcripts are no transcripts of it."""
    (folder / "wavs").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for word in ("one", "two", "three", "four"):
        soundfile.write(folder / "wavs" / f"{word}.wav", rng.uniform(-0.5, 0.5, 36_000), 24_000)
    (folder / "metadata.csv").write_text("".join(f"{w}|{w}|{w}\n" for w in ("one", "two", "three", "four")))


def test_the_guide_makes_a_voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _recordings(tmp_path / "recordings")
    Path("my-voice.toml").write_text(SMALL)
    recipe, lexicon = load_recipe("my-voice.toml"), shipped_lexicon("cmu")
    torch.manual_seed(0)
    config = VoiceConfig(
        name="kokoro-multi",
        codec=recipe.codec.model,
        units=recipe.units.model,
        soundstorm=recipe.soundstorm_config(),
        text=recipe.text_config(lexicon.symbols),
        decode=recipe.decode,
    )
    voice = build_voice(config, lexicon, {})
    save_voice(Path("kokoro-multi.pt"), voice)
    for command in (
        ("warm-start", "kokoro-multi.pt"),
        ("corpus",),
        ("units",),
        ("acoustic",),
        ("assemble", "-o", "my-voice.pt"),
    ):
        done = CliRunner().invoke(main_group, [*command, "--recipe", "my-voice.toml"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    mine = load_voice(Path("my-voice.pt"))
    assert list(mine.prompts) == ["my-voice"], "it speaks as the recordings do, from sentence to sentence"
    assert mine.config.speaker == "my-voice"
    assert "Kokoro" in mine.config.notice, "whose speech the first voice learned from"
