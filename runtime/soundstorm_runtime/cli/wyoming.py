"""`soundstorm wyoming`: a voice for Home Assistant."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from pathlib import Path

import click

from ..bundle.open_engines import PrecisionChoice, Provider
from ..support.command import Command, needs_extra
from ..support.interrupt import uninterrupted
from ..voice import Voice
from .shared_options import bundle_argument, engine_options, lexicon_option

_log = logging.getLogger(__name__)


@click.command(cls=Command, example="soundstorm wyoming build/voice --host 0.0.0.0")
@bundle_argument
@click.option(
    "--host",
    default="127.0.0.1",
    help="Address to listen on; 0.0.0.0 is every address of this machine. The protocol knows no passwords.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=10200,
    help="Port to listen on; 0 takes a free one.",
)
@lexicon_option
@engine_options
def wyoming(
    bundle: Path,
    host: str,
    port: int,
    lexicon: Path | None,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Serve a voice to Home Assistant with the Wyoming protocol.

    In Home Assistant, add the integration 'Wyoming Protocol' with the address of this machine and the port.
    """
    with needs_extra("wyoming"), uninterrupted():
        from ..integrations.wyoming_server import serve
    voice = Voice.load(bundle, threads=threads, provider=provider, precision=precision, lexicon=lexicon)
    voice.warm_up()

    async def run() -> None:
        serving = asyncio.create_task(serve(voice, bundle.resolve().name, host, port, ready))
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
        with suppress(asyncio.CancelledError):
            await serving

    def ready(port: int) -> None:
        _log.info("serving %s on tcp://%s:%d with the Wyoming protocol; Ctrl-C stops", bundle, host, port)

    asyncio.run(run())
