"""The checkpoint: what goes in comes out, and what is not one is refused without running it."""

import dataclasses
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soundstorm_edge.checkpoint import VoiceModels, build_voice, load_voice, save_voice
from soundstorm_edge.errors import CheckpointError, ConfigError
from soundstorm_edge.support.tensor_files import unwrap_weights
from soundstorm_runtime.bundle.prompts import Prompt


@pytest.fixture
def checkpoint(tiny_voice: VoiceModels, tmp_path: Path) -> Path:
    save_voice(tmp_path / "ckpt.pt", tiny_voice)
    return tmp_path / "ckpt.pt"


def test_round_trip(tiny_voice: VoiceModels, tmp_path: Path) -> None:
    save_voice(tmp_path / "ckpt.pt", tiny_voice, precision="fp32")
    loaded = load_voice(tmp_path / "ckpt.pt")
    assert loaded.config == tiny_voice.config
    for part in ("codec", "units", "soundstorm", "text"):
        expected = getattr(tiny_voice, part).state_dict()
        for name, weight in getattr(loaded, part).state_dict().items():
            torch.testing.assert_close(weight, expected[name], rtol=0, atol=0)
    assert loaded.lexicon.phones("Hello.") == tiny_voice.lexicon.phones("Hello.")
    assert not loaded.soundstorm.training


def test_prompts_come_back(tiny_voice: VoiceModels, tmp_path: Path) -> None:
    prompt = Prompt(np.arange(12).reshape(6, 2), np.arange(6))
    config = dataclasses.replace(tiny_voice.config, speaker="anna")
    save_voice(tmp_path / "ckpt.pt", build_voice(config, tiny_voice.lexicon, {"anna": prompt}))
    loaded = load_voice(tmp_path / "ckpt.pt")
    assert loaded.config.speaker == "anna"
    np.testing.assert_array_equal(loaded.prompts["anna"].codes, prompt.codes)
    np.testing.assert_array_equal(loaded.prompts["anna"].semantic_tokens, prompt.semantic_tokens)
    with pytest.raises(CheckpointError, match="speaker is 'anna', expected the name of a prompt: none"):
        build_voice(config, tiny_voice.lexicon)
    content = torch.load(tmp_path / "ckpt.pt", weights_only=True) | {"prompts": {"anna": 3}}
    torch.save(content, tmp_path / "ckpt.pt")
    with pytest.raises(CheckpointError, match="the prompts are not codes and tokens by name"):
        load_voice(tmp_path / "ckpt.pt")


def test_what_soundstorm_is_made_of_comes_back(tiny_voice: VoiceModels, tmp_path: Path) -> None:
    own = tiny_voice.config.soundstorm
    critic = dataclasses.replace(own.conformer, t5_rel_pos_bias=True)
    changed = dataclasses.replace(
        own, semantic_width=6, token_critic=critic, conformer=dataclasses.replace(own.conformer, depth=2)
    )
    config = dataclasses.replace(tiny_voice.config, soundstorm=changed)
    save_voice(tmp_path / "ckpt.pt", build_voice(config, tiny_voice.lexicon))
    loaded = load_voice(tmp_path / "ckpt.pt").soundstorm
    assert loaded.config == changed
    assert loaded.token_critic is not None
    assert loaded.token_critic.net.config.conformer == critic


def test_a_codec_of_other_groups_is_refused(tiny_voice: VoiceModels) -> None:
    own = dataclasses.replace(tiny_voice.config.soundstorm, groups=2)
    with pytest.raises(ConfigError, match="codec has 1 groups, soundstorm 2; they must be equal"):
        dataclasses.replace(tiny_voice.config, soundstorm=own)


def test_half_precision_halves_the_file(tiny_voice: VoiceModels, checkpoint: Path, tmp_path: Path) -> None:
    save_voice(str(tmp_path / "fp32.pt"), tiny_voice, precision="fp32")
    loaded = load_voice(str(checkpoint))
    assert next(loaded.soundstorm.parameters()).dtype == torch.float32
    weights = sum(
        p.numel() for part in (loaded.codec, loaded.soundstorm, loaded.text) for p in part.parameters()
    )
    saved = (tmp_path / "fp32.pt").stat().st_size - checkpoint.stat().st_size
    assert saved > 1.8 * weights


def test_a_failed_write_leaves_the_old_file(
    tiny_voice: VoiceModels, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint.read_bytes()

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"cannot write .* free some space"):
        save_voice(checkpoint, tiny_voice)
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


class Malicious:
    """Unpickling this runs a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch hacked",)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": "soundstorm-edge", "model": Malicious()}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Malicious()))
    for name in ("a.pt", "b.pt"):
        with pytest.raises(CheckpointError, match=r"cannot read .* as a voice: it holds more than tensors"):
            load_voice(tmp_path / name)
    assert not (tmp_path / "hacked").exists()


def edit(path: Path, **changes: Any) -> None:
    torch.save(torch.load(path, weights_only=True) | changes, path)


def configure(path: Path, *keys: str, **changes: Any) -> None:
    """Change the configuration, at the place that `keys` lead to."""
    content = torch.load(path, weights_only=True)
    place = content["config"]
    for key in keys:
        place = place[key]
    place |= changes
    torch.save(content, path)


def with_a_nan(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    next(iter(content["text"].values()))[0] = torch.nan
    torch.save(content, path)


def rewrite(path: Path, change: Callable[[str, bytes], bytes], **options: Any) -> None:
    """Write a checkpoint's records again."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in records.items():
            archive.writestr(name, change(name, content))


