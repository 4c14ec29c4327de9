"""What the three command lines share: verbosity, examples in the help, one-line errors, exit codes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

import click

from ..errors import OptionError, SoundStormError
from .interrupt import ended_by_ctrl_c, raised_after_finalizers, uninterrupted
from .version import package_version

INTERRUPTED = 130  # the exit code that a shell reports for a program ended by Ctrl-C
CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}

_PACKAGES = ("soundstorm_runtime", "soundstorm_edge", "soundstorm_export", "benchmarks")
_log = logging.getLogger(__name__)


class Command(click.Command):
    """A command with `--verbose` and `--quiet`, and with an example in its help.

    Args:
        example: command lines, one a line.
    """

    def __init__(self, *arguments: Any, example: str, **options: Any) -> None:
        options["context_settings"] = CONTEXT | (options.get("context_settings") or {})
        super().__init__(*arguments, **options)
        self.example = example
        self.params += [
            click.Option(
                ["-v", "--verbose"], is_flag=True, help="Also log details, and the traceback of an error."
            ),
            click.Option(["-q", "--quiet"], is_flag=True, help="Print only results, warnings and errors."),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; a text that begins with a hyphen reads like options, and the error says so."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if not any(each.startswith("-") and any(map(str.isspace, each)) for each in given):
                raise
            told = error.format_message().rstrip(".")
            raise click.UsageError(f"{told}; put -- before a text that begins with a hyphen", ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Set the level of the logs, then run the command."""
        verbose, quiet = ctx.params.pop("verbose"), ctx.params.pop("quiet")
        if verbose and quiet:
            raise click.UsageError("both --verbose and --quiet were given; give one of them")
        level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
        for name in _PACKAGES:  # of other libraries, warnings alone
            logging.getLogger(name).setLevel(level)
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example below the options."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Example"):
            for line in self.example.strip().splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")


class Group(click.Group):
    """A group of `Command`s.

    Args:
        modules: the module of each command, which has it under its own name. A module is imported when its
            command is used, so that no command waits for the imports of another.
    """

    command_class = Command

    def __init__(self, *arguments: Any, modules: Mapping[str, str] | None = None, **options: Any) -> None:
        options["context_settings"] = CONTEXT | (options.get("context_settings") or {})
        super().__init__(*arguments, **options)
        self._modules = modules or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the help."""
        return [*self._modules, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, from its module if it has not been used before."""
        if cmd_name not in self._modules:
            return super().get_command(ctx, cmd_name)
        with uninterrupted():
            module = import_module(self._modules[cmd_name])
        return getattr(module, cmd_name)


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


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def printable(text: str) -> str:
    """Return a text whose control characters a terminal shows, as `\\x1b`, and does not obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def report(line: str) -> None:
    """Print a line of progress on standard error, unless --quiet was given."""
    if shows_progress():
        click.echo(printable(line), err=True)


def shows_progress() -> bool:
    """Return whether progress is to be shown: --quiet was not given."""
    return logging.getLogger(_PACKAGES[0]).level <= logging.INFO


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Raise `OptionError` with the name of an extra of the package where an import in the block fails."""
    try:
        yield
    except ImportError as error:
        raise OptionError(
            f"a package is missing or broken ({error}); pip install 'soundstorm-edge[{extra}]'"
        ) from error


def run(command: click.Command | Callable[[], click.Command]) -> NoReturn:
    """Run a command line and exit: 0 after success, 1 after an error, 2 for wrong usage, 130 for Ctrl-C.

    Args:
        command: the command, or a function that imports and returns it.
    """
    _open_closed_streams()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler])
    try:
        with ended_by_ctrl_c(), raised_after_finalizers():
            code = _exit_code(command)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    sys.exit(code)


def _open_closed_streams() -> None:
    """Give standard streams that the parent has closed nothing to read and write; Python leaves them None."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  until the end


def _exit_code(command: click.Command | Callable[[], click.Command]) -> int:
    """Run a command line; an error that the user can act on is reported in one line."""
    try:
        if not isinstance(command, click.Command):
            with uninterrupted():
                command = command()
        code = command.main(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SoundStormError as error:
        _log.debug("where the error was raised:", exc_info=error)
        click.echo(f"error: {printable(' '.join(str(error).split()))}", err=True)
        return 1
    except OSError as error:  # a full disk, a folder that cannot be written
        _log.debug("where the error was raised:", exc_info=error)
        where = f"{error.filename}: " if error.filename else ""
        click.echo(
            f"error: {printable(where)}{error.strerror or error}; check the path and the disk", err=True
        )
        return 1
    return code if isinstance(code, int) else 0


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows, the first the heading, in columns flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)
