"""What the server is told: one dataclass, and the token that comes from outside."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from ..bundle.open_engines import PrecisionChoice, Provider
from ..errors import OptionError

TOKEN_VARIABLE = "SOUNDSTORM_TOKEN"

MOST_CHARACTERS = 4096  # of one text, as in the OpenAI API
MOST_BODY = 64 * 1024  # bytes of a request: the text, escaped, and the rest
BODY_SECONDS = 10.0  # for a request's header, and again for its body, to arrive
STALL_SECONDS = 60.0  # that a client may leave what it was sent unread
MOST_CONNECTIONS = 1000


@dataclass(frozen=True)
class Settings:
    """Where the server listens, what it speaks with, and what it takes on.

    at_once: texts spoken at the same time, in each process. queue: texts that may wait for that.
    time_limit: seconds that one text may take, its wait included. batch_ms: how long a step waits for
    others to be computed with it. token: what clients must show; None lets everybody in.
    lexicon: pronunciations of the user's (`text.user_lexicon`). origins: of web pages elsewhere
    that may use the server (CORS). metrics: folder that several processes share their counts in.
    """

    bundle: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    at_once: int = 4
    queue: int = 32
    time_limit: float = 600.0
    batch_ms: float = 5.0
    token: str | None = field(default=None, repr=False)
    origins: tuple[str, ...] = ()
    threads: int | None = None
    provider: Provider = "auto"
    precision: PrecisionChoice = "auto"
    lexicon: Path | None = None
    metrics: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether this machine alone reaches the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def read_token(file: Path | None) -> str | None:
    """Read the token from `file`, else from the environment (`SOUNDSTORM_TOKEN`); None where there is none.

    It is no option of the command: other users of the machine see those. Raises `OptionError` for a token
    that no header can carry.
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
