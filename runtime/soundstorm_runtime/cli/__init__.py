"""The command line of the runtime: `soundstorm say`, and what goes with it."""

from __future__ import annotations

import click

from ..support.command import Group, run, version_option

_COMMANDS = (
    "batch",
    "bench",
    "dialogue",
    "doctor",
    "edit",
    "info",
    "prompt",
    "say",
    "serve",
    "speechd",
    "voices",
    "wyoming",
)
_COMPLETION = """Tab completion: put one line into the start-up file of your shell.

\b
bash  eval "$(_SOUNDSTORM_COMPLETE=bash_source soundstorm)"
zsh   eval "$(_SOUNDSTORM_COMPLETE=zsh_source soundstorm)"
fish  _SOUNDSTORM_COMPLETE=fish_source soundstorm | source
"""


@click.group(cls=Group, modules={name: f"{__name__}.{name}" for name in _COMMANDS}, epilog=_COMPLETION)
@version_option
def main_group() -> None:
    """Speak with an exported SoundStorm voice."""


def main() -> None:
    """Run the command line and exit."""
    run(main_group)
