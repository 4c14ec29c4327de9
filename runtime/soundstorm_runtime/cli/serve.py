"""`soundstorm serve`: a voice behind HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from ..bundle.open_engines import PrecisionChoice, Provider
from ..errors import OptionError
from ..support.hardware import default_threads
from .shared_options import bundle_argument, engine_options, lexicon_option


@click.command()
@bundle_argument
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 finds one.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option(
    "--at-once",
    type=click.IntRange(min=1),
    help="Texts that one process speaks at the same time.  [default: two for each processor]",
)
@click.option(
    "--queue",
    type=click.IntRange(min=0),
    default=32,
    show_default=True,
    help="Texts that may wait in one process; more are refused with 429.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=1),
    default=600,
    show_default=True,
    help="Seconds that one text may take, its wait included.",
)
@click.option(
    "--batch-ms",
    type=click.FloatRange(min=0),
    default=5,
    show_default=True,
    help="Milliseconds that a step waits for others to be computed with it.",
)
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the token that clients must send.  [default: SOUNDSTORM_TOKEN, or none]",
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    help="Origin of web pages elsewhere that may use the server, such as https://example.org.",
)
@lexicon_option
@engine_options
def serve(
    bundle: Path,
    host: str,
    port: int,
    workers: int,
    at_once: int | None,
    queue: int,
    time_limit: float,
    batch_ms: float,
    token_file: Path | None,
    origins: tuple[str, ...],
    lexicon: Path | None,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Serve the voice in the folder BUNDLE over HTTP: the OpenAI speech API, and a page to try it.

    SIGTERM and Ctrl-C stop it when what is being spoken is finished.
    """
    try:
        from ..server.processes import serve as run
        from ..server.settings import Settings, read_token
    except ImportError as error:
        raise OptionError(f"serving needs more ({error}); pip install 'soundstorm-edge[serve]'") from error
    run(
        Settings(
            bundle=bundle,
            host=host,
            port=port,
            workers=workers,
            at_once=at_once or max(1, 2 * default_threads() // workers),
            queue=queue,
            time_limit=time_limit,
            batch_ms=batch_ms,
            token=read_token(token_file),
            origins=origins,
            threads=threads,
            provider=provider,
            precision=precision,
            lexicon=lexicon,
        )
    )
