"""`soundstorm speechd`: a voice for screen readers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from ..bundle.open_engines import PrecisionChoice, Provider
from ..integrations.speechd_module import check_streams, serve
from ..support.command import Command
from ..synthesis.options import SynthesisOptions
from ..voice import Voice
from .shared_options import bundle_argument, engine_options, lexicon_option, steps_option


@click.command(cls=Command, example="soundstorm speechd build/voice")
@bundle_argument
@steps_option
@lexicon_option
@engine_options
def speechd(
    bundle: Path,
    steps: tuple[int, ...] | None,
    lexicon: Path | None,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Be an output module of speech-dispatcher, for screen readers.

    speech-dispatcher starts it, from a file in its folder of modules with these two lines:

    \b
        #!/bin/sh
        exec soundstorm speechd BUNDLE
    """
    check_streams()
    options = SynthesisOptions(steps=steps)
    voice = Voice.load(bundle, threads=threads, provider=provider, precision=precision, lexicon=lexicon)
    voice.warm_up()
    asyncio.run(serve(voice, bundle.resolve().name, options))
