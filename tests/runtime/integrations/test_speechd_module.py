"""The output module: its protocol in one event loop, and speech-dispatcher itself with spd-say."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from soundstorm_runtime import SynthesisOptions, Voice
from soundstorm_runtime.integrations.speechd_module import SpeechdModule, audio_frame, parts_of

TEXT = "Hello there. Good day."


class Dispatcher:
    """The other side of the module: sends commands, and takes apart what comes back."""

    def __init__(self, voice, options=None):
        self.reader = asyncio.StreamReader()
        self.messages: asyncio.Queue = asyncio.Queue()
        self.module = SpeechdModule(voice, "tiny", self.reader, self.receive, options)

    async def receive(self, data):
        """Take apart what the module sends: whole lines, or a frame of audio."""
        await asyncio.sleep(0)
        assert data.endswith(b"\n")
        if data.startswith(b"705-"):
            self.messages.put_nowait(read_frame(data))
        else:
            for line in data.decode().splitlines():
                self.messages.put_nowait(line)

    def send(self, *lines):
        self.reader.feed_data("".join(f"{line}\n" for line in lines).encode())

    async def until(self, last):
        """Return what comes up to a line, without it: lines, and arrays of samples."""
        found = []
        while True:
            message = await asyncio.wait_for(self.messages.get(), 60)
            if isinstance(message, str) and message == last:
                return found
            found.append(message)

    async def say(self, text, kind="SPEAK", last="702 END"):
        self.send(kind, text, ".")
        found = await self.until(last)
        assert found[:3] == ["202 OK RECEIVING MESSAGE", "200 OK SPEAKING", "701 BEGIN"]
        return found[3:]


def read_frame(data):
    """Return the samples in a frame of audio, int16 [samples]."""
    head, _, body = data.partition(b"705-AUDIO\0")
    facts = dict(line.removeprefix("705-").split("=") for line in head.decode().splitlines())
    assert {name: facts[name] for name in ("bits", "num_channels", "big_endian")} == {
        "bits": "16",
        "num_channels": "1",
        "big_endian": "0",
    }
    body = body.removesuffix(b"\n705 AUDIO\n")
    assert b"\n" not in body
    plain, escaped = bytearray(), False
    for byte in body:
        if byte == 0x7D and not escaped:
            escaped = True
        else:
            plain.append(byte ^ 0x20 if escaped else byte)
            escaped = False
    samples = np.frombuffer(bytes(plain), "<i2")
    assert len(samples) == int(facts["num_samples"])
    return samples


def with_dispatcher(voice, use, options=None):
    async def run():
        dispatcher = Dispatcher(voice, options)
        running = asyncio.create_task(dispatcher.module.run())
        try:
            return await use(dispatcher)
        finally:
            dispatcher.send("QUIT")
            await asyncio.wait_for(running, 60)
            await dispatcher.until("210 OK QUIT")

    return asyncio.run(run())


def sound(messages):
    return np.concatenate([message for message in messages if not isinstance(message, str)])


def spoken(speaker, text, **options):
    return np.rint(np.concatenate(list(speaker.stream(text, **options))).clip(-1, 1) * 32767).astype(np.int16)


def test_the_bytes_of_audio_are_escaped():
    samples = np.arange(-32767, 32768, dtype=np.int32).astype(np.float32) / 32767
    found = read_frame(audio_frame(samples, 16_000))
    np.testing.assert_array_equal(found, np.arange(-32767, 32768))
    assert read_frame(audio_frame(samples[:0], 16_000)).size == 0


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ("Hello.", [("Hello.", None)]),
        ("<speak>Hello.</speak>", [("Hello.", None)]),
        (
            "<speak>One. <mark name=\"__spd_0\"/>Two &amp; <b>three</b>.<mark name='a'></mark></speak>",
            [("One.", "__spd_0"), ("Two &  three .", "a"), ("", None)],
        ),
        ("1 < 2 and 3 > 2", [("1 < 2 and 3 > 2", None)]),
        ("&lt;b&gt; stays", [("<b> stays", None)]),
    ],
)
def test_a_message_is_split_at_its_marks(message, parts):
    assert parts_of(message) == parts


def test_it_says_what_it_is_and_its_voices(voice):
    async def use(dispatcher):
        dispatcher.send("INIT", "LIST VOICES")
        return await dispatcher.until("200 OK VOICE LIST SENT")

    assert with_dispatcher(voice, use) == [
        "299-SoundStorm, tiny",
        "299 OK LOADED SUCCESSFULLY",
        "200-slt\ten\tnone",
        "200-rms\ten\tnone",
    ]


def test_a_text_is_spoken_and_its_marks_are_reported(voice):
    async def use(dispatcher):
        return await dispatcher.say('<speak>Hello there.<mark name="__spd_1"/> Good day.</speak>')

    found = with_dispatcher(voice, use)
    place = next(place for place, message in enumerate(found) if isinstance(message, str))
    assert found[place] == "700-__spd_1"
    assert found[place + 1] == "700 INDEX MARK"
    first, second = sound(found[:place]), sound(found[place:])
    expected = spoken(voice, "Hello there.")
    np.testing.assert_array_equal(first[: len(expected)], expected)
    assert not first[len(expected) :].any()  # a pause
    np.testing.assert_array_equal(second, spoken(voice, "Good day."))


def test_parameters_are_audible(voice):
    async def use(dispatcher):
        heard = {}
        for name, *lines in (
            ("plain",),
            ("fast", "rate=100"),
            ("slow", "rate=-50"),
            ("soft", "rate=0", "volume=0"),
            ("rms", "volume=100", "synthesis_voice=rms", "pitch=20", "language=en-US", "voice_type=MALE1"),
            ("again", "synthesis_voice=NULL"),
        ):
            if lines:
                dispatcher.send("SET", *lines, ".")
                before = await dispatcher.until("203 OK SETTINGS RECEIVED")
                assert before == ["207 OK RECEIVING SETTINGS"]
            heard[name] = sound(await dispatcher.say(TEXT))
        return heard

    heard = with_dispatcher(voice, use)
    np.testing.assert_array_equal(heard["plain"], spoken(voice, TEXT))
    np.testing.assert_array_equal(heard["fast"], spoken(voice, TEXT, speed=4.0))
    np.testing.assert_array_equal(heard["slow"], spoken(voice, TEXT, speed=0.5))
    np.testing.assert_allclose(heard["soft"], heard["plain"] / 2, atol=1)
    np.testing.assert_array_equal(heard["rms"], spoken(voice, TEXT, voice="rms"))
    np.testing.assert_array_equal(heard["again"], heard["plain"])


def test_decoding_steps_can_be_chosen(voice):
    async def use(dispatcher):
        dispatcher.send("SET", "rate=50", ".")
        await dispatcher.until("203 OK SETTINGS RECEIVED")
        return sound(await dispatcher.say(TEXT))

    heard = with_dispatcher(voice, use, SynthesisOptions(steps=(1, 1, 0)))
    np.testing.assert_array_equal(heard, spoken(voice, TEXT, speed=2.0, steps=(1, 1, 0)))


@pytest.mark.parametrize(
    ("kind", "message", "settings", "read"),
    [
        ("CHAR", "a", [], "[spell a]"),
        ("CHAR", "space", [], "space"),
        ("CHAR", "A", ["cap_let_recogn=spell"], "capital [spell A]"),
        ("CHAR", "&lt;", [], "less than"),
        ("KEY", "shift_a", [], "shift [spell a]"),
        ("SOUND_ICON", "empty-text", [], "empty text"),
        ("SPEAK", "(Hello)", ["punctuation_mode=all"], " left paren Hello right paren "),
        ("SPEAK", "Hi 2", ["spelling_mode=on"], "[spell H], [spell i], [spell 2]"),
    ],
)
def test_signs_are_read(voice, kind, message, settings, read):
    async def use(dispatcher):
        if settings:
            dispatcher.send("SET", *settings, ".")
            await dispatcher.until("203 OK SETTINGS RECEIVED")
        return sound(await dispatcher.say(message, kind))

    np.testing.assert_array_equal(with_dispatcher(voice, use), spoken(voice, read))


def test_what_cannot_be_spoken_ends_and_dots_are_unstuffed(voice):
    async def use(dispatcher):
        nothing = await dispatcher.say("?!")
        dots = sound(await dispatcher.say("..5 is a half."))
        dispatcher.send("SPEAK", ".", "CHAR", "a", "b", ".", "JUMP", "SET", "rate=300", "colour=red", ".")
        dispatcher.send("SET", "rate", ".", "AUDIO", "audio_output_method=alsa", ".")
        dispatcher.send(
            "AUDIO", "audio_output_method=server", ".", "LOGLEVEL", "log_level=3", ".", "DEBUG OFF"
        )
        return nothing, dots, await dispatcher.until("200 OK DEBUGGING OFF")

    nothing, dots, replies = with_dispatcher(voice, use)
    assert nothing == []
    np.testing.assert_array_equal(dots, spoken(voice, ".5 is a half."))
    assert replies == [
        "202 OK RECEIVING MESSAGE",
        "301 ERROR CANT SPEAK",
        "202 OK RECEIVING MESSAGE",
        "305 DATA MORE THAN ONE LINE",
        "300 ERR UNKNOWN COMMAND",
        "207 OK RECEIVING SETTINGS",
        "303 ERROR INVALID PARAMETER OR VALUE",
        "207 OK RECEIVING SETTINGS",
        "302 ERROR BAD SYNTAX",
        "207 OK RECEIVING AUDIO SETTINGS",
        "303 ERROR INVALID PARAMETER OR VALUE",
        "207 OK RECEIVING AUDIO SETTINGS",
        "203 OK AUDIO INITIALIZED",
        "207 OK RECEIVING LOGLEVEL SETTINGS",
        "203 OK LOGLEVEL SET",
    ]


def test_a_line_without_an_end_is_too_long_and_the_module_stays(voice):
    async def use(dispatcher):
        dispatcher.reader._limit = 1000  # as that of `serve`, which is larger
        dispatcher.send("SPEAK", "x" * 5000, ".", "y" * 5000)
        refused = await dispatcher.until("300 ERR UNKNOWN COMMAND")
        return refused, sound(await dispatcher.say("Go."))

    refused, after = with_dispatcher(voice, use)
    assert refused == ["202 OK RECEIVING MESSAGE", "301 ERROR CANT SPEAK"]
    np.testing.assert_array_equal(after, spoken(voice, "Go."))


@pytest.mark.parametrize(("command", "event"), [("STOP", "703 STOP"), ("PAUSE", "704 PAUSE")])
def test_it_stops_at_once_and_speaks_again(slow_bundle, command, event):
    voice = Voice.load(slow_bundle)
    voice.warm_up()

    async def use(dispatcher):
        dispatcher.send(command)  # nothing is spoken: no event
        dispatcher.send("SPEAK", "The rain falls on the old stone wall. " * 60, ".")
        while isinstance(await asyncio.wait_for(dispatcher.messages.get(), 60), str):
            pass
        asked = time.monotonic()
        dispatcher.send(command)
        await dispatcher.until(event)
        took = time.monotonic() - asked
        after = await dispatcher.say("Go.")
        return took, after

    took, after = with_dispatcher(voice, use)
    assert took < 20  # of a computation that takes minutes, on a machine that may be busy
    np.testing.assert_array_equal(sound(after), spoken(voice, "Go."))


def test_the_command_is_a_module(bundle, environment):
    command = [sys.executable, "-m", "soundstorm_runtime.cli", "speechd", str(bundle)]
    lines = "INIT\nSPEAK\nHello there.\n.\n"
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(lines.encode())
        process.stdin.flush()
        found = b""
        while b"702 END\n" not in found:
            found += process.stdout.readline()
        process.stdin.write(b"QUIT\n")
        process.stdin.flush()
        assert process.stdout.read() == b"210 OK QUIT\n"
        assert process.wait(120) == 0
    assert found.startswith(b"299-SoundStorm, tiny\n299 OK LOADED SUCCESSFULLY\n202 OK")
    assert b"705-AUDIO\0" in found


def test_a_file_in_place_of_the_dispatcher_is_refused(bundle, environment):
    command = [sys.executable, "-m", "soundstorm_runtime.cli", "speechd", str(bundle)]
    with open(__file__) as file:
        done = subprocess.run(command, env=environment, stdin=file, capture_output=True, text=True)
    assert done.returncode == 1
    reason = "speech-dispatcher starts this command, see docs/screen-readers.md"
    assert done.stderr == f"error: <stdin> is no pipe; {reason}\n"


DISPATCHER = shutil.which("speech-dispatcher")


@pytest.fixture
def dispatcher_of(environment):
    """`with dispatcher_of(bundle) as say:` runs speech-dispatcher with the module; `say(...)` runs spd-say.

    ALSA writes the sound to a file, whose bytes `say` returns.
    """

    @contextmanager
    def started(bundle):
        with tempfile.TemporaryDirectory() as name:  # short, since the path of a socket is
            folder = Path(name)
            module = f"#!/bin/sh\nexec {sys.executable} -m soundstorm_runtime.cli speechd {bundle}\n"
            (folder / "sd_soundstorm").write_text(module)
            (folder / "sd_soundstorm").chmod(0o755)
            (folder / "modules").mkdir()
            (folder / "modules" / "soundstorm.conf").touch()
            (folder / "speechd.conf").write_text(
                f'LogDir "{folder}"\nAudioOutputMethod "alsa"\nAudioALSADevice "default"\n'
                f'AddModule "soundstorm" "{folder}/sd_soundstorm" "soundstorm.conf"\n'
                "DefaultModule soundstorm\nDefaultVolume 100\n"
            )
            (folder / ".asoundrc").write_text(
                f'pcm.!default {{ type file file "{folder}/out.raw" format raw slave.pcm "null" }}\n'
                "pcm.null { type null }\n"
            )
            variables = environment | {"HOME": name, "SPEECHD_ADDRESS": f"unix_socket:{name}/socket"}
            command = [DISPATCHER, "-s", "-C", name, "-L", name, "-c", "unix_socket", "-S", f"{name}/socket"]
            process = subprocess.Popen([*command, "-P", f"{name}/pid", "-t", "60"], env=variables)

            def say(*arguments, least=1):
                sound = folder / "out.raw"
                before = sound.stat().st_size if sound.exists() else 0
                done = subprocess.run(
                    ["spd-say", *arguments], env=variables, timeout=60, capture_output=True, text=True
                )
                assert done.returncode == 0, done.stderr
                ends = time.monotonic() + 60  # the last bytes may come after the end is reported
                while not sound.exists() or sound.stat().st_size < before + 2 * least:
                    assert time.monotonic() < ends, "too little was heard"
                    time.sleep(0.05)
                return sound.read_bytes()[before:]

            try:
                ends = time.monotonic() + 60
                while not (folder / "socket").exists() and time.monotonic() < ends:
                    time.sleep(0.05)
                yield say
            finally:
                process.kill()
                process.wait()

    return started


@pytest.mark.skipif(
    DISPATCHER is None, reason="speech-dispatcher is absent: apt-get install speech-dispatcher"
)
def test_spd_say_is_heard_through_speech_dispatcher(bundle, voice, dispatcher_of):
    expected = spoken(voice, "Hello there.")
    with dispatcher_of(bundle) as say:
        heard = np.frombuffer(say("--wait", "Hello there.", least=len(expected)), "<i2")
        fast = np.frombuffer(say("--wait", "--rate", "100", "Hello there."), "<i2")
    assert heard.any()
    assert len(fast) < len(heard)