def compress(path: Path) -> None:
    rewrite(path, lambda _, content: content, compression=zipfile.ZIP_DEFLATED)


def shorten_a_record(path: Path) -> None:
    rewrite(path, lambda name, content: content[:4] if name.endswith("data/0") else content)


def change_a_byte(path: Path) -> None:
    """Damage a weight, which PyTorch does not notice."""
    content = bytearray(path.read_bytes())
    place = content.index(next(iter(torch.load(path, weights_only=True)["text"].values())).numpy().tobytes())
    content[place] ^= 1
    path.write_bytes(content)


PROMPT = {"codes": torch.zeros(4, 2, dtype=torch.int32), "semantic_tokens": torch.zeros(4, dtype=torch.int32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.unlink(), "no file at .*, expected a voice"),
        (lambda p: p.write_bytes(p.read_bytes()[:5000]), "cannot read .* it may be truncated"),
        (lambda p: p.write_bytes(b""), "cannot read .* it may be truncated"),
        (lambda p: torch.save({"w": torch.zeros(1)}, p), "was not written by soundstorm-edge"),
        (lambda p: torch.save(torch.zeros(1), p), "was not written by soundstorm-edge"),
        (lambda p: edit(p, version=99), "has version 99, expected 1"),
        (lambda p: edit(p, kind="training state"), "is a training state, expected a voice"),
        (lambda p: edit(p, config={"name": "x"}), "lacks the key 'codec'"),
        (lambda p: edit(p, soundstorm={}), "the weights of 'soundstorm' do not fit its configuration"),
        (lambda p: edit(p, soundstorm=3), "the weights of 'soundstorm' are not tensors by name"),
        (lambda p: with_a_nan(p), "the weights of 'text' are not finite"),
        (
            lambda p: configure(p, "soundstorm", "conformer", depth=10**9),
            "depth is 1000000000, expected at most",
        ),
        (
            lambda p: configure(p, "soundstorm", "conformer", dim=2**24),
            "soundstorm' do not fit its configuration",
        ),
        (lambda p: configure(p, "codec", mels=2**12), "'codec' do not fit its configuration .* has shape"),
        (lambda p: configure(p, "codec", mels=2**27), "mels is 134217728, expected at most 65536"),
        (lambda p: configure(p, "codec", window=2**40), "window is 1099511627776, expected at most 65536"),
        (lambda p: configure(p, "units", window=2**40), "window is 1099511627776, expected at most 65536"),
        (lambda p: configure(p, name="a\x1b[2J"), "name has .* expected no control characters"),
        (
            lambda p: edit(p, prompts={"../a": PROMPT}),
            r"a prompt is '\.\./a', expected a name that a file can",
        ),
        (
            lambda p: edit(p, prompts={"a": PROMPT | {"codes": torch.zeros(3)}}),
            "prompt 'a' has codes of shape",
        ),
        (compress, "cannot read .*its records are compressed"),
        (shorten_a_record, "cannot read .* as a voice"),
        (change_a_byte, "cannot read .* as a voice .*its record '.*' is damaged"),
        (lambda p: edit(p, lexicon=torch.zeros(9, dtype=torch.uint8)), "lexicon"),
    ],
)
def test_what_is_no_checkpoint_is_refused(checkpoint: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    change(checkpoint)
    with pytest.raises(CheckpointError, match=message):
        load_voice(checkpoint)


def test_a_missing_part_is_named(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    del content["units"]
    torch.save(content, checkpoint)
    with pytest.raises(CheckpointError, match="lacks 'units'"):
        load_voice(checkpoint)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: {f"module.{name}": t for name, t in w.items()},
        lambda w: {f"_orig_mod.{name}": t for name, t in w.items()},
        lambda w: {f"module._orig_mod.{name}": t for name, t in w.items()},
        lambda w: {name.replace(".", "._orig_mod.", 1): t for name, t in w.items()},
        lambda w: {f"module.{name}": t for name, t in w.items()} | {"n_averaged": torch.tensor(3)},
        lambda w: {"state_dict": w},
        lambda w: {"epoch": 3, "model": {"state_dict": {f"module.{name}": t for name, t in w.items()}}},
        lambda w: (
            {f"online_model.{name}": t * 0 for name, t in w.items()}
            | {f"ema_model.{name}": t for name, t in w.items()}
            | {"initted": torch.tensor(True), "step": torch.tensor(3)}
        ),
    ],
)
def test_wrappers_of_training_are_removed(tiny_voice: VoiceModels, checkpoint: Path, wrap: Any) -> None:
    content = torch.load(checkpoint, weights_only=True)
    torch.save(content | {"soundstorm": wrap(content["soundstorm"])}, checkpoint)
    loaded = load_voice(checkpoint).soundstorm.state_dict()
    assert loaded.keys() == tiny_voice.soundstorm.state_dict().keys()
    for name, weight in content["soundstorm"].items():
        torch.testing.assert_close(loaded[name], weight.to(loaded[name].dtype), rtol=0, atol=0)


def test_a_part_that_is_called_module_keeps_its_name() -> None:
    weights = {"module.a": torch.ones(1), "net.b": torch.ones(1)}
    assert unwrap_weights(weights) == weights
    assert unwrap_weights(3) == 3
