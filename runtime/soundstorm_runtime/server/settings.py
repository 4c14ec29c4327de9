"""Settings of the server: limits, one dataclass of options, and the bearer token."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from ..bundle.open_engines import PrecisionChoice, Provider
from ..errors import OptionError
from .telemetry.logs import LogFormat, LogLevel

TOKEN_VARIABLE = "SOUNDSTORM_TOKEN"

MOST_CHARACTERS = 4096  # of one text, as in the OpenAI API
MOST_DIALOGUE = 4 * MOST_CHARACTERS  # of all turns of a dialogue: some fifteen minutes
MOST_BODY = 64 * 1024  # bytes of a request: the text, escaped, and the rest
MOST_UPLOAD = 10 << 20  # bytes of a recording of which a voice is made, as in the OpenAI API
UPLOAD_SECONDS = 60.0  # in which it must arrive
BODY_SECONDS = 10.0  # in which a request's header, and then its body, must arrive
STALL_SECONDS = 60.0  # in which a client must read what it was sent
MOST_CONNECTIONS = 1000  # of one process
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Settings:
    """The options of a server.

    Attributes:
        bundle: Folder of the voice.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        workers: Processes.
        at_once: Texts that each process speaks at the same time.
        queue: Texts that may wait in each process.
        time_limit: Seconds that one request may take, including its wait.
        max_wait: Seconds until the speech of a request begins; one that would wait for longer is refused.
        batch_ms: Milliseconds that a decoding step waits for others to share a batch with.
        token: Bearer token that clients must send; None serves everybody.
        token_file: File that it was read from, and is read from again by `reload`.
        insecure: Whether a server without a token may be reached from other machines.
        allowed_hosts: Names in the header Host that are served beside the local ones.
        origins: Origins of other web pages that may use the server (CORS).
        threads, provider, precision: As for `Voice.load`.
        lexicon: File of pronunciations (`text.user_lexicon`).
        voice_uploads: Folder of the voices that clients make of recordings; None allows none.
        metrics: Folder in which several processes share their metrics.
        is_restart: Whether this process replaces one that has ended by itself.
        log_level, log_format: As for `configure_logs`.
        otel: Whether traces are sent by OpenTelemetry.
    """

    bundle: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    at_once: int = 32
    queue: int = 32
    time_limit: float = 600.0
    max_wait: float = 10.0
    batch_ms: float = 5.0
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    insecure: bool = False
    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    threads: int | None = None
    provider: Provider = "auto"
    precision: PrecisionChoice = "auto"
    lexicon: Path | None = None
    voice_uploads: Path | None = None
    metrics: Path | None = None
    is_restart: bool = False
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"
    otel: bool = False

    @property
    def hosts(self) -> tuple[str, ...] | None:
        """The names that a request's header Host may have; None for every name.

        A web page can make a browser send requests to a local server, under a name that its owner points to
        this machine (DNS rebinding). A token, or a list of names, excludes that.
        """
        if self.allowed_hosts:
            return (*LOCAL_HOSTS, self.host.lower(), *(name.lower() for name in self.allowed_hosts))
        if self.is_local and self.token is None:
            return (*LOCAL_HOSTS, self.host.lower())
        return None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def read_token(file: Path | None) -> str | None:
    """Read the bearer token from `file`, or else from the environment (`SOUNDSTORM_TOKEN`).

    The command line has no option for the token itself: other users of the machine could read it.

    Returns:
        The token, None if there is no file and the variable is not set.

    Raises:
        OptionError: A header cannot carry the token.
    """
    if file is None:
        source, token = TOKEN_VARIABLE, os.environ.get(TOKEN_VARIABLE, "")
        if not token:
            return None
    else:
        source, token = str(file), file.read_text(encoding="utf-8", errors="replace").strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise OptionError(
            f"{source} holds a token of {len(token)} characters, expected letters, digits and signs of ASCII "
            "without spaces; make one with: openssl rand -hex 32"
        )
    return token


class BearerToken:
    """The token that clients must send.

    Args:
        value: The token, None to serve everybody.
        file: Where it can be read again; None for a token from the environment.
    """

    def __init__(self, value: str | None, file: Path | None) -> None:
        self.value = value
        self._file = file

    def reload(self) -> None:
        """Read the token again. Raises `OptionError` as `read_token` does; the token stays as it was."""
        if self._file is not None:
            self.value = read_token(self._file)
