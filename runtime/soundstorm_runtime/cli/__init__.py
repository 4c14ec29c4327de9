"""The command line of the runtime: `soundstorm say`, and what goes with it."""

from __future__ import annotations

import click

from ..command import run, version_option
from .batch import batch
from .bench import bench
from .describe import info, voices
from .doctor import doctor
from .prompt import prompt
from .say import say
from .serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def main_group() -> None:
    """Speak with an exported SoundStorm voice."""


for command in (say, serve, batch, prompt, voices, info, doctor, bench):
    main_group.add_command(command)


def main() -> None:
    """Run the command line and exit."""
    run(main_group)
