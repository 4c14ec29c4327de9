"""The command line of the runtime: `soundstorm say`, and what goes with it."""

from __future__ import annotations

from importlib import import_module

import click

from ..support.command import run, version_option

# The module of each command. It is imported when the command is asked for, within `run`: what a command
# does not need does not slow its start, and Ctrl-C is heard from the start.
_HOMES = {
    "batch": "batch",
    "bench": "bench",
    "doctor": "doctor",
    "info": "describe",
    "prompt": "prompt",
    "say": "say",
    "serve": "serve",
    "voices": "describe",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _HOMES:
            return None
        module = import_module(f".{_HOMES[cmd_name]}", __name__)
        return getattr(module, cmd_name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def main_group() -> None:
    """Speak with an exported SoundStorm voice."""


def main() -> None:
    """Run the command line and exit."""
    run(main_group)
