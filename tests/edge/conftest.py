"""What tests of training share: a little speech, and a recipe of the tiny voice's networks."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_edge.corpus import CorpusConfig
from soundstorm_edge.recipe import Recipe
from soundstorm_edge.training.acoustic import AcousticRecipe
from soundstorm_edge.training.codec import CodecRecipe
from soundstorm_edge.training.optimization import Optimization
from soundstorm_edge.training.text import TextRecipe
from soundstorm_edge.training.units import UnitsRecipe

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
BRIEF = Optimization(steps=2, batch=2, warmup=1)


@pytest.fixture
def tiny_recipe(tiny_voice: VoiceModels, tmp_path: Path) -> Recipe:
    """Of the tiny voice's networks, for noise in LJSpeech's layout, some of it held out."""
    folder = tmp_path / "recordings"
    (folder / "wavs").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for word in WORDS:
        soundfile.write(folder / "wavs" / f"{word}.wav", rng.uniform(-0.5, 0.5, 16_000), 16_000)
    (folder / "metadata.csv").write_text("".join(f"{word}|{word}|{word}\n" for word in WORDS))
    config = tiny_voice.config
    return Recipe(
        name="more",
        corpus=CorpusConfig("ljspeech", str(folder), held_out_percent=40),
        codec=CodecRecipe(config.codec, frames=25, optimization=BRIEF),
        units=UnitsRecipe(config.units),
        acoustic=AcousticRecipe(config.soundstorm.conformer, frames=20, optimization=BRIEF),
        text=TextRecipe(config.text, optimization=BRIEF),
        decode=config.decode,
    )
