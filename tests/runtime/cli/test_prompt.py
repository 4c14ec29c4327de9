"""`soundstorm prompt`, and what other commands do with what it makes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile


@pytest.fixture
def bundle(make_bundle):
    return make_bundle(hears=True, voices={"slt": 6})


@pytest.fixture
def wav(tmp_path):
    time = np.arange(88_200) / 44_100
    audio = 0.3 * np.sin(2 * np.pi * 110 * time) * (0.3 + 0.7 * np.abs(np.sin(9 * time)))
    soundfile.write(tmp_path / "speaker.wav", np.stack([audio, audio], axis=1), 44_100)
    return tmp_path / "speaker.wav"


@pytest.fixture
def soundstorm(run_command, tmp_path):
    def run(*arguments, code=0):
        done = run_command("soundstorm", *arguments, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def samples(file):
    return soundfile.read(file)[0]


def test_a_recording_becomes_a_voice(bundle, wav, soundstorm, tmp_path):
    done = soundstorm("prompt", bundle, wav, "-o", "prompts/anna.npz")
    assert "prompts/anna.npz: 2.0 s of speech, made in" in done.stderr
    assert "anna" not in soundstorm("voices", bundle).stdout
    soundstorm("prompt", bundle, wav, "-o", bundle / "prompts" / "anna.npz")
    assert (tmp_path / "prompts" / "anna.npz").read_bytes() == (bundle / "prompts" / "anna.npz").read_bytes()
    assert soundstorm("voices", bundle).stdout == "slt   0.2 s, the default\nanna  2.0 s\n"
    for voice in ("anna", "prompts/anna.npz", "slt"):
        soundstorm("say", bundle, "Hello.", "--voice", voice, "-o", f"{len(voice)}.wav")
    np.testing.assert_array_equal(samples(tmp_path / "4.wav"), samples(tmp_path / "16.wav"))
    assert not np.array_equal(samples(tmp_path / "4.wav"), samples(tmp_path / "3.wav"))


def test_what_is_refused_leaves_no_file(bundle, wav, soundstorm, tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    for recording, output, message in (
        (wav, "anna.wav", "cannot write anna.wav: expected a name that ends in .npz, such as anna.npz"),
        (
            wav,
            bundle / "prompts" / "slt.npz",
            "slt.npz is a voice of the exported bundle; give the new one",
        ),
        (tmp_path / "text.wav", "anna.npz", "text.wav is not audio that can be read"),
        (tmp_path / "none.wav", "anna.npz", "none.wav (No such file or directory); check the path"),
    ):
        assert message in soundstorm("prompt", bundle, recording, "-o", output, code=1).stderr
    assert not list(tmp_path.glob("anna.*"))
    soundstorm("say", bundle, "Hello.", "--voice", "slt", "-o", "slt.wav")


def test_voices_names_the_bad_one_and_lists_the_others(bundle, soundstorm):
    (bundle / "prompts" / "anna.npz").write_bytes(b"no prompt")
    done = soundstorm("voices", bundle)
    assert done.stdout.startswith("slt")
    assert "anna  cannot be used:" in done.stderr
    assert "anna.npz cannot be read as a prompt" in done.stderr


def test_say_and_batch_take_speed_and_lexicon(bundle, soundstorm, tmp_path):
    (tmp_path / "words.toml").write_text('hello = "/hh ax l ow ow ow/"\n')
    (tmp_path / "lines.jsonl").write_text(json.dumps({"id": "a", "text": "Hello hello."}) + "\n")
    options = ["--speed", "0.5", "--lexicon", "words.toml"]
    soundstorm("say", bundle, "Hello hello.", "-o", "plain.wav")
    soundstorm("say", bundle, "Hello hello.", "-o", "own.wav", *options)
    soundstorm("batch", bundle, "lines.jsonl", "-o", "out", *options)
    plain, own, batch = (samples(tmp_path / name) for name in ("plain.wav", "own.wav", "out/a.wav"))
    np.testing.assert_array_equal(own, batch)
    assert len(own) > 2 * len(plain)
    (tmp_path / "words.toml").write_text("hello = 5\n")
    for command in (["say", bundle, "Hello."], ["batch", bundle, "lines.jsonl", "-o", "more"]):
        done = soundstorm(*command, *options, code=1)
        assert "error: words.toml:1: 'hello' is 5, expected phones" in done.stderr


def test_batch_takes_prompts_by_file(bundle, wav, soundstorm, tmp_path):
    soundstorm("prompt", bundle, wav, "-o", "anna.npz")
    lines = [{"id": "a", "text": "Hello."}, {"id": "b", "text": "Hello.", "voice": "slt"}]
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    soundstorm("batch", bundle, "lines.jsonl", "-o", "out", "--voice", "anna.npz")
    soundstorm("say", bundle, "Hello.", "--voice", "anna.npz", "-o", "said.wav")
    np.testing.assert_array_equal(samples(tmp_path / "out/a.wav"), samples(tmp_path / "said.wav"))
    done = soundstorm("batch", bundle, "lines.jsonl", "-o", "more", "--voice", "none.npz", code=1)
    assert "none.npz cannot be read as a prompt" in done.stderr
