"""`soundstorm-export`: from a checkpoint to a bundle."""

from __future__ import annotations

import click

from soundstorm_runtime.support.command import run


def main() -> None:
    """Run the command line and exit."""
    run(_load)


def _load() -> click.Command:
    from .export import export

    return export
