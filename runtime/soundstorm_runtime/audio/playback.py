"""Play audio while more of it is made: through PortAudio (sounddevice), or a player of the system.

Sources: sounddevice's page on raw streams with callbacks; the manuals of paplay, aplay and afplay.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np

from ..errors import AudioError
from .writers import Write, audio_file, to_integers

# Options of players that take bare samples from standard input. Their usual buffers would delay the first
# sound by up to two seconds; what is made in advance waits in the pipe instead.
_PIPED = {
    "paplay": "--raw --format=s16le --channels=1 --rate={rate} --latency-msec=200",
    "aplay": "-q -t raw -f S16_LE -c 1 -r {rate} --buffer-time=200000",
}
_PROBE_SECONDS = 5  # after which a player that has found no device yet is taken to have none


class Player(Protocol):
    """Plays 16-bit mono audio on a device."""

    def write(self, audio: np.ndarray) -> None:
        """Take float32 samples to be played after those before."""

    def finish(self) -> None:
        """Wait until everything has been played."""

    def stop(self) -> None:
        """Stop the sound at once."""


@contextmanager
def playing(player: Player) -> Iterator[Write]:
    """Yield a function that plays float32 samples after those before.

    At the end of the block, waits until everything has been played; an exception in it, such as Ctrl-C, stops
    the sound at once.

    Raises:
        AudioError: The device failed.
    """
    try:
        yield player.write
        player.finish()
    except BaseException:
        player.stop()
        raise


def open_player(sample_rate: int) -> Player:
    """Open the sound device.

    Args:
        sample_rate: Samples a second.

    Raises:
        AudioError: There is no sound device, or nothing to reach it with.
    """
    tried = []
    for name, open_one in _PLAYERS.items():
        try:
            return open_one(sample_rate)
        except AudioError as error:
            tried.append(f"{name}: {error}")
    raise AudioError(f"no sound device was found ({'; '.join(tried)})")


class PortAudioPlayer:
    """Plays through PortAudio, whose thread asks for samples."""

    def __init__(self, sample_rate: int) -> None:
        self._waiting = bytearray()
        self._lock = threading.Lock()
        self._complete = False
        self._played = threading.Event()
        try:
            import sounddevice
        except ImportError as error:
            raise AudioError("not installed, pip install 'soundstorm-edge[play]'") from error
        except OSError as error:
            raise AudioError(f"{error}, apt-get install libportaudio2") from error
        self._stop: type[Exception] = sounddevice.CallbackStop
        try:
            self._stream = sounddevice.RawOutputStream(
                sample_rate,
                channels=1,
                dtype="int16",
                callback=self._fill,
                finished_callback=self._played.set,
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise AudioError(str(error)) from error

    def _fill(self, out: Any, frames: int, time: Any, status: Any) -> None:
        """Give PortAudio its next samples, silence where none have been made yet."""
        with self._lock:
            taken = bytes(self._waiting[: len(out)])
            del self._waiting[: len(out)]
            over = self._complete and not self._waiting
        out[:] = taken.ljust(len(out), b"\0")
        if over:
            raise self._stop

    def write(self, audio: np.ndarray) -> None:
        """Take float32 samples to be played after those before."""
        with self._lock:
            self._waiting += to_integers(audio).tobytes()

    def finish(self) -> None:
        """Wait until everything has been played."""
        self._complete = True
        self._played.wait()
        self._stream.close()

    def stop(self) -> None:
        """Stop the sound at once."""
        self._stream.abort()
        self._stream.close()


class PipedPlayer:
    """Plays through a program that reads bare samples from its standard input."""

    def __init__(self, program: str, sample_rate: int) -> None:
        if shutil.which(program) is None:
            raise AudioError("not installed")
        self._program = program
        command = [program, *_PIPED[program].format(rate=sample_rate).split()]
        _probe(command)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors
        )
        self._pipe = cast(IO[bytes], self._process.stdin)

    def write(self, audio: np.ndarray) -> None:
        """Take float32 samples to be played after those before; waits while the pipe is full."""
        try:
            self._pipe.write(to_integers(audio).astype("<i2").tobytes())
            self._pipe.flush()
        except BrokenPipeError:
            self._process.wait()
            raise self._failure() from None

    def finish(self) -> None:
        """Wait until everything has been played."""
        with contextlib.suppress(BrokenPipeError):
            self._pipe.close()
        if self._process.wait() != 0:
            raise self._failure()
        self._errors.close()

    def stop(self) -> None:
        """Stop the sound at once."""
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def _failure(self) -> AudioError:
        self._errors.seek(0)
        return AudioError(
            f"the sound device failed ({self._program}: {_last_line(self._errors.read())}); "
            "write a file with -o"
        )


class AfplayPlayer:
    """Plays through macOS's afplay, which takes a file: the sound begins when all of it has been made."""

    def __init__(self, sample_rate: int) -> None:
        if shutil.which("afplay") is None:
            raise AudioError("not installed")
        self._rate = sample_rate
        self._audio: list[np.ndarray] = []
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, audio: np.ndarray) -> None:
        """Take float32 samples to be played after those before."""
        self._audio.append(audio)

    def finish(self) -> None:
        """Play everything."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "speech.wav"
            with audio_file(file, self._rate) as write:
                for audio in self._audio:
                    write(audio)
            self._process = subprocess.Popen(
                ["afplay", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            _, errors = self._process.communicate()
        if self._process.returncode != 0:
            raise AudioError(f"the sound device failed (afplay: {_last_line(errors)}); write a file with -o")

    def stop(self) -> None:
        """Stop the sound at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


_PLAYERS: dict[str, Callable[[int], Player]] = {
    "sounddevice": PortAudioPlayer,
    "paplay": lambda rate: PipedPlayer("paplay", rate),
    "aplay": lambda rate: PipedPlayer("aplay", rate),
    "afplay": AfplayPlayer,
}


def _probe(command: list[str]) -> None:
    """Play nothing. Raises `AudioError` where that fails: there is no device."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AudioError(str(error)) from error
    if done.returncode != 0:
        raise AudioError(_last_line(done.stderr))


def _last_line(output: bytes) -> str:
    return (output.decode(errors="replace").strip().splitlines() or ["it gave no reason"])[-1]
