"""What the command lines share: one-line errors, exit codes, logs on stderr, --version."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from ..errors import SoundStormError
from .interrupt import interruptible
from .version import package_version

INTERRUPTED = 130  # what a shell gives for a program that Ctrl-C ended


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(f"{context.find_root().info_name} {package_version()}")
        context.exit()


version_option = click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)


def run(command: click.Command) -> NoReturn:
    """Run a command line and exit: 0 if all went well, 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger("soundstorm_runtime").setLevel(logging.INFO)  # of other libraries, warnings alone
    try:
        with interruptible():
            code = _exit_code(command)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    sys.exit(code)


def _exit_code(command: click.Command) -> int:
    """Run a command line; what a user can do something about is told in one line."""
    try:
        code = command.main(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SoundStormError as error:
        click.echo(f"error: {' '.join(str(error).split())}", err=True)
        return 1
    except OSError as error:  # a full disk, a folder that cannot be written
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {where}{error.strerror or error}; check the path and the disk", err=True)
        return 1
    return code if isinstance(code, int) else 0


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows, the first the heading, in columns flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)
