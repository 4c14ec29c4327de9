"""`soundstorm serve`: a voice behind HTTP."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast, get_args

import click

from ..bundle.open_engines import PrecisionChoice, Provider
from ..server.telemetry.logs import LogFormat, LogLevel
from ..support.command import Command, needs_extra
from ..support.interrupt import uninterrupted
from .shared_options import bundle_argument, engine_options, lexicon_option, workers_option


@click.command(cls=Command, example="soundstorm serve build/voice --port 8000 --workers 2")
@bundle_argument
@click.option(
    "--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 is every address of this machine."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, help="Port to listen on; 0 takes a free one."
)
@workers_option
@click.option(
    "--at-once",
    type=click.IntRange(min=1),
    default=32,
    help="Texts that one process speaks at the same time.",
)
@click.option(
    "--queue",
    type=click.IntRange(min=0),
    default=32,
    help="Texts that may wait in one process; further requests get status 429.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=1),
    default=600,
    help="Seconds that one request may take, including its wait in the queue.",
)
@click.option(
    "--max-wait",
    type=click.FloatRange(min=0, min_open=True),
    default=10,
    help="Seconds until the speech of a request begins; one that would wait for longer gets status 429.",
)
@click.option(
    "--batch-ms",
    type=click.FloatRange(min=0),
    default=5,
    help="Milliseconds that a decoding step waits for steps of other texts to share a batch with.",
)
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    show_default="the environment variable SOUNDSTORM_TOKEN, or no token",
    help="File with the bearer token that clients must send.",
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    help="Origin of other web pages that may use the server (CORS), such as https://example.org; "
    "may be given several times.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    show_default="local names; every name if there is a token",
    help="Name by which clients may address the server, such as voice.example.org or *.example.org; may be "
    "given several times.",
)
@click.option(
    "--insecure",
    is_flag=True,
    help="Allow a --host that other machines can reach without a token.",
)
@click.option(
    "--voice-uploads",
    type=click.Path(file_okay=False, path_type=Path),
    show_default="clients cannot make voices",
    help="Folder in which voices are kept that clients make of recordings (POST /v1/voices). Needs a token.",
)
@click.option(
    "--log-level",
    type=click.Choice(get_args(LogLevel)),
    show_default="info",
    help="Least level of the log lines; requests are logged at info.",
)
@click.option(
    "--log-format", type=click.Choice(get_args(LogFormat)), default="text", help="Form of the log lines."
)
@click.option(
    "--otel",
    is_flag=True,
    help="Send traces by OpenTelemetry, as the variables OTEL_* say (extra otel).",
)
@lexicon_option
@engine_options
def serve(
    bundle: Path,
    host: str,
    port: int,
    workers: int,
    at_once: int,
    queue: int,
    time_limit: float,
    max_wait: float,
    batch_ms: float,
    token_file: Path | None,
    origins: tuple[str, ...],
    allowed_hosts: tuple[str, ...],
    insecure: bool,
    voice_uploads: Path | None,
    log_level: LogLevel | None,
    log_format: LogFormat,
    otel: bool,
    lexicon: Path | None,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Serve a voice over HTTP with the OpenAI speech API.

    BUNDLE is the folder of the voice; without it, an installed one is served. The address also has a page to
    try it and, under /docs, a description of the API. SIGTERM and Ctrl-C stop the server after the speech in
    progress is finished.
    """
    with needs_extra("serve"), uninterrupted():
        from ..server.processes import serve as run
        from ..server.settings import Settings, read_token
    run(
        Settings(
            bundle=bundle,
            host=host,
            port=port,
            workers=workers,
            at_once=at_once,
            queue=queue,
            time_limit=time_limit,
            max_wait=max_wait,
            batch_ms=batch_ms,
            token=read_token(token_file),
            token_file=token_file,
            origins=origins,
            allowed_hosts=allowed_hosts,
            insecure=insecure,
            voice_uploads=voice_uploads,
            log_level=log_level or _level(),
            log_format=log_format,
            otel=otel,
            threads=threads,
            provider=provider,
            precision=precision,
            lexicon=lexicon,
        )
    )


def _level() -> LogLevel:
    """Return the level that --verbose and --quiet have set."""
    level = logging.getLogger(__name__).getEffectiveLevel()
    return cast(LogLevel, logging.getLevelName(level).lower())
