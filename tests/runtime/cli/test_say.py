"""The command line as a user runs it: a process, its output and its exit code."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import wave

import numpy as np
import pytest
import soundfile

from soundstorm_runtime import Voice
from soundstorm_runtime.audio.writers import audio_file
from soundstorm_runtime.bundle import reader
from soundstorm_runtime.cli import main
from soundstorm_runtime.errors import AudioError

COMMAND = [sys.executable, "-m", "soundstorm_runtime.cli"]


@pytest.fixture
def voice(make_bundle):
    return make_bundle()


def soundstorm(*arguments, cwd=None, stdin=b"", **options):
    """Run the command; gives the finished process with bytes of stdout and text of stderr."""
    found = subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, input=stdin, capture_output=True, check=False, **options
    )
    found.stderr = found.stderr.decode()
    return found


@pytest.fixture
def call(monkeypatch, capfdbinary, tmp_path):
    """Like `soundstorm`, within this process and in `tmp_path`: much quicker where that is no matter."""

    def call(*arguments, stdin=b""):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["soundstorm", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        written = capfdbinary.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code, written.out, written.err.decode())

    return call


def fails(found, message, code=1):
    """The process ended with one clear line, the exit code, and nothing on stdout."""
    assert found.returncode == code
    assert found.stdout == b""
    assert "Traceback" not in found.stderr
    (line,) = [line for line in found.stderr.splitlines() if line.lower().startswith("error:")]
    assert re.search(message, line), line


def test_say_writes_a_wav_and_says_so(voice, tmp_path):
    found = soundstorm("say", voice, "Good morning.", "-o", "out.wav", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout == b""
    audio, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    expected = Voice.load(voice).speak("Good morning.")
    np.testing.assert_allclose(audio, expected, atol=1e-4)
    assert rate == 800
    line = found.stderr.splitlines()[-1]
    assert re.fullmatch(r"out\.wav: [\d.]+ s of audio in [\d.]+ s, RTF [\d.]+", line)
    assert float(line.split()[1]) == pytest.approx(len(audio) / 800, abs=0.01)
    assert "engine: ONNX Runtime" in found.stderr
    assert [file.name for file in tmp_path.iterdir() if "part" in file.name] == []


def test_the_manifest_is_read_once(call, voice, monkeypatch):
    read, found = reader.read_file, []

    def watched(path, *arguments, **options):
        found.append(path.name)
        return read(path, *arguments, **options)

    monkeypatch.setattr(reader, "read_file", watched)
    assert call("say", voice, "-o", "out.wav", stdin=b"Hello.").returncode == 0
    assert found == ["bundle.json"]


def test_text_comes_from_argument_file_or_stdin(call, voice, tmp_path):
    text = "Good morning."
    file = tmp_path / "text.txt"
    file.write_text(text)
    ways = {
        "a.wav": ((text,), b""),
        "b.wav": (("-f", file), b""),
        "c.wav": ((), text.encode()),
        "d.wav": (("-",), text.encode()),
    }
    for name, (arguments, stdin) in ways.items():
        found = call("say", voice, *arguments, "-o", tmp_path / name, stdin=stdin)
        assert found.returncode == 0, found.stderr
    assert len({(tmp_path / name).read_bytes() for name in ways}) == 1


def test_options_change_what_is_spoken(call, voice, tmp_path):
    def spoken(*options):
        found = call("say", voice, "Good morning.", "-o", tmp_path / "x.wav", *options)
        assert found.returncode == 0, found.stderr
        return (tmp_path / "x.wav").read_bytes()

    usual = spoken("--threads", 1, "--provider", "cpu")
    assert usual == spoken("--seed", 0)
    assert usual != spoken("--seed", 1, "--steps", "1,1,1", "--temperature", 0.01)


def test_the_suffix_chooses_the_format(call, voice, tmp_path):
    assert call("say", voice, "Yes.", "-o", tmp_path / "x.flac").returncode == 0
    assert soundfile.info(tmp_path / "x.flac").format == "FLAC"
    fails(
        call("say", voice, "Yes.", "-o", tmp_path / "x.mp3"),
        "expected a name that ends in .wav or .flac",
    )


def test_a_wav_streams_to_stdout(voice, tmp_path):
    text = "Good morning. And good night."
    found = soundstorm("say", voice, text, "-o", "-", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert list(tmp_path.glob("*.wav")) == []
    assert soundstorm("say", voice, text, cwd=tmp_path).stdout == found.stdout
    assert soundstorm("say", voice, text, "-o", "out.wav", cwd=tmp_path).returncode == 0
    expected, rate = soundfile.read(tmp_path / "out.wav", dtype="int16")
    audio, streamed_rate = soundfile.read(io.BytesIO(found.stdout), dtype="int16")
    assert streamed_rate == rate
    np.testing.assert_array_equal(audio, expected)
    with wave.open(io.BytesIO(found.stdout)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (800, 1, 2)
        assert len(file.readframes(len(expected))) == 2 * len(expected)


def test_a_reader_that_leaves_ends_the_stream_quietly(voice):
    text = "Good morning. " * 400
    with subprocess.Popen(
        [*COMMAND, "say", str(voice), text, "-o", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.read(100)
        process.stdout.close()
        errors = process.stderr.read().decode()
        assert process.wait(120) == 1
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


def test_closed_streams_are_no_reason_for_a_traceback(voice, tmp_path):
    command = shlex.join([*COMMAND, "say", str(voice)])
    for line, code in ((f"{command} <&-", 1), (f"{command} Yes. >&-", 0), (f"{command} Yes. 2>&- | cat", 0)):
        found = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=False, check=False)
        assert found.returncode == code
        assert b"Traceback" not in found.stderr
        assert (b"error: text is empty" in found.stderr) == bool(code)


def test_ctrl_c_ends_with_130_and_leaves_what_was_there(voice, tmp_path):
    output = tmp_path / "out.wav"
    output.write_bytes(b"before")
    text = "This sentence is spoken again and again, and again. " * 1900
    with subprocess.Popen(
        [*COMMAND, "say", str(voice), "-o", str(output)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(text.encode())
        process.stdin.close()
        process.stdin = None
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("*-part")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read().decode()
        assert process.wait(120) == 130, errors
    assert "Traceback" not in errors
    assert output.read_bytes() == b"before"
    assert list(tmp_path.glob(".out*")) == []


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (b"", "error: .*text"),
        (b"  \n ", "error: .*text"),
        (b"... !?", "error: .*text"),
        (b"\xff\xfe\xfa", r"is not UTF-8 text \(.* at byte 0\); convert it"),
        (b"Good morning. " * 20_000, "has 280000 characters, the limit is"),
    ],
)
def test_text_that_cannot_be_spoken_is_refused(call, voice, tmp_path, stdin, message):
    output = tmp_path / "out.wav"
    output.write_bytes(b"before")
    fails(call("say", voice, "-o", output, stdin=stdin), message)
    assert output.read_bytes() == b"before"


def test_an_output_that_cannot_be_written_is_refused_before_the_work(call, voice, tmp_path):
    (tmp_path / "file").touch()
    for output, reason in [
        (tmp_path / "none" / "out.wav", "No such file or directory; choose a folder that can be written"),
        (tmp_path / "file" / "out.wav", "Not a directory"),
    ]:
        fails(call("say", voice, "Yes.", "-o", output), f"cannot write {output}: {reason}")
    (tmp_path / "folder.wav").mkdir()
    fails(call("say", voice, "Yes.", "-o", tmp_path / "folder.wav"), "it is a folder")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Yes.", "-o", "x.mp3"], "expected a name that ends in .wav or .flac"),
        (["", "-o", "x.wav"], "text is empty; give some words to speak"),
        (["Yes.", "-o", "none/x.wav"], "No such file or directory"),
    ],
)
def test_errors_that_need_no_engine_are_reported_before_one_is_loaded(call, voice, arguments, message):
    found = call("say", voice, *arguments)
    fails(found, message)
    assert "engine:" not in found.stderr


def test_a_folder_without_permission_is_refused_before_an_engine_is_loaded(call, voice, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write everywhere
    found = call("say", voice, "Yes.", "-o", "x.wav")
    fails(found, r"cannot write x\.wav: Permission denied; choose a folder that can be written")
    assert "engine:" not in found.stderr


def test_a_text_that_begins_with_a_hyphen(call, voice, tmp_path):
    found = call("say", voice, "-5 degrees outside.")
    fails(found, "No such option.*; put -- before a text that begins with a hyphen", code=2)
    assert call("say", "-o", "x.wav", "--", voice, "-5 degrees outside.").returncode == 0
    assert (tmp_path / "x.wav").is_file()
    assert "hyphen" not in call("say", voice, "Yes.", "--sed", 1).stderr


def test_a_full_disk_leaves_what_was_there(tmp_path):
    output = tmp_path / "out.wav"
    output.write_bytes(b"before")
    script = (
        "import resource, signal, sys, numpy\n"
        "from pathlib import Path\n"
        "from soundstorm_runtime.audio.writers import audio_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n"
        "    with audio_file(Path(sys.argv[1]), 800) as write: write(numpy.zeros(80_000, numpy.float32))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    found = subprocess.run([sys.executable, "-c", script, output], capture_output=True, text=True, check=True)
    assert re.match(r"AudioError cannot write .*out\.wav: .*; is the disk full\?", found.stdout), found
    assert output.read_bytes() == b"before"
    assert list(tmp_path.glob(".out*")) == []


def test_a_failed_run_leaves_what_was_there(tmp_path):
    output = tmp_path / "out.wav"
    output.write_bytes(b"before")

    def speak_and_fail():
        with audio_file(output, 800) as write:
            write(np.zeros(100, np.float32))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        speak_and_fail()
    assert output.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["out.wav"]
    with pytest.raises(AudioError, match=r"expected a name that ends in \.wav or \.flac"):
        audio_file(tmp_path, 8).__enter__()


@pytest.mark.parametrize("command", ["say", "info"])
def test_a_bad_bundle_is_refused(call, voice, tmp_path, command):
    text = ["Yes."] if command == "say" else []
    fails(call(command, tmp_path / "none", *text), "is not a bundle: expected a folder with bundle.json")
    (voice / "decoder.onnx").write_bytes(b"")
    fails(call(command, voice, *text), r"decoder.onnx has 0 bytes, expected \d+; export it")
    assert list(tmp_path.glob("*.wav")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "1,x"], "'1,x' is not a list of whole numbers such as 16,1,1"),
        (["--seed", "-1"], "--seed"),
        (["--provider", "tpu"], "--provider"),
        (["-f", __file__], "both TEXT and --file were given"),
        (["-f", "/none/text.txt"], "No such file"),
    ],
)
def test_wrong_usage_exits_with_2(call, voice, arguments, message):
    fails(call("say", voice, "Yes.", *arguments), message, code=2)


def test_options_that_contradict_the_voice_exit_with_1(call, voice, tmp_path):
    fails(call("say", voice, "Yes.", "--steps", "1,1"), "but the voice has 3 levels")
    fails(call("say", voice, "Yes.", "--temperature", 0), "expected 0.01 to 100")


def test_info_describes_the_voice(call, voice):
    found = call("info", voice)
    assert found.returncode == 0, found.stderr
    text = found.stdout.decode()
    for part in (
        "tiny, made by by hand",
        "notice    Trained on nobody's speech.",
        "800 Hz, soundstream codec, hop 16, 3 levels of 8 codes",
        "10 tokens at 25 Hz",
        "parallel, 41 phones",
        "steps 4,2,1, cosine schedule, temperature 1.0, noise 0.0",
    ):
        assert part in text
    report = r"step +0\.00 MB  error 1\.0e-06 at most, 1\.0e-04 allowed, 100\.00% of integers equal, cases: 1"
    assert re.search(report, text)


def test_info_as_json_is_the_manifest(call, voice):
    found = call("info", voice, "--json")
    assert json.loads(found.stdout) == json.loads((voice / "bundle.json").read_text())


def test_version_and_help():
    assert re.fullmatch(rb"\S.* \S+\n", soundstorm("--version").stdout)
    found = soundstorm("say", "--help")
    assert found.returncode == 0
    assert b"Speak a text: play it, or write a sound file." in found.stdout
    assert soundstorm("shout").returncode == 2


@pytest.mark.parametrize("streamed", [False, True])
def test_word_times_are_written_beside_the_audio(call, make_bundle, tmp_path, streamed):
    bundle = make_bundle(codec="spectral", streams=True)
    flags = ["-o", "out.wav", *(["--stream"] if streamed else [])]
    found = call("say", bundle, "It costs $100. Good morning.", "--times", "out.json", *flags)
    assert found.returncode == 0, found.stderr
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["duration"] == pytest.approx(soundfile.info(tmp_path / "out.wav").frames / 800, abs=1e-3)
    assert [word["word"] for word in data["words"]] == "it costs one hundred dollars good morning".split()
    assert [word["text"] for word in data["words"]][2:5] == [data["words"][2]["text"]] * 3
    assert 0 < data["words"][0]["start"] < data["words"][-1]["end"] < data["duration"]
    found = call("say", bundle, "Good morning.", "--times", "out.srt", "-o", "out.wav")
    assert (tmp_path / "out.srt").read_text().endswith("\nGood morning.\n\n")


def test_times_are_refused_before_a_voice_is_loaded(call, make_bundle, tmp_path):
    found = call("say", tmp_path / "none", "Yes.", "--times", "out.txt")
    assert found.returncode == 1
    assert "cannot write times to out.txt: expected a name that ends in .json" in found.stderr
    found = call("say", make_bundle("autoregressive"), "Yes.", "--times", "out.json")
    assert found.returncode == 1
    assert "which has no durations, and no alignment of semantic tokens with phones" in found.stderr
    assert not (tmp_path / "out.wav").exists()
